// Leaves out of the bundle what a GraphQL editor does not use: it halves what every binary carries.
// Each change says which text it expects, and the build fails when an upgrade has moved it.
import { readFile } from 'node:fs/promises';

// features of the editor for programming languages, colours, diffs and AI completions
const UNUSED_FEATURES =
  /^import '\.\/(browser\/widget\/diffEditor|contrib\/(codeAction|codelens|colorPicker|diffEditorBreadcrumbs|dropOrPasteInto|inPlaceReplace|inlayHints|inlineCompletions|inlineEdits?|inlineProgress|rename|sectionHeaders|semanticTokens|stickyScroll|suggest\/browser\/suggestInlineCompletions))[^\n]*\n/gm;

const CHANGES = [
  { file: /monaco-editor\/esm\/vs\/editor\/editor\.all\.js$/, find: UNUSED_FEATURES, put: '' },
  // 600 kB of web fonts; the style sheet names system fonts after them
  { file: /graphiql\/dist\/style\.css$/, find: /@font-face\s*\{[^}]*\}/g, put: '' },
  // prettier's JavaScript parser and printer, 550 kB, only to indent variables and headers
  {
    file: /@graphiql\/react\/dist\/utility\/jsonc\.js$/,
    find: /import \{ parse, (printParseErrorCode) \}([\s\S]*?)async function formatJSONC\(content\) \{[\s\S]*?\n\}\n/,
    put: `import { applyEdits, format, parse, $1 }$2
async function formatJSONC(content) {
  return applyEdits(content, format(content, undefined, { insertSpaces: true, tabSize: 2 }));
}
`,
  },
  // the same parser in its CommonJS and its module form
  { file: /@graphiql\/react\/dist\/constants\.js$/, find: /prettier\/parser-graphql/g, put: 'prettier/plugins/graphql' },
];

export const slim = {
  name: 'slim',
  setup(build) {
    const done = new Set();
    for (const change of CHANGES) {
      build.onLoad({ filter: change.file }, async ({ path }) => {
        const before = await readFile(path, 'utf8');
        const contents = before.replace(change.find, change.put);
        if (contents === before) throw new Error(`${path}: nothing to leave out, see slim.mjs`);
        done.add(change);
        return { contents, loader: path.endsWith('.css') ? 'css' : 'js' };
      });
    }
    build.onEnd(() => {
      const missed = CHANGES.filter((change) => !done.has(change)).map((change) => ({ text: `no file matches ${change.file}` }));
      return { errors: missed };
    });
  },
};

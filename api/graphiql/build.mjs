// Bundles GraphiQL and its editor's workers, and writes them compressed to ../assets/graphiql.
// The same sources give the same bytes: gzip writes no time stamp, and versions are pinned by package-lock.json.
import { build } from 'esbuild';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';
import { slim } from './slim.mjs';

const OUT = new URL('../assets/graphiql/', import.meta.url);

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="robots" content="noindex">
    <title>GraphiQL · GrowthOS</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/graphiql/main.css">
    <script type="module" src="/graphiql/main.js"></script>
  </head>
  <body>
    <div id="graphiql"></div>
    <noscript>GraphiQL needs JavaScript. The endpoint is /graphql.</noscript>
  </body>
</html>
`;

const { outputFiles } = await build({
  entryPoints: {
    main: 'main.jsx',
    worker: 'worker.js',
  },
  outdir: 'out',
  bundle: true,
  write: false,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  plugins: [slim],
  // one file a script, whose licences are kept in it
  legalComments: 'inline',
  // the content security policy allows fonts from data: URLs, so that the page needs no more files
  loader: { '.ttf': 'dataurl' },
  define: { 'process.env.NODE_ENV': '"production"' },
});

await mkdir(OUT, { recursive: true });
for (const old of await readdir(OUT)) await rm(new URL(old, OUT));

const files = [['index.html', Buffer.from(PAGE)], ...outputFiles.map((file) => [basename(file.path), Buffer.from(file.contents)])];
for (const [name, bytes] of files) {
  const packed = gzipSync(bytes, { level: 9 });
  await writeFile(new URL(`${name}.gz`, OUT), packed);
  console.log(`${name}  ${bytes.length} bytes, ${packed.length} compressed`);
}

// One file for the three workers of the editor, which share most of their code; the page names the one it wants.
// The handler of the first message must stand before that message is taken, so each loads without waiting for the network.
const WORKERS = {
  json: () => import('monaco-editor/esm/vs/language/json/json.worker.js'),
  graphql: () => import('monaco-graphql/esm/graphql.worker.js'),
};

await (WORKERS[self.name] ?? (() => import('monaco-editor/esm/vs/editor/editor.worker.js')))();

// GraphiQL for this server: queries and mutations by POST, subscriptions over graphql-transport-ws, both at /graphql.
// A link may carry `#token=…&query=…&variables=…`: a fragment never leaves the browser, so no log and no referrer sees the token.
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';
import 'graphiql/style.css';
import './page.css';

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker('/graphiql/worker.js', { type: 'module', name: label }),
};

const WELCOME = `# Queries, mutations and subscriptions of this server.
# Put a credential into "Headers" below: { "Authorization": "Bearer …" }
# It is sent with subscriptions too.

{
  __typename
}
`;

const endpoint = new URL('/graphql', location.href);
const socket = new URL(endpoint);
socket.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

const link = new URLSearchParams(location.hash.slice(1));
const token = link.get('token');

const fetcher = createGraphiQLFetcher({
  url: endpoint.href,
  subscriptionUrl: socket.href,
  // the server answers in one piece; without this the toolkit asks for multipart/mixed
  enableIncrementalDelivery: false,
});

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={fetcher}
    defaultQuery={WELCOME}
    initialQuery={link.get('query') ?? undefined}
    initialVariables={link.get('variables') ?? undefined}
    initialHeaders={token ? JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) : undefined}
    defaultEditorToolsVisibility="headers"
    shouldPersistHeaders={false}
    showPersistHeadersSettings={false}
  />,
);

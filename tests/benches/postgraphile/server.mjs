// PostGraphile on the product's tables: node server.mjs POSTGRES_URL PORT WORKERS
// Keys are checked as the product checks them, requests run as the product's role, in a transaction of their tenant.
import cluster from "node:cluster";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import pg from "pg";
import { grafserv } from "postgraphile/grafserv/node";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const [url, port, workers] = process.argv.slice(2);
// How many connections a worker holds: 4 to 16 measured best on two cores.
const CONNECTIONS = 8;

async function readTenants() {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query("SELECT hash, tenant_id FROM api_key");
  await client.end();
  return new Map(rows.map((row) => [row.hash, row.tenant_id]));
}

async function serve() {
  const tenants = await readTenants();
  const asApp = new URL(url);
  // For the connection, as the product does it; a setting a request would cost more.
  asApp.searchParams.set("options", "-c role=growthos_app");
  const preset = {
    extends: [PostGraphileAmberPreset],
    pgServices: [
      makePgService({ connectionString: asApp.href, schemas: ["public"], poolConfig: { max: CONNECTIONS } }),
    ],
    grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false, websockets: false },
    grafast: {
      explain: false,
      context({ node }) {
        const key = node.req.headers.authorization?.slice("Bearer ".length) ?? "";
        const tenant = tenants.get(createHash("sha256").update(key).digest("hex"));
        if (!tenant) throw new Error("who asks?");
        return { pgSettings: { "app.tenant": tenant } };
      },
    },
  };
  const instance = postgraphile(preset);
  const serv = instance.createServ(grafserv);
  const server = createServer();
  server.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  await serv.addTo(server);
  const [answer] = server.listeners("request");
  server.removeAllListeners("request");
  server.on("request", (request, response) =>
    request.url === "/ready" ? response.end("ready") : answer(request, response),
  );
  server.listen(Number(port), "127.0.0.1");
}

if (Number(workers) > 1 && cluster.isPrimary) {
  for (let worker = 0; worker < Number(workers); worker += 1) cluster.fork();
  cluster.on("exit", () => process.exit(1));
} else {
  await serve();
}

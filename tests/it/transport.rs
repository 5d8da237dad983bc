//! The transport by itself, over a schema whose fields do what real ones must not: hang, panic, never stop.
//! Every case speaks to a real listener. `graphql-http`'s audits of the product are in `clients/checks/transport.test.mjs`.

mod http;
mod sse;
mod toy;
mod ws;

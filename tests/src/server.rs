//! A real server on a free port.

use std::net::SocketAddr;

use anyhow::Context as _;
use api::{app::App, serve};
use tokio::{net::TcpListener, task::JoinHandle};

/// The application over HTTP. Dropping it stops it without waiting; [`Server::stop`] waits.
pub struct Server {
    pub address: SocketAddr,
    app: App,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's own task; it must not wait for itself in the tracker"
    )]
    pub(crate) async fn start(app: App) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            address: listener.local_addr()?,
            task: tokio::spawn(serve::serve(app.clone(), listener)),
            app,
        })
    }

    /// A URL of this server; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}/graphql", self.address)
    }

    /// Stops as SIGTERM does, waits until it has, and closes the kit's database with it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.app.stopping.cancel();
        (&mut self.task).await.context("the server's task died")?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.app.stopping.cancel();
        self.task.abort();
    }
}

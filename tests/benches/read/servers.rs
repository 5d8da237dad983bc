//! The servers that are measured, each a process of its own.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use tests::process::{Process, binary, free_port, until_ready};
use tokio::process::Command;

use crate::{usage::Family, work::Speech};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The product on PostgreSQL.
    Growthos,
    /// The product on SQLite.
    Sqlite,
    /// A server written by hand for the four work items.
    Limit,
    /// PostGraphile, one process.
    #[value(name = "postgraphile-1")]
    Postgraphile1,
    /// PostGraphile, two processes.
    #[value(name = "postgraphile-2")]
    Postgraphile2,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind::Growthos,
    Kind::Sqlite,
    Kind::Limit,
    Kind::Postgraphile1,
    Kind::Postgraphile2,
];

impl Kind {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Growthos => "GrowthOS",
            Self::Sqlite => "GrowthOS, SQLite",
            Self::Limit => "the limit",
            Self::Postgraphile1 => "PostGraphile, 1 worker",
            Self::Postgraphile2 => "PostGraphile, 2 workers",
        }
    }
    pub(crate) const fn speech(self) -> Speech {
        match self {
            Self::Growthos | Self::Sqlite => Speech::Growthos,
            Self::Limit => Speech::Limit,
            Self::Postgraphile1 | Self::Postgraphile2 => Speech::Postgraphile,
        }
    }
    pub(crate) const fn is_postgraphile(self) -> bool {
        matches!(self, Self::Postgraphile1 | Self::Postgraphile2)
    }
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start(kind: Kind, database_url: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let base = format!("http://127.0.0.1:{port}");
        let (mut command, ready) = match kind {
            Kind::Growthos | Kind::Sqlite => {
                let mut command = Command::new(binary("growthos", "TEST_GROWTHOS")?);
                command
                    .arg("serve")
                    .env("GROWTHOS_DATABASE_URL", database_url)
                    .env("GROWTHOS_LISTEN", format!("127.0.0.1:{port}"))
                    .env("GROWTHOS_SECRET_KEY", "the secret key of every benchmark")
                    .env("GROWTHOS_LOG_LEVEL", "error")
                    // The others have no consumers of the log either.
                    .env("GROWTHOS_WORKER", "false");
                (command, "/health/ready")
            }
            Kind::Limit => {
                let mut command = Command::new(binary("growthos-limit", "TEST_LIMIT")?);
                command.args([database_url, &port.to_string()]);
                (command, "/ready")
            }
            Kind::Postgraphile1 | Kind::Postgraphile2 => {
                let mut command = Command::new(node()?);
                let workers = if kind == Kind::Postgraphile1 {
                    "1"
                } else {
                    "2"
                };
                command
                    .arg("server.mjs")
                    .args([database_url, &port.to_string(), workers])
                    .current_dir(postgraphile_folder())
                    .env("NODE_ENV", "production");
                (command, "/ready")
            }
        };
        command.stdin(Stdio::null());
        let process = Process::start(command)?;
        until_ready(&format!("{base}{ready}"))
            .await
            .with_context(|| format!("{} does not start", kind.title()))?;
        Ok(Self {
            kind,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            process,
        })
    }

    pub(crate) fn family(&self) -> anyhow::Result<Family> {
        Ok(Family(self.process.id()?))
    }
}

pub(crate) fn postgraphile_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/postgraphile")
}

/// The Node.js that was installed beside PostGraphile, which needs a newer one than distributions have.
fn node() -> anyhow::Result<PathBuf> {
    let machine = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => anyhow::bail!("there is no node for {other} in PostGraphile's package.json"),
    };
    Ok(postgraphile_folder().join(format!("node_modules/node-linux-{machine}/bin/node")))
}

/// Installs PostGraphile as its lock file says, where it is not yet.
pub(crate) async fn install_postgraphile() -> anyhow::Result<()> {
    let folder = postgraphile_folder();
    let installed = folder.join("node_modules/.installed-lock");
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    if std::fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    println!("installing PostGraphile with npm into {}", folder.display());
    let done = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .status()
        .await
        .context("npm is missing: it installs PostGraphile")?;
    ensure!(done.success(), "npm could not install PostGraphile");
    std::fs::write(installed, lock)?;
    Ok(())
}

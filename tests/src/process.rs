//! The real binaries, as processes of their own.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A debug build on a busy machine needs its time.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A process that dies with its owner.
pub struct Process {
    child: Child,
}

/// Where the binaries are: beside the tests' own, unless `TEST_GROWTHOS` or `TEST_POSTHOG_DOUBLE` says.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests are configured by the environment alone"
)]
pub fn binary(name: &str, variable: &str) -> anyhow::Result<PathBuf> {
    if let Ok(path) = env::var(variable) {
        return Ok(path.into());
    }
    // target/debug/deps/it-… → target/debug/growthos
    let own = env::current_exe()?;
    let folder = own
        .ancestors()
        .nth(2)
        .ok_or_else(|| anyhow!("the test binary lies nowhere"))?;
    let path = folder.join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(anyhow!(
            "{} is missing: build it with `cargo build --workspace --bins`, or name it in {variable}",
            path.display()
        ))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

impl Process {
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        Ok(Self {
            child: command.kill_on_drop(true).spawn()?,
        })
    }

    /// Starts a process that prints one line of JSON when it is ready, and gives that line.
    pub async fn start_announced(mut command: Command) -> anyhow::Result<(Self, Value)> {
        let mut process = Self::start({
            command.stdout(Stdio::piped());
            command
        })?;
        let out = process
            .child
            .stdout
            .take()
            .ok_or_else(|| anyhow!("the process has no output"))?;
        let mut lines = BufReader::new(out).lines();
        let line = timeout(START_TIMEOUT, lines.next_line())
            .await
            .context("the process did not get ready")??
            .ok_or_else(|| anyhow!("the process ended before it was ready"))?;
        Ok((process, serde_json::from_str(&line)?))
    }

    /// What the kernel calls it.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// Memory that it holds, as the kernel counts it.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("the process has no memory")?.trim();
        Ok(1024 * kib.trim_end_matches(" kB").parse::<u64>()?)
    }

    /// SIGKILL: no goodbye.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// `growthos serve` on a migrated database, with one tenant.
pub struct Growthos {
    binary: PathBuf,
    database_url: String,
    port: u16,
    /// Where it listens, without a slash at the end.
    pub base: String,
    /// What `growthos tenant create --json` printed: `{"tenantId","secretKey","publishableKey"}`.
    pub tenant: Value,
    server: Option<Process>,
}

impl Growthos {
    pub async fn start(database_url: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut growthos = Self {
            binary: binary("growthos", "TEST_GROWTHOS")?,
            database_url: database_url.to_owned(),
            port,
            base: format!("http://127.0.0.1:{port}"),
            tenant: Value::Null,
            server: None,
        };
        let mut create = growthos.command(&["tenant", "create", "Process", "--json"]);
        let made = create.output().await?;
        ensure!(
            made.status.success(),
            "tenant create: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        growthos.tenant = serde_json::from_slice(&made.stdout)?;
        growthos.serve().await?;
        Ok(growthos)
    }

    /// One of the tenant's keys: `secretKey` or `publishableKey`.
    pub fn key(&self, name: &str) -> anyhow::Result<String> {
        let key = self.tenant[name].as_str().context("no such key")?;
        Ok(key.to_owned())
    }

    /// The serving process's id, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref()?.child.id()
    }

    /// Memory that the server holds.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        self.server
            .as_ref()
            .context("nothing is served")?
            .rss_bytes()
    }

    /// SIGKILL, and up again.
    pub async fn kill_and_serve(&mut self) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server {
            server.kill().await?;
        }
        self.serve().await
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        self.server = Some(Process::start(self.command(&["serve"]))?);
        until_ready(&format!("{}/health/ready", self.base)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_of(&self.binary, &self.database_url, arguments);
        command.env("GROWTHOS_LISTEN", format!("127.0.0.1:{}", self.port));
        command
    }
}

/// `growthos` with these arguments, on a migrated database.
pub fn command(database_url: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let binary = binary("growthos", "TEST_GROWTHOS")?;
    Ok(command_of(&binary, database_url, arguments))
}

fn command_of(binary: &Path, database_url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env("GROWTHOS_DATABASE_URL", database_url)
        .env("GROWTHOS_SECRET_KEY", "the secret key of every process")
        // The double listens on this machine.
        .env("GROWTHOS_ALLOW_PRIVATE_UPSTREAMS", "true")
        .env("GROWTHOS_LOG_LEVEL", "error")
        .stdin(Stdio::null());
    command
}

/// Waits until the URL answers 200.
pub async fn until_ready(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let end = Instant::now() + START_TIMEOUT;
    while Instant::now() < end {
        match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Err(anyhow!("{url} did not get ready"))
}

//! How much CPU time the process spends on each hostile body of the corpus, from the first byte to the refusal, its authentication
//! included. Run on a release build:
//!
//! `cargo build --release --bins && TEST_DATABASES=sqlite cargo bench -p tests --bench hostile`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../it/hostile/corpus.rs"]
mod corpus;

use std::{fs, time::Duration};

use anyhow::Context as _;
use tests::{on_each_place, process::Growthos};

/// How often each body is sent.
const TIMES: u32 = 20;

/// What no body may take.
const MOST: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    on_each_place(async |kind, url| {
        let growthos = Growthos::start(url).await?;
        let key = growthos.tenant["secretKey"].as_str().context("no key")?;
        let process = growthos.process_id().context("no process")?;
        let client = reqwest::Client::new();
        let send = async |body: Vec<u8>| -> anyhow::Result<()> {
            let post = client
                .post(format!("{}/graphql", growthos.base))
                .bearer_auth(key);
            let post = post.header("content-type", "application/json").body(body);
            post.send().await?.bytes().await?;
            Ok(())
        };
        let mut measured = vec![];
        for hostile in corpus::corpus() {
            send(hostile.body.clone()).await?;
            let before = cpu_time(process)?;
            for _ in 0..TIMES {
                send(hostile.body.clone()).await?;
            }
            let each = cpu_time(process)?.saturating_sub(before) / TIMES;
            measured.push((each, hostile.name, hostile.body.len(), hostile.code));
        }
        measured.sort_unstable();
        for (each, name, bytes, code) in measured.iter().rev() {
            let over = if *each > MOST { "OVER" } else { "" };
            println!("{kind}: {each:>10.1?} {bytes:>8} bytes  {code:<28} {name} {over}");
        }
        Ok(())
    })
    .await
}

/// What all threads of a process have run so far.
fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let ran = text.split(' ').next().unwrap_or_default();
        total += Duration::from_nanos(ran.parse().unwrap_or_default());
    }
    Ok(total)
}

//! The double as a process of its own: one JSON line `{"url","token","key","projectId"}` when ready, then it serves until killed.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use posthog_double::{Double, DoubleOptions};
use serde_json::json;

const USAGE: &str = "usage: posthog-double [--port N] [--token PHC] [--key PHX]";

#[tokio::main]
async fn main() -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this process is where the double's time comes from"
    )]
    let mut options = DoubleOptions::new(Arc::new(chrono::Utc::now));
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(usage)?;
        match flag.as_str() {
            "--port" => {
                let port = value.parse().map_err(|_| usage())?;
                options.bind = SocketAddr::from(([127, 0, 0, 1], port));
            }
            "--token" => options.project_token = value,
            "--key" => options.personal_api_key = value,
            _ => return Err(usage()),
        }
    }
    let double = Double::start(options).await?;
    let options = double.options();
    let line = json!({
        "url": double.url(),
        "token": options.project_token,
        "key": options.personal_api_key,
        "projectId": options.project_id,
    });
    writeln!(io::stdout(), "{line}")?;
    tokio::signal::ctrl_c().await?;
    double.stop().await;
    Ok(())
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, USAGE)
}

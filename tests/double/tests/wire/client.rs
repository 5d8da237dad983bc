//! A small HTTP client, so that the double is not tested with the client that the product uses, and the double's start.

use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use posthog_double::{Double, DoubleOptions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const TOKEN: &str = "phc_test_project_token";
pub(crate) const KEY: &str = "phx_test_personal";

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-22T15:00:00Z".parse().unwrap()
}

/// At a still clock.
pub(crate) async fn double() -> Double {
    double_with(|_| {}).await
}

pub(crate) async fn double_with(change: impl FnOnce(&mut DoubleOptions)) -> Double {
    let mut options = DoubleOptions::new(Arc::new(now));
    TOKEN.clone_into(&mut options.project_token);
    KEY.clone_into(&mut options.personal_api_key);
    options.project_id = 7;
    change(&mut options);
    Double::start(options).await.unwrap()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(
    double: &Double,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(double.address()).await?;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, text) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer {
        status,
        head: head.to_owned(),
        text: text.to_owned(),
    })
}

pub(crate) async fn post(double: &Double, target: &str, body: &Value) -> Answer {
    send(double, "POST", target, &[], body.to_string().as_bytes())
        .await
        .unwrap()
}

/// With the personal key.
pub(crate) async fn keyed(double: &Double, method: &str, target: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {KEY}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(
        double,
        method,
        target,
        &[("authorization", &authorization)],
        body.as_bytes(),
    )
    .await
    .unwrap()
}

//! One request to PostHog's capture endpoint, and what its answer means for what was sent.

use std::{io::Write as _, time::Duration};

use chrono::TimeDelta;
use entity::posthog_connection;
use flate2::{Compression, write::GzEncoder};
use reqwest::{StatusCode, header};

use super::Outgoing;
use crate::{
    base::{Error, Outbound, Result, Secrets},
    posthog::{probe, secret},
};

/// A request that takes longer is given up; it may have arrived, and is sent again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// PostHog may ask for patience, but not for more than this.
const RETRY_AFTER_MAX_S: i64 = 3_600;

/// Characters of PostHog's reason that are kept.
const REASON_CHARS_MAX: usize = 200;

/// Where a tenant's events go.
pub struct Recipient {
    /// Without a trailing slash: a host may have a path of its own, which a join would replace.
    ingest: String,
    project_token: String,
}

impl Recipient {
    /// Opens the connection's token. Fails when the configuration's key changed, or the host may no longer be called.
    pub fn open(
        secrets: &Secrets,
        outbound: &Outbound,
        row: &posthog_connection::Model,
    ) -> Result<Self> {
        let url = outbound.base_url("ingestHost", &row.ingest_host)?;
        let place = secret::token_place(row.tenant_id);
        Ok(Self {
            ingest: url.as_str().trim_end_matches('/').to_owned(),
            project_token: secrets.open(&place, &row.project_token).map_err(|error| {
                tracing::error!(tenant = %row.tenant_id, ?error, "a project token could not be opened");
                Error::invalid("projectToken", "the project token cannot be opened: connect PostHog again")
            })?,
        })
    }
}

/// What an answer means for what was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// Something in it is wrong; one bad event is enough.
    Refused(String),
    TooLarge,
    /// PostHog, or the way there, cannot now; `after` is how long it asked for.
    Later {
        reason: String,
        after: Option<TimeDelta>,
    },
    /// The host or the token is wrong: waiting mends nothing by itself.
    Misdirected(String),
}

/// Sends events in one request. The same events make the same bytes.
pub async fn send(outbound: &Outbound, to: &Recipient, events: &[Outgoing]) -> Answer {
    let body = match body(&to.project_token, events).await {
        Ok(body) => body,
        Err(error) => return later(format!("the batch could not be compressed: {error:#}")),
    };
    let request = outbound
        .client()
        .post(format!("{}/batch/", to.ingest))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, "gzip")
        .timeout(TIMEOUT)
        .body(body);
    let answered = async {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        // An answer that breaks off may stem from something in between: only a whole one counts.
        let text = response.bytes().await?;
        Ok::<_, reqwest::Error>((status, headers, text))
    };
    match answered.await {
        Ok((status, headers, text)) => {
            let after = headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            meaning(status, after, &String::from_utf8_lossy(&text))
        }
        Err(error) => later(unreachable_because(&error)),
    }
}

/// Whether the host is a PostHog that knows the token. Costs a request, and no event: what a tenant's project holds is the
/// tenant's alone.
pub async fn is_right(outbound: &Outbound, to: &Recipient) -> bool {
    match probe::knows_token(outbound.client(), &to.ingest, &to.project_token).await {
        Ok(()) => true,
        Err(failure) => {
            tracing::warn!(
                host = to.ingest,
                failure = failure.told(),
                "a PostHog refuses events and does not say that it knows the token"
            );
            false
        }
    }
}

/// `{"api_key", "batch"}`, gzipped on a thread of its own: 15 MiB take a while. No `sent_at`, since our clock is
/// authoritative.
async fn body(project_token: &str, events: &[Outgoing]) -> anyhow::Result<Vec<u8>> {
    let mut text = format!(
        r#"{{"api_key":{},"batch":["#,
        serde_json::to_string(project_token)?
    );
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&event.json);
    }
    text.push_str("]}");
    tokio::task::spawn_blocking(move || {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes())?;
        Ok(gzip.finish()?)
    })
    .await?
}

/// Reads an answer as PostHog's own clients are tested to.
fn meaning(status: StatusCode, retry_after: Option<&str>, text: &str) -> Answer {
    let text = text.trim();
    let reason = || {
        let said: String = text.chars().take(REASON_CHARS_MAX).collect();
        let separator = if said.is_empty() { "" } else { ": " };
        format!("PostHog answered {}{separator}{said}", status.as_u16())
    };
    match status.as_u16() {
        200..=299 => Answer::Accepted,
        400 => Answer::Refused(reason()),
        413 => Answer::TooLarge,
        408 | 429 | 500..=599 => Answer::Later {
            reason: reason(),
            after: retry_after
                .and_then(|text| text.trim().parse::<i64>().ok())
                .map(|seconds| TimeDelta::seconds(seconds.clamp(1, RETRY_AFTER_MAX_S))),
        },
        _ => Answer::Misdirected(reason()),
    }
}

const fn later(reason: String) -> Answer {
    Answer::Later {
        reason,
        after: None,
    }
}

/// Without the URL: the row says it, and the tenant reads this.
fn unreachable_because(error: &reqwest::Error) -> String {
    let why = if error.is_timeout() {
        "it took longer than 10 s"
    } else if error.is_connect() {
        "the connection failed"
    } else {
        "the connection broke off"
    };
    format!("PostHog did not answer: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, retry_after: Option<&str>) -> Answer {
        meaning(
            StatusCode::from_u16(status).unwrap(),
            retry_after,
            " why \n",
        )
    }

    #[test]
    fn answers_mean_what_posthogs_retry_contract_says() {
        assert_eq!(of(200, None), Answer::Accepted);
        assert_eq!(of(204, None), Answer::Accepted);
        assert_eq!(
            of(400, None),
            Answer::Refused("PostHog answered 400: why".into())
        );
        assert_eq!(of(413, None), Answer::TooLarge);
        for status in [408, 429, 500, 502, 503, 504] {
            let reason = format!("PostHog answered {status}: why");
            assert_eq!(
                of(status, None),
                Answer::Later {
                    reason,
                    after: None
                }
            );
        }
        for status in [301, 401, 402, 403, 404, 405] {
            assert_eq!(
                of(status, None),
                Answer::Misdirected(format!("PostHog answered {status}: why"))
            );
        }
    }

    #[test]
    fn retry_after_counts_in_seconds_and_within_reason() {
        for (text, seconds) in [
            (Some("7"), Some(7)),
            (Some("0"), Some(1)),
            (Some("-5"), Some(1)),
            (Some("999999999999"), Some(3_600)),
            (Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (None, None),
        ] {
            let after = match of(429, text) {
                Answer::Later { after, .. } => after,
                other => panic!("{other:?}"),
            };
            assert_eq!(after.map(|after| after.num_seconds()), seconds, "{text:?}");
        }
    }
}

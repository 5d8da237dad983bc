//! `growthos doctor`: looks at what a process would need and says what to do about what is missing.

use std::{collections::HashSet, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    base::{Db, DbOptions, Error, Outbound, Role, Secrets},
    config::{Config, Hidden},
    posthog,
};

/// Further apart, and tokens expire early or late, and events seem to come from the future.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::seconds(2);

/// A random key has more: 32 bytes in base64 are 44 characters, and some 28 different ones.
const SECRET_CHARS_GOOD: usize = 32;
const SECRET_DIFFERENT_CHARS_GOOD: usize = 12;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub ok: bool,
    /// What is so.
    pub message: String,
    /// What to do about it; absent where nothing needs to be done.
    pub advice: Option<String>,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            message: message.into(),
            advice: None,
        }
    }
    fn bad(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            ok: false,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }
    fn advising(mut self, advice: &str) -> Self {
        self.advice = Some(advice.to_owned());
        self
    }
}

/// `✓ check: message`, and what to do on a line of its own.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            if self.ok { '✓' } else { '✗' },
            self.check,
            self.message
        )?;
        match &self.advice {
            Some(advice) => write!(f, "\n  → {advice}"),
            None => Ok(()),
        }
    }
}

/// Every check, in the order in which one builds on another: without a database there are no tables to look at.
pub async fn examine(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = vec![secret_key(config), operator_token(config)];
    let options = DbOptions {
        url: config.database_url.reveal().to_owned(),
        connections_max: 2,
        read_timeout: config.read_timeout(),
    };
    // Asked first: the application's role may not be there before the first migration.
    let pending = Db::pending_migrations(&options.url).await;
    let advice = "check database_url, that the server runs, and that this machine may reach it";
    match pending {
        Err(error) => {
            findings.push(Finding::bad("database", cause(&error), advice));
            return findings;
        }
        Ok(0) => findings.push(Finding::good("migrations", "up to date")),
        Ok(pending) => {
            findings.push(Finding::bad(
                "migrations",
                format!("{pending} are pending"),
                "run growthos migrate",
            ));
            return findings;
        }
    }
    match Db::connect(&options).await {
        Err(error) => findings.push(Finding::bad("database", cause(&error), advice)),
        Ok(db) => {
            findings.push(Finding::good(
                "database",
                if db.is_postgres() {
                    "PostgreSQL answers"
                } else {
                    "SQLite answers"
                },
            ));
            findings.push(role(&db).await);
            findings.push(fences(&db).await);
            findings.push(clock(&db, now).await);
            findings.extend(posthogs(config, &db).await);
            if let Err(error) = db.close().await {
                findings.push(Finding::bad("database", cause(&error), advice));
            }
        }
    }
    findings
}

/// What lies under an error of ours, each thing once: `doctor` is read by those who may know.
fn cause(error: &Error) -> String {
    let Error::Internal(cause) = error else {
        return error.to_string();
    };
    cause
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |told, more| match told.as_str() {
            "" => more,
            told if told.contains(&more) => told.to_owned(),
            told => format!("{told}: {more}"),
        })
}

fn secret_key(config: &Config) -> Finding {
    const CHECK: &str = "secret_key";
    const MAKE_ONE: &str = "make one with `openssl rand -base64 32` and keep it: what is sealed with one key opens with no other";
    match &config.secret_key {
        None => Finding::good(
            CHECK,
            "none, as in development: secrets at rest are not protected",
        ),
        Some(key) if is_guessable(key) => {
            Finding::bad(CHECK, "short or repetitive, so it can be guessed", MAKE_ONE)
        }
        Some(_) => Finding::good(CHECK, "long and varied"),
    }
}

fn operator_token(config: &Config) -> Finding {
    const CHECK: &str = "operator_token";
    match &config.operator_token {
        None => Finding::good(
            CHECK,
            "none: tenants are made with growthos tenant create alone",
        ),
        Some(token) if is_guessable(token) => Finding::bad(
            CHECK,
            "short or repetitive, so it can be guessed",
            "make one with `openssl rand -base64 32`",
        ),
        Some(_) => Finding::good(CHECK, "long and varied"),
    }
}

fn is_guessable(secret: &Hidden) -> bool {
    let text = secret.reveal();
    let different: HashSet<char> = text.chars().collect();
    text.chars().count() < SECRET_CHARS_GOOD || different.len() < SECRET_DIFFERENT_CHARS_GOOD
}

async fn role(db: &Db) -> Finding {
    const CHECK: &str = "role";
    match db.role().await {
        Err(error) => Finding::bad(
            CHECK,
            cause(&error),
            "the role in database_url must be allowed to read the catalogue",
        ),
        Ok(None) => Finding::good(
            CHECK,
            "SQLite has none; the application's own fence parts the tenants",
        ),
        Ok(Some(role)) if role.is_fenced() => {
            let found = Finding::good(CHECK, format!("works as {}, which owns nothing", role.name));
            if role.login == "postgres" {
                found.advising("log in as a role of its own that is no superuser, and keep the owner's for growthos migrate")
            } else {
                found
            }
        }
        Ok(Some(Role { name, .. })) => Finding::bad(
            CHECK,
            format!(
                "works as {name}, which is a superuser, bypasses row level security or owns tables"
            ),
            format!(
                "take SUPERUSER and BYPASSRLS from {name}, and give its tables to another role"
            ),
        ),
    }
}

async fn fences(db: &Db) -> Finding {
    const CHECK: &str = "row level security";
    match db.unfenced_tables().await {
        Err(error) => Finding::bad(
            CHECK,
            cause(&error),
            "the role in database_url must be allowed to read the catalogue",
        ),
        Ok(tables) if tables.is_empty() => Finding::good(
            CHECK,
            if db.is_postgres() {
                "forced on every table with tenants' rows"
            } else {
                "SQLite has none"
            },
        ),
        Ok(tables) => Finding::bad(
            CHECK,
            format!(
                "not forced, or without the policy \"tenant\", on {}",
                tables.join(", ")
            ),
            "somebody changed these tables by hand: ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, and create the policy as the migrations do",
        ),
    }
}

async fn clock(db: &Db, now: DateTime<Utc>) -> Finding {
    const CHECK: &str = "clock";
    match db.clock_ahead(now).await {
        Err(error) => Finding::bad(CHECK, cause(&error), "the database did not tell its time"),
        Ok(ahead) if ahead.abs() <= CLOCK_SKEW_MAX => {
            Finding::good(CHECK, "agrees with the database's")
        }
        Ok(ahead) => Finding::bad(
            CHECK,
            format!(
                "the database's is {} ms ahead of this machine's",
                ahead.num_milliseconds()
            ),
            "let both machines keep time by NTP",
        ),
    }
}

/// One finding a connected project that does not answer as it should; else one for all.
async fn posthogs(config: &Config, db: &Db) -> Vec<Finding> {
    const CHECK: &str = "posthog";
    let secrets = Secrets::new(config.secret_key_or_development());
    let asked = async {
        let outbound = Outbound::new(config.allow_private_upstreams)?;
        posthog::reach(db, &secrets, &outbound).await
    };
    let reached = match asked.await {
        Ok(reached) => reached,
        Err(error) => {
            let advice = "the connections could not be read or asked";
            return vec![Finding::bad(CHECK, cause(&error), advice)];
        }
    };
    let total = reached.len();
    let failing: Vec<Finding> = reached
        .into_iter()
        .filter(|reach| !reach.problems.is_empty())
        .map(|reach| {
            Finding::bad(
                CHECK,
                format!(
                    "{} at {}: {}",
                    reach.tenant,
                    reach.host,
                    reach.problems.join("; ")
                ),
                "check that this machine may reach the host and that the key still works, then connect anew with posthogConnect; events wait in the log meanwhile",
            )
        })
        .collect();
    if !failing.is_empty() {
        return failing;
    }
    let message = match total {
        0 => "no tenant is connected".to_owned(),
        1 => "the one connected project answers".to_owned(),
        some if some as u64 == posthog::ASKED_MAX => {
            format!("{some} connected projects answer; others were not asked")
        }
        some => format!("all {some} connected projects answer"),
    };
    vec![Finding::good(CHECK, message)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guessable_secret_is_found() {
        let with = |key: Option<&str>| Config {
            secret_key: key.map(Hidden::from),
            ..Config::default()
        };
        let random = "Vb3c0c0r8lqvP0n4uCq8m7m1x9kJt2yWZsAeHdLgQfY=";
        for (key, ok) in [
            (None, true),
            (Some("0123456789abcdef"), false),
            (Some("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), false),
            (Some(random), true),
        ] {
            assert_eq!(secret_key(&with(key)).ok, ok, "{key:?}");
        }
    }

    #[test]
    fn a_finding_reads_as_one_line_and_what_to_do() {
        assert_eq!(
            Finding::good("clock", "right").to_string(),
            "✓ clock: right"
        );
        assert_eq!(
            Finding::bad("clock", "late", "wind it").to_string(),
            "✗ clock: late\n  → wind it"
        );
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_is_a_finding_and_not_a_crash() {
        let config = Config {
            database_url: Hidden::from("postgres://nobody@127.0.0.1:1/none"),
            ..Config::default()
        };
        let findings = examine(&config, DateTime::UNIX_EPOCH).await;
        let last = findings.last().unwrap();
        assert_eq!((last.check, last.ok), ("database", false));
    }
}

//! The configuration: one flat table of keys, read from `growthos.toml` and then from the environment.

use std::{
    fmt,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

/// Shorter secrets can be guessed.
const SECRET_CHARS_MIN: usize = 16;

/// What environment variables of ours begin with; the rest is a key in upper case.
const ENVIRONMENT_PREFIX: &str = "GROWTHOS_";

/// The secret key of a development process that was given none. It protects nothing.
const DEVELOPMENT_SECRET_KEY: &str = "growthos development: this key protects nothing";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// Every setting of a process. [`KEYS`] says what each means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: Option<Url>,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub trusted_proxies: Vec<IpNet>,
    pub connections_max: usize,
    pub request_timeout_s: u64,
    /// May hold a password.
    pub database_url: Hidden,
    pub database_connections_max: u32,
    pub secret_key: Option<Hidden>,
    pub operator_token: Option<Hidden>,
    pub environment: Environment,
    pub log_format: LogFormat,
    pub log_level: String,
    pub otlp_endpoint: Option<Url>,
    /// Absent: by the environment.
    pub graphiql: Option<bool>,
    pub allow_private_upstreams: bool,
    /// Empty: every origin.
    pub cors_allowed_origins: Vec<String>,
    pub shutdown_timeout_s: u64,
    pub worker: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            tls_certificate: None,
            tls_key: None,
            trusted_proxies: Vec::new(),
            connections_max: 50_000,
            request_timeout_s: 30,
            database_url: Hidden::from("sqlite:growthos.db"),
            database_connections_max: 16,
            secret_key: None,
            operator_token: None,
            environment: Environment::Development,
            log_format: LogFormat::Human,
            log_level: "info".to_owned(),
            otlp_endpoint: None,
            graphiql: None,
            allow_private_upstreams: false,
            cors_allowed_origins: Vec::new(),
            shutdown_timeout_s: 30,
            worker: true,
        }
    }
}

/// One setting: what it is called, what it is when nobody says, and how it is read.
pub struct Key {
    pub name: &'static str,
    /// As TOML; empty where the setting is absent unless given.
    pub default: &'static str,
    pub meaning: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

/// Every setting there is: `growthos config` prints this table.
pub const KEYS: &[Key] = &[
    Key {
        name: "listen",
        default: r#""127.0.0.1:8080""#,
        meaning: "Address and port to listen on.",
        set: |config, text| {
            read(text, "an address with a port, such as 0.0.0.0:8080")
                .map(|value| config.listen = value)
        },
    },
    Key {
        name: "public_url",
        default: "",
        meaning: "Where clients reach this process, such as https://growth.example.com; unless given, http:// or https:// and `listen`.",
        set: |config, text| url(text).map(|value| config.public_url = Some(value)),
    },
    Key {
        name: "tls_certificate",
        default: "",
        meaning: "PEM file with the certificate and its chain: with tls_key, `listen` speaks TLS. Both files may be replaced while the process runs.",
        set: |config, text| {
            config.tls_certificate = Some(text.into());
            Ok(())
        },
    },
    Key {
        name: "tls_key",
        default: "",
        meaning: "PEM file with the certificate's private key.",
        set: |config, text| {
            config.tls_key = Some(text.into());
            Ok(())
        },
    },
    Key {
        name: "trusted_proxies",
        default: "[]",
        meaning: "Networks of the proxies in front, such as 10.0.0.0/8: X-Forwarded-For, X-Forwarded-Proto and Forwarded are believed from them alone.",
        set: |config, text| networks(text).map(|value| config.trusted_proxies = value),
    },
    Key {
        name: "connections_max",
        default: "50000",
        meaning: "Open connections at most, WebSockets included; more are refused. The limit of open files must allow them.",
        set: |config, text| {
            within(text, 10..=1_000_000).map(|value| config.connections_max = value)
        },
    },
    Key {
        name: "request_timeout_s",
        default: "30",
        meaning: "How long a GraphQL request may take, in seconds. A query is cancelled then; a mutation runs to its end, and only its answer is not waited for.",
        set: |config, text| within(text, 1..=600).map(|value| config.request_timeout_s = value),
    },
    Key {
        name: "database_url",
        default: r#""sqlite:growthos.db""#,
        meaning: "sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE. DATABASE_URL means the same.",
        set: |config, text| database_url(text).map(|value| config.database_url = value),
    },
    Key {
        name: "database_connections_max",
        default: "16",
        meaning: "PostgreSQL connections at most; SQLite has one writer and four readers.",
        set: |config, text| {
            within(text, 2..=500).map(|value| config.database_connections_max = value)
        },
    },
    Key {
        name: "secret_key",
        default: "",
        meaning: "Secret. Protects the secrets at rest and the cursors; needed in production, and kept for good: `openssl rand -base64 32` makes one.",
        set: |config, text| secret(text).map(|value| config.secret_key = Some(value)),
    },
    Key {
        name: "operator_token",
        default: "",
        meaning: "Secret. Who sends it as a bearer token is the operator: creates, suspends and lists tenants. Nobody is, unless given.",
        set: |config, text| secret(text).map(|value| config.operator_token = Some(value)),
    },
    Key {
        name: "environment",
        default: r#""development""#,
        meaning: "development or production. Production needs a secret_key, and turns GraphiQL off.",
        set: |config, text| {
            config.environment = match text {
                "development" => Environment::Development,
                "production" => Environment::Production,
                _ => return Err("is development or production".to_owned()),
            };
            Ok(())
        },
    },
    Key {
        name: "log_format",
        default: r#""human""#,
        meaning: "human, or json: one object a line.",
        set: |config, text| {
            config.log_format = match text {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return Err("is human or json".to_owned()),
            };
            Ok(())
        },
    },
    Key {
        name: "log_level",
        default: r#""info""#,
        meaning: "error, warn, info, debug or trace, or by module: info,api::worker=debug.",
        set: |config, text| log_level(text).map(|value| config.log_level = value),
    },
    Key {
        name: "otlp_endpoint",
        default: "",
        meaning: "Where traces are sent by OTLP over HTTP, such as http://localhost:4318; nowhere unless given.",
        set: |config, text| url(text).map(|value| config.otlp_endpoint = Some(value)),
    },
    Key {
        name: "graphiql",
        default: r#""auto""#,
        meaning: "true, false, or auto: on in development. Serves GraphiQL at /graphiql.",
        set: |config, text| {
            config.graphiql = if text == "auto" {
                None
            } else {
                Some(yes_or_no(text)?)
            };
            Ok(())
        },
    },
    Key {
        name: "allow_private_upstreams",
        default: "false",
        meaning: "Lets tenants name a PostHog, or an identity provider, inside this process's own network, and by http://. For a single tenant's own house alone.",
        set: |config, text| yes_or_no(text).map(|value| config.allow_private_upstreams = value),
    },
    Key {
        name: "cors_allowed_origins",
        default: "[]",
        meaning: "Origins whose browsers may use /graphql, such as https://app.example.com; every one when empty, which is safe: credentials are bearer tokens, never cookies.",
        set: |config, text| origins(text).map(|value| config.cors_allowed_origins = value),
    },
    Key {
        name: "shutdown_timeout_s",
        default: "30",
        meaning: "How long a stop waits for what is running, in seconds.",
        set: |config, text| within(text, 0..=3600).map(|value| config.shutdown_timeout_s = value),
    },
    Key {
        name: "worker",
        default: "true",
        meaning: "Whether this process also runs the worker: reactions, PostHog's forwarder, timed work.",
        set: |config, text| yes_or_no(text).map(|value| config.worker = value),
    },
];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {cause}")]
    Unreadable { path: String, cause: std::io::Error },
    /// The cause quotes no line of the file: it may hold a secret.
    #[error("{path} is not TOML: {message}")]
    NotToml { path: String, message: String },
    #[error("{place}: there is no such setting; did you mean {nearest}?")]
    Unknown { place: String, nearest: String },
    #[error("{place}: {rule}")]
    Invalid { place: String, rule: String },
    #[error(
        "secret_key is missing: production needs one (make one with `openssl rand -base64 32`, keep it, and give it as GROWTHOS_SECRET_KEY)"
    )]
    NoSecretKey,
    #[error("tls_certificate and tls_key need each other: one of them is missing")]
    HalfTls,
}

impl Config {
    /// Reads `file`, if one is given, and then `variables`, which win. Variables of other programs are passed over;
    /// an unknown key in the file, or an unknown `GROWTHOS_…`, is an error.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = file {
            config.read_file(path)?;
        }
        config.read_variables(variables)?;
        if config.environment == Environment::Production && config.secret_key.is_none() {
            return Err(ConfigError::NoSecretKey);
        }
        if config.tls_certificate.is_some() != config.tls_key.is_some() {
            return Err(ConfigError::HalfTls);
        }
        Ok(config)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: shown.clone(),
            cause,
        })?;
        let table: toml::Table =
            text.parse()
                .map_err(|error: toml::de::Error| ConfigError::NotToml {
                    path: shown.clone(),
                    message: error.message().to_owned(),
                })?;
        for (name, value) in &table {
            let place = format!("{name} in {shown}");
            let key =
                KEYS.iter()
                    .find(|key| key.name == name)
                    .ok_or_else(|| ConfigError::Unknown {
                        place: place.clone(),
                        nearest: nearest(name).to_owned(),
                    })?;
            let invalid = |rule| ConfigError::Invalid {
                place: place.clone(),
                rule,
            };
            let text = plain(value).map_err(invalid)?;
            self.set(key, &text).map_err(invalid)?;
        }
        Ok(())
    }

    fn read_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let mut ours: Vec<(String, String)> = variables
            .into_iter()
            .filter(|(name, _)| name == "DATABASE_URL" || name.starts_with(ENVIRONMENT_PREFIX))
            .collect();
        // DATABASE_URL sorts first, so that GROWTHOS_DATABASE_URL wins.
        ours.sort();
        for (name, value) in ours {
            let bare = name
                .strip_prefix(ENVIRONMENT_PREFIX)
                .unwrap_or(&name)
                .to_ascii_lowercase();
            let key =
                KEYS.iter()
                    .find(|key| key.name == bare)
                    .ok_or_else(|| ConfigError::Unknown {
                        place: name.clone(),
                        nearest: variable(nearest(&bare)),
                    })?;
            self.set(key, value.trim())
                .map_err(|rule| ConfigError::Invalid { place: name, rule })?;
        }
        Ok(())
    }

    /// A setting that is absent unless given is absent when it is given empty, as compose files do.
    fn set(&mut self, key: &Key, text: &str) -> Result<(), String> {
        if text.is_empty() && key.default.is_empty() {
            return Ok(());
        }
        (key.set)(self, text)
    }

    /// The key that secrets are sealed with.
    pub fn secret_key_or_development(&self) -> &str {
        self.secret_key
            .as_ref()
            .map_or(DEVELOPMENT_SECRET_KEY, Hidden::reveal)
    }

    pub fn graphiql_enabled(&self) -> bool {
        self.graphiql
            .unwrap_or(self.environment == Environment::Development)
    }

    /// How long the database works on a statement that only reads: a little longer than anybody waits for the answer.
    pub const fn read_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s + 5)
    }

    /// The scheme, host and port that clients reach this process at.
    pub fn public_origin(&self) -> String {
        self.public_url.as_ref().map_or_else(
            || {
                let scheme = if self.tls_certificate.is_some() {
                    "https"
                } else {
                    "http"
                };
                format!("{scheme}://{}", self.listen)
            },
            |url| url.origin().ascii_serialization(),
        )
    }
}

/// A `growthos.toml` with every key, its meaning and its default, all commented out.
pub fn documented() -> String {
    let mut text = "# Settings of GrowthOS. Each can be given as GROWTHOS_… in the environment too, which wins.\n".to_owned();
    for key in KEYS {
        let _ = write!(text, "\n# {}\n# {}\n", key.meaning, variable(key.name));
        let value = if key.default.is_empty() {
            r#""""#
        } else {
            key.default
        };
        let _ = writeln!(text, "#{} = {value}", key.name);
    }
    text
}

fn variable(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_ascii_uppercase())
}

/// The key that differs least from `name`.
fn nearest(name: &str) -> &'static str {
    KEYS.iter()
        .map(|key| key.name)
        .min_by_key(|known| distance(name, known))
        .unwrap_or_default()
}

/// Levenshtein's distance: how many characters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A TOML value as the environment would say it: a list is its items with commas between.
fn plain(value: &toml::Value) -> Result<String, String> {
    Ok(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(items) => items
            .iter()
            .map(plain)
            .collect::<Result<Vec<_>, _>>()?
            .join(","),
        _ => return Err("is a text, a number, true, false or a list of texts".to_owned()),
    })
}

fn read<T: std::str::FromStr>(text: &str, shape: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("is {shape}"))
}

fn within<T>(text: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    text.parse()
        .ok()
        .filter(|value| range.contains(value))
        .ok_or_else(|| {
            format!(
                "is a whole number between {} and {}",
                range.start(),
                range.end()
            )
        })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("is true or false".to_owned()),
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "is a URL that begins with http:// or https://".to_owned())
}

/// The messages never repeat the value: it may hold a password.
fn database_url(text: &str) -> Result<Hidden, String> {
    if ["sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        Ok(Hidden::from(text))
    } else {
        Err("is a URL that begins with sqlite: or postgres://".to_owned())
    }
}

fn secret(text: &str) -> Result<Hidden, String> {
    if text.chars().count() < SECRET_CHARS_MIN {
        return Err(format!("has at least {SECRET_CHARS_MIN} characters"));
    }
    Ok(Hidden::from(text))
}

fn log_level(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "is error, warn, info, debug or trace, or such levels by module".to_owned())
}

fn origins(text: &str) -> Result<Vec<String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .map(|origin| {
            let url = url(origin)?;
            let bare = url.origin().ascii_serialization();
            if bare == origin.trim_end_matches('/').to_ascii_lowercase() {
                Ok(bare)
            } else {
                Err(format!("holds {origin}, which is not an origin: scheme, host and port alone, such as {bare}"))
            }
        })
        .collect()
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|network| !network.is_empty())
        .map(|network| {
            network
                .parse()
                .or_else(|_| network.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| {
                    format!("holds {network}, which is neither a network, such as 10.0.0.0/8, nor an address")
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(
            None,
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn of_file(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(
            Some(file.path()),
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn nothing_given_is_a_development_process() {
        let nothing = [
            ("PATH", "/bin"),
            ("GROWTHOSX", "1"),
            ("GROWTHOS_SECRET_KEY", ""),
            ("GROWTHOS_OTLP_ENDPOINT", " "),
        ];
        assert_eq!(of(&nothing).unwrap(), Config::default());
        assert!(Config::default().graphiql_enabled());
        assert_eq!(Config::default().public_origin(), "http://127.0.0.1:8080");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "listen = \"0.0.0.0:80\"\nworker = false\nshutdown_timeout_s = 5\ncors_allowed_origins = [\"https://a.example\", \"http://b.example:8080\"]\n";
        let config = of_file(
            file,
            &[
                ("GROWTHOS_LISTEN", "127.0.0.1:1"),
                ("DATABASE_URL", "sqlite:a.db"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:1");
        assert!(!config.worker);
        assert_eq!(config.shutdown_timeout_s, 5);
        assert_eq!(
            config.cors_allowed_origins,
            ["https://a.example", "http://b.example:8080"]
        );
        assert_eq!(config.database_url.reveal(), "sqlite:a.db");
    }

    #[test]
    fn our_own_database_url_wins_over_the_common_one() {
        let config = of(&[
            ("GROWTHOS_DATABASE_URL", "postgres://ours/x"),
            ("DATABASE_URL", "sqlite:a.db"),
        ])
        .unwrap();
        assert_eq!(config.database_url.reveal(), "postgres://ours/x");
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest_one() {
        assert_eq!(
            of(&[("GROWTHOS_OPERATOR_TOKN", "x")])
                .unwrap_err()
                .to_string(),
            "GROWTHOS_OPERATOR_TOKN: there is no such setting; did you mean GROWTHOS_OPERATOR_TOKEN?"
        );
        let message = of_file("databse_url = \"sqlite:a.db\"", &[])
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("databse_url in ")
                && message.ends_with("did you mean database_url?"),
            "{message}"
        );
    }

    #[test]
    fn a_value_that_breaks_its_rule_is_refused_by_name() {
        for (name, value, rule) in [
            (
                "GROWTHOS_LISTEN",
                "8080",
                "is an address with a port, such as 0.0.0.0:8080",
            ),
            ("GROWTHOS_WORKER", "yes", "is true or false"),
            (
                "GROWTHOS_DATABASE_CONNECTIONS_MAX",
                "0",
                "is a whole number between 2 and 500",
            ),
            (
                "GROWTHOS_DATABASE_URL",
                "mysql://u:pw@h/d",
                "is a URL that begins with sqlite: or postgres://",
            ),
            ("GROWTHOS_SECRET_KEY", "short", "has at least 16 characters"),
            (
                "GROWTHOS_PUBLIC_URL",
                "growth.example.com",
                "is a URL that begins with http:// or https://",
            ),
            (
                "GROWTHOS_ENVIRONMENT",
                "prod",
                "is development or production",
            ),
            (
                "GROWTHOS_CORS_ALLOWED_ORIGINS",
                "https://a.example/path",
                "holds https://a.example/path, which is not an origin: scheme, host and port alone, such as https://a.example",
            ),
            (
                "GROWTHOS_TRUSTED_PROXIES",
                "10.0.0.0/8,proxy",
                "holds proxy, which is neither a network, such as 10.0.0.0/8, nor an address",
            ),
            (
                "GROWTHOS_REQUEST_TIMEOUT_S",
                "0",
                "is a whole number between 1 and 600",
            ),
        ] {
            assert_eq!(
                of(&[(name, value)]).unwrap_err().to_string(),
                format!("{name}: {rule}")
            );
        }
    }

    #[test]
    fn production_asks_for_a_secret_key_and_hides_graphiql() {
        assert!(matches!(
            of(&[("GROWTHOS_ENVIRONMENT", "production")]),
            Err(ConfigError::NoSecretKey)
        ));
        let config = of(&[
            ("GROWTHOS_ENVIRONMENT", "production"),
            ("GROWTHOS_SECRET_KEY", "0123456789abcdef"),
        ])
        .unwrap();
        assert!(!config.graphiql_enabled());
        assert_eq!(config.secret_key_or_development(), "0123456789abcdef");
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        for name in ["GROWTHOS_TLS_CERTIFICATE", "GROWTHOS_TLS_KEY"] {
            assert!(
                matches!(of(&[(name, "a.pem")]), Err(ConfigError::HalfTls)),
                "{name}"
            );
        }
        let config = of(&[
            ("GROWTHOS_TLS_CERTIFICATE", "a.pem"),
            ("GROWTHOS_TLS_KEY", "b.pem"),
        ])
        .unwrap();
        assert_eq!(config.public_origin(), "https://127.0.0.1:8080");
    }

    #[test]
    fn trusted_proxies_are_networks_or_addresses() {
        let config = of_file(
            "trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\"]",
            &[],
        )
        .unwrap();
        let shown: Vec<_> = config
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    }

    #[test]
    fn secrets_are_never_shown() {
        let config = of(&[
            ("GROWTHOS_SECRET_KEY", "0123456789abcdef"),
            ("GROWTHOS_OPERATOR_TOKEN", "fedcba9876543210"),
            ("GROWTHOS_DATABASE_URL", "postgres://u:hunter2@h/d"),
        ])
        .unwrap();
        let shown = format!("{config:?}");
        for secret in ["0123456789abcdef", "fedcba9876543210", "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let message = of_file("secret_key = \"hunter2hunter2hunter2\nlisten", &[])
            .unwrap_err()
            .to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let config = of_file(&format!("{} = {}", key.name, key.default), &[]).unwrap();
            assert_eq!(config, Config::default(), "{}", key.name);
        }
        let documented = documented();
        assert!(
            documented.contains("\n# GROWTHOS_LISTEN\n#listen = \"127.0.0.1:8080\"\n"),
            "{documented}"
        );
        assert!(documented.parse::<toml::Table>().unwrap().is_empty());
    }
}

//! What people write when they connect a project or name a metric, read strictly. Pure: no database, no
//! clock, no network.

use url::Url;

use crate::base::{Error, Result};

/// The hosts of one PostHog project, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    /// Takes events and evaluates flags.
    pub ingest: String,
    /// Answers queries.
    pub api: String,
    /// What links point to.
    pub ui: String,
}

/// The hosts as they were given; each may be absent.
#[derive(Clone, Debug, Default)]
pub struct GivenHosts {
    pub ingest: Option<String>,
    pub api: Option<String>,
    pub ui: Option<String>,
}

/// One region of PostHog Cloud.
#[derive(Debug, PartialEq, Eq)]
struct Region {
    name: &'static str,
    ingest: &'static str,
    app: &'static str,
    /// Every host name that means this region: PostHog's own clients rewrite them alike.
    names: &'static [&'static str],
}

const REGIONS: [Region; 2] = [
    Region {
        name: "us",
        ingest: "https://us.i.posthog.com",
        app: "https://us.posthog.com",
        names: &[
            "app.posthog.com",
            "us.posthog.com",
            "us.i.posthog.com",
            "us-assets.i.posthog.com",
        ],
    },
    Region {
        name: "eu",
        ingest: "https://eu.i.posthog.com",
        app: "https://eu.posthog.com",
        names: &[
            "eu.posthog.com",
            "eu.i.posthog.com",
            "eu-assets.i.posthog.com",
        ],
    },
];

/// Whose host was named.
enum Host {
    Cloud(&'static Region),
    Own(String),
}

impl Hosts {
    /// Reads the hosts: URLs, bare host names, or a region of PostHog Cloud (`US`, `EU`). What is absent follows
    /// from what is given. `check` reads a URL that came by an input field and refuses what may not be called.
    pub(super) fn read(
        given: &GivenHosts,
        check: impl Fn(&str, &str) -> Result<Url>,
    ) -> Result<Self> {
        let read = |field: &str, text: &Option<String>| {
            let text = text
                .as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty());
            text.map(|text| host(field, text, &check)).transpose()
        };
        let ingest = read("ingestHost", &given.ingest)?;
        let api = read("apiHost", &given.api)?;
        let ui = read("uiHost", &given.ui)?;
        let Some(from) = ingest.as_ref().or(api.as_ref()) else {
            return Err(Error::invalid(
                "ingestHost",
                "give the region of PostHog Cloud, US or EU, or the URL of your own PostHog",
            ));
        };
        let api = api.as_ref().unwrap_or(from).app();
        Ok(Self {
            ingest: ingest.as_ref().unwrap_or(from).ingest(),
            ui: ui.map_or_else(|| api.clone(), |ui| ui.app()),
            api,
        })
    }
}

impl Host {
    fn ingest(&self) -> String {
        match self {
            Self::Cloud(region) => region.ingest.to_owned(),
            Self::Own(url) => url.clone(),
        }
    }
    fn app(&self) -> String {
        match self {
            Self::Cloud(region) => region.app.to_owned(),
            Self::Own(url) => url.clone(),
        }
    }
}

fn host(field: &str, text: &str, check: impl Fn(&str, &str) -> Result<Url>) -> Result<Host> {
    let by_name = REGIONS
        .iter()
        .find(|region| region.name.eq_ignore_ascii_case(text));
    if let Some(region) = by_name {
        return Ok(Host::Cloud(region));
    }
    let url = if text.contains("://") {
        check(field, text)?
    } else {
        check(field, &format!("https://{text}"))?
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid(field, "the URL must end before ? and #"));
    }
    let name = url.host_str().unwrap_or_default();
    let by_host = REGIONS.iter().find(|region| region.names.contains(&name));
    Ok(match by_host {
        Some(region) if url.port().is_none() => Host::Cloud(region),
        _ => Host::Own(url.as_str().trim_end_matches('/').to_owned()),
    })
}

/// Characters of a token or key, at most.
const CREDENTIAL_CHARS_MAX: usize = 300;

/// Reads a project token. Old projects' tokens have no prefix, so only what is plainly something else is refused.
pub(super) fn project_token(text: &str) -> Result<String> {
    let field = "projectToken";
    let token = credential(field, text)?;
    if ["phx_", "phs_", "pha_", "phr_"]
        .iter()
        .any(|prefix| token.starts_with(prefix))
    {
        return Err(Error::invalid(
            field,
            "this is a secret key, not a project token: the token starts with phc_ and is public",
        ));
    }
    if token.starts_with("gos_") {
        return Err(Error::invalid(
            field,
            "this is a key of GrowthOS, not a token of PostHog",
        ));
    }
    Ok(token)
}

/// Reads a personal API key, or a project's secret key.
pub(super) fn personal_api_key(text: &str) -> Result<String> {
    let field = "personalApiKey";
    let key = credential(field, text)?;
    if key.starts_with("phc_") {
        return Err(Error::invalid(
            field,
            "this is a project token, not a personal API key: the key starts with phx_",
        ));
    }
    Ok(key)
}

fn credential(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if !plain || text.len() > CREDENTIAL_CHARS_MAX {
        return Err(Error::invalid(
            field,
            format!("give 1 to {CREDENTIAL_CHARS_MAX} characters of ASCII without spaces"),
        ));
    }
    Ok(text.to_owned())
}

/// Reads a project's id as it stands in PostHog's paths: digits, or `@current` for a key bound to one project.
pub(super) fn project_id(text: &str) -> Result<String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    if digits || text == "@current" {
        Ok(text.to_owned())
    } else {
        Err(Error::invalid(
            "projectId",
            "the project id is a number, or @current",
        ))
    }
}

const METRIC_KEY_CHARS_MAX: usize = 64;

/// Whether a text can be a metric's key: it stands in queries and URLs.
pub(super) fn check_metric_key(key: &str) -> Result<()> {
    let starts = key.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let plain = key
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if starts && plain && key.len() <= METRIC_KEY_CHARS_MAX {
        Ok(())
    } else {
        Err(Error::invalid(
            "key",
            format!(
                "a key is 1 to {METRIC_KEY_CHARS_MAX} characters of a-z, 0-9 and _, and starts with a letter"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ingest: &str, api: &str, ui: &str) -> Result<[String; 3]> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let given = GivenHosts {
            ingest: given(ingest),
            api: given(api),
            ui: given(ui),
        };
        let check = |field: &str, text: &str| {
            Url::parse(text).map_err(|e| Error::invalid(field, e.to_string()))
        };
        Hosts::read(&given, check).map(|hosts| [hosts.ingest, hosts.api, hosts.ui])
    }

    #[test]
    fn a_region_or_any_of_its_names_gives_all_three_hosts() {
        let us = [
            "https://us.i.posthog.com",
            "https://us.posthog.com",
            "https://us.posthog.com",
        ];
        let eu = [
            "https://eu.i.posthog.com",
            "https://eu.posthog.com",
            "https://eu.posthog.com",
        ];
        for (ingest, api, ui, expected) in [
            ("US", "", "", us),
            ("eu", "", "", eu),
            ("", "EU", "", eu),
            ("https://app.posthog.com", "", "", us),
            (
                "https://us.posthog.com/",
                "https://us.i.posthog.com",
                "",
                us,
            ),
            ("eu.posthog.com", "", "", eu),
            (
                "https://eu.i.posthog.com/",
                "https://eu.posthog.com/",
                "https://eu.posthog.com",
                eu,
            ),
        ] {
            assert_eq!(
                read(ingest, api, ui).unwrap(),
                expected,
                "{ingest} {api} {ui}"
            );
        }
    }

    #[test]
    fn a_posthog_of_ones_own_keeps_its_path_and_loses_its_slash() {
        let own = read("https://ph.example.com/proxy/", "", "").unwrap();
        assert_eq!(own, ["https://ph.example.com/proxy"; 3]);
        let three = read(
            "http://a.example:8000",
            "http://b.example/",
            "http://c.example",
        )
        .unwrap();
        assert_eq!(
            three,
            [
                "http://a.example:8000",
                "http://b.example",
                "http://c.example"
            ]
        );
        let proxied = read("https://ph.example.com", "US", "").unwrap();
        assert_eq!(
            proxied,
            [
                "https://ph.example.com",
                "https://us.posthog.com",
                "https://us.posthog.com"
            ]
        );
    }

    #[test]
    fn hosts_that_are_none_are_refused_by_field() {
        for (ingest, api, ui, field) in [
            ("", "", "", "ingestHost"),
            ("", "", "US", "ingestHost"),
            ("https://", "", "", "ingestHost"),
            ("US", "https://x.example/?a", "", "apiHost"),
            ("US", "", "https://x.example/#a", "uiHost"),
        ] {
            match read(ingest, api, ui) {
                Err(Error::User(e)) => assert_eq!(e.field.as_deref(), Some(field)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn credentials_are_not_mistaken_for_one_another() {
        assert_eq!(project_token(" phc_abc ").unwrap(), "phc_abc");
        assert_eq!(project_token("sTMFPsFhdP1Ssg").unwrap(), "sTMFPsFhdP1Ssg");
        assert_eq!(personal_api_key("phx_abc").unwrap(), "phx_abc");
        assert_eq!(personal_api_key("phs_abc").unwrap(), "phs_abc");
        for token in [
            "phx_abc",
            "phs_abc",
            "gos_pk_abc",
            "",
            "a b",
            "phc_\n1",
            "é",
        ] {
            assert!(project_token(token).is_err(), "{token}");
        }
        assert!(personal_api_key("phc_abc").is_err());
        assert!(personal_api_key(&"x".repeat(301)).is_err());
    }

    #[test]
    fn a_project_id_cannot_leave_its_place_in_a_path() {
        assert_eq!(project_id("12345").unwrap(), "12345");
        assert_eq!(project_id("@current").unwrap(), "@current");
        for id in [
            "",
            "1/../2",
            "@me",
            "1?x",
            "-1",
            "1 2",
            "123456789012345678901",
        ] {
            assert!(project_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_metric_key_is_a_plain_word() {
        for key in ["a", "revenue_90d", "x2"] {
            assert!(check_metric_key(key).is_ok(), "{key}");
        }
        for key in ["", "A", "2x", "a-b", "a b", "é", &"a".repeat(65)] {
            assert!(check_metric_key(key).is_err(), "{key}");
        }
    }
}

//! What a connection can do, found out by asking before it is stored.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    client::{self, Failure},
    rules::Hosts,
};
use crate::base::{Error, ErrorCode, Result};

/// The caller waits for all probes, which run at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be probed.
pub(super) struct Probe<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) project_id: &'a str,
    pub(super) project_token: &'a str,
    pub(super) personal_api_key: Option<&'a str>,
}

impl Probe<'_> {
    /// Gives capability → `true` or why not. Fails when PostHog says that a credential is plainly wrong; what else is
    /// amiss may pass, and is only told.
    pub(super) async fn run(&self, http: &Client) -> Result<Map<String, Value>> {
        let (project, query, definitions, flags) = tokio::join!(
            self.ask(self.project(http)),
            self.ask(self.query(http)),
            self.ask(self.definitions(http)),
            self.ask(Some(token_question(
                http,
                &self.hosts.ingest,
                self.project_token
            ))),
        );
        if is_unauthenticated(&flags) {
            return Err(wrong(
                "projectToken",
                "PostHog does not know this project token",
            ));
        }
        if [&project, &query, &definitions]
            .into_iter()
            .all(is_unauthenticated)
        {
            return Err(wrong(
                "personalApiKey",
                "PostHog does not take this personal API key: is it of another region, or revoked?",
            ));
        }
        let owner = project
            .as_ref()
            .ok()
            .and_then(|body| body.get("api_token")?.as_str());
        if owner.is_some_and(|token| token != self.project_token) {
            return Err(wrong(
                "projectToken",
                "this is the token of another project than projectId names",
            ));
        }
        let capture = flags.as_ref().map(|_| Value::Null).map_err(Clone::clone);
        let found = [
            ("project", project),
            ("query", query),
            ("flagDefinitions", definitions),
            ("flags", flags),
            ("capture", capture),
        ];
        Ok(found
            .into_iter()
            .map(|(name, probe)| (name.to_owned(), told(probe)))
            .collect())
    }
    async fn ask(&self, request: Option<RequestBuilder>) -> Probed {
        let Some(request) = request else {
            return Err(None);
        };
        let answer = client::send(request.timeout(TIMEOUT)).await.map_err(Some)?;
        Ok(answer.json().unwrap_or_default())
    }
    fn keyed(&self, request: RequestBuilder) -> Option<RequestBuilder> {
        self.personal_api_key.map(|key| request.bearer_auth(key))
    }
    fn project(&self, http: &Client) -> Option<RequestBuilder> {
        self.keyed(http.get(format!(
            "{}/api/projects/{}/",
            self.hosts.api, self.project_id
        )))
    }
    fn query(&self, http: &Client) -> Option<RequestBuilder> {
        let url = format!("{}/api/projects/{}/query/", self.hosts.api, self.project_id);
        self.keyed(http.post(url).json(&client::metadata("SELECT 1")))
    }
    fn definitions(&self, http: &Client) -> Option<RequestBuilder> {
        let url = format!("{}/flags/definitions?send_cohorts", self.hosts.ingest);
        let mut url = Url::parse(&url).ok()?;
        url.query_pairs_mut()
            .append_pair("token", self.project_token);
        self.keyed(http.get(url))
    }
}

/// Tells whether the ingest host knows the token, without an event and without a flag being evaluated.
fn token_question(http: &Client, ingest: &str, project_token: &str) -> RequestBuilder {
    http.post(format!("{ingest}/flags/?v=2")).json(&json!({
        "token": project_token,
        "distinct_id": "growthos-probe",
        "disable_flags": true,
    }))
}

/// Succeeds where a PostHog at `ingest`, an URL without a trailing slash, says that it knows the token.
pub(super) async fn knows_token(
    http: &Client,
    ingest: &str,
    project_token: &str,
) -> Result<(), Failure> {
    let question = token_question(http, ingest, project_token).timeout(TIMEOUT);
    let answer = client::send(question).await?.json()?;
    // A host that answers whatever it is asked is no PostHog; old ones call their flags by the second name.
    if ["flags", "featureFlags"]
        .iter()
        .any(|name| answer.get(name).is_some())
    {
        Ok(())
    } else {
        Err(Failure::answer("it has no flags".to_owned()))
    }
}

/// An answer, or why there is none: without a reason, nothing was asked.
type Probed = Result<Value, Option<Failure>>;

fn is_unauthenticated(probe: &Probed) -> bool {
    matches!(probe, Err(Some(Failure::Denied { status: 401, .. })))
}

fn told(probe: Probed) -> Value {
    match probe {
        Ok(_) => Value::Bool(true),
        Err(Some(failure)) => failure.told().into(),
        Err(None) => "no personal API key was given".into(),
    }
}

fn wrong(field: &str, message: &str) -> Error {
    Error::user(ErrorCode::Invalid, field, message)
}

//! A tenant whose PostHog is a double, and the room's fields over its contacts.

use std::sync::Arc;

use api::{
    base::{Actor, Outbound, gql, instant},
    contact::{self, Claim, Incoming, Link, TraitChanges},
    posthog::{
        ContactAnalytics, Posthog, PosthogConnection, PosthogMutation, PosthogQuery, loaders,
    },
};
use async_graphql::{
    Context, EmptySubscription, ID, MergedObject, Object, Request, Schema, Variables,
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Id,
    contact_identifier::{Kind, Verification},
};
use posthog_double::{Double, DoubleOptions, Endpoint, RequestRecord};
use serde_json::{Map, Value, json};
use tests::{Kit, Tenant};
use tokio_util::task::TaskTracker;

/// Contacts by id, as the roof shows them, with nothing but PostHog's part.
#[derive(Default)]
struct People;

struct Person(String);

#[Object]
impl Person {
    async fn id(&self) -> &str {
        &self.0
    }
    async fn analytics(&self) -> ContactAnalytics {
        ContactAnalytics::new(Id::parse(&self.0).unwrap())
    }
}

#[Object]
impl People {
    async fn people(&self, ids: Vec<ID>) -> Vec<Person> {
        ids.into_iter().map(|id| Person(id.0)).collect()
    }
    async fn connection(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<PosthogConnection>> {
        Ok(PosthogConnection::of(ctx.data_unchecked()).await?)
    }
}

#[derive(MergedObject, Default)]
struct Query(PosthogQuery, People);

/// The room, under one process's state.
pub(super) struct Stage {
    pub(super) kit: Kit,
    pub(super) posthog: Arc<Posthog>,
    schema: Schema<Query, PosthogMutation, EmptySubscription>,
}

impl Stage {
    pub(super) fn new(kit: Kit) -> Self {
        Self::reaching(kit, true)
    }
    pub(super) fn reaching(kit: Kit, private_allowed: bool) -> Self {
        let outbound = Outbound::new(private_allowed).unwrap();
        let posthog = Arc::new(Posthog::new(&kit.app.env, outbound, TaskTracker::new()));
        let schema = Schema::build(Query::default(), PosthogMutation, EmptySubscription)
            .data(posthog.clone())
            .data(kit.app.env.clone())
            .finish();
        Self {
            kit,
            posthog,
            schema,
        }
    }
    /// A double whose clock is the kit's.
    pub(super) async fn double(&self) -> Double {
        let clock = self.kit.app.env.clock.clone();
        Double::start(DoubleOptions::new(Arc::new(move || clock.now())))
            .await
            .unwrap()
    }
    /// Executes as the tenant's backend with every scope.
    pub(super) async fn gql(&self, tenant: &Tenant, query: &str, variables: Value) -> Value {
        self.gql_as(tenant, tenant.cx.actor().clone(), query, variables)
            .await
    }
    pub(super) async fn gql_as(
        &self,
        tenant: &Tenant,
        actor: Actor,
        query: &str,
        variables: Value,
    ) -> Value {
        let request = Request::new(query)
            .variables(Variables::from_json(variables))
            .data(actor)
            .data(loaders(&tenant.cx, &self.posthog))
            .data(tenant.cx.clone());
        let mut response = self.schema.execute(request).await;
        gql::seal(&mut response, "test");
        serde_json::to_value(response).unwrap()
    }
    /// A tenant connected to the double, and what connecting asked of it forgotten.
    pub(super) async fn connected(&self, name: &str, double: &Double) -> Tenant {
        let tenant = self.kit.tenant(name).await.unwrap();
        let answer = self.gql(&tenant, CONNECT, connect_input(double)).await;
        assert_eq!(
            answer["data"]["posthogConnect"]["userErrors"],
            json!([]),
            "{answer}"
        );
        tenant
    }
    /// Forgets the tenant's connection and gives its id.
    pub(super) async fn disconnect(&self, tenant: &Tenant) -> String {
        let shown = self.gql(tenant, "{ connection { id } }", json!({})).await;
        let id = &shown["data"]["connection"]["id"];
        let gone = self.gql(tenant, DISCONNECT, json!({"id": id})).await;
        let forgotten = json!({"disconnectedId": id, "userErrors": []});
        assert_eq!(gone["data"]["posthogDisconnect"], forgotten, "{gone}");
        id.as_str().unwrap().to_owned()
    }
    pub(super) async fn save_metric(&self, tenant: &Tenant, key: &str, expression: &str) -> Value {
        let input = json!({"input": {"key": key, "expression": expression}});
        let saved = self
            .gql(tenant, "mutation($input: MetricSaveInput!) { metricSave(input: $input) { metric { id key expression window } checkedByPosthog userErrors { code field message } } }", input)
            .await;
        saved["data"]["metricSave"].clone()
    }
    pub(super) fn advance(&self, seconds: i64) {
        self.kit.advance(TimeDelta::seconds(seconds));
    }
    pub(super) fn now(&self) -> String {
        shown(self.kit.now())
    }
}

/// As GraphQL shows an instant.
pub(super) fn shown(at: DateTime<Utc>) -> String {
    instant::text(at)
}

pub(super) const DISCONNECT: &str = "mutation($id: ID!) { posthogDisconnect(input: {id: $id}) { disconnectedId userErrors { code field } } }";

pub(crate) const CONNECT: &str = "mutation($input: PosthogConnectInput!) { posthogConnect(input: $input) {
    connection { id ingestHost apiHost uiHost projectId hasPersonalApiKey capabilities probedAt forwarder { behind lastError nextAttemptAt } }
    userErrors { code field message } } }";

pub(crate) fn connect_input(double: &Double) -> Value {
    let options = double.options();
    json!({"input": {
        "ingestHost": double.url(), "apiHost": format!("{}/", double.url()), "uiHost": "https://us.posthog.com",
        "projectId": options.project_id, "projectToken": options.project_token, "personalApiKey": options.personal_api_key,
    }})
}

/// Makes a contact known by `ids`, the first one its own; gives its TypeID.
pub(super) async fn contact(tenant: &Tenant, ids: &[&str], traits: Value) -> String {
    let claim = |id: &&str| {
        Claim::new(Kind::DistinctId, id, Verification::AssertedByBackend, "id").unwrap()
    };
    let traits = traits.as_object().cloned().unwrap_or_default();
    let mut known = None;
    for id in ids {
        let mut claims = vec![claim(&ids[0])];
        if id != &ids[0] {
            claims.push(claim(id));
        }
        let touch = Incoming {
            name: "$identify".into(),
            claims,
            contact_id: None,
            link: Link::Identify,
            traits: TraitChanges {
                set: traits.clone(),
                ..TraitChanges::default()
            },
            touch: None,
            properties: Map::new(),
            context: Map::new(),
            source: "api",
            verification: Verification::AssertedByBackend,
            message_id: None,
            occurred_at: tenant.cx.now(),
            makes_contact: true,
        };
        let made = tenant
            .cx
            .write(async |tx| contact::ingest(tx, &[touch]).await)
            .await
            .unwrap();
        known = made[0].contact_id;
    }
    known.unwrap().to_string()
}

/// One event as PostHog is sent it, `seconds` ago.
pub(crate) struct Sent<'a>(
    pub(crate) &'a str,
    pub(crate) &'a str,
    pub(crate) i64,
    pub(crate) Value,
);

/// Sends events to the double, as any of PostHog's clients would.
pub(crate) async fn send(double: &Double, events: &[Sent<'_>]) {
    let now = (double.options().clock)();
    let batch: Vec<Value> = events
        .iter()
        .map(|Sent(event, distinct_id, seconds, properties)| {
            let at = shown(now - TimeDelta::seconds(*seconds));
            json!({"event": event, "distinct_id": distinct_id, "timestamp": at, "properties": properties})
        })
        .collect();
    let body = json!({"api_key": double.options().project_token, "batch": batch});
    let answer = reqwest::Client::new()
        .post(format!("{}/batch/", double.url()))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

/// The requests to one group of endpoints since the first `skip` requests.
pub(crate) fn requests(double: &Double, endpoint: Endpoint) -> Vec<RequestRecord> {
    double
        .requests()
        .into_iter()
        .filter(|request| request.endpoint == Some(endpoint))
        .collect()
}

//! The room's part of the schema.

use async_graphql::{Context, ID, InputObject, Json, Object, SimpleObject};
use chrono::TimeDelta;
use entity::{Id, metric, posthog_connection};
use serde_json::{Map, Value};

use super::{
    FeatureFlag, GivenHosts, NewConnection, NewMetric, Posthog, analytics,
    client::Complaint,
    commands::{self, BEFORE_EXPRESSION, ForwardFrom},
    connection, queries,
};
use crate::base::{
    Cx, Error, ErrorCode, Listing, PageArgs, Result, SortBy, UserError,
    gql::{self, CxExt, Duration, UserErrors, outcome},
    instant::Instant,
    page,
};

/// The process's [`Posthog`], put into the schema by the composition root.
fn posthog<'a>(ctx: &Context<'a>) -> &'a std::sync::Arc<Posthog> {
    ctx.data_unchecked()
}

/// A tenant's connection to its PostHog project.
pub struct PosthogConnection(posthog_connection::Model);

impl From<posthog_connection::Model> for PosthogConnection {
    fn from(row: posthog_connection::Model) -> Self {
        Self(row)
    }
}

impl PosthogConnection {
    /// The tenant's connection, if there is one.
    pub async fn of(cx: &Cx) -> Result<Option<Self>> {
        Ok(connection::row(&cx.db()).await?.map(Self))
    }
}

/// A tenant's connection to its PostHog project.
// Relay takes every type whose name ends in `Connection` for a list.
#[Object(name = "PosthogIntegration")]
impl PosthogConnection {
    /// The connection's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Where events are sent and flags are asked for.
    async fn ingest_host(&self) -> &str {
        &self.0.ingest_host
    }
    /// Where queries are asked.
    async fn api_host(&self) -> &str {
        &self.0.api_host
    }
    /// What links to PostHog start with.
    async fn ui_host(&self) -> &str {
        &self.0.ui_host
    }
    /// The PostHog project's id.
    async fn project_id(&self) -> &str {
        &self.0.project_id
    }
    /// Whether a personal API key was given: without it nothing is joined. The key itself is never shown.
    async fn has_personal_api_key(&self) -> bool {
        self.0.personal_api_key.is_some()
    }
    /// What was found when connecting: an object of `project`, `query`, `flagDefinitions`, `flags` and `capture`, each `true` or the reason
    /// why not.
    async fn capabilities(&self) -> Json<&Value> {
        Json(&self.0.capabilities)
    }
    /// When the capabilities were found.
    async fn probed_at(&self) -> Option<Instant> {
        self.0.probed_at.map(Instant)
    }
    /// How events get to PostHog.
    async fn forwarder(&self) -> PosthogForwarder<'_> {
        PosthogForwarder(&self.0)
    }
    /// When the tenant first connected.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
}

/// How a tenant's events get to PostHog.
struct PosthogForwarder<'a>(&'a posthog_connection::Model);

/// How a tenant's events get to PostHog.
#[Object]
impl PosthogForwarder<'_> {
    /// Events not sent yet, counted up to 1,000.
    async fn behind(&self, ctx: &Context<'_>) -> async_graphql::Result<usize> {
        Ok(queries::behind(&ctx.cx()?.db(), self.0).await?)
    }
    /// Why sending fails; null while it does not.
    async fn last_error(&self) -> Option<&str> {
        self.0.forward_error.as_deref()
    }
    /// When sending is tried next; null while there is nothing to send.
    async fn next_attempt_at(&self) -> Option<Instant> {
        self.0.forward_at.map(Instant)
    }
}

/// A PostHog project to connect. Connecting again replaces the connection.
#[derive(InputObject)]
struct PosthogConnectInput {
    /// Where events go: a region of PostHog Cloud (`US`, `EU`), or the URL of your own PostHog or proxy. Follows `apiHost` when
    /// absent.
    ingest_host: Option<String>,
    /// Where queries are asked; follows `ingestHost` when absent.
    api_host: Option<String>,
    /// What links to PostHog start with; follows `apiHost` when absent.
    ui_host: Option<String>,
    /// The project's number, or `@current` for a key bound to one project.
    project_id: ID,
    /// The project token, `phc_…`.
    project_token: String,
    /// A personal API key, `phx_…`, with the scopes `query:read`, `feature_flag:read` and `project:read`. Without it events are sent but nothing is
    /// joined. Stored encrypted, never shown.
    personal_api_key: Option<String>,
    /// Which events are sent. By default all from the tenant's first one; for a project that is already connected, those not sent
    /// yet.
    forward_from: Option<ForwardFrom>,
}

/// The connection, or what is wrong.
#[derive(SimpleObject)]
struct PosthogConnectPayload {
    /// The connection; null when nothing was stored.
    connection: Option<PosthogConnection>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The connection to forget.
#[derive(InputObject)]
struct PosthogDisconnectInput {
    /// The connection's id, as `tenant.posthog` gives it.
    id: ID,
}

/// The end of a connection.
#[derive(SimpleObject)]
struct PosthogDisconnectPayload {
    /// The id of the connection that was forgotten; null when nothing was.
    disconnected_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A number, text or list that PostHog computes for each contact.
pub struct Metric(metric::Model);

impl From<metric::Model> for Metric {
    fn from(row: metric::Model) -> Self {
        Self(row)
    }
}

/// A number, text or list that PostHog computes for each contact.
#[Object]
impl Metric {
    /// The metric's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What `analytics.metric(key:)` names it by.
    async fn key(&self) -> &str {
        &self.0.key
    }
    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// What it means.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }
    /// The HogQL aggregate over a contact's events, as it is sent.
    async fn expression(&self) -> &str {
        &self.0.expression
    }
    /// How far back it looks.
    async fn window(&self) -> Duration {
        Duration(TimeDelta::seconds(self.0.window_s))
    }
    /// When it was first saved.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was last saved.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at.into()
    }
}

/// A metric to define, or to change.
#[derive(InputObject)]
struct MetricSaveInput {
    /// Names the metric: 1 to 64 characters of a-z, 0-9 and _, starting with a letter. A metric with this key is changed.
    key: String,
    /// What people call it; the key when absent.
    name: Option<String>,
    /// What it means.
    description: Option<String>,
    /// A HogQL expression over the contact's events in which every column stands inside an aggregate:
    /// `sumIf(toFloat(properties.amount), event = 'purchase')`. Only `events` itself is read: no subqueries, no joins.
    expression: String,
    /// How far back to look, PT1M to P366D.
    #[graphql(default_with = "Duration(TimeDelta::days(30))")]
    window: Duration,
}

/// The metric, or what is wrong.
#[derive(SimpleObject)]
struct MetricSavePayload {
    /// The metric; null when nothing was stored.
    metric: Option<Metric>,
    /// Whether PostHog itself checked the expression; it cannot while it is not connected or does not answer.
    checked_by_posthog: bool,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The metric to delete.
#[derive(InputObject)]
struct MetricDeleteInput {
    /// The metric's id.
    id: ID,
}

/// The end of a metric.
#[derive(SimpleObject)]
struct MetricDeletePayload {
    /// The id of the metric that was deleted; null when nothing was.
    deleted_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The table that a HogQL query gives.
#[derive(SimpleObject)]
struct HogqlResult {
    /// The columns' names.
    columns: Vec<String>,
    /// The columns' types, in ClickHouse's words.
    types: Vec<String>,
    /// A list of rows, each a list of values in the columns' order.
    rows: Json<Vec<Vec<Value>>>,
    /// Whether there are more rows than the query's LIMIT.
    has_more: bool,
    /// The limit that held, in rows.
    limit: Option<u64>,
    /// When PostHog computed it.
    as_of: Instant,
    /// Whether it was computed for an earlier call.
    is_cached: bool,
}

/// PostHog's part of Query.
#[derive(Default)]
pub struct PosthogQuery;

#[Object]
impl PosthogQuery {
    /// The tenant's metrics, oldest first.
    #[graphql(guard = "gql::ANALYTICS_READ", visible = "gql::analytics_read")]
    async fn metrics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from the start: 0 to 100, 25 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what follows this cursor.")] after: Option<String>,
        #[graphql(desc = "How many, from the end: 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what precedes this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Metric>> {
        let cx = ctx.cx()?;
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let sort = SortBy {
            column: metric::Column::CreatedAt,
            descending: false,
        };
        let found = page(cx, "metrics", cx.db().find::<metric::Entity>(), sort, args).await?;
        Ok(found.listing(Metric))
    }

    /// The PostHog project's feature flags, in PostHog's order.
    #[graphql(guard = "gql::ANALYTICS_READ", visible = "gql::analytics_read")]
    async fn feature_flags(
        &self,
        ctx: &Context<'_>,
    ) -> Option<async_graphql::Result<Vec<FeatureFlag>>> {
        let found = async { posthog(ctx).feature_flags(ctx.cx()?).await };
        Some(found.await.map_err(Into::into))
    }

    /// Runs a HogQL SELECT over the tenant's PostHog project: read only, at most 50,000 rows, 100 without a LIMIT.
    #[graphql(guard = "gql::ANALYTICS_READ", visible = "gql::analytics_read")]
    async fn hogql(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The query. Values stand in it as {name} and come by `values`.")]
        query: String,
        #[graphql(desc = "An object of the values: constants, or lists of them.")] values: Option<
            Json<Value>,
        >,
        #[graphql(desc = "How old the answer may be; without it PostHog computes it now.")] max_age: Option<Duration>,
    ) -> Option<async_graphql::Result<HogqlResult>> {
        let found = async {
            let values = values_of(values)?;
            let age_max = max_age.map(|age| age.0);
            posthog(ctx).table(ctx.cx()?, &query, values, age_max).await
        };
        let shown = found.await.map(|(table, is_cached)| HogqlResult {
            columns: table.columns.clone(),
            types: table.types.clone(),
            rows: Json(table.rows.clone()),
            has_more: table.has_more,
            limit: table.limit,
            as_of: table.as_of.into(),
            is_cached,
        });
        Some(shown.map_err(Into::into))
    }
}

fn values_of(values: Option<Json<Value>>) -> Result<Map<String, Value>> {
    match values {
        None | Some(Json(Value::Null)) => Ok(Map::new()),
        Some(Json(Value::Object(values))) => Ok(values),
        Some(_) => Err(Error::invalid(
            "values",
            "the values are an object, by the placeholders' names",
        )),
    }
}

/// PostHog's part of Mutation.
#[derive(Default)]
pub struct PosthogMutation;

#[Object]
impl PosthogMutation {
    /// Connects the tenant to its PostHog project, after asking PostHog what the credentials can do.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn posthog_connect(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project and its credentials.")] input: PosthogConnectInput,
    ) -> async_graphql::Result<PosthogConnectPayload> {
        let new = NewConnection {
            hosts: GivenHosts {
                ingest: input.ingest_host,
                api: input.api_host,
                ui: input.ui_host,
            },
            project_id: input.project_id.0,
            project_token: input.project_token,
            personal_api_key: input.personal_api_key,
            forward_from: input.forward_from,
        };
        let done = commands::connect(ctx.cx()?, posthog(ctx), new).await;
        let (connection, errors) = outcome(done)?;
        Ok(PosthogConnectPayload {
            connection: connection.map(PosthogConnection),
            errors,
        })
    }

    /// Forgets the tenant's PostHog connection and its credentials. Nothing is deleted in PostHog.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn posthog_disconnect(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which connection.")] input: PosthogDisconnectInput,
    ) -> async_graphql::Result<PosthogDisconnectPayload> {
        let deleted = ctx.cx()?.write(async |tx| {
            let id = Id::<posthog_connection::Entity>::parse(&input.id);
            match id {
                Some(id) if commands::disconnect(tx, id).await? => Ok(id),
                _ => Err(Error::user(
                    ErrorCode::NotFound,
                    "id",
                    format!("there is no connection {:?}", *input.id),
                )),
            }
        });
        let (id, errors) = outcome(deleted.await)?;
        Ok(PosthogDisconnectPayload {
            disconnected_id: id.map(|id| id.to_string().into()),
            errors,
        })
    }

    /// Defines a metric, or changes the one with its key.
    #[graphql(guard = "gql::ANALYTICS_WRITE", visible = "gql::analytics_write")]
    async fn metric_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The metric.")] input: MetricSaveInput,
    ) -> async_graphql::Result<MetricSavePayload> {
        let cx = ctx.cx()?;
        let checked = async {
            let new = NewMetric {
                key: input.key,
                name: input.name,
                description: input.description,
                expression: input.expression,
                window_s: analytics::window_s("window", input.window)?,
            };
            commands::check_metric(cx, posthog(ctx), new).await
        };
        let (checked, errors) = outcome(checked.await)?;
        let refused = |errors| MetricSavePayload {
            metric: None,
            checked_by_posthog: false,
            errors,
        };
        let Some(checked) = checked else {
            return Ok(refused(errors));
        };
        let complaints = checked.complaints.as_deref().unwrap_or_default();
        if !complaints.is_empty() {
            let user_errors = complaints
                .iter()
                .map(|said| complaint(said).into())
                .collect();
            return Ok(refused(UserErrors { user_errors }));
        }
        let done = cx
            .write(async |tx| commands::save_metric(tx, &checked).await)
            .await;
        let (metric, errors) = outcome(done)?;
        Ok(MetricSavePayload {
            metric: metric.map(Metric),
            checked_by_posthog: checked.complaints.is_some(),
            errors,
        })
    }

    /// Deletes a metric.
    #[graphql(guard = "gql::ANALYTICS_WRITE", visible = "gql::analytics_write")]
    async fn metric_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which metric.")] input: MetricDeleteInput,
    ) -> async_graphql::Result<MetricDeletePayload> {
        let deleted = ctx.cx()?.write(async |tx| {
            let id = Id::<metric::Entity>::parse(&input.id);
            match id {
                Some(id) if commands::delete_metric(tx, id).await? => Ok(id),
                _ => Err(Error::user(
                    ErrorCode::NotFound,
                    "id",
                    format!("there is no metric {:?}", *input.id),
                )),
            }
        });
        let (id, errors) = outcome(deleted.await)?;
        Ok(MetricDeletePayload {
            deleted_id: id.map(|id| id.to_string().into()),
            errors,
        })
    }
}

/// PostHog's objection to a metric's expression, with its place in it.
fn complaint(said: &Complaint) -> UserError {
    let place = said
        .start
        .and_then(|start| start.checked_sub(BEFORE_EXPRESSION));
    let place = place
        .map(|at| format!(", at character {}", at + 1))
        .unwrap_or_default();
    UserError {
        code: ErrorCode::Invalid,
        field: Some("expression".into()),
        message: format!("PostHog says: {}{place}", said.message),
    }
}

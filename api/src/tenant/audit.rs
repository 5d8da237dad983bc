//! Reading the audit log: in the schema, and whole for the command line.

use async_graphql::{Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use chrono::{DateTime, Utc};
use entity::audit_entry::{self, Column};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::Value;

use crate::base::{
    Listing, PageArgs, Result, Scope, SortBy,
    filter::DateTimeFilter,
    gql::{self, CxExt},
    instant::Instant,
    page,
};

/// Rows of an export that are in memory at once.
const EXPORTED_AT_ONCE: u64 = 500;

/// One thing that somebody changed of the tenant. Entries are appended, and never changed.
#[derive(SimpleObject)]
pub struct AuditEntry {
    /// The entry's id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// When it was done.
    at: Instant,
    /// Who did it.
    actor: AuditActor,
    /// What was done: the mutation's name, such as `apiKeyRevoke`.
    action: String,
    /// The id of what it was done to.
    object_id: Option<ID>,
    /// What changed, without secrets.
    changes: Json<Value>,
    /// The address that the request came from; absent for what was done on the command line.
    ip: Option<String>,
    /// The client, as it names itself; at most 300 characters.
    user_agent: Option<String>,
    /// The request's id, as in logs and in the header `x-request-id`.
    request_id: Option<String>,
}

/// Who did something.
#[derive(SimpleObject)]
struct AuditActor {
    /// What kind of principal it was.
    kind: AuditActorKind,
    /// A key's or a contact's id; of a member its issuer's id, a slash and its subject. Absent for the operator.
    id: Option<ID>,
    /// A key's name and prefix, as they were then; a member's subject.
    name: Option<String>,
}

/// What kind of principal did something.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
enum AuditActorKind {
    /// The tenant's backend, with a secret key.
    SecretKey,
    /// One of the tenant's own people.
    Member,
    /// A browser.
    PublishableKey,
    /// A contact itself.
    Contact,
    /// The one who hosts.
    Operator,
    /// The product itself, or its command line.
    System,
}

impl AuditActorKind {
    const ALL: [Self; 6] = [
        Self::SecretKey,
        Self::Member,
        Self::PublishableKey,
        Self::Contact,
        Self::Operator,
        Self::System,
    ];
    /// As it is stored: [`Actor::source`](crate::base::Actor::source).
    const fn stored(self) -> &'static str {
        match self {
            Self::SecretKey => "secret_key",
            Self::Member => "member",
            Self::PublishableKey => "publishable_key",
            Self::Contact => "contact",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl From<audit_entry::Model> for AuditEntry {
    fn from(row: audit_entry::Model) -> Self {
        let kind = AuditActorKind::ALL
            .into_iter()
            .find(|kind| kind.stored() == row.actor_kind)
            .unwrap_or(AuditActorKind::System);
        Self {
            id: row.id.to_string().into(),
            at: row.at.into(),
            actor: AuditActor {
                kind,
                id: row.actor_id.map(Into::into),
                name: row.actor_name,
            },
            action: row.action,
            object_id: row.object_id.map(Into::into),
            changes: Json(row.changes),
            ip: row.ip,
            user_agent: row.user_agent,
            request_id: row.request_id,
        }
    }
}

/// Which entries; each condition that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
struct AuditLogFilter {
    /// By this kind of principal.
    actor_kind: Option<AuditActorKind>,
    /// By the principal of this id.
    actor_id: Option<ID>,
    /// This mutation's.
    action: Option<String>,
    /// About the object of this id.
    object_id: Option<ID>,
    /// Done then.
    at: Option<DateTimeFilter>,
}

impl AuditLogFilter {
    fn condition(&self) -> Condition {
        let kind = self.actor_kind.map(AuditActorKind::stored);
        Condition::all()
            .add_option(kind.map(|kind| Column::ActorKind.eq(kind)))
            .add_option(self.actor_id.as_deref().map(|id| Column::ActorId.eq(id)))
            .add_option(
                self.action
                    .as_deref()
                    .map(|action| Column::Action.eq(action)),
            )
            .add_option(self.object_id.as_deref().map(|id| Column::ObjectId.eq(id)))
            .add_option(
                self.at
                    .as_ref()
                    .map(|at| at.of_column(&Column::At.into_expr())),
            )
    }
}

#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// Who changed what of the tenant, when and from where; the latest first. What the operator did to the tenant is in it.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many to give from the start; 25 unless given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many to give from the end; 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which ones; all of them unless given.")] filter: Option<AuditLogFilter>,
    ) -> async_graphql::Result<Listing<AuditEntry>> {
        let cx = ctx.cx()?;
        let filter = filter.unwrap_or_default();
        let list = format!("auditLog/{filter:?}");
        let scope = cx.db();
        let rows = scope
            .find::<audit_entry::Entity>()
            .filter(filter.condition());
        let sort = SortBy {
            column: Column::At,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, &list, rows, sort, args)
            .await?
            .listing(AuditEntry::from))
    }
}

/// An entry as the command line writes it, one a line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    id: String,
    at: DateTime<Utc>,
    actor_kind: String,
    actor_id: Option<String>,
    actor_name: Option<String>,
    action: String,
    object_id: Option<String>,
    changes: Value,
    ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
}

/// Gives each of the tenant's entries from `since` on to `write`, the oldest first.
pub async fn export(
    db: &Scope,
    since: Option<DateTime<Utc>>,
    mut write: impl FnMut(Exported) -> anyhow::Result<()>,
) -> Result<()> {
    let mut last: Option<audit_entry::Model> = None;
    loop {
        let mut rows = db.find::<audit_entry::Entity>();
        if let Some(since) = since {
            rows = rows.filter(Column::At.gte(since));
        }
        if let Some(last) = &last {
            let tie = Condition::all()
                .add(Column::At.eq(last.at))
                .add(Column::Id.gt(last.id));
            rows = rows.filter(Condition::any().add(Column::At.gt(last.at)).add(tie));
        }
        let rows = rows
            .order_by_asc(Column::At)
            .order_by_asc(Column::Id)
            .limit(EXPORTED_AT_ONCE)
            .all()
            .await?;
        let Some(end) = rows.last() else {
            return Ok(());
        };
        last = Some(end.clone());
        for row in rows {
            write(row.into())?;
        }
    }
}

impl From<audit_entry::Model> for Exported {
    fn from(row: audit_entry::Model) -> Self {
        Self {
            id: row.id.to_string(),
            at: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            action: row.action,
            object_id: row.object_id,
            changes: row.changes,
            ip: row.ip,
            user_agent: row.user_agent,
            request_id: row.request_id,
        }
    }
}

//! A tenant's PostHog project: one a tenant.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "posthog_connection")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub ingest_host: String,
    pub api_host: String,
    pub ui_host: String,
    pub project_id: String,
    /// Sealed.
    pub project_token: String,
    /// Sealed; absent where only events are sent.
    pub personal_api_key: Option<String>,
    /// What the probe found: JSON object of capability → `true`, `false` or a reason.
    pub capabilities: Json,
    pub probed_at: Option<DateTimeUtc>,
    /// The forwarder's place in the log: everything up to here was sent.
    pub forwarded_xid: i64,
    pub forwarded_seq: i64,
    /// When the forwarder should look at this tenant again; absent while there is nothing to send.
    pub forward_at: Option<DateTimeUtc>,
    pub forward_leased_until: Option<DateTimeUtc>,
    /// Failed attempts in a row.
    pub forward_attempt: i32,
    pub forward_error: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "posthog";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}

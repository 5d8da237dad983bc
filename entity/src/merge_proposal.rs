//! A merge that waits for a person's yes.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "merge_proposal")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The roots that would become one, when it was proposed.
    pub contact_a_id: Id<crate::contact::Entity>,
    pub contact_b_id: Id<crate::contact::Entity>,
    /// The identifiers whose evidence asks for it.
    pub a_id: Id<crate::contact_identifier::Entity>,
    pub b_id: Id<crate::contact_identifier::Entity>,
    /// Why it is not done at once.
    pub concern: String,
    /// What it would touch.
    pub blast: Json,
    /// What a list of proposals is sorted by.
    pub risk: i64,
    pub state: State,
    pub event_id: Option<Id<crate::event::Entity>>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    pub decided_at: Option<DateTimeUtc>,
    /// The principal who decided.
    pub decided_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum State {
    NeedsReview,
    /// It was approved, and the contacts are one.
    Applied,
    /// It was refused: the two are never joined.
    Rejected,
    /// Nobody answered in time; the two stay apart.
    Expired,
    /// It was applied, and the contacts were taken apart again.
    Reversed,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "proposal";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}

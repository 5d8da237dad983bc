//! A set of contacts that a rule describes, or that was listed by hand.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub key: String,
    pub name: String,
    pub description: Option<String>,
    /// Who is in it; absent where members are listed by hand.
    pub rule: Option<Json>,
    /// Grows with each change of the rule: a walk of an older rule ends there.
    pub revision: i32,
    pub state: State,
    /// How many contacts are in it.
    pub size: i64,
    /// When every contact was last asked.
    pub computed_at: Option<DateTimeUtc>,
    /// How far the walk over all contacts came: the last contact asked, in the order of ids.
    pub walk_at: Option<Id<crate::contact::Entity>>,
    pub walked: i64,
    /// How many contacts there were when it began.
    pub walk_total: i64,
    /// When there is something to do for it: the walk goes on, or is tried again. A process that does it sets it ahead.
    pub due_at: Option<DateTimeUtc>,
    /// Failures in a row of the walk.
    pub attempt: i32,
    pub failure: Option<String>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum State {
    /// Contacts are being asked whether they meet a new rule.
    Computing,
    /// Who is in it is known, and follows what happens.
    Live,
    /// The contacts could not be asked.
    Failed,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "segment";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}

//! What became of two contacts: one absorbed the other, or they were taken apart.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "merge_record")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub kind: Kind,
    /// The contact that stays.
    pub survivor_id: Id<crate::contact::Entity>,
    /// The contact that was absorbed by it, or that was taken out of it.
    pub other_id: Id<crate::contact::Entity>,
    pub mode: Mode,
    /// Whether both were known people, rather than one of them a visitor.
    pub known: bool,
    /// The identifiers whose evidence it was; absent where there was none, as in a split.
    pub a_id: Option<Id<crate::contact_identifier::Entity>>,
    pub b_id: Option<Id<crate::contact_identifier::Entity>>,
    /// The two contacts just before: status, distinct id and identifiers of each.
    pub before: Json,
    /// The event that showed it.
    pub event_id: Option<Id<crate::event::Entity>>,
    /// The principal who said what showed it.
    pub said_by: String,
    pub reason: Option<String>,
    pub created_at: DateTimeUtc,
    /// When the two were taken apart again, or joined again.
    pub reversed_at: Option<DateTimeUtc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    Merge,
    Split,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Mode {
    /// The evidence was enough.
    Auto,
    /// A proposal was approved.
    Review,
    /// Somebody asked for it.
    Manual,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "merge";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}

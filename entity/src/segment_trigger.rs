//! What can change the answer of a segment's rule: the inverted index from what happens to the segments concerned.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_trigger")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub segment_id: Id<crate::segment::Entity>,
    pub kind: Kind,
    /// The event's name, the trait's key or the segment's key; empty where the kind says all.
    pub name: String,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    /// An event of this name.
    Event,
    /// A new value of this trait.
    Trait,
    /// Ids that a contact got.
    Identifier,
    /// Who enters or leaves this segment.
    Segment,
    /// A set of contacts that PostHog knows was asked for again.
    Source,
    /// A contact that was not there before: the rule may hold of whom nothing is known.
    Anybody,
}

//! The schema's history. Applied in order, never edited once released.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::MigrationTrait;

mod m0001_ground;
mod m0002_contact;
mod m0003_posthog;
mod m0004_nudge;
mod m0005_identity;
mod m0006_front;
mod m0007_reads;
mod m0008_identity_graph;
mod m0009_segment;
mod m0010_profile;
mod m0011_transfer;
mod m0012_log_partitions;
mod m0013_view;
mod m0014_segment_source;
mod table;

/// The PostgreSQL role that the application works as: it owns nothing, so row level security holds for it.
pub const APP_ROLE: &str = "growthos_app";

/// The PostgreSQL role that work across tenants takes for one transaction: its policies let every row through.
pub const SYSTEM_ROLE: &str = "growthos_system";

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_ground::Migration),
            Box::new(m0002_contact::Migration),
            Box::new(m0003_posthog::Migration),
            Box::new(m0004_nudge::Migration),
            Box::new(m0005_identity::Migration),
            Box::new(m0006_front::Migration),
            Box::new(m0007_reads::Migration),
            Box::new(m0008_identity_graph::Migration),
            Box::new(m0009_segment::Migration),
            Box::new(m0010_profile::Migration),
            Box::new(m0011_transfer::Migration),
            Box::new(m0012_log_partitions::Migration),
            Box::new(m0013_view::Migration),
            Box::new(m0014_segment_source::Migration),
        ]
    }
}

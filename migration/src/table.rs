//! How every table of ours is made, so that no table can forget its fence.

use sea_orm_migration::{
    prelude::*,
    schema::{text, timestamp_with_time_zone, uuid},
    sea_orm::{ConnectionTrait, DatabaseBackend},
};

use crate::{APP_ROLE, SYSTEM_ROLE};

/// A table being described; made by [`tenant_owned`] or [`global`].
pub(crate) struct NewTable {
    name: &'static str,
    create: TableCreateStatement,
    indexes: Vec<IndexCreateStatement>,
    fenced_by: Option<&'static str>,
}

fn named(name: &'static str) -> TableCreateStatement {
    Table::create().table(Alias::new(name)).to_owned()
}

/// A table whose every row belongs to one tenant: `id`, `tenant_id`, and the key `(tenant_id, id)` that
/// other tables point at, so that no row can point across tenants.
pub(crate) fn tenant_owned(name: &'static str) -> NewTable {
    NewTable {
        name,
        create: named(name),
        indexes: vec![],
        fenced_by: Some("tenant_id"),
    }
    .col(uuid("id").primary_key())
    .tenant_columns()
}

/// A table whose fence is another column, or that no tenant owns.
pub(crate) fn global(name: &'static str, fenced_by: Option<&'static str>) -> NewTable {
    NewTable {
        name,
        create: named(name),
        indexes: vec![],
        fenced_by,
    }
}

impl NewTable {
    fn tenant_columns(mut self) -> Self {
        let name = self.name;
        // Part of the table and not an index made after it: a table may point at itself.
        self.create.index(
            Index::create()
                .unique()
                .name(format!("{name}_tenant_id_id"))
                .col(Alias::new("tenant_id"))
                .col(Alias::new("id")),
        );
        self.col(uuid("tenant_id")).foreign_key(
            ForeignKey::create()
                .from(Alias::new(name), Alias::new("tenant_id"))
                .to(Alias::new("tenant"), Alias::new("id"))
                .on_delete(ForeignKeyAction::Cascade),
        )
    }
    pub(crate) fn col(mut self, column: impl IntoColumnDef) -> Self {
        self.create.col(column);
        self
    }
    fn foreign_key(mut self, key: &mut ForeignKeyCreateStatement) -> Self {
        self.create.foreign_key(key);
        self
    }
    /// A column that points at a row of the same tenant, and goes with it.
    pub(crate) fn points_at(self, column: &'static str, table: &'static str) -> Self {
        let name = self.name;
        self.foreign_key(
            ForeignKey::create()
                .from(
                    Alias::new(name),
                    (Alias::new("tenant_id"), Alias::new(column)),
                )
                .to(
                    Alias::new(table),
                    (Alias::new("tenant_id"), Alias::new("id")),
                )
                .on_delete(ForeignKeyAction::Cascade),
        )
    }
    fn indexed(mut self, columns: &[&'static str], unique: bool) -> Self {
        let mut index = Index::create()
            .name(format!("{}_{}", self.name, columns.join("_")))
            .table(Alias::new(self.name))
            .to_owned();
        for column in columns {
            index.col(Alias::new(*column));
        }
        if unique {
            index.unique();
        }
        self.indexes.push(index);
        self
    }
    pub(crate) fn index(self, columns: &[&'static str]) -> Self {
        self.indexed(columns, false)
    }
    pub(crate) fn unique(self, columns: &[&'static str]) -> Self {
        self.indexed(columns, true)
    }
    pub(crate) fn created_at(self) -> Self {
        self.col(timestamp_with_time_zone("created_at"))
    }
    pub(crate) fn key_and_name(self) -> Self {
        self.col(text("key")).col(text("name"))
    }
    /// Creates the table with its indexes, and on PostgreSQL its grants and its policies.
    pub(crate) async fn make(self, m: &SchemaManager<'_>) -> Result<(), DbErr> {
        m.create_table(self.create).await?;
        for index in self.indexes {
            m.create_index(index).await?;
        }
        fence(m, self.name, self.fenced_by).await
    }
}

/// Grants the application its rows; with a fence column, only those of `app.tenant`, which is set
/// inside a transaction, never on a session, or all as the system's role, which is taken inside a transaction, too. A setting
/// instead of that role would stand in every query's condition and spoil the planner's estimates: it sorted all of a tenant's
/// contacts for a page of them. `select` around the
/// setting makes PostgreSQL read it once a statement.
pub(crate) async fn fence(
    m: &SchemaManager<'_>,
    table: &str,
    column: Option<&str>,
) -> Result<(), DbErr> {
    if m.get_database_backend() != DatabaseBackend::Postgres {
        return Ok(());
    }
    let db = m.get_connection();
    db.execute_unprepared(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {APP_ROLE}"
    ))
    .await?;
    if let Some(column) = column {
        db.execute_unprepared(&format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY tenant ON {table}
                 USING ({column} = (SELECT nullif(current_setting('app.tenant', true), '')::uuid));
             CREATE POLICY system ON {table} TO {SYSTEM_ROLE} USING (true);"
        ))
        .await?;
    }
    Ok(())
}

/// Runs a statement over the rows of all tenants in fenced tables. The owner is held by their policies, too, unless it is a
/// superuser: so they are lifted for it, in the migration's transaction.
pub(crate) async fn across_tenants(
    m: &SchemaManager<'_>,
    tables: &[&str],
    statement: &str,
) -> Result<(), DbErr> {
    let db = m.get_connection();
    let fenced = m.get_database_backend() == DatabaseBackend::Postgres;
    for (verb, last) in [("NO FORCE", false), ("FORCE", true)] {
        if last {
            db.execute_unprepared(statement).await?;
        }
        for table in tables.iter().filter(|_| fenced) {
            db.execute_unprepared(&format!("ALTER TABLE {table} {verb} ROW LEVEL SECURITY"))
                .await?;
        }
    }
    Ok(())
}

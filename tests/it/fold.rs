//! Every room says what becomes of its rows where contacts become one or are taken apart, are given what is known of them, or are
//! erased.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, Database};
use tests::on_postgres;

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "it asks for what PostgreSQL alone can tell"
)]
async fn every_table_that_names_a_contact_is_declared_by_its_room() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let rows = Database::connect(kit.database_url())
            .await?
            .query_all_raw(sea_orm::Statement::from_string(
                sea_orm::DatabaseBackend::Postgres,
                "SELECT table_name || '.' || column_name AS named FROM information_schema.columns
                 WHERE table_schema = 'public' AND (column_name = 'contact_id' OR column_name LIKE '%\\_contact_id'
                     OR column_name LIKE 'contact\\_%\\_id')
                 UNION SELECT conrelid::regclass || '.' || attname FROM pg_constraint
                 JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) AND attname <> 'tenant_id'
                 WHERE contype = 'f' AND confrelid = 'contact'::regclass",
            ))
            .await?;
        let mut named = BTreeSet::new();
        for row in rows {
            named.insert(row.try_get::<String>("", "named")?);
        }
        let held = kit.app.env.modules.iter().flat_map(|module| module.fold.tables);
        let declared: BTreeSet<String> = held
            .filter(|held| held.through.is_none() && (held.table, held.contact) != ("contact", "id"))
            .map(|held| format!("{}.{}", held.table, held.contact))
            .collect();
        assert_eq!(named, declared);
        Ok(())
    })
    .await
}

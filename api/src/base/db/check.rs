//! Whether a database is fit to be used: for `doctor`, which asks before a user finds out.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::Db;
use crate::base::Result;

/// Tables that hold a tenant's rows and lack a part of their fence.
const UNFENCED: &str = "
    SELECT c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
      AND (c.relname = 'tenant' OR EXISTS (
          SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
          SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant'))
    ORDER BY c.relname";

const ROLE: &str = "
    SELECT current_user::text AS name, session_user::text AS login, rolsuper, rolbypassrls,
           (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = current_schema() AND c.relowner = r.oid) AS owned
    FROM pg_roles r WHERE rolname = current_user";

/// The role that the application works as on PostgreSQL. Row level security holds for one that is no superuser, may
/// not bypass it and owns no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    /// The role that the URL names, which the application steps down from.
    pub login: String,
    pub superuser: bool,
    pub bypasses_rls: bool,
    pub tables_owned: i64,
}

impl Role {
    pub const fn is_fenced(&self) -> bool {
        !self.superuser && !self.bypasses_rls && self.tables_owned == 0
    }
}

impl Db {
    /// `None` on SQLite, which has no roles.
    pub async fn role(&self) -> Result<Option<Role>> {
        if !self.is_postgres() {
            return Ok(None);
        }
        let row = self
            .inner
            .reader
            .query_one_raw(Statement::from_string(DbBackend::Postgres, ROLE))
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Role {
            name: row.try_get("", "name")?,
            login: row.try_get("", "login")?,
            superuser: row.try_get("", "rolsuper")?,
            bypasses_rls: row.try_get("", "rolbypassrls")?,
            tables_owned: row.try_get("", "owned")?,
        }))
    }

    /// Tables with tenants' rows that row level security does not hold, or not for their owner. Empty on SQLite,
    /// where the application's own fence is the only one.
    pub async fn unfenced_tables(&self) -> Result<Vec<String>> {
        if !self.is_postgres() {
            return Ok(vec![]);
        }
        let rows = self
            .inner
            .reader
            .query_all_raw(Statement::from_string(DbBackend::Postgres, UNFENCED))
            .await?;
        Ok(rows
            .iter()
            .map(|row| row.try_get("", "relname"))
            .collect::<Result<_, _>>()?)
    }

    /// How far the database's clock is ahead of `now`; zero on SQLite, which has none of its own.
    pub async fn clock_ahead(&self, now: DateTime<Utc>) -> Result<TimeDelta> {
        if !self.is_postgres() {
            return Ok(TimeDelta::zero());
        }
        let asked = Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now");
        let row = self.inner.reader.query_one_raw(asked).await?;
        let Some(row) = row else {
            return Ok(TimeDelta::zero());
        };
        let theirs: DateTime<Utc> = row.try_get("", "now")?;
        Ok(theirs - now)
    }
}

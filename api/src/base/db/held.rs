//! Rows of contacts, in whichever table a room declares: read as JSON for an archive, deleted for an erasure.

use entity::ContactId;
use sea_orm::{
    Condition, ConnectionTrait, DbBackend, DbErr, Order,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Scope, Tx};
use crate::base::{Held, Mention, Result, filter::like};

/// What a row is called in its own query.
const ROW: &str = "held";

/// A column of a table of SQLite, which keeps JSON as text and ids as bytes.
struct Shape {
    name: String,
    is_json: bool,
    is_id: bool,
}

impl Scope {
    /// At most `limit` rows of the contacts, in the order of their ids, behind the id `after`: each with its id, as a JSON
    /// object of all its columns but the tenant's.
    pub async fn held(
        &self,
        held: &Held,
        contacts: &[ContactId],
        after: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<(Uuid, Value)>> {
        let rows = self
            .place()
            .run(self.fence(), async |conn| {
                let row = match conn.get_database_backend() {
                    DbBackend::Postgres => Expr::cust(format!("to_jsonb({ROW}) - 'tenant_id'")),
                    _ => Expr::cust(json_object(&shape(&conn, held.table).await?)),
                };
                let id = Expr::col((ROW, "id"));
                let mut select = self.of_contacts(held, contacts);
                select
                    .expr_as(id.clone(), "id")
                    .expr_as(row, "held_row")
                    .order_by_expr(id.clone(), Order::Asc)
                    .limit(limit);
                if let Some(after) = after {
                    select.and_where(id.gt(after));
                }
                let rows = conn.query_all(&select).await?;
                rows.iter()
                    .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "held_row")?)))
                    .collect::<Result<Vec<(Uuid, Value)>, DbErr>>()
            })
            .await?;
        Ok(rows)
    }

    /// The contacts' rows, as [`ROW`], with nothing selected yet.
    fn of_contacts(&self, held: &Held, contacts: &[ContactId]) -> SelectStatement {
        let named = Expr::col((ROW, held.contact));
        let theirs = match held.through {
            None => named.is_in(contacts.iter().copied()),
            Some(owner) => {
                let mut owners = self.of_contacts(owner, contacts);
                owners.column((ROW, "id"));
                named.in_subquery(owners)
            }
        };
        Query::select()
            .from_as(Alias::new(held.table), ROW)
            .and_where(Expr::col((ROW, "tenant_id")).eq(Expr::value(self.tenant())))
            .and_where(theirs)
            .to_owned()
    }
}

impl Tx {
    /// Deletes at most `limit` rows of the contacts; says how many.
    pub async fn delete_held(
        &self,
        held: &Held,
        contacts: &[ContactId],
        limit: u64,
    ) -> Result<u64> {
        let mut ids = self.of_contacts(held, contacts);
        ids.column((ROW, "id")).limit(limit);
        let delete = Query::delete()
            .from_table(Alias::new(held.table))
            .and_where(Expr::col("tenant_id").eq(Expr::value(self.tenant())))
            .and_where(Expr::col("id").in_subquery(ids))
            .to_owned();
        Ok(self.conn().execute(&delete).await?.rows_affected())
    }
}

impl Tx {
    /// Deletes the rows of this tenant that hold one of the texts; says how many.
    pub async fn delete_mentions(&self, mention: &Mention, texts: &[String]) -> Result<u64> {
        let column = Expr::col(mention.column).cast_as("text");
        let any = texts.iter().fold(Condition::any(), |any, text| {
            any.add(like(&column, "%", text))
        });
        if any.is_empty() {
            return Ok(0);
        }
        let delete = Query::delete()
            .from_table(Alias::new(mention.table))
            .and_where(Expr::col("tenant_id").eq(Expr::value(self.tenant())))
            .cond_where(any)
            .to_owned();
        Ok(self.conn().execute(&delete).await?.rows_affected())
    }
}

/// The columns of a table of SQLite. `table` is a room's own word.
async fn shape(conn: &impl ConnectionTrait, table: &str) -> Result<Vec<Shape>, DbErr> {
    let sql = format!("SELECT name, type FROM pragma_table_info('{table}') ORDER BY cid");
    let asked = sea_orm::Statement::from_string(DbBackend::Sqlite, sql);
    let rows = conn.query_all_raw(asked).await?;
    rows.iter()
        .map(|row| {
            let kind: String = row.try_get("", "type")?;
            let kind = kind.to_ascii_lowercase();
            Ok(Shape {
                name: row.try_get("", "name")?,
                is_json: kind.contains("json"),
                is_id: kind.contains("uuid"),
            })
        })
        .collect()
}

fn json_object(columns: &[Shape]) -> String {
    let members: Vec<String> = columns
        .iter()
        .filter(|column| column.name != "tenant_id")
        .map(|column| {
            let name = &column.name;
            let value = format!("{ROW}.\"{name}\"");
            let value = if column.is_json {
                format!("json({value})")
            } else if column.is_id {
                uuid_text(&value)
            } else {
                value
            };
            format!("'{name}', {value}")
        })
        .collect();
    format!("json_object({})", members.join(", "))
}

/// The bytes of an id as PostgreSQL writes a uuid.
fn uuid_text(value: &str) -> String {
    let groups = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
    let groups = groups.map(|(from, digits)| format!("substr(hex({value}), {from}, {digits})"));
    format!(
        "CASE WHEN {value} IS NOT NULL THEN lower({}) END",
        groups.join(" || '-' || ")
    )
}

//! One stream of what is about a contact, over the tables of all rooms.
//!
//! Each room declares which of its rows are in it. A page of the stream is one statement: of each table the first rows of each
//! member of the family, by its index, and of all of them the first.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{Id, Named};
use sea_orm::{
    Condition, Order,
    sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement, UnionType},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Actor, Between, MEMBER, Module, Planning, ROOT, Result, Scope, gql::Need};

/// Rows of one table that contacts' timelines show. The table has an index by tenant, contact and instant.
pub struct TimelineSource {
    /// What they are called in the schema: `CONSENT`.
    pub kind: &'static str,
    pub table: &'static str,
    /// The column that names the contact.
    pub contact: &'static str,
    /// The column by which they are sorted: an instant.
    pub at: &'static str,
    /// Makes their ids, as the schema shows them.
    pub id: fn(Uuid) -> String,
    /// Who may see them.
    pub need: Need,
    /// What is shown of them, by its name there.
    pub details: &'static [(&'static str, Detail)],
    /// What happened, in a few words.
    pub title: fn(&Map<String, Value>) -> String,
    /// Which of them.
    pub narrow: Option<fn(&Seeing<'_>) -> Condition>,
    /// Rows that name a contact of the same family in this column, too, are shown for that one.
    pub unless: Option<&'static str>,
    /// Events of the room that tell of the same thing.
    pub told_as: &'static [&'static str],
}

/// One column of a row.
#[derive(Clone, Copy, Debug)]
pub enum Detail {
    Text(&'static str),
    Json(&'static str),
    /// An id of another row, and what makes it.
    Id(&'static str, fn(Uuid) -> String),
}

/// The id of a row of `E`, as the schema shows it.
pub fn type_id<E: Named>(id: Uuid) -> String {
    Id::<E>::from_uuid(id).to_string()
}

/// Who looks at a timeline.
pub struct Seeing<'a> {
    pub scope: &'a Scope,
    pub actor: &'a Actor,
    pub modules: &'static [&'static Module],
}

/// One item of a timeline.
#[derive(Clone)]
pub struct TimelineRow {
    pub source: &'static TimelineSource,
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub details: Map<String, Value>,
}

/// Which items, and how many of each root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineWanted {
    /// Only these kinds; empty: all.
    pub kinds: Vec<&'static str>,
    pub between: Between,
    pub rows: u64,
    /// The oldest, rather than the newest.
    pub oldest: bool,
}

impl Seeing<'_> {
    fn sources(&self, kinds: &[&'static str]) -> Vec<&'static TimelineSource> {
        self.modules
            .iter()
            .flat_map(|module| module.timeline)
            .filter(|source| kinds.is_empty() || kinds.contains(&source.kind))
            .filter(|source| source.need.met_by(self.actor))
            .collect()
    }

    fn narrowed(&self, source: &TimelineSource) -> Condition {
        source
            .narrow
            .map_or_else(Condition::all, |narrow| narrow(self))
    }

    /// The first items of each root, whose `members` are given; the newest first, unless the oldest are wanted.
    pub async fn timelines(
        &self,
        roots: &[Uuid],
        members: &SelectStatement,
        wanted: &TimelineWanted,
    ) -> Result<HashMap<Uuid, Vec<TimelineRow>>> {
        let sources = self.sources(&wanted.kinds);
        let slots = Slots::of(&sources);
        let Some(page) = self.statement(roots, members, wanted) else {
            return Ok(HashMap::new());
        };
        let found = self
            .scope
            .read_all(vec![self.scope.read(&page)], Planning::Once)
            .await?;
        let mut items: HashMap<Uuid, Vec<TimelineRow>> = HashMap::new();
        for cells in found.iter().flatten() {
            let place = usize::try_from(cells.int(1)?).unwrap_or_default();
            let Some(source) = sources.get(place) else {
                continue;
            };
            items.entry(cells.uuid(0)?).or_default().push(TimelineRow {
                source,
                id: cells.uuid(2)?,
                at: cells.instant(3)?,
                details: slots.details(cells, source)?,
            });
        }
        let rows = usize::try_from(wanted.rows).unwrap_or(usize::MAX);
        for items in items.values_mut() {
            items.sort_unstable_by_key(|item| (item.at, item.id));
            if !wanted.oldest {
                items.reverse();
            }
            items.truncate(rows);
        }
        Ok(items)
    }

    /// The statement that reads them; `None` where there is nothing that the caller may see.
    pub fn statement(
        &self,
        roots: &[Uuid],
        members: &SelectStatement,
        wanted: &TimelineWanted,
    ) -> Option<SelectStatement> {
        let sources = self.sources(&wanted.kinds);
        let slots = Slots::of(&sources);
        let order = if wanted.oldest {
            Order::Asc
        } else {
            Order::Desc
        };
        let parts = sources.iter().enumerate().map(|(place, source)| {
            let narrow = between(source, &wanted.between).add(self.narrowed(source));
            let each = self.scope.first_of_named(
                members,
                (source.table, source.contact, source.unless),
                narrow,
                &[(source.at, order.clone()), ("id", order.clone())],
                wanted.rows,
            );
            slots.select(each.select, each.rows, place, source)
        });
        let mut page = Query::select()
            .expr(Expr::cust("*"))
            .from_subquery(union(parts)?, "item")
            .to_owned();
        // Several roots' items are told apart by the reader: each has few enough.
        if roots.len() == 1 {
            page.order_by("at", order.clone())
                .order_by("id", order)
                .limit(wanted.rows);
        }
        Some(page)
    }

    /// How many items each root has; roots without any are left out.
    pub async fn timeline_counts(
        &self,
        members: &SelectStatement,
        kinds: &[&'static str],
    ) -> Result<HashMap<Uuid, u64>> {
        let sources = self.sources(kinds);
        let parts = sources.iter().map(|source| {
            self.scope.count_of_named(
                members,
                (source.table, source.contact, source.unless),
                self.narrowed(source),
            )
        });
        let Some(all) = union(parts) else {
            return Ok(HashMap::new());
        };
        let found = self
            .scope
            .read_all(vec![self.scope.read(&all)], Planning::Once)
            .await?;
        let mut counts: HashMap<Uuid, u64> = HashMap::new();
        for cells in found.iter().flatten() {
            let count = u64::try_from(cells.long(1)?).unwrap_or_default();
            *counts.entry(cells.uuid(0)?).or_default() += count;
        }
        Ok(counts)
    }
}

fn union(mut parts: impl Iterator<Item = SelectStatement>) -> Option<SelectStatement> {
    let mut all = parts.next()?;
    for part in parts {
        all.union(UnionType::All, part);
    }
    Some(all)
}

/// The rows behind `after` and ahead of `before`, in the stream's order: the newest first.
fn between(source: &TimelineSource, between: &Between) -> Condition {
    let column = |name: &'static str| Expr::col((Alias::new(source.table), Alias::new(name)));
    let mut all = Condition::all();
    for (place, older) in [(between.after, true), (between.before, false)] {
        let Some((at, id)) = place else { continue };
        let (past, past_id) = if older {
            (column(source.at).lt(at), column("id").lt(id))
        } else {
            (column(source.at).gt(at), column("id").gt(id))
        };
        let tie = column(source.at).eq(at).and(past_id);
        all = all.add(past.or(tie));
    }
    all
}

/// The columns that all tables' rows are fitted into: ids first, then texts.
struct Slots {
    ids: usize,
    texts: usize,
}

/// Columns ahead of the slots: root, source, id and instant.
const OWN: usize = 4;

impl Slots {
    fn of(sources: &[&TimelineSource]) -> Self {
        let most = |counts: fn(&Detail) -> bool| {
            let each = sources.iter().map(|source| {
                let counted = source.details.iter().filter(|(_, detail)| counts(detail));
                counted.count()
            });
            each.max().unwrap_or_default()
        };
        Self {
            ids: most(|detail| matches!(detail, Detail::Id(..))),
            texts: most(|detail| !matches!(detail, Detail::Id(..))),
        }
    }

    /// Selects a source's columns after its root; `rows` is what the rows are called.
    fn select(
        &self,
        mut select: SelectStatement,
        rows: &'static str,
        place: usize,
        source: &TimelineSource,
    ) -> SelectStatement {
        let column = |name: &'static str| Expr::col((rows, Alias::new(name)));
        select
            .expr_as(Expr::cust(place.to_string()), "source")
            .expr_as(column("id"), "id")
            .expr_as(column(source.at), "at");
        let mut ids = 0;
        for (_, detail) in source.details {
            if let Detail::Id(name, _) = detail {
                select.expr_as(column(name), format!("id{ids}"));
                ids += 1;
            }
        }
        for empty in ids..self.ids {
            select.expr_as(Expr::cust("CAST(NULL AS uuid)"), format!("id{empty}"));
        }
        let mut texts = 0;
        for (_, detail) in source.details {
            if let Detail::Text(name) | Detail::Json(name) = detail {
                select.expr_as(column(name).cast_as("text"), format!("text{texts}"));
                texts += 1;
            }
        }
        for empty in texts..self.texts {
            select.expr_as(Expr::cust("CAST(NULL AS text)"), format!("text{empty}"));
        }
        select
    }

    fn details(&self, cells: &super::Cells, source: &TimelineSource) -> Result<Map<String, Value>> {
        let (mut ids, mut texts) = (OWN, OWN + self.ids);
        let mut details = Map::new();
        for (name, detail) in source.details {
            let value = match detail {
                Detail::Id(_, shown) => {
                    ids += 1;
                    cells.uuid_if_any(ids - 1)?.map(|id| shown(id).into())
                }
                Detail::Text(_) => {
                    texts += 1;
                    cells.text_if_any(texts - 1)?.map(Value::from)
                }
                Detail::Json(_) => {
                    texts += 1;
                    let text = cells.text_if_any(texts - 1)?;
                    text.map(|text| serde_json::from_str(&text)).transpose()?
                }
            };
            details.insert((*name).to_owned(), value.unwrap_or_default());
        }
        Ok(details)
    }
}

/// Whether a row `rows` of a source names, in `unless`, another member of the family of the member at hand.
pub(super) fn named_besides(members: &SelectStatement, root: Expr, unless: Expr) -> Expr {
    let kin = Query::select()
        .expr(Expr::cust("1"))
        .from_subquery(members.clone(), "kin")
        .and_where(Expr::col(("kin", ROOT)).eq(root))
        .and_where(Expr::col(("kin", MEMBER)).eq(unless))
        .to_owned();
    Expr::exists(kin)
}

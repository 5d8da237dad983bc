//! Who is related to whom over several steps: breadth first, one statement a step for all walks of a page.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use async_graphql::dataloader::Loader;
use entity::{
    ContactId, Id, contact,
    relationship::{Column, Entity, Kind},
};
use sea_orm::{
    ColumnTrait as _,
    sea_query::{Expr, ExprTrait as _, Func, JoinType, Order, Query, SelectStatement, UnionType},
};
use uuid::Uuid;

use super::RelationshipDirection;
use crate::{
    base::{Cx, Error, MEMBER, Planning, ROOT, Result, Scope},
    contact::graphql::members,
};

/// Relationships that one step looks at, over all walks: the rest of a crowd is left out.
const EDGES_A_STEP: u64 = 10_000;

/// Contacts that one walk meets: more than any list shows, and few enough to go on from.
const MET_MAX: usize = 1_000;

/// One walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::contact) struct Walk {
    /// Where it begins: a root.
    pub(super) root: ContactId,
    /// Along which relationships; absent: all.
    pub(super) kind: Option<Kind>,
    pub(super) direction: RelationshipDirection,
    /// How many steps.
    pub(super) steps: u32,
    /// How many contacts are asked for.
    pub(super) first: usize,
}

/// One request's walks.
pub(in crate::contact) struct Walks(pub(in crate::contact) Cx);

/// Whom a walk met, the nearest first, and how many steps away.
pub(in crate::contact) type Met = Vec<(ContactId, u32)>;

impl Loader<Walk> for Walks {
    type Value = Met;
    type Error = Arc<Error>;

    async fn load(&self, walks: &[Walk]) -> Result<HashMap<Walk, Met>, Arc<Error>> {
        let scope = self.0.db();
        // Walks of one kind go together.
        let mut alike: HashMap<(Option<Kind>, RelationshipDirection), Vec<Walk>> = HashMap::new();
        for walk in walks {
            alike
                .entry((walk.kind, walk.direction))
                .or_default()
                .push(*walk);
        }
        let mut met = HashMap::new();
        for (along, walks) in alike {
            let mut under_way: Vec<UnderWay> = walks.into_iter().map(UnderWay::new).collect();
            loop {
                let edge: BTreeSet<Uuid> = under_way
                    .iter()
                    .flat_map(|walk| walk.edge.iter().map(|id| id.uuid()))
                    .collect();
                if edge.is_empty() {
                    break;
                }
                let edge: Vec<Uuid> = edge.into_iter().collect();
                let next = step(&scope, self.0.now(), along, &edge).await?;
                for walk in &mut under_way {
                    walk.go_on(&next);
                }
            }
            met.extend(under_way.into_iter().map(|walk| (walk.walk, walk.met)));
        }
        Ok(met)
    }
}

struct UnderWay {
    walk: Walk,
    /// Where it has been: so a circle ends.
    seen: HashSet<ContactId>,
    /// From where it goes on.
    edge: Vec<ContactId>,
    steps: u32,
    met: Met,
}

impl UnderWay {
    fn new(walk: Walk) -> Self {
        let edge = if walk.steps == 0 || walk.first == 0 {
            vec![]
        } else {
            vec![walk.root]
        };
        Self {
            walk,
            seen: HashSet::from([walk.root]),
            edge,
            steps: 0,
            met: vec![],
        }
    }

    fn go_on(&mut self, next: &BTreeMap<ContactId, BTreeSet<ContactId>>) {
        let found: BTreeSet<ContactId> = self
            .edge
            .iter()
            .filter_map(|from| next.get(from))
            .flatten()
            .copied()
            .collect();
        self.steps += 1;
        let new: Vec<ContactId> = found
            .into_iter()
            .filter(|id| self.seen.len() <= MET_MAX && self.seen.insert(*id))
            .collect();
        let steps = self.steps;
        self.met.extend(new.iter().map(|id| (*id, steps)));
        let ends = self.steps >= self.walk.steps || self.met.len() >= self.walk.first;
        self.met.truncate(self.walk.first);
        self.edge = if ends { vec![] } else { new };
    }
}

/// The roots that each of `edge` is related to now.
async fn step(
    scope: &Scope,
    now: chrono::DateTime<chrono::Utc>,
    (kind, direction): (Option<Kind>, RelationshipDirection),
    edge: &[Uuid],
) -> Result<BTreeMap<ContactId, BTreeSet<ContactId>>> {
    let side = |own: Column, other: Column| -> SelectStatement {
        let of = |column: Column| Expr::col((Entity, column));
        let met = |column: contact::Column| Expr::col((contact::Entity, column));
        let root = Func::coalesce([met(contact::Column::MergedInto), met(contact::Column::Id)]);
        let mut select = Query::select();
        select
            .expr(Expr::col(("whose", ROOT)))
            .expr_as(root, "met")
            .from_subquery(members(scope, edge), "whose")
            .join(
                JoinType::InnerJoin,
                Entity,
                of(own)
                    .eq(Expr::col(("whose", MEMBER)))
                    .and(of(Column::TenantId).eq(scope.tenant())),
            )
            .join(
                JoinType::InnerJoin,
                contact::Entity,
                met(contact::Column::Id)
                    .eq(of(other))
                    .and(met(contact::Column::TenantId).eq(scope.tenant())),
            )
            .and_where(
                of(Column::ValidTo)
                    .is_null()
                    .or(of(Column::ValidTo).gt(now)),
            )
            .and_where_option(kind.map(|kind| Column::Kind.eq(kind)));
        select
    };
    let (out, back) = (
        || side(Column::ContactAId, Column::ContactBId),
        || side(Column::ContactBId, Column::ContactAId),
    );
    let mut all = match direction {
        RelationshipDirection::Out => out(),
        RelationshipDirection::In => back(),
        RelationshipDirection::Any => out().union(UnionType::All, back()).to_owned(),
    };
    // So that what a crowd leaves out is the same each time.
    all.order_by(ROOT, Order::Asc)
        .order_by("met", Order::Asc)
        .limit(EDGES_A_STEP);
    let rows = scope
        .read_all(vec![scope.read(&all)], Planning::Once)
        .await?;
    let mut next: BTreeMap<ContactId, BTreeSet<ContactId>> = BTreeMap::new();
    for cells in rows.iter().flatten() {
        let from = Id::from_uuid(cells.uuid(0)?);
        let to = Id::from_uuid(cells.uuid(1)?);
        next.entry(from).or_default().insert(to);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> ContactId {
        Id::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn a_walk_ends_in_a_circle_at_its_steps_and_at_its_number() {
        let circle = BTreeMap::from([
            (id(1), BTreeSet::from([id(2), id(3)])),
            (id(2), BTreeSet::from([id(1), id(4)])),
            (id(3), BTreeSet::from([id(4)])),
            (id(4), BTreeSet::from([id(1)])),
        ]);
        for (steps, first, expected) in [
            (5, 25, vec![(id(2), 1), (id(3), 1), (id(4), 2)]),
            (1, 25, vec![(id(2), 1), (id(3), 1)]),
            (5, 1, vec![(id(2), 1)]),
            (5, 0, vec![]),
        ] {
            let mut walk = UnderWay::new(Walk {
                root: id(1),
                kind: None,
                direction: RelationshipDirection::Out,
                steps,
                first,
            });
            let mut taken = 0;
            while !walk.edge.is_empty() {
                walk.go_on(&circle);
                taken += 1;
                assert!(taken <= steps);
            }
            assert_eq!(walk.met, expected);
        }
    }
}

//! Rules as SQL. One statement finds everybody who meets a rule; narrowed to some contacts it is the same statement, so there
//! is one answer to whether a contact is in.
//!
//! What is counted becomes a joined table, a row a contact. An `IN` or `EXISTS` over it would do for a rule of one part; under
//! `or` and `not` PostgreSQL runs those once a contact when their answer outgrows its working memory.

mod condition;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, Id, contact, contact_alias, event, segment};
use sea_orm::{
    ColumnTrait, Condition, IntoSimpleExpr, QueryFilter, QueryTrait,
    sea_query::{
        Alias, CaseStatement, Expr, ExprTrait, Func, IntoIden, JoinType, Order, Query,
        SelectStatement, WindowStatement,
    },
};
use uuid::Uuid;

use self::condition::{Asking, compared};
use super::rules::{EventRule, MomentRule, PropertyRule, Rule, StateRule, Times};
use crate::{
    base::{AT, CONTACT, Result, Rows, Scope, State, gql::Duration, storable},
    contact as contact_room,
};

/// The columns of a joined table.
const ROOT: &str = "root";
const TIMES: &str = "times";
const FIRST: &str = "first";
const LAST: &str = "last";
const PLACE: &str = "place";

/// What decides who is in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who<'a> {
    Rule(&'a Rule),
    /// Who was put into it by hand.
    Listed(Id<segment::Entity>),
}

/// Of whom it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    Everybody,
    These {
        roots: &'a [Uuid],
        /// The roots, and all that they absorbed.
        members: &'a [Uuid],
    },
}

/// A question about contacts at one instant.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) scope: &'a Scope,
    pub(super) now: DateTime<Utc>,
    pub(super) states: &'a [&'static State],
    pub(super) reach: Reach<'a>,
}

/// When the answer about a contact can change by itself.
pub(super) struct Expiry {
    /// Occurrences that are about to be forgotten: [`ROOT`] and [`AT`].
    pub(super) select: SelectStatement,
    /// How long they count.
    pub(super) within: TimeDelta,
}

/// One rule that asks something, with what there is to say of it about a contact.
pub(super) struct Leaf<'a> {
    /// Where it stands in the whole.
    pub(super) place: String,
    pub(super) rule: &'a Rule,
    /// Whether occurrences are counted for it.
    pub(super) counts: bool,
}

impl<'a> Question<'a> {
    /// The contacts that meet it, roots alone.
    pub(super) fn who(&self, who: Who<'_>) -> Result<Rows<'a, contact::Entity>> {
        let mut asking = Asking {
            question: self,
            joined: vec![],
        };
        let condition = match who {
            Who::Rule(rule) => asking.rule(rule)?,
            Who::Listed(segment) => asking.listed(segment),
        };
        let mut rows = contact_room::listed(self.scope).filter(Condition::all().add(condition));
        if let Reach::These { roots, .. } = self.reach {
            let narrow = self
                .scope
                .is_one_of::<contact::Entity>(contact::Column::Id, roots);
            rows = rows.filter(narrow);
        }
        join(QueryTrait::query(&mut rows), asking.joined);
        Ok(rows)
    }

    /// Where windows end: for each part of the rule that has one, the occurrences whose end can change its answer.
    pub(super) fn expiries(&self, rule: &Rule) -> Vec<Expiry> {
        let mut found = vec![];
        for (_, part) in rule.walk() {
            let (occurrences, within, decisive) = match part {
                Rule::Event(event) => {
                    let times = Times::of(event.at_least, event.at_most);
                    (self.counted(event), event.within, times.decisive())
                }
                Rule::State(state) => {
                    let times = Times::of(state.at_least, state.at_most);
                    let Some(occurrences) = self.reached(state) else {
                        continue;
                    };
                    (occurrences, state.within, times.decisive())
                }
                Rule::LastEvent(moment) => (self.ever(moment), moment.within, vec![1]),
                Rule::FirstEvent(moment) => {
                    if let Some(Duration(within)) = moment.within {
                        found.push(Expiry {
                            select: firsts(self.rooted(self.ever(moment))),
                            within,
                        });
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(Duration(within)) = within {
                found.push(Expiry {
                    select: newest(self.rooted(occurrences), &decisive),
                    within,
                });
            }
        }
        found
    }

    /// One row that tells of one contact: for each leaf whether it holds, and for those that count how often, first and last.
    pub(super) fn told(
        &self,
        rule: &'a Rule,
        contact: ContactId,
    ) -> Result<(Vec<Leaf<'a>>, SelectStatement)> {
        let mut asking = Asking {
            question: self,
            joined: vec![],
        };
        let mut row = self.scope.subquery::<contact::Entity>();
        row.and_where(contact::Column::Id.eq(contact));
        let mut leaves = vec![];
        for (place, part) in rule.walk() {
            if !part.parts().is_empty() {
                continue;
            }
            let before = asking.joined.len();
            let holds = asking.rule(part)?;
            let counts = asking.joined.len() > before;
            let holds: Expr = CaseStatement::new().case(holds, 1).finally(0).into();
            row.expr(holds);
            if counts {
                let table = table(before);
                let times = Func::coalesce([Expr::col((table.clone(), TIMES)), Expr::value(0_i64)]);
                row.expr(times)
                    .column((table.clone(), FIRST))
                    .column((table, LAST));
            }
            leaves.push(Leaf {
                place,
                rule: part,
                counts,
            });
        }
        join(&mut row, asking.joined);
        Ok((leaves, row))
    }

    fn counted(&self, event: &EventRule) -> SelectStatement {
        let from = event.within.map(|Duration(within)| self.now - within);
        self.events(
            &event.name,
            event.properties.as_deref(),
            Ord::max(from, event.after.map(|at| at.0)),
            event.before.map(|at| at.0),
        )
    }

    fn ever(&self, moment: &MomentRule) -> SelectStatement {
        self.events(&moment.name, moment.properties.as_deref(), None, None)
    }

    /// Events of a name: [`CONTACT`] and [`AT`].
    fn events(
        &self,
        name: &str,
        properties: Option<&[PropertyRule]>,
        after: Option<DateTime<Utc>>,
        before: Option<DateTime<Utc>>,
    ) -> SelectStatement {
        use event::Column;
        let mut rows = self.scope.subquery::<event::Entity>();
        rows.expr_as(Column::ContactId.into_simple_expr(), CONTACT)
            .expr_as(Column::OccurredAt.into_simple_expr(), AT)
            .and_where(Column::Name.eq(storable(name.to_owned())))
            .and_where(Column::ContactId.is_not_null())
            .and_where_option(after.map(|at| Column::OccurredAt.gt(at)))
            .and_where_option(before.map(|at| Column::OccurredAt.lt(at)));
        let column = Column::Properties.into_simple_expr();
        for rule in properties.unwrap_or_default() {
            let member = self.scope.member(&column, &storable(rule.key.clone()));
            rows.cond_where(compared(rule, &member));
        }
        if let Reach::These { members, .. } = self.reach {
            rows.cond_where(
                self.scope
                    .is_one_of::<event::Entity>(Column::ContactId, members),
            );
        }
        rows
    }

    /// What a room says; nothing where no room knows the state any more.
    fn reached(&self, rule: &StateRule) -> Option<SelectStatement> {
        let state = self.states.iter().find(|known| known.name == rule.state)?;
        let told = (state.occurrences)(self.scope, &storable(rule.key.clone()));
        let from = rule.within.map(|Duration(within)| self.now - within);
        let mut rows = Query::select();
        rows.column((table(0), CONTACT))
            .column((table(0), AT))
            .from_subquery(told, table(0))
            .and_where_option(from.map(|from| Expr::col((table(0), AT)).gt(from)));
        if let Reach::These { members, .. } = self.reach {
            let contact = Expr::col((table(0), CONTACT));
            rows.and_where(contact.is_in(members.iter().copied()));
        }
        Some(rows)
    }

    /// Occurrences by the root of their contact: an absorbed contact's are its root's.
    fn rooted(&self, occurrences: SelectStatement) -> SelectStatement {
        let (own, alias) = (Alias::new("own"), Alias::new("alias"));
        let of = |column: contact_alias::Column| Expr::col((alias.clone(), column));
        let contact = Expr::col((own.clone(), CONTACT));
        let absorbed = of(contact_alias::Column::TenantId)
            .eq(Expr::value(self.scope.tenant()))
            .and(of(contact_alias::Column::AbsorbedId).eq(contact.clone()));
        Query::select()
            .expr_as(
                Func::coalesce([of(contact_alias::Column::ContactId), contact]),
                ROOT,
            )
            .expr_as(Expr::col((own.clone(), AT)), AT)
            .from_subquery(occurrences, own)
            .join_as(
                JoinType::LeftJoin,
                contact_alias::Entity,
                alias.clone(),
                absorbed,
            )
            .to_owned()
    }
}

fn table(number: usize) -> Alias {
    Alias::new(format!("t{number}"))
}

fn join(to: &mut SelectStatement, joined: Vec<SelectStatement>) {
    for (number, select) in joined.into_iter().enumerate() {
        let table = table(number).into_iden();
        let theirs = Expr::col((table.clone(), ROOT)).eq(contact::Column::Id.into_simple_expr());
        to.join_subquery(JoinType::LeftJoin, select, table, theirs);
    }
}

/// Of each root's occurrences those at these places, counted from the newest as 1.
fn newest(rooted: SelectStatement, places: &[i64]) -> SelectStatement {
    let (each, placed) = (Alias::new("each"), Alias::new("placed"));
    let mut window = WindowStatement::partition_by((each.clone(), ROOT));
    window.order_by((each.clone(), AT), Order::Desc);
    let numbered = Query::select()
        .column((each.clone(), ROOT))
        .column((each.clone(), AT))
        .expr_window_as(Func::cust("row_number"), window, PLACE)
        .from_subquery(rooted, each)
        .to_owned();
    Query::select()
        .column((placed.clone(), ROOT))
        .column((placed.clone(), AT))
        .from_subquery(numbered, placed.clone())
        .and_where(Expr::col((placed, PLACE)).is_in(places.iter().copied()))
        .to_owned()
}

/// Each root's first occurrence.
fn firsts(rooted: SelectStatement) -> SelectStatement {
    let each = Alias::new("each");
    Query::select()
        .column((each.clone(), ROOT))
        .expr_as(Expr::col((each.clone(), AT)).min(), AT)
        .from_subquery(rooted, each.clone())
        .group_by_col((each, ROOT))
        .to_owned()
}

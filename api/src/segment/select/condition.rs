//! A rule as a condition on contacts, and the tables that it needs beside them.

use entity::{
    Id, contact,
    contact_identifier::{self, Verification},
    contact_trait, segment, segment_listing, segment_member,
};
use sea_orm::{
    ColumnTrait, Condition, IntoSimpleExpr, Iterable,
    sea_query::{Alias, Expr, ExprTrait, Func, Query, SelectStatement},
};
use serde_json::Value;

use super::{FIRST, LAST, Question, ROOT, Reach, TIMES, table};
use crate::{
    base::{
        AT, CONTACT, Error, Member, Result,
        filter::{Among, like},
        gql::Duration,
        storable,
    },
    segment::rules::{IdentifierRule, MomentRule, PropertyRule, Rule, Times},
};

/// Builds one statement's condition, and collects what it joins.
pub(super) struct Asking<'q, 'a> {
    pub(super) question: &'q Question<'a>,
    pub(super) joined: Vec<SelectStatement>,
}

impl Asking<'_, '_> {
    pub(super) fn rule(&mut self, rule: &Rule) -> Result<Expr> {
        Ok(match rule {
            Rule::And(rules) => {
                let mut all = Expr::value(true);
                for rule in rules {
                    all = all.and(self.rule(rule)?);
                }
                all
            }
            Rule::Or(rules) => {
                let mut any = Expr::value(false);
                for rule in rules {
                    any = any.or(self.rule(rule)?);
                }
                any
            }
            Rule::Not(rule) => is_so(self.rule(rule)?).not(),
            Rule::Trait(filter) => {
                let (rows, among) = filter.clone().rows(self.question.scope)?;
                related(&rows, contact_trait::Column::ContactId, among)
            }
            Rule::Identifier(identifier) => self.identifier(identifier),
            Rule::Event(event) => {
                let times = Times::of(event.at_least, event.at_most);
                self.times(self.question.counted(event), times)
            }
            Rule::FirstEvent(moment) => self.moment(moment, FIRST),
            Rule::LastEvent(moment) => self.moment(moment, LAST),
            Rule::Segment(other) => self.member(&other.key),
            Rule::State(state) => {
                let reached = self.question.reached(state).ok_or_else(|| {
                    Error::Internal(anyhow::anyhow!("no room knows the state {}", state.state))
                })?;
                self.times(reached, Times::of(state.at_least, state.at_most))
            }
        })
    }

    /// Joins occurrences, counted by contact; gives the table's name.
    fn counted(&mut self, occurrences: SelectStatement) -> Alias {
        let table = table(self.joined.len());
        let rooted = self.question.rooted(occurrences);
        let each = Alias::new("each");
        let at = Expr::col((each.clone(), AT));
        let counted = Query::select()
            .column((each.clone(), ROOT))
            .expr_as(Expr::col((each.clone(), ROOT)).count(), TIMES)
            .expr_as(at.clone().min(), FIRST)
            .expr_as(at.max(), LAST)
            .from_subquery(rooted, each.clone())
            .group_by_col((each, ROOT))
            .to_owned();
        self.joined.push(counted);
        table
    }

    fn times(&mut self, occurrences: SelectStatement, times: Times) -> Expr {
        let table = self.counted(occurrences);
        let count = Expr::col((table, TIMES));
        // Said of the column itself where it can be, so that who has none need not be looked at.
        let least = if times.at_least > 0 {
            count.clone().gte(times.at_least)
        } else {
            Expr::value(true)
        };
        match times.at_most {
            None => least,
            Some(most) => {
                let count = Func::coalesce([count, Expr::value(0_i64)]);
                least.and(Expr::from(count).lte(most))
            }
        }
    }

    fn moment(&mut self, moment: &MomentRule, which: &'static str) -> Expr {
        let table = self.counted(self.question.ever(moment));
        let at = Expr::col((table, which));
        let from = moment
            .within
            .map(|Duration(within)| self.question.now - within);
        let bounds = [
            from.map(|from| at.clone().gt(from)),
            moment.after.map(|after| at.clone().gt(after.0)),
            moment.before.map(|before| at.clone().lt(before.0)),
        ];
        bounds
            .into_iter()
            .flatten()
            .fold(at.is_not_null(), Expr::and)
    }

    pub(super) fn listed(&mut self, segment: Id<segment::Entity>) -> Expr {
        use segment_listing::Column;
        let mut rows = self.question.scope.subquery::<segment_listing::Entity>();
        rows.expr_as(Column::ContactId.into_simple_expr(), CONTACT)
            .expr_as(Column::CreatedAt.into_simple_expr(), AT)
            .and_where(Column::SegmentId.eq(segment));
        if let Reach::These { members, .. } = self.question.reach {
            let narrow = self
                .question
                .scope
                .is_one_of::<segment_listing::Entity>(Column::ContactId, members);
            rows.cond_where(narrow);
        }
        let table = self.counted(rows);
        Expr::col((table, TIMES)).is_not_null()
    }

    fn identifier(&self, rule: &IdentifierRule) -> Expr {
        use contact_identifier::Column;
        let mut rows = self.question.scope.subquery::<contact_identifier::Entity>();
        rows.and_where(Column::Kind.eq(contact_identifier::Kind::from(rule.kind)))
            .and_where(Column::Blocked.eq(false));
        if let Some(least) = rule.verification {
            let least = Verification::from(least);
            rows.and_where(
                Column::Verification.is_in(Verification::iter().filter(|is| *is >= least)),
            );
        }
        let value = Column::Value.into_simple_expr();
        let among = match &rule.value {
            Some(filter) => filter.among(&value),
            None => {
                let mut any = Among::default();
                any.must(Expr::value(true));
                any
            }
        };
        related(&rows, Column::ContactId, among)
    }

    fn member(&self, key: &str) -> Expr {
        use segment_member::Column;
        let scope = self.question.scope;
        let mut named = scope.subquery::<segment::Entity>();
        named
            .column(segment::Column::Id.as_column_ref())
            .and_where(segment::Column::Key.eq(key));
        let mut rows = scope.subquery::<segment_member::Entity>();
        rows.and_where(Column::SegmentId.in_subquery(named));
        let mut any = Among::default();
        any.must(Expr::value(true));
        related(&rows, Column::ContactId, any)
    }
}

/// A condition that is false, rather than null, where there is nothing to compare: so it can be negated.
fn is_so(condition: Expr) -> Expr {
    Func::coalesce([condition, Expr::value(false)]).into()
}

/// The contact has one of `rows` that meets what `among` asks for, and none that it refuses.
fn related<C: ColumnTrait>(rows: &SelectStatement, contact: C, among: Among) -> Expr {
    let theirs = |condition: Condition| {
        let mut rows = rows.clone();
        rows.expr(Expr::value(1))
            .and_where(
                contact
                    .into_simple_expr()
                    .eq(contact::Column::Id.into_simple_expr()),
            )
            .cond_where(condition);
        Expr::exists(rows)
    };
    let some = among.some.map_or_else(|| Expr::value(true), theirs);
    match among.none {
        Some(none) => some.and(theirs(none).not()),
        None => some,
    }
}

pub(super) fn compared(rule: &PropertyRule, member: &Member) -> Condition {
    let mut all = Condition::all();
    let any_of = |values: &[async_graphql::Json<Value>]| {
        let each = values.iter().map(|value| is(member, &value.0));
        is_so(each.fold(Expr::value(false), Expr::or))
    };
    all = all
        .add_option(rule.eq.as_ref().map(|value| is(member, &value.0)))
        .add_option(
            rule.ne
                .as_ref()
                .map(|value| is_so(is(member, &value.0)).not()),
        )
        .add_option(rule.r#in.as_ref().map(|values| any_of(values)))
        .add_option(rule.not_in.as_ref().map(|values| any_of(values).not()))
        .add_option(
            rule.contains
                .as_ref()
                .map(|text| like(&member.text, "%", text)),
        )
        .add_option(
            rule.starts_with
                .as_ref()
                .map(|text| like(&member.text, "", text)),
        )
        .add_option(rule.gt.map(|than| member.number.clone().gt(than)))
        .add_option(rule.gte.map(|than| member.number.clone().gte(than)))
        .add_option(rule.lt.map(|than| member.number.clone().lt(than)))
        .add_option(rule.lte.map(|than| member.number.clone().lte(than)));
    match rule.exists {
        Some(true) => all.add(member.is_set.clone()),
        Some(false) => all.add(is_so(member.is_set.clone()).not()),
        None => all,
    }
}

/// The member is this text, number or boolean.
fn is(member: &Member, value: &Value) -> Expr {
    match value {
        Value::String(text) => member.text.clone().eq(storable(text.clone())),
        Value::Bool(truth) => member.truth.clone().eq(truth.to_string()),
        Value::Number(number) => match number.as_f64() {
            Some(number) => member.number.clone().eq(number),
            None => Expr::value(false),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Expr::value(false),
    }
}

//! Who is a member of which accounts, read for a page at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use async_graphql::dataloader::Loader;
use entity::{ContactId, Id, account, account_membership, contact};
use sea_orm::{
    ColumnTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{
        Expr, ExprTrait as _, Func, JoinType, Order, Query, SelectStatement, WindowStatement,
    },
};

use crate::{
    base::{Cx, Error, FromEnd, Planning, Result, Scope},
    contact::queries,
};

/// Memberships of one contact: all of them are read with a page of contacts. Events that name more make no more.
pub(super) const ACCOUNTS_MAX: i64 = 100;

type AccountId = Id<account::Entity>;
type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

/// Each root's accounts, the first made first.
pub(in crate::contact) struct AccountsOf(pub(in crate::contact) Cx);

impl Loader<ContactId> for AccountsOf {
    type Value = Vec<account::Model>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Vec<account::Model>> {
        use account_membership::{Column, Entity};
        let scope = self.0.db();
        let (members, root_of) = queries::members(&scope, roots).await?;
        let rows: Vec<(ContactId, AccountId)> = scope
            .find::<Entity>()
            .filter(Column::ContactId.is_in(members))
            .select_only()
            .column(Column::ContactId)
            .column(Column::AccountId)
            .tuples()
            .await?;
        let mut of_root: BTreeMap<ContactId, BTreeSet<AccountId>> = BTreeMap::new();
        for (contact, account) in rows {
            if let Some(root) = root_of.get(&contact) {
                of_root.entry(*root).or_default().insert(account);
            }
        }
        let ids: BTreeSet<AccountId> = of_root.values().flatten().copied().collect();
        let ids: Vec<AccountId> = ids.into_iter().collect();
        let rows: HashMap<AccountId, account::Model> = scope
            .get_many(&ids)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        Ok(of_root
            .into_iter()
            .map(|(root, ids)| {
                let mut accounts: Vec<_> =
                    ids.iter().filter_map(|id| rows.get(id).cloned()).collect();
                accounts.sort_by_key(|row| (row.created_at, row.id));
                (root, accounts)
            })
            .collect())
    }
}

/// The roots that are members of accounts, once each: `account` and `root`.
fn roots_of(scope: &Scope, accounts: &[AccountId]) -> SelectStatement {
    use account_membership::{Column, Entity};
    let member = |column: contact::Column| Expr::col((contact::Entity, column));
    let of = |column: Column| Expr::col((Entity, column));
    let root = Func::coalesce([
        member(contact::Column::MergedInto),
        member(contact::Column::Id),
    ]);
    Query::select()
        .distinct()
        .expr_as(of(Column::AccountId), "account")
        .expr_as(root, "root")
        .from(Entity)
        .join(
            JoinType::InnerJoin,
            contact::Entity,
            member(contact::Column::Id)
                .eq(of(Column::ContactId))
                .and(member(contact::Column::TenantId).eq(scope.tenant())),
        )
        .and_where(of(Column::TenantId).eq(scope.tenant()))
        .and_where(of(Column::AccountId).is_in(accounts.iter().copied()))
        .to_owned()
}

/// The members of one account alone, as a condition on the table `contact`.
pub(super) fn is_member(scope: &Scope, account: AccountId) -> Expr {
    let roots = Query::select()
        .expr(Expr::col(("member", "root")))
        .from_subquery(roots_of(scope, &[account]), "member")
        .to_owned();
    Expr::col((contact::Entity, contact::Column::Id)).in_subquery(roots)
}

/// An end of an account's members, who are sorted by when they were first heard of, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::contact) struct MembersEnd {
    pub(super) account: AccountId,
    pub(super) end: FromEnd,
}

pub(in crate::contact) struct MembersEnds(pub(in crate::contact) Cx);

impl Loader<MembersEnd> for MembersEnds {
    type Value = Vec<contact::Model>;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[MembersEnd]) -> Loaded<MembersEnd, Vec<contact::Model>> {
        let scope = self.0.db();
        let mut alike: HashMap<FromEnd, Vec<AccountId>> = HashMap::new();
        for key in keys {
            alike.entry(key.end).or_default().push(key.account);
        }
        let mut loaded = HashMap::new();
        for (end, accounts) in alike {
            let root = |column: contact::Column| (contact::Entity, column);
            let order = if end.last { Order::Asc } else { Order::Desc };
            let place = WindowStatement::partition_by(("member", "account"))
                .order_by(root(contact::Column::CreatedAt), order.clone())
                .order_by(root(contact::Column::Id), order)
                .to_owned();
            let placed = Query::select()
                .expr_as(Expr::col(("member", "account")), "account")
                .expr_as(Expr::col(root(contact::Column::Id)), "contact")
                .expr_window_as(Func::cust("row_number"), place, "place")
                .from_subquery(roots_of(&scope, &accounts), "member")
                .join(
                    JoinType::InnerJoin,
                    contact::Entity,
                    Expr::col(root(contact::Column::Id))
                        .eq(Expr::col(("member", "root")))
                        .and(Expr::col(root(contact::Column::TenantId)).eq(scope.tenant())),
                )
                .to_owned();
            let first = Query::select()
                .expr(Expr::col(("placed", "account")))
                .expr(Expr::col(("placed", "contact")))
                .from_subquery(placed, "placed")
                .and_where(
                    Expr::col(("placed", "place")).lte(i64::try_from(end.rows).unwrap_or(i64::MAX)),
                )
                .to_owned();
            let found = scope
                .read_all(vec![scope.read(&first)], Planning::ByValues)
                .await?;
            let mut ids: Vec<(AccountId, ContactId)> = vec![];
            for cells in found.iter().flatten() {
                ids.push((Id::from_uuid(cells.uuid(0)?), Id::from_uuid(cells.uuid(1)?)));
            }
            let distinct: BTreeSet<ContactId> = ids.iter().map(|(_, id)| *id).collect();
            let distinct: Vec<ContactId> = distinct.into_iter().collect();
            let rows: HashMap<ContactId, contact::Model> = scope
                .get_many(&distinct)
                .await?
                .into_iter()
                .map(|row| (row.id, row))
                .collect();
            for account in accounts {
                let theirs = ids.iter().filter(|(of, _)| *of == account);
                let mut members: Vec<contact::Model> =
                    theirs.filter_map(|(_, id)| rows.get(id).cloned()).collect();
                members.sort_by_key(|row| (row.created_at, row.id));
                if !end.last {
                    members.reverse();
                }
                loaded.insert(MembersEnd { account, end }, members);
            }
        }
        Ok(loaded)
    }
}

/// How many members an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::contact) struct MemberCount(pub(super) AccountId);

pub(in crate::contact) struct MemberCounts(pub(in crate::contact) Cx);

impl Loader<MemberCount> for MemberCounts {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[MemberCount]) -> Loaded<MemberCount, u64> {
        let scope = self.0.db();
        let accounts: Vec<AccountId> = keys.iter().map(|key| key.0).collect();
        let counts = Query::select()
            .expr(Expr::col(("member", "account")))
            .expr(Expr::col(("member", "root")).count())
            .from_subquery(roots_of(&scope, &accounts), "member")
            .group_by_col(("member", "account"))
            .to_owned();
        let found = scope
            .read_all(vec![scope.read(&counts)], Planning::ByValues)
            .await?;
        let mut counted = HashMap::new();
        for cells in found.iter().flatten() {
            let count = u64::try_from(cells.long(1)?).unwrap_or_default();
            counted.insert(MemberCount(Id::from_uuid(cells.uuid(0)?)), count);
        }
        Ok(counted)
    }
}

//! One tenant's rows, to read.

use entity::{Id, TenantId, TenantOwned};
use sea_orm::{
    ColumnTrait, DatabaseExecutor, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult,
    Iterable, ModelTrait, PaginatorTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select, TryGetableMany,
    sea_query::{Alias, Expr, ExprTrait, LockType, Query, SelectStatement},
};

use super::{Db, Fence};
use crate::base::Result;

/// One tenant's rows. Reads go through here, in or out of a transaction.
pub struct Scope {
    place: Place,
    tenant: TenantId,
}

/// Where a query runs.
pub(super) enum Place {
    /// In a transaction of its own.
    Pool(Db),
    /// In one that is open.
    Open(Db, DatabaseTransaction),
}

impl Place {
    pub(super) const fn db(&self) -> &Db {
        match self {
            Self::Pool(db) | Self::Open(db, _) => db,
        }
    }
    /// Runs one statement. SQLite needs no transaction for a read of its own: it has no fence to set.
    pub(super) async fn run<T>(
        &self,
        fence: Fence,
        work: impl AsyncFnOnce(DatabaseExecutor<'_>) -> Result<T, DbErr>,
    ) -> Result<T> {
        match self {
            Self::Open(_, open) => Ok(work(open.into()).await?),
            Self::Pool(db) if db.is_postgres() => {
                let open = db.begin(fence, false).await?;
                let done = work((&open).into()).await?;
                open.commit().await?;
                Ok(done)
            }
            Self::Pool(db) => Ok(work((&db.inner.reader).into()).await?),
        }
    }
}

impl Scope {
    pub(super) const fn pooled(db: Db, tenant: TenantId) -> Self {
        Self {
            place: Place::Pool(db),
            tenant,
        }
    }
    pub(super) const fn open(db: Db, tenant: TenantId, open: DatabaseTransaction) -> Self {
        Self {
            place: Place::Open(db, open),
            tenant,
        }
    }
    /// Ends the open transaction: commits on `Ok`, leaves no trace on `Err`.
    pub(super) async fn close<T>(self, done: Result<T>) -> Result<T> {
        let Place::Open(_, open) = self.place else {
            return done;
        };
        match done {
            Ok(value) => {
                open.commit().await?;
                Ok(value)
            }
            Err(error) => {
                open.rollback().await?;
                Err(error)
            }
        }
    }
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }
    pub(super) const fn fence(&self) -> Fence {
        Fence::Tenant(self.tenant)
    }
    pub fn find<E: TenantOwned>(&self) -> Rows<'_, E> {
        self.rows(E::find().filter(E::TENANT.eq(self.tenant)))
    }
    pub(in crate::base) fn rows<E: TenantOwned>(&self, select: Select<E>) -> Rows<'_, E> {
        Rows {
            select,
            place: &self.place,
            fence: self.fence(),
        }
    }
    pub async fn get<E: TenantOwned>(&self, id: Id<E>) -> Result<Option<E::Model>> {
        self.find::<E>().filter(key::<E>().eq(id)).one().await
    }
    pub async fn get_many<E: TenantOwned>(&self, ids: &[Id<E>]) -> Result<Vec<E::Model>> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        self.find::<E>()
            .filter(key::<E>().is_in(ids.iter().copied()))
            .all()
            .await
    }
    /// This tenant's rows of `E`, as a subquery for another query's filter.
    pub fn subquery<E: TenantOwned>(&self) -> SelectStatement {
        let table = E::default().table_name().to_owned();
        Query::select()
            .from(Alias::new(&table))
            .and_where(Expr::col((Alias::new(table), E::TENANT)).eq(Expr::value(self.tenant)))
            .to_owned()
    }
}

/// The id column: every tenant table has exactly one key, its `Id`.
pub(crate) fn key<E: EntityTrait>() -> E::Column {
    E::PrimaryKey::iter()
        .next()
        .expect("a table has a key")
        .into_column()
}

/// The id a row carries.
pub(in crate::base) fn id_of<E: EntityTrait>(row: &E::Model) -> Id<E> {
    row.get(key::<E>()).unwrap()
}

/// A select already narrowed to one tenant; sea-orm's builder methods apply.
#[must_use]
pub struct Rows<'a, E: EntityTrait> {
    pub(in crate::base) select: Select<E>,
    pub(super) place: &'a Place,
    pub(super) fence: Fence,
}

impl<E: EntityTrait> Rows<'_, E> {
    pub async fn one(self) -> Result<Option<E::Model>> {
        self.place
            .run(self.fence, async |conn| self.select.one(&conn).await)
            .await
    }
    pub async fn all(self) -> Result<Vec<E::Model>> {
        self.place
            .run(self.fence, async |conn| self.select.all(&conn).await)
            .await
    }
    /// The selected columns only, as a tuple a row. Call `select_only` and `column` before.
    pub async fn tuples<T: TryGetableMany + Send>(self) -> Result<Vec<T>> {
        self.place
            .run(self.fence, async |conn| {
                self.select.into_tuple::<T>().all(&conn).await
            })
            .await
    }
    /// The selected columns only, as a struct a row.
    pub async fn project<M: FromQueryResult + Send>(self) -> Result<Vec<M>> {
        self.place
            .run(self.fence, async |conn| {
                self.select.into_model::<M>().all(&conn).await
            })
            .await
    }
    pub async fn count(self) -> Result<u64>
    where
        E::Model: Send + Sync + FromQueryResult,
    {
        self.place
            .run(self.fence, async |conn| self.select.count(&conn).await)
            .await
    }
    /// Locks the rows until the transaction ends. SQLite has one writer and needs no lock.
    pub fn locked(mut self) -> Self {
        if self.place.db().is_postgres() {
            self.select = self.select.lock_exclusive();
        }
        self
    }
    /// Keeps the rows from being changed until the transaction ends, by one holder at a time; others may point at them. SQLite has
    /// one writer and needs no lock.
    pub fn guarded(mut self) -> Self {
        if self.place.db().is_postgres() {
            self.select = self.select.lock(LockType::NoKeyUpdate);
        }
        self
    }
    /// Keeps the rows from being changed until the transaction ends; others may hold them so, too. SQLite has
    /// one writer and needs no lock.
    pub fn shared(mut self) -> Self {
        if self.place.db().is_postgres() {
            self.select = self.select.lock_shared();
        }
        self
    }
}

impl<E: EntityTrait> QueryFilter for Rows<'_, E> {
    type QueryStatement = SelectStatement;
    fn query(&mut self) -> &mut SelectStatement {
        QueryFilter::query(&mut self.select)
    }
}
impl<E: EntityTrait> QueryOrder for Rows<'_, E> {
    type QueryStatement = SelectStatement;
    fn query(&mut self) -> &mut SelectStatement {
        QueryOrder::query(&mut self.select)
    }
}
impl<E: EntityTrait> QuerySelect for Rows<'_, E> {
    type QueryStatement = SelectStatement;
    fn query(&mut self) -> &mut SelectStatement {
        QuerySelect::query(&mut self.select)
    }
}
impl<E: EntityTrait> QueryTrait for Rows<'_, E> {
    type QueryStatement = SelectStatement;
    fn query(&mut self) -> &mut SelectStatement {
        QueryTrait::query(&mut self.select)
    }
    fn as_query(&self) -> &SelectStatement {
        self.select.as_query()
    }
    fn into_query(self) -> SelectStatement {
        self.select.into_query()
    }
}

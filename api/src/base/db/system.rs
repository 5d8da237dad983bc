//! What no tenant owns, and work across tenants. Named loudly: a grep for `system()` is the audit.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, DatabaseExecutor, DatabaseTransaction, DbErr,
    EntityTrait, IntoActiveModel, QueryFilter, Select, UpdateMany,
    sea_query::{IntoCondition, OnConflict},
};

use super::{Db, Fence, Rows, scope::Place};
use crate::base::Result;

pub struct System {
    place: Place,
}

impl System {
    pub(super) const fn new(db: Db) -> Self {
        Self {
            place: Place::Pool(db),
        }
    }
    pub fn find<E: EntityTrait>(&self) -> Rows<'_, E> {
        self.rows(E::find())
    }
    pub(in crate::base) fn rows<E: EntityTrait>(&self, select: Select<E>) -> Rows<'_, E> {
        Rows {
            select,
            place: &self.place,
            fence: Fence::System,
        }
    }
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }
    pub(super) fn is_postgres(&self) -> bool {
        self.place.db().is_postgres()
    }
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(DatabaseExecutor<'_>) -> Result<T, DbErr>,
    ) -> Result<T> {
        let open: DatabaseTransaction = self.place.db().begin(Fence::System, true).await?;
        let done = work((&open).into()).await?;
        open.commit().await?;
        Ok(done)
    }
    pub async fn insert<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        self.write(async |conn| row.insert(&conn).await).await
    }
    pub async fn insert_all<A>(&self, rows: Vec<A>, on_conflict: OnConflict) -> Result<u64>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        self.write(async |conn| {
            A::Entity::insert_many(rows)
                .on_conflict(on_conflict)
                .exec_without_returning(&conn)
                .await
        })
        .await
    }
    /// Updates the rows that `narrow` leaves, and gives them as they are now.
    pub async fn update_many<E: EntityTrait>(
        &self,
        narrow: impl FnOnce(UpdateMany<E>) -> UpdateMany<E> + Send,
    ) -> Result<Vec<E::Model>> {
        let update = narrow(E::update_many());
        self.write(async |conn| update.exec_with_returning(&conn).await)
            .await
    }
    /// Deletes every row that meets `which`; says how many.
    pub async fn delete_where<E: EntityTrait>(
        &self,
        which: impl IntoCondition + Send,
    ) -> Result<u64> {
        let delete = E::delete_many().filter(which);
        self.write(async |conn| Ok(delete.exec(&conn).await?.rows_affected))
            .await
    }
    /// Deletes one row by its key; says whether it was there.
    pub async fn delete<E: EntityTrait>(
        &self,
        key: impl Into<<E::PrimaryKey as sea_orm::PrimaryKeyTrait>::ValueType> + Send,
    ) -> Result<bool> {
        self.write(async |conn| Ok(E::delete_by_id(key).exec(&conn).await?.rows_affected == 1))
            .await
    }
}

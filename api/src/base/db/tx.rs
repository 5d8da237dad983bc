//! One tenant's unit of work.

use std::{
    collections::HashSet,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use entity::{ContactId, EventId, Id, TenantOwned, contact_identifier, event, event_message};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait,
    ActiveValue::NotSet,
    ColumnTrait, ConnectionTrait, DatabaseExecutor, DeleteMany, EntityTrait, IntoActiveModel,
    QueryFilter, Set, UpdateMany,
    sea_query::{Alias, Expr, ExprTrait, OnConflict, Query},
};

use super::{
    Scope,
    scope::{Place, key},
};
use crate::base::{
    Actor, CAUSATION_DEPTH_MAX, Clock, Env, Held, Ids, Memory, Module, NewEvent, REVOCATIONS,
    Result, Rng, Secrets, cx::Asker, event::partition,
};

/// Rows an insert statement may hold: both databases bound the parameters of one statement.
const ROWS_PER_INSERT: usize = 500;

/// A unit of work: the only thing that can write. Commits when the closure given to
/// [`Cx::write`](crate::base::Cx::write) returns `Ok`, else leaves no trace.
pub struct Tx {
    scope: Scope,
    clock: Clock,
    ids: Ids,
    rng: Rng,
    secrets: Secrets,
    asker: Arc<Asker>,
    memory: Arc<Memory>,
    modules: &'static [&'static Module],
    emitted: AtomicBool,
    revoked: AtomicBool,
}

impl Deref for Tx {
    type Target = Scope;
    fn deref(&self) -> &Scope {
        &self.scope
    }
}

impl Tx {
    pub(super) fn new(scope: Scope, env: &Env, asker: Arc<Asker>) -> Self {
        Self {
            scope,
            clock: env.clock.clone(),
            ids: env.ids.clone(),
            rng: env.rng.clone(),
            secrets: env.secrets.clone(),
            asker,
            memory: Arc::clone(&env.memory),
            modules: env.modules,
            emitted: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
        }
    }
    pub(super) async fn finish<T>(self, env: &Env, done: Result<T>) -> Result<T> {
        // Also where this is dropped half-way: whether the commit came through is not known then.
        let _forgets = self
            .revoked
            .load(Ordering::Relaxed)
            .then(|| env.revocations.at_the_end());
        let done = self.scope.close(done).await;
        if done.is_ok() && self.emitted.into_inner() {
            env.bus.ring();
        }
        done
    }
    pub(super) fn conn(&self) -> DatabaseExecutor<'_> {
        match self.scope.place() {
            Place::Open(_, open) => open.into(),
            Place::Pool(_) => unreachable!("a unit of work is open until it ends"),
        }
    }
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
    pub fn new_id<T>(&self) -> Id<T> {
        self.ids.next(self.now())
    }
    /// To be called where a credential ends: from the commit on no process lets it in from memory.
    pub async fn revokes(&self) -> Result<()> {
        self.revoked.store(true, Ordering::Relaxed);
        if self.place().db().is_postgres() {
            self.conn()
                .execute_unprepared(&format!("NOTIFY {REVOCATIONS}"))
                .await?;
        }
        Ok(())
    }
    pub(in crate::base) fn asker(&self) -> &Asker {
        &self.asker
    }
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
    /// Every room's declaration.
    pub const fn modules(&self) -> &'static [&'static Module] {
        self.modules
    }
    pub fn actor(&self) -> &Actor {
        &self.asker.actor
    }
    /// Who asked for this, in one text.
    pub fn principal(&self) -> String {
        self.actor().principal()
    }
    pub const fn rng(&self) -> &Rng {
        &self.rng
    }
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }
    /// Inserts a row as this tenant's, whatever tenant it named.
    pub async fn insert<A>(&self, mut row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        row.set(A::Entity::TENANT, self.tenant().into());
        Ok(row.insert(&self.conn()).await?)
    }
    /// Inserts rows as this tenant's, in as few statements as can be; says how many were written.
    /// `on_conflict` says what a row does that is there already; without it that is an error.
    pub async fn insert_all<A>(&self, rows: Vec<A>, on_conflict: Option<OnConflict>) -> Result<u64>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        let mut written = 0;
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mine = rows.by_ref().take(ROWS_PER_INSERT).map(|mut row| {
                row.set(A::Entity::TENANT, self.tenant().into());
                row
            });
            let mut insert = A::Entity::insert_many(mine);
            if let Some(on_conflict) = &on_conflict {
                insert = insert.on_conflict(on_conflict.clone());
            }
            written += insert.exec_without_returning(&self.conn()).await?;
        }
        Ok(written)
    }
    /// Updates one row of this tenant; another tenant's row is not found.
    pub async fn update<A>(&self, mut row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        row.not_set(A::Entity::TENANT);
        let mine = A::Entity::update(row)
            .validate()?
            .filter(A::Entity::TENANT.eq(self.tenant()));
        Ok(mine.exec(&self.conn()).await?)
    }
    /// Updates every row of this tenant that `narrow` leaves; says how many.
    pub async fn update_many<E: TenantOwned>(
        &self,
        narrow: impl FnOnce(UpdateMany<E>) -> UpdateMany<E> + Send,
    ) -> Result<u64> {
        let mine = E::update_many().filter(E::TENANT.eq(self.tenant()));
        Ok(narrow(mine).exec(&self.conn()).await?.rows_affected)
    }
    pub async fn delete<E: TenantOwned>(&self, id: Id<E>) -> Result<bool> {
        let mine = E::delete_many()
            .filter(E::TENANT.eq(self.tenant()))
            .filter(key::<E>().eq(id));
        Ok(mine.exec(&self.conn()).await?.rows_affected == 1)
    }
    pub async fn delete_many<E: TenantOwned>(&self, ids: &[Id<E>]) -> Result<u64> {
        let mine = E::delete_many()
            .filter(E::TENANT.eq(self.tenant()))
            .filter(key::<E>().is_in(ids.iter().copied()));
        Ok(mine.exec(&self.conn()).await?.rows_affected)
    }
    /// Deletes every row of this tenant that `narrow` leaves; says how many.
    pub async fn delete_where<E: TenantOwned>(
        &self,
        narrow: impl FnOnce(DeleteMany<E>) -> DeleteMany<E> + Send,
    ) -> Result<u64> {
        let mine = E::delete_many().filter(E::TENANT.eq(self.tenant()));
        Ok(narrow(mine).exec(&self.conn()).await?.rows_affected)
    }
    /// Gives `to` those rows of a room that the identifiers caused and that belong to one of `from`; says how many.
    pub async fn reassign(
        &self,
        held: &Held,
        from: &[ContactId],
        to: ContactId,
        identifiers: &[Id<contact_identifier::Entity>],
    ) -> Result<u64> {
        let Some(identifier) = held.identifier else {
            return Ok(0);
        };
        let update = Query::update()
            .table(Alias::new(held.table))
            .value(Alias::new(held.contact), to)
            .and_where(Expr::col(Alias::new("tenant_id")).eq(self.tenant()))
            .and_where(Expr::col(Alias::new(identifier)).is_in(identifiers.iter().copied()))
            .and_where(Expr::col(Alias::new(held.contact)).is_in(from.iter().copied()))
            .to_owned();
        Ok(self.conn().execute(&update).await?.rows_affected())
    }
    /// Appends to the log in this transaction, so an event is never lost and never told of a rollback.
    /// An event whose message id the log has already is not written again; nor is one too deep in a chain
    /// of reactions. Gives the ids in the order of `events`.
    pub async fn emit_all(&self, events: Vec<NewEvent>) -> Result<Vec<EventId>> {
        let now = self.now();
        let mut ids = Vec::with_capacity(events.len());
        let mut rows = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id.unwrap_or_else(|| self.ids.next(now));
            ids.push(id);
            let depth = event.cause.map_or(0, |cause| cause.depth);
            if depth > CAUSATION_DEPTH_MAX {
                metrics::counter!("growthos_events_dropped_total", "reason" => "causation_depth")
                    .increment(1);
                tracing::warn!(name = event.name, "a chain of reactions was cut");
                continue;
            }
            rows.push(event::ActiveModel {
                id: Set(id),
                tenant_id: Set(self.tenant()),
                seq: NotSet,
                xid: NotSet,
                partition: Set(partition(event.contact_id)),
                contact_id: Set(event.contact_id),
                identifier_id: Set(event.identifier_id),
                name: Set(event.name),
                properties: Set(event.properties.into()),
                context: Set(event.context.into()),
                source: Set(event.source.to_owned()),
                message_id: Set(event.message_id),
                caused_by: Set(event.cause.map(|cause| cause.event)),
                causation_depth: Set(depth),
                occurred_at: Set(event.occurred_at),
                received_at: Set(now),
            });
        }
        let again = self.told_before(&rows).await?;
        rows.retain(|row| !row.id.try_as_ref().is_some_and(|id| again.contains(id)));
        if !rows.is_empty() {
            self.insert_all(rows, None).await?;
            self.emitted.store(true, Ordering::Relaxed);
        }
        Ok(ids)
    }
    /// Takes the message ids of `rows` for their events; gives those events whose message id is another's already.
    async fn told_before(&self, rows: &[event::ActiveModel]) -> Result<HashSet<EventId>> {
        use event_message::Column::{Id as Event, MessageId, TenantId as Owner};
        let messages: Vec<(EventId, &String)> = rows
            .iter()
            .filter_map(|row| {
                let message = row.message_id.try_as_ref()?.as_ref()?;
                Some((*row.id.try_as_ref()?, message))
            })
            .collect();
        let mut again: HashSet<EventId> = messages.iter().map(|(event, _)| *event).collect();
        for some in messages.chunks(ROWS_PER_INSERT) {
            let mut insert = Query::insert()
                .into_table(event_message::Entity)
                .columns([Owner, MessageId, Event])
                .on_conflict(
                    OnConflict::columns([Owner, MessageId])
                        .do_nothing()
                        .to_owned(),
                )
                .returning_col(Event)
                .to_owned();
            for (event, message) in some {
                insert.values_panic([
                    Expr::value(self.tenant()),
                    Expr::value(message.as_str()),
                    Expr::value(*event),
                ]);
            }
            for taken in self.conn().query_all(&insert).await? {
                again.remove(&taken.try_get_by_index(0)?);
            }
        }
        Ok(again)
    }
    pub async fn emit(&self, event: NewEvent) -> Result<EventId> {
        Ok(self.emit_all(vec![event]).await?[0])
    }
}

//! `@idempotent(key: "…")`: a mutation that is sent again does its work once, and answers the same.
//!
//! A call takes its key before it works and leaves its answer there when it is done. In between the key is in
//! flight: a second call is a conflict, and comes again. What the call writes notes at the key, in the same transaction, that the
//! work is done. So a process that dies before that leaves a key that is as new when [`IN_FLIGHT`] is over, and one that dies
//! behind it, before the answer is kept, a key under which nothing works again: see `docs/decisions/0019`.

use std::{fmt::Write, sync::Arc, time::Duration};

use async_graphql::{
    Context, CustomDirective, Directive, SelectionField, ServerError, ServerResult, Value,
    extensions::ResolveFut, parser::types::OperationType,
};
use chrono::TimeDelta;
use entity::{Id, idempotency};
use futures_util::FutureExt as _;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::OnConflict};

use crate::base::{Cx, Error, Note, Result, Tx, fingerprint, gql::CxExt};

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// How long a call may work: longer than any does.
const IN_FLIGHT: TimeDelta = TimeDelta::minutes(5);
/// When to come again while the first call works.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const KEY_CHARS_MAX: usize = 200;
/// Expired answers that each call clears away: more than it adds.
const CLEARED_PER_CALL: u64 = 10;

/// What stands in the place of an answer when the work is done and nothing is answered yet.
const DONE: serde_json::Value = serde_json::Value::Bool(true);
/// What the key is, as the export tells it; introspection has it from the attribute below, which takes no constant.
pub(super) const KEY: &str =
    "Chosen by the client, 1 to 200 characters: one for each thing that must happen once.";

/// The mutation does its work once: within 24 hours the same caller and key get the first call's answer back. The
/// same key with another input, or while the first call still works, is a `CONFLICT`. A call that failed frees
/// its key, unless it had changed something already.
#[Directive(location = "Field")]
pub(super) fn idempotent(
    #[graphql(
        desc = "Chosen by the client, 1 to 200 characters: one for each thing that must happen once."
    )]
    key: String,
) -> impl CustomDirective {
    Idempotent { key }
}

struct Idempotent {
    key: String,
}

#[async_trait::async_trait]
impl CustomDirective for Idempotent {
    async fn resolve_field(
        &self,
        ctx: &Context<'_>,
        resolve: ResolveFut<'_>,
    ) -> ServerResult<Option<Value>> {
        let refused = |error: Error| -> ServerError {
            let error = async_graphql::Error::from(error).into_server_error(ctx.item.pos);
            ctx.set_error_path(error)
        };
        let call = Call::of(ctx, &self.key).map_err(refused)?;
        let id = match call.begin().await.map_err(refused)? {
            Begun::First(id) => id,
            Begun::Answered(answer) => return Ok(Some(answer)),
        };
        let noting = call.cx.note_writes(Call::done(id));
        let resolved = resolve.await;
        drop(noting);
        match resolved {
            Ok(answer) => {
                // The work is done, so its answer goes out even where it cannot be kept.
                if let Err(error) = call.keep(id, answer.as_ref()).await {
                    tracing::error!(%error, "an idempotent answer was not kept");
                }
                Ok(answer)
            }
            Err(error) => {
                if let Err(error) = call.free(id).await {
                    tracing::error!(%error, "an idempotency key was not freed");
                }
                Err(error)
            }
        }
    }
}

enum Begun {
    First(Id<idempotency::Entity>),
    Answered(Value),
}

/// One call of one mutation under one key.
#[derive(Clone)]
struct Call {
    cx: Cx,
    /// Who calls what under which key.
    scope: String,
    /// With what, and what for.
    input: String,
}

impl Call {
    fn of(ctx: &Context<'_>, key: &str) -> Result<Self> {
        let mutates = ctx.query_env.operation.node.ty == OperationType::Mutation;
        if !mutates || ctx.path_node.is_none_or(|node| node.parent.is_some()) {
            return Err(Error::invalid(
                "idempotent",
                "@idempotent stands at a mutation",
            ));
        }
        let chars = key.chars().count();
        if !(1..=KEY_CHARS_MAX).contains(&chars) {
            let message = format!("a key has 1 to {KEY_CHARS_MAX} characters, not {chars}");
            return Err(Error::invalid("idempotent.key", message));
        }
        let Ok(cx) = ctx.cx() else {
            return Err(Error::invalid(
                "idempotent",
                "@idempotent works within a tenant alone",
            ));
        };
        let field = ctx.field();
        let scope = [cx.actor().principal().as_str(), field.name(), key].join("\0");
        let mut input = String::new();
        describe(&field, &mut input)?;
        // Variables decide what a fragment includes, too.
        let _ = write!(input, "{:?}", ctx.query_env.variables);
        Ok(Self {
            cx: cx.clone(),
            scope: fingerprint(scope.as_bytes()),
            input: fingerprint(input.as_bytes()),
        })
    }

    /// Where the answer is sealed for: it may hold a secret that is shown once.
    fn place(&self) -> String {
        format!(
            "idempotency.response/{}/{}",
            self.cx.tenant().uuid(),
            self.scope
        )
    }

    /// Takes the key, or gives the answer that it has.
    async fn begin(&self) -> Result<Begun> {
        let call = self.clone();
        self.cx.write(async move |tx| call.take_key(tx).await).await
    }

    async fn take_key(&self, tx: &Tx) -> Result<Begun> {
        self.clear(tx).await?;
        let found = tx
            .find::<idempotency::Entity>()
            .filter(idempotency::Column::Scope.eq(&self.scope))
            .locked()
            .one()
            .await?;
        match found {
            Some(row) if row.expires_at > tx.now() => {
                return self.answer(&row).map(Begun::Answered);
            }
            Some(expired) => {
                tx.delete(expired.id).await?;
            }
            None => {}
        }
        let id = tx.new_id();
        let row = idempotency::ActiveModel {
            id: Set(id),
            tenant_id: Set(tx.tenant()),
            scope: Set(self.scope.clone()),
            input_hash: Set(self.input.clone()),
            response: Set(None),
            created_at: Set(tx.now()),
            expires_at: Set(tx.now() + IN_FLIGHT),
        };
        let once = OnConflict::columns([idempotency::Column::TenantId, idempotency::Column::Scope])
            .do_nothing()
            .to_owned();
        match tx.insert_all(vec![row], Some(once)).await? {
            // Another call took the key just now: it is found on the next try.
            0 => Err(Error::Contended),
            _ => Ok(Begun::First(id)),
        }
    }

    fn answer(&self, row: &idempotency::Model) -> Result<Value> {
        if row.input_hash != self.input {
            return Err(Error::Conflict {
                message: "this idempotency key was used with another input".to_owned(),
                retry_after: None,
            });
        }
        match &row.response {
            Some(serde_json::Value::String(sealed)) => {
                let answer = self.cx.env().secrets.open(&self.place(), sealed)?;
                Ok(serde_json::from_str(&answer)?)
            }
            // The answer follows the work at once, unless its process died between the two.
            Some(_) if row.created_at + IN_FLIGHT <= self.cx.now() => Err(Error::Conflict {
                message:
                    "the first call under this idempotency key did its work, and its answer is lost"
                        .to_owned(),
                retry_after: None,
            }),
            _ => Err(Error::Conflict {
                message: "the first call under this idempotency key is still at work".to_owned(),
                retry_after: Some(RETRY_AFTER),
            }),
        }
    }

    /// Notes at the key, together with what is written, that the work is done. Where the key is another call's by now, nothing is
    /// written.
    fn done(id: Id<idempotency::Entity>) -> Note {
        Arc::new(move |tx: &Tx| {
            async move {
                tx.update(idempotency::ActiveModel {
                    id: Set(id),
                    response: Set(Some(DONE)),
                    expires_at: Set(tx.now() + KEPT),
                    ..Default::default()
                })
                .await?;
                Ok(())
            }
            .boxed()
        })
    }

    async fn keep(&self, id: Id<idempotency::Entity>, answer: Option<&Value>) -> Result<()> {
        // As text: the order of its fields is part of an answer.
        let answer = serde_json::to_string(answer.unwrap_or(&Value::Null))?;
        let env = self.cx.env();
        let sealed = env.secrets.seal(&env.rng, &self.place(), &answer)?;
        self.cx
            .write(async move |tx| {
                tx.update(idempotency::ActiveModel {
                    id: Set(id),
                    response: Set(Some(sealed.clone().into())),
                    expires_at: Set(tx.now() + KEPT),
                    ..Default::default()
                })
                .await?;
                Ok(())
            })
            .await
    }

    /// Frees the key, unless something was done under it.
    async fn free(&self, id: Id<idempotency::Entity>) -> Result<()> {
        self.cx
            .write(async move |tx| match tx.get(id).await? {
                Some(row) if row.response.is_none() => tx.delete(id).await.map(|_| ()),
                _ => Ok(()),
            })
            .await
    }

    /// Clears expired answers away, so that the table does not outgrow a day's calls.
    async fn clear(&self, tx: &Tx) -> Result<()> {
        let expired: Vec<_> = tx
            .find::<idempotency::Entity>()
            .filter(idempotency::Column::ExpiresAt.lte(tx.now()))
            .filter(idempotency::Column::Scope.ne(&self.scope))
            .order_by_asc(idempotency::Column::ExpiresAt)
            .limit(CLEARED_PER_CALL)
            .all()
            .await?
            .into_iter()
            .map(|row| row.id)
            .collect();
        if !expired.is_empty() {
            tx.delete_many(&expired).await?;
        }
        Ok(())
    }
}

/// What a field is given and what is asked of it, as text: an answer kept for one selection does not fit another.
fn describe(field: &SelectionField<'_>, text: &mut String) -> Result<()> {
    let broken = |e: ServerError| Error::invalid("idempotent", e.message);
    let mut arguments = field.arguments().map_err(broken)?;
    arguments.sort_by(|(a, _), (b, _)| a.cmp(b));
    let _ = write!(
        text,
        "{}:{}(",
        field.alias().unwrap_or_default(),
        field.name()
    );
    for (name, value) in arguments {
        // Through serde_json, which sorts an object's members.
        let _ = write!(text, "{name}:{},", value.into_json()?);
    }
    text.push_str("){");
    for part in field.selection_set() {
        describe(&part, text)?;
    }
    text.push('}');
    Ok(())
}

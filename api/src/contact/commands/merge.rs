//! What people do to the graph by hand: join contacts, take them apart, decide what waits for them, block values.

use std::collections::BTreeSet;

use entity::{
    ContactId, Id, contact_cannot_link,
    contact_evidence::{Kind as EvidenceKind, Standing},
    contact_identifier::{self, Kind, Verification},
    identity_block, merge_proposal,
    merge_record::{self, Kind as RecordKind, Mode},
};
use sea_orm::{
    ColumnTrait, Condition, IntoActiveModel, QueryFilter, QueryOrder, Set,
    sea_query::{Expr, OnConflict},
};
use serde_json::{Value, json};

use super::{
    graph::{Graph, Hand, Heard, IdentifierId, Pair},
    tell,
};
use crate::{
    base::{Audited, Env, Error, ErrorCode, Result, Tx},
    contact::queries,
};

/// Contacts that are joined at once.
pub const MERGE_MAX: usize = 10;

/// Values that a tenant blocks.
const BLOCKS_MAX: u64 = 10_000;

/// Two values that are no evidence for each other, or one that stands for nobody.
#[derive(Clone, Debug)]
pub struct Blocked {
    pub value: (Kind, String),
    pub other: Option<(Kind, String)>,
    pub reason: Option<String>,
}

fn by_hand(tx: &Tx, mode: Mode, reason: Option<String>) -> Hand {
    Hand {
        mode,
        said_by: tx.principal(),
        reason,
    }
}

/// Joins contacts, whatever the limits say; gives the root. Contacts that are one already stay so.
pub async fn merge(tx: &Tx, contacts: &[ContactId], reason: Option<String>) -> Result<ContactId> {
    let hand = by_hand(tx, Mode::Manual, reason.clone());
    let mut graph = Graph::around(tx, contacts).await?;
    let parted = let_together(tx, &mut graph, contacts).await?;
    let root = join(tx, &mut graph, contacts, &hand).await?;
    graph.save(tx, &hand).await?;
    close_proposals(tx, &parted).await?;
    tell(tx, &graph, &[]).await?;
    let named: Vec<String> = contacts.iter().map(ToString::to_string).collect();
    tx.audit(Audited::new(
        "contactMerge",
        &root,
        json!({"contactIds": named, "reason": reason}),
    ))
    .await?;
    Ok(root)
}

/// What [`merge`] would do.
#[derive(Clone, Debug)]
pub struct Preview {
    pub survivor: ContactId,
    pub absorbed: Vec<ContactId>,
    /// Identifiers that would be the survivor's.
    pub identifiers: usize,
}

/// Decides as [`merge`] does, and writes nothing.
pub async fn preview(tx: &Tx, contacts: &[ContactId]) -> Result<Preview> {
    let mut graph = Graph::around(tx, contacts).await?;
    let_together(tx, &mut graph, contacts).await?;
    let hand = by_hand(tx, Mode::Manual, None);
    let survivor = join(tx, &mut graph, contacts, &hand).await?;
    Ok(Preview {
        survivor,
        absorbed: graph.joined().iter().map(|join| join.absorbed).collect(),
        identifiers: graph.identifiers_of(survivor).len(),
    })
}

async fn join(
    tx: &Tx,
    graph: &mut Graph,
    contacts: &[ContactId],
    hand: &Hand,
) -> Result<ContactId> {
    let heard = Heard {
        source: "manual",
        at: tx.now(),
        event: None,
    };
    let anchors: Vec<IdentifierId> = contacts
        .iter()
        .map(|id| graph.own(tx, *id, Verification::AssertedByBackend, heard))
        .collect();
    let Some((first, others)) = anchors.split_first() else {
        return Err(Error::invalid("contactIds", "name at least two contacts"));
    };
    let mut pairs = vec![];
    for other in others.iter().filter(|other| *other != first) {
        let pair = Pair::new(
            *first,
            *other,
            EvidenceKind::Manual,
            Verification::Confirmed,
        );
        graph.link(tx, pair, heard);
        graph.stand(pair, Standing::Active);
        pairs.push(pair);
    }
    graph.settle(tx, hand).await?;
    let root = graph.root(contacts[0]);
    if contacts.iter().any(|id| graph.root(*id) != root) {
        let why = pairs.iter().find_map(|pair| graph.dormant_reason(*pair));
        return Err(Error::user(
            ErrorCode::Conflict,
            "contactIds",
            format!("these cannot be one contact: {}", why.unwrap_or("apart")),
        ));
    }
    Ok(root)
}

/// Takes away what keeps the contacts apart; gives the proposals that waited for that.
async fn let_together(
    tx: &Tx,
    graph: &mut Graph,
    contacts: &[ContactId],
) -> Result<Vec<Id<merge_proposal::Entity>>> {
    use contact_cannot_link::Column;
    let identifiers: BTreeSet<IdentifierId> = contacts
        .iter()
        .flat_map(|id| graph.identifiers_of(graph.root(*id)))
        .collect();
    let rows = tx
        .find::<contact_cannot_link::Entity>()
        .filter(Column::AId.is_in(identifiers.iter().copied()))
        .filter(Column::BId.is_in(identifiers))
        .all()
        .await?;
    let root_of = |id: IdentifierId| graph.identifier(id).map(|row| row.contact_id);
    let between: Vec<_> = rows
        .into_iter()
        .filter(|row| root_of(row.a_id) != root_of(row.b_id))
        .collect();
    let pairs: Vec<_> = between.iter().map(|row| (row.a_id, row.b_id)).collect();
    graph.let_together(&pairs);
    let ids: Vec<_> = between.iter().map(|row| row.id).collect();
    tx.delete_many::<contact_cannot_link::Entity>(&ids).await?;
    Ok(between.iter().filter_map(|row| row.proposal_id).collect())
}

async fn close_proposals(tx: &Tx, ids: &[Id<merge_proposal::Entity>]) -> Result<()> {
    use merge_proposal::Column;
    if ids.is_empty() {
        return Ok(());
    }
    tx.update_many::<merge_proposal::Entity>(|update| {
        update
            .col_expr(Column::State, Expr::value(merge_proposal::State::Applied))
            .col_expr(Column::DecidedAt, Expr::value(tx.now()))
            .col_expr(Column::DecidedBy, Expr::value(tx.principal()))
            .filter(Column::Id.is_in(ids.iter().copied()))
    })
    .await?;
    Ok(())
}

/// What [`unmerge`] is told to undo.
#[derive(Clone, Copy, Debug)]
pub enum Undo {
    Record(Id<merge_record::Entity>),
    /// The latest merge that absorbed it.
    Contact(ContactId),
}

/// Takes a contact out of the one that absorbed it, for good: what joined them counts no more, and they are kept apart until
/// somebody joins them by hand. Gives the contact and the one that it was part of.
pub async fn unmerge(
    tx: &Tx,
    undo: Undo,
    reason: Option<String>,
) -> Result<(ContactId, ContactId)> {
    let field = match undo {
        Undo::Record(_) => "mergeId",
        Undo::Contact(_) => "contactId",
    };
    let record = merge_to_undo(tx, undo).await?;
    let contact = match (&record, undo) {
        (Some(record), _) => record.other_id,
        (None, Undo::Contact(contact)) => contact,
        (None, Undo::Record(_)) => {
            return Err(Error::user(
                ErrorCode::NotFound,
                field,
                "there is no such merge",
            ));
        }
    };
    let mut graph = Graph::around(tx, &[contact])
        .await
        .map_err(|error| match error {
            Error::User(_) => Error::user(ErrorCode::NotFound, field, "there is no such contact"),
            error => error,
        })?;
    let root = graph.root(contact);
    if root == contact {
        return Err(Error::user(
            ErrorCode::Conflict,
            field,
            "the contact is not part of another",
        ));
    }
    let (own, rest) = sides(&graph, contact, root, record.as_ref());
    let (Some(mine), Some(others)) = (graph.best(&own), graph.best(&rest)) else {
        return Err(Error::user(
            ErrorCode::Conflict,
            field,
            "no identifier is left that was the contact's own",
        ));
    };
    let mut apart = graph.retire_between(&own, &rest);
    apart.insert((mine.min(others), mine.max(others)));
    for (a, b) in &apart {
        graph.keep_apart(*a, *b);
    }
    let hand = by_hand(tx, Mode::Manual, reason.clone());
    graph.settle(tx, &hand).await?;
    if graph.root(contact) != contact {
        return Err(Error::user(
            ErrorCode::Conflict,
            field,
            "other evidence holds the two together",
        ));
    }
    graph.save(tx, &hand).await?;
    keep_apart(tx, &apart, "unmerged").await?;
    if let Some(record) = &record {
        reverse_proposal(tx, record).await?;
    }
    tell(tx, &graph, &[]).await?;
    tx.audit(Audited::new(
        "contactUnmerge",
        &contact,
        json!({"formerContactId": root.to_string(), "reason": reason}),
    ))
    .await?;
    Ok((contact, root))
}

async fn merge_to_undo(tx: &Tx, undo: Undo) -> Result<Option<merge_record::Model>> {
    use merge_record::Column;
    let merges = tx
        .find::<merge_record::Entity>()
        .filter(Column::Kind.eq(RecordKind::Merge))
        .filter(Column::ReversedAt.is_null());
    let merges = match undo {
        Undo::Record(id) => merges.filter(Column::Id.eq(id)),
        Undo::Contact(contact) => merges.filter(Column::OtherId.eq(contact)),
    };
    merges
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .one()
        .await
}

/// The identifiers of a root that were the contact's own, and the others.
fn sides(
    graph: &Graph,
    contact: ContactId,
    root: ContactId,
    record: Option<&merge_record::Model>,
) -> (BTreeSet<IdentifierId>, BTreeSet<IdentifierId>) {
    let had: BTreeSet<&str> = record
        .and_then(|record| record.before.pointer("/other/identifiers"))
        .and_then(Value::as_array)
        .map(|ids| ids.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    graph.identifiers_of(root).into_iter().partition(|id| {
        let is_own = |row: &contact_identifier::Model| row.origin_id == Some(contact);
        had.contains(id.to_string().as_str()) || graph.identifier(*id).is_some_and(is_own)
    })
}

async fn keep_apart(
    tx: &Tx,
    pairs: &BTreeSet<(IdentifierId, IdentifierId)>,
    reason: &str,
) -> Result<()> {
    use contact_cannot_link::Column;
    let rows = pairs.iter().map(|(a, b)| contact_cannot_link::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        a_id: Set(*a),
        b_id: Set(*b),
        said_by: Set(tx.principal()),
        reason: Set(Some(reason.to_owned())),
        proposal_id: Set(None),
        created_at: Set(tx.now()),
    });
    let known = OnConflict::columns([Column::TenantId, Column::AId, Column::BId])
        .do_nothing()
        .to_owned();
    tx.insert_all(rows.collect(), Some(known)).await?;
    Ok(())
}

async fn reverse_proposal(tx: &Tx, record: &merge_record::Model) -> Result<()> {
    use merge_proposal::Column;
    let Some((a, b)) = record.a_id.zip(record.b_id) else {
        return Ok(());
    };
    tx.update_many::<merge_proposal::Entity>(|update| {
        update
            .col_expr(Column::State, Expr::value(merge_proposal::State::Reversed))
            .filter(Column::State.eq(merge_proposal::State::Applied))
            .filter(Column::AId.eq(a))
            .filter(Column::BId.eq(b))
    })
    .await?;
    Ok(())
}

/// Decides a proposal; gives it as it is then. One that was decided so already stays as it is.
pub async fn decide(
    tx: &Tx,
    id: Id<merge_proposal::Entity>,
    approve: bool,
) -> Result<merge_proposal::Model> {
    use merge_proposal::State;
    let unknown = || Error::user(ErrorCode::NotFound, "id", "there is no such proposal");
    let proposal = tx
        .find::<merge_proposal::Entity>()
        .filter(merge_proposal::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        .ok_or_else(unknown)?;
    let decided = if approve {
        State::Applied
    } else {
        State::Rejected
    };
    if proposal.state == decided {
        return Ok(proposal);
    }
    if proposal.state != State::NeedsReview {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            "the proposal was decided already, or expired",
        ));
    }
    if approve {
        approve_merge(tx, &proposal).await?;
    }
    let action = if approve {
        "mergeProposalApprove"
    } else {
        "mergeProposalReject"
    };
    tx.audit(Audited::new(action, &id, json!({}))).await?;
    let mut row = proposal.into_active_model();
    row.state = Set(decided);
    row.decided_at = Set(Some(tx.now()));
    row.decided_by = Set(Some(tx.principal()));
    tx.update(row).await
}

async fn approve_merge(tx: &Tx, proposal: &merge_proposal::Model) -> Result<()> {
    use contact_cannot_link::Column;
    let contacts = [proposal.contact_a_id, proposal.contact_b_id];
    let hand = by_hand(tx, Mode::Review, None);
    let mut graph = Graph::around(tx, &contacts).await?;
    tx.delete_where::<contact_cannot_link::Entity>(|delete| {
        delete.filter(Column::ProposalId.eq(proposal.id))
    })
    .await?;
    graph.let_together(&[(proposal.a_id, proposal.b_id)]);
    graph.settle(tx, &hand).await?;
    if graph.root(contacts[0]) != graph.root(contacts[1]) {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            "the evidence does not ask for this merge any more",
        ));
    }
    graph.save(tx, &hand).await?;
    tell(tx, &graph, &[]).await
}

/// Ends proposals of all tenants that nobody answered; says how many. The contacts stay apart.
pub(in crate::contact) async fn expire(env: &Env) -> Result<usize> {
    use merge_proposal::{Column, State};
    let now = env.clock.now();
    let system = env.db.system();
    let due = system
        .find::<merge_proposal::Entity>()
        .filter(Column::State.eq(State::NeedsReview))
        .filter(Column::ExpiresAt.lte(now))
        .one()
        .await?;
    if due.is_none() {
        return Ok(0);
    }
    let expired = system
        .update_many::<merge_proposal::Entity>(|update| {
            update
                .col_expr(Column::State, Expr::value(State::Expired))
                .col_expr(Column::DecidedAt, Expr::value(now))
                .filter(Column::State.eq(State::NeedsReview))
                .filter(Column::ExpiresAt.lte(now))
        })
        .await?;
    Ok(expired.len())
}

/// Has a value stand for nobody, or a link between two values for nothing; what it joined comes apart.
pub async fn block(tx: &Tx, blocked: &Blocked) -> Result<identity_block::Model> {
    use identity_block::Column;
    if tx.find::<identity_block::Entity>().count().await? >= BLOCKS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "value",
            format!("at most {BLOCKS_MAX} values are blocked"),
        ));
    }
    let (kind, value) = &blocked.value;
    let same = Condition::all()
        .add(Column::Kind.eq(*kind))
        .add(Column::Value.eq(value))
        .add(match &blocked.other {
            None => Condition::all().add(Column::OtherValue.is_null()),
            Some((kind, value)) => Condition::all()
                .add(Column::OtherKind.eq(*kind))
                .add(Column::OtherValue.eq(value)),
        });
    let known = tx
        .find::<identity_block::Entity>()
        .filter(same)
        .one()
        .await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let row = tx
        .insert(identity_block::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            kind: Set(*kind),
            value: Set(value.clone()),
            other_kind: Set(blocked.other.as_ref().map(|(kind, _)| *kind)),
            other_value: Set(blocked.other.as_ref().map(|(_, value)| value.clone())),
            reason: Set(blocked.reason.clone()),
            said_by: Set(tx.principal()),
            created_at: Set(tx.now()),
        })
        .await?;
    heed_block(tx, &row, true).await?;
    tx.audit(Audited::new(
        "identityBlockAdd",
        &row.id,
        json!({"kind": kind, "value": value}),
    ))
    .await?;
    Ok(row)
}

/// Takes a block away; what it kept apart comes together again where the evidence says so.
pub async fn unblock(tx: &Tx, id: Id<identity_block::Entity>) -> Result<()> {
    let row = tx
        .get(id)
        .await?
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such block"))?;
    tx.delete(id).await?;
    heed_block(tx, &row, false).await?;
    tx.audit(Audited::new(
        "identityBlockRemove",
        &id,
        json!({"kind": row.kind, "value": row.value}),
    ))
    .await
}

async fn heed_block(tx: &Tx, row: &identity_block::Model, blocks: bool) -> Result<()> {
    let identifier = async |kind: Kind, value: &str| {
        tx.find::<contact_identifier::Entity>()
            .filter(contact_identifier::Column::Value.eq(value))
            .filter(contact_identifier::Column::Kind.eq(kind))
            .one()
            .await
    };
    let Some(one) = identifier(row.kind, &row.value).await? else {
        return Ok(());
    };
    let mut graph = Graph::around(tx, &[one.contact_id]).await?;
    match row.other_kind.zip(row.other_value.as_deref()) {
        None => graph.set_blocked(one.id, blocks),
        Some((kind, value)) => {
            let Some(other) = identifier(kind, value).await? else {
                return Ok(());
            };
            graph.exclude_between(one.id, other.id, blocks);
        }
    }
    let hand = by_hand(tx, Mode::Manual, row.reason.clone());
    graph.settle(tx, &hand).await?;
    graph.save(tx, &hand).await?;
    tell(tx, &graph, &[]).await
}

/// Why an identifier is its contact's.
#[derive(Clone, Debug)]
pub struct Resolution {
    pub contact: ContactId,
    pub identifier: contact_identifier::Model,
    /// The evidence that leads from the identifier that the contact goes by to this one.
    pub path: Vec<entity::contact_evidence::Model>,
    /// Evidence about this identifier that joins nothing.
    pub dormant: Vec<entity::contact_evidence::Model>,
}

/// Whose an identifier is, and why; nothing where it is nobody's.
pub async fn resolve(tx: &Tx, kind: Kind, value: &str) -> Result<Option<Resolution>> {
    let Some(contact) = queries::find_by(tx, kind, value).await? else {
        return Ok(None);
    };
    let graph = Graph::around(tx, &[contact.id]).await?;
    graph.why(tx, contact.id, kind, value).await
}

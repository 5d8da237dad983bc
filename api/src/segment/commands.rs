//! Writes: segments are saved and deleted, static ones filled by hand.

mod circle;

use std::collections::BTreeSet;

use entity::{
    ContactId,
    segment::{self, State},
    segment_listing,
    segment_trigger::{self, Kind},
};
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::OnConflict,
};
use serde_json::json;

use self::circle::leads_nowhere_back;
use super::{
    membership::{self, Doubts, Reason, SegmentId, lock},
    queries::{self, states},
    rules::{self, KEY_CHARS_MAX, Rule, Trigger},
};
use crate::{
    base::{Audited, Error, ErrorCode, Result, Tx},
    contact as contact_room,
};

/// Segments of a tenant: an event may be asked about in the rule of each.
const SEGMENTS_MAX: u64 = 500;
const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// A segment as it is to be.
#[derive(Clone, Debug)]
pub struct Saved {
    pub key: String,
    /// Left out: stays, or is the key.
    pub name: Option<String>,
    /// Left out: stays.
    pub description: Option<String>,
    /// Left out: stays, and a new segment is filled by hand.
    pub rule: Option<Rule>,
}

/// Saves the segment of a key, or makes it. A rule that changed is asked of all contacts in the background.
pub async fn save(tx: &Tx, new: &Saved) -> Result<segment::Model> {
    let name = text("name", new.name.as_deref(), 1, NAME_CHARS_MAX)?;
    let description = text(
        "description",
        new.description.as_deref(),
        0,
        DESCRIPTION_CHARS_MAX,
    )?;
    if !rules::key_is_fit(&new.key) {
        return Err(Error::invalid(
            "key",
            format!("a key has 1 to {KEY_CHARS_MAX} letters, digits and characters of _-."),
        ));
    }
    let states = states(tx.modules());
    if let Some(rule) = &new.rule {
        rules::check(rule, &states)?;
        queries::can_be_asked(tx, rule)?;
    }
    // All are held: two rules that are saved at once could make a circle.
    let held = all_held(tx).await?;
    let known = held.iter().find(|row| row.key == new.key);
    if known.is_none() && held.len() as u64 >= SEGMENTS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "key",
            format!("a tenant has at most {SEGMENTS_MAX} segments"),
        ));
    }
    if let (Some(known), Some(_)) = (known, &new.rule)
        && known.rule.is_none()
    {
        return Err(Error::user(
            ErrorCode::Conflict,
            "rule",
            format!(
                "the segment {} is filled by hand and takes no rule",
                known.key
            ),
        ));
    }
    if let Some(rule) = &new.rule {
        leads_nowhere_back(tx, &new.key, rule, &held).await?;
    }
    let rule = new.rule.as_ref().map(serde_json::to_value).transpose()?;
    let saved = match known {
        None => create(tx, new, name, description, rule.clone()).await?,
        Some(known) => {
            let changes_rule =
                rule.is_some() && (rule != known.rule || known.state == State::Failed);
            let mut row = segment::ActiveModel {
                id: Unchanged(known.id),
                name: Set(name.unwrap_or(&known.name).to_owned()),
                description: Set(description.map(str::to_owned).or(known.description.clone())),
                updated_at: Set(tx.now()),
                ..Default::default()
            };
            if changes_rule {
                row.rule = Set(rule.clone());
                row.revision = Set(known.revision + 1);
                begin_walk(tx, &mut row);
            }
            tx.update(row).await?
        }
    };
    if let Some(rule) = &new.rule {
        let triggers = rules::triggers(rule, &states);
        tx.delete_where::<segment_trigger::Entity>(|delete| {
            delete.filter(segment_trigger::Column::SegmentId.eq(saved.id))
        })
        .await?;
        let rows =
            triggers
                .into_iter()
                .map(|Trigger { kind, name }| segment_trigger::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(tx.tenant()),
                    segment_id: Set(saved.id),
                    kind: Set(kind),
                    name: Set(name),
                });
        tx.insert_all(rows.collect(), None).await?;
    }
    let changes = json!({"key": saved.key, "name": saved.name, "rule": rule});
    tx.audit(Audited::new("segmentSave", &saved.id, changes))
        .await?;
    Ok(saved)
}

async fn create(
    tx: &Tx,
    new: &Saved,
    name: Option<&str>,
    description: Option<&str>,
    rule: Option<serde_json::Value>,
) -> Result<segment::Model> {
    let is_static = rule.is_none();
    let mut row = segment::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        key: Set(new.key.clone()),
        name: Set(name.unwrap_or(&new.key).to_owned()),
        description: Set(description.map(str::to_owned)),
        rule: Set(rule),
        revision: Set(1),
        state: Set(State::Live),
        size: Set(0),
        computed_at: Set(Some(tx.now())),
        walk_at: Set(None),
        walked: Set(0),
        walk_total: Set(0),
        due_at: Set(None),
        attempt: Set(0),
        failure: Set(None),
        created_at: Set(tx.now()),
        updated_at: Set(tx.now()),
    };
    if !is_static {
        row.computed_at = Set(None);
        begin_walk(tx, &mut row);
    }
    // Another call makes the same just now: this one runs again and finds it.
    tx.insert(row).await.map_err(Error::contended)
}

fn begin_walk(tx: &Tx, row: &mut segment::ActiveModel) {
    row.state = Set(State::Computing);
    row.walk_at = Set(None);
    row.walked = Set(0);
    row.walk_total = Set(0);
    row.attempt = Set(0);
    row.failure = Set(None);
    row.due_at = Set(Some(tx.now()));
}

/// Every segment of the tenant, held until the transaction ends.
async fn all_held(tx: &Tx) -> Result<Vec<segment::Model>> {
    tx.find::<segment::Entity>()
        .order_by_asc(segment::Column::Id)
        .guarded()
        .all()
        .await
}

/// Deletes a segment with all that is kept of it. Nobody is told to have left it. One that another's rule names stays.
pub async fn delete(tx: &Tx, id: SegmentId) -> Result<()> {
    let held = all_held(tx).await?;
    let segment = held.iter().find(|row| row.id == id).ok_or_else(not_there)?;
    let names: Vec<(SegmentId,)> = tx
        .find::<segment_trigger::Entity>()
        .filter(segment_trigger::Column::Kind.eq(Kind::Segment))
        .filter(segment_trigger::Column::Name.eq(&segment.key))
        .select_only()
        .column(segment_trigger::Column::SegmentId)
        .tuples()
        .await?;
    let names = names
        .iter()
        .filter_map(|(id,)| held.iter().find(|row| row.id == *id));
    let names: Vec<&str> = names.map(|row| row.key.as_str()).collect();
    if !names.is_empty() {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            format!(
                "the segment {} stands in the rule of {}",
                segment.key,
                names.join(", ")
            ),
        ));
    }
    tx.delete(id).await?;
    let changes = json!({ "key": segment.key });
    tx.audit(Audited::new("segmentDelete", &id, changes)).await
}

/// Puts contacts into a static segment, or takes them out.
#[derive(Clone, Debug)]
pub struct Listing {
    pub segment: SegmentId,
    pub contacts: Vec<ContactId>,
}

/// Puts contacts into a static segment; those that are in it stay.
pub async fn list(tx: &Tx, listing: &Listing) -> Result<segment::Model> {
    let (segment, roots) = listed(tx, listing).await?;
    let rows = roots.iter().map(|contact| segment_listing::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        segment_id: Set(segment.id),
        contact_id: Set(*contact),
        created_at: Set(tx.now()),
    });
    let stays = OnConflict::columns([
        segment_listing::Column::TenantId,
        segment_listing::Column::SegmentId,
        segment_listing::Column::ContactId,
    ])
    .do_nothing()
    .to_owned();
    tx.insert_all(rows.collect(), Some(stays)).await?;
    changed(tx, "segmentMembersAdd", &segment, roots).await
}

/// Takes contacts out of a static segment, with all that they absorbed; those that are not in it stay out.
pub async fn unlist(tx: &Tx, listing: &Listing) -> Result<segment::Model> {
    let (segment, roots) = listed(tx, listing).await?;
    let of_roots: Vec<ContactId> = roots.iter().copied().collect();
    let families = contact_room::families(tx, &of_roots).await?;
    let members: Vec<ContactId> = families.into_values().flatten().collect();
    tx.delete_where::<segment_listing::Entity>(|delete| {
        delete
            .filter(segment_listing::Column::SegmentId.eq(segment.id))
            .filter(segment_listing::Column::ContactId.is_in(members))
    })
    .await?;
    changed(tx, "segmentMembersRemove", &segment, roots).await
}

/// The static segment, held, and the roots of the contacts that are named.
async fn listed(tx: &Tx, listing: &Listing) -> Result<(segment::Model, BTreeSet<ContactId>)> {
    let mut held = lock(tx, &[listing.segment].into()).await?;
    let segment = held.remove(&listing.segment).ok_or_else(not_there)?;
    if segment.rule.is_some() {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            format!("who is in {} is decided by its rule", segment.key),
        ));
    }
    let roots = contact_room::roots(tx, &listing.contacts).await?;
    for (at, contact) in listing.contacts.iter().enumerate() {
        if !roots.contains_key(contact) {
            return Err(Error::user(
                ErrorCode::NotFound,
                format!("contactIds.{at}"),
                format!("there is no contact {contact}"),
            ));
        }
    }
    Ok((segment, roots.values().map(|root| root.id).collect()))
}

async fn changed(
    tx: &Tx,
    action: &'static str,
    segment: &segment::Model,
    roots: BTreeSet<ContactId>,
) -> Result<segment::Model> {
    let count = roots.len();
    let contacts = roots.into_iter().map(|contact| (contact, None)).collect();
    membership::settle(tx, Doubts::from([(segment.id, contacts)]), Reason::Listed).await?;
    let changes = json!({"key": segment.key, "contacts": count});
    tx.audit(Audited::new(action, &segment.id, changes)).await?;
    tx.get(segment.id).await?.ok_or(Error::NotFound)
}

fn text<'a>(
    field: &str,
    given: Option<&'a str>,
    min: usize,
    max: usize,
) -> Result<Option<&'a str>> {
    let given = given.map(str::trim);
    if given.is_some_and(|text| !(min..=max).contains(&text.chars().count())) {
        return Err(Error::invalid(
            field,
            format!("a {field} has {min} to {max} characters"),
        ));
    }
    Ok(given)
}

pub(super) fn not_there() -> Error {
    Error::user(ErrorCode::NotFound, "id", "there is no segment of this id")
}

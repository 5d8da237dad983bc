//! Pure decisions: whether an offer is made, and where a delivery stands. No database, no clock.

mod condition;
mod content;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::{Id, event, nudge_delivery, nudge_interaction::Kind, nudge_version};

use crate::base::CAUSATION_DEPTH_MAX;

pub use condition::Operator;
pub(super) use condition::{CONDITIONS_MAX, Condition};
pub use content::{Action, Content};
pub(super) use content::{key_is_fit, surface_is_fit};

/// How late an event may still trigger a nudge whose offers never expire: a nudge answers what a person
/// does now, so an import of history triggers nothing.
const TRIGGER_AGE_MAX: TimeDelta = TimeDelta::hours(24);

/// What the product or the client's library did by itself: a nudge triggered by one would trigger itself.
const UNFIT_TRIGGERS: [&str; 5] = [
    "nudge.archived",
    "nudge.offered",
    "nudge.received",
    "nudge.displayed",
    "nudge.withdrawn",
];

/// Characters of an event's name.
const EVENT_NAME_CHARS_MAX: usize = 200;

/// Why `name` cannot trigger a nudge.
pub(super) fn trigger_is_fit(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.chars().count() > EVENT_NAME_CHARS_MAX {
        return Err(format!(
            "an event's name has 1 to {EVENT_NAME_CHARS_MAX} characters"
        ));
    }
    if UNFIT_TRIGGERS.contains(&name) {
        return Err(format!(
            "{name} happens because of a nudge and cannot trigger one"
        ));
    }
    Ok(())
}

/// What was decided about one nudge, one contact and one event: offered, or the first rule that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Offered,
    /// The event is older than an offer would stand, or than a day where offers stand for ever.
    ExpiredEvent,
    /// The event is the last of a chain of reactions that was cut.
    CausationDepth,
    /// The contact has seen the nudge as often as it may, open offers included.
    Capped,
}

impl Verdict {
    /// As it is recorded; part of what `explain` shows, never renamed.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::ExpiredEvent => "expired_event",
            Self::CausationDepth => "causation_depth",
            Self::Capped => "capped",
        }
    }
}

/// Asks the rules in their fixed order. The event matches the trigger already; `used` counts the showings
/// of this nudge to this contact.
pub(super) fn decide(
    version: &nudge_version::Model,
    event: &event::Model,
    used: i64,
    now: DateTime<Utc>,
) -> Verdict {
    let stands = version
        .expires_after_s
        .and_then(TimeDelta::try_seconds)
        .unwrap_or(TRIGGER_AGE_MAX);
    if now - event.occurred_at >= stands {
        return Verdict::ExpiredEvent;
    }
    if event.causation_depth >= CAUSATION_DEPTH_MAX {
        return Verdict::CausationDepth;
    }
    if version
        .cap_per_contact
        .is_some_and(|cap| used >= i64::from(cap))
    {
        return Verdict::Capped;
    }
    Verdict::Offered
}

/// When an offer made at `now` ends; `None`: never.
pub(super) fn expiry(version: &nudge_version::Model, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_add_signed(TimeDelta::try_seconds(version.expires_after_s?)?)
}

/// The delivery of one version on one occasion: the same on every try (UUID version 5).
pub(super) fn delivery_id(
    version: Id<nudge_version::Entity>,
    event: Id<event::Entity>,
) -> Id<nudge_delivery::Entity> {
    Id::from_uuid(uuid::Uuid::new_v5(&version.uuid(), event.uuid().as_bytes()))
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, async_graphql::Enum)]
#[graphql(name = "NudgeState")]
pub enum State {
    /// Made, and not yet known to have reached the contact's screen.
    Offered,
    /// A client has it.
    Received,
    /// It was shown.
    Displayed,
    /// Its action was used.
    Clicked,
    /// What it asked for was done.
    Completed,
    /// The contact closed it.
    Dismissed,
    /// The contact put it off.
    Snoozed,
    /// Its time ran out before it was shown.
    Expired,
    /// It was taken back.
    Withdrawn,
}

/// What tells where a delivery stands.
#[expect(clippy::struct_field_names, reason = "the columns' names")]
pub struct Happened {
    pub received_at: Option<DateTime<Utc>>,
    pub displayed_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub dismissed_at: Option<DateTime<Utc>>,
    pub snoozed_at: Option<DateTime<Utc>>,
    pub withdrawn_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<&nudge_delivery::Model> for Happened {
    fn from(row: &nudge_delivery::Model) -> Self {
        Self {
            received_at: row.received_at,
            displayed_at: row.displayed_at,
            clicked_at: row.clicked_at,
            completed_at: row.completed_at,
            dismissed_at: row.dismissed_at,
            snoozed_at: row.snoozed_at,
            withdrawn_at: row.withdrawn_at,
            expires_at: row.expires_at,
        }
    }
}

impl State {
    /// A delivery's state: the last thing that can happen to it comes first.
    pub fn of(delivery: impl Into<Happened>, now: DateTime<Utc>) -> Self {
        let delivery = delivery.into();
        let happened = [
            (delivery.withdrawn_at, Self::Withdrawn),
            (delivery.completed_at, Self::Completed),
            (delivery.dismissed_at, Self::Dismissed),
            (delivery.clicked_at, Self::Clicked),
            (delivery.snoozed_at, Self::Snoozed),
            (delivery.displayed_at, Self::Displayed),
            (delivery.expires_at.filter(|at| *at <= now), Self::Expired),
            (delivery.received_at, Self::Received),
        ];
        happened
            .into_iter()
            .find_map(|(at, state)| at.map(|_| state))
            .unwrap_or(Self::Offered)
    }
}

/// Writes down what the contact did. Each kind keeps its first time, whatever the order in which an offline
/// queue tells of them; who used, finished, closed or put off a nudge has seen it.
pub(super) fn mark(delivery: &mut nudge_delivery::Model, kind: Kind, at: DateTime<Utc>) {
    let own = match kind {
        Kind::Received => &mut delivery.received_at,
        Kind::Displayed => &mut delivery.displayed_at,
        Kind::Clicked => &mut delivery.clicked_at,
        Kind::Dismissed => &mut delivery.dismissed_at,
        Kind::Completed => &mut delivery.completed_at,
        Kind::Snoozed => &mut delivery.snoozed_at,
    };
    first(own, at);
    if kind != Kind::Received {
        first(&mut delivery.displayed_at, at);
    }
}

fn first(known: &mut Option<DateTime<Utc>>, at: DateTime<Utc>) {
    *known = Some(known.map_or(at, |known| known.min(at)));
}

/// How far a device's clock may run ahead.
const CLOCK_AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// How late an offline queue may tell.
const INTERACTION_AGE_MAX: TimeDelta = TimeDelta::days(90);

/// When an interaction happened: `at`, in whole microseconds and never later than now.
pub(super) fn interaction_time(
    at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, String> {
    if at > now + CLOCK_AHEAD_MAX {
        return Err("at is in the future".into());
    }
    if at < now - INTERACTION_AGE_MAX {
        return Err(format!(
            "at is more than {} days ago",
            INTERACTION_AGE_MAX.num_days()
        ));
    }
    Ok(at.min(now).trunc_subsecs(6))
}

/// Whether a client should show the delivery: nobody closed, finished or took it back, and its time is not up.
pub(super) fn is_open(delivery: &nudge_delivery::Model, now: DateTime<Utc>) -> bool {
    delivery.withdrawn_at.is_none()
        && delivery.completed_at.is_none()
        && delivery.dismissed_at.is_none()
        && delivery.expires_at.is_none_or(|at| at > now)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap()
    }

    fn version(expires_after_s: Option<i64>, cap_per_contact: Option<i32>) -> nudge_version::Model {
        nudge_version::Model {
            id: Id::from_uuid(Uuid::from_u128(1)),
            tenant_id: Id::from_uuid(Uuid::from_u128(2)),
            nudge_id: Id::from_uuid(Uuid::from_u128(3)),
            number: 1,
            content: json!({}),
            surface: "app".into(),
            trigger_event: "signup".into(),
            conditions: json!([]),
            priority: 0,
            expires_after_s,
            cap_per_contact,
            published_at: Some(noon()),
            created_at: noon(),
        }
    }

    fn event(age: TimeDelta, causation_depth: i32) -> event::Model {
        event::Model {
            id: Id::from_uuid(Uuid::from_u128(4)),
            tenant_id: Id::from_uuid(Uuid::from_u128(2)),
            seq: 1,
            xid: 0,
            partition: 0,
            contact_id: None,
            identifier_id: None,
            name: "signup".into(),
            properties: json!({}),
            context: json!({}),
            source: "api".into(),
            message_id: None,
            caused_by: None,
            causation_depth,
            occurred_at: noon() - age,
            received_at: noon(),
        }
    }

    fn delivery() -> nudge_delivery::Model {
        nudge_delivery::Model {
            id: Id::from_uuid(Uuid::from_u128(5)),
            tenant_id: Id::from_uuid(Uuid::from_u128(2)),
            nudge_id: Id::from_uuid(Uuid::from_u128(3)),
            nudge_version_id: Id::from_uuid(Uuid::from_u128(1)),
            contact_id: Id::from_uuid(Uuid::from_u128(6)),
            identifier_id: None,
            event_id: Id::from_uuid(Uuid::from_u128(4)),
            surface: "app".into(),
            priority: 0,
            offered_at: noon(),
            received_at: None,
            displayed_at: None,
            clicked_at: None,
            completed_at: None,
            dismissed_at: None,
            snoozed_at: None,
            withdrawn_at: None,
            withdrawn_reason: None,
            expires_at: None,
        }
    }

    #[test]
    fn the_first_rule_that_fails_is_the_verdict() {
        let hour = Some(3_600);
        for (version, age, depth, used, verdict) in [
            (
                version(None, None),
                TimeDelta::zero(),
                0,
                99,
                Verdict::Offered,
            ),
            (
                version(None, None),
                TimeDelta::hours(24),
                0,
                0,
                Verdict::ExpiredEvent,
            ),
            (
                version(hour, None),
                TimeDelta::seconds(3_599),
                0,
                0,
                Verdict::Offered,
            ),
            (
                version(hour, Some(1)),
                TimeDelta::seconds(3_600),
                8,
                1,
                Verdict::ExpiredEvent,
            ),
            (
                version(Some(7 * 86_400), None),
                TimeDelta::days(6),
                0,
                0,
                Verdict::Offered,
            ),
            (
                version(hour, Some(1)),
                TimeDelta::zero(),
                8,
                1,
                Verdict::CausationDepth,
            ),
            (
                version(hour, Some(1)),
                TimeDelta::zero(),
                7,
                1,
                Verdict::Capped,
            ),
            (
                version(hour, Some(2)),
                TimeDelta::zero(),
                7,
                1,
                Verdict::Offered,
            ),
            // a device whose clock runs ahead
            (
                version(hour, None),
                TimeDelta::hours(-1),
                0,
                0,
                Verdict::Offered,
            ),
        ] {
            assert_eq!(
                decide(&version, &event(age, depth), used, noon()),
                verdict,
                "{age} {depth} {used}"
            );
        }
    }

    #[test]
    fn a_cap_is_never_passed_whatever_the_number_of_triggers() {
        for cap in 1..5 {
            let version = version(None, Some(cap));
            let offered = (0..20).fold(0, |used, _| {
                used + i64::from(
                    decide(&version, &event(TimeDelta::zero(), 0), used, noon())
                        == Verdict::Offered,
                )
            });
            assert_eq!(offered, i64::from(cap));
        }
    }

    #[test]
    fn an_offer_ends_when_its_version_says() {
        assert_eq!(
            expiry(&version(Some(60), None), noon()),
            Some(noon() + TimeDelta::seconds(60))
        );
        assert_eq!(expiry(&version(None, None), noon()), None);
    }

    #[test]
    fn a_delivery_has_the_same_id_on_every_try_and_another_for_another_version_or_event() {
        let id = |version, event| {
            delivery_id(
                Id::from_uuid(Uuid::from_u128(version)),
                Id::from_uuid(Uuid::from_u128(event)),
            )
        };
        assert_eq!(id(1, 2), id(1, 2));
        assert_ne!(id(1, 2), id(1, 3));
        assert_ne!(id(1, 2), id(3, 2));
    }

    #[test]
    fn the_last_thing_that_happened_to_a_delivery_is_its_state() {
        let now = noon() + TimeDelta::hours(1);
        let mut row = delivery();
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Offered, true)
        );
        row.received_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Received, true)
        );
        row.expires_at = Some(now + TimeDelta::microseconds(1));
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Received, true)
        );
        row.expires_at = Some(now);
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Expired, false)
        );
        row.displayed_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Displayed, false)
        );
        row.expires_at = None;
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Displayed, true)
        );
        row.snoozed_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Snoozed, true)
        );
        row.clicked_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Clicked, true)
        );
        row.dismissed_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Dismissed, false)
        );
        row.completed_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Completed, false)
        );
        row.withdrawn_at = Some(noon());
        assert_eq!(
            (State::of(&row, now), is_open(&row, now)),
            (State::Withdrawn, false)
        );
    }

    #[test]
    fn the_first_time_of_each_kind_is_kept_in_whatever_order_it_is_told() {
        let at = |minute| noon() + TimeDelta::minutes(minute);
        let told = [
            (Kind::Received, at(1)),
            (Kind::Displayed, at(2)),
            (Kind::Displayed, at(5)),
            (Kind::Snoozed, at(3)),
            (Kind::Clicked, at(6)),
            (Kind::Completed, at(7)),
            (Kind::Dismissed, at(8)),
        ];
        let mut once = delivery();
        for (kind, at) in &told {
            mark(&mut once, *kind, *at);
        }
        assert_eq!(once.received_at, Some(at(1)));
        assert_eq!(once.displayed_at, Some(at(2)));
        assert_eq!(once.snoozed_at, Some(at(3)));
        assert_eq!(once.clicked_at, Some(at(6)));
        assert_eq!(once.completed_at, Some(at(7)));
        assert_eq!(once.dismissed_at, Some(at(8)));
        for turn in 0..told.len() {
            let mut other = delivery();
            told.iter()
                .cycle()
                .skip(turn)
                .take(told.len())
                .for_each(|(kind, at)| mark(&mut other, *kind, *at));
            assert_eq!(other, once);
            told.iter()
                .rev()
                .for_each(|(kind, at)| mark(&mut other, *kind, *at));
            assert_eq!(other, once);
        }
    }

    #[test]
    fn what_was_clicked_was_displayed_and_what_was_received_was_not() {
        let mut row = delivery();
        mark(&mut row, Kind::Received, noon());
        assert_eq!(row.displayed_at, None);
        mark(&mut row, Kind::Clicked, noon());
        assert_eq!(row.displayed_at, Some(noon()));
    }

    #[test]
    fn an_interaction_is_neither_of_tomorrow_nor_of_last_year() {
        let now = noon();
        assert_eq!(
            interaction_time(now - TimeDelta::hours(1), now),
            Ok(now - TimeDelta::hours(1))
        );
        assert_eq!(interaction_time(now + TimeDelta::minutes(5), now), Ok(now));
        assert!(interaction_time(now + TimeDelta::minutes(6), now).is_err());
        assert!(interaction_time(now - TimeDelta::days(91), now).is_err());
        assert!(interaction_time(DateTime::<Utc>::MIN_UTC, now).is_err());
        assert!(interaction_time(DateTime::<Utc>::MAX_UTC, now).is_err());
    }

    #[test]
    fn what_nudges_do_by_themselves_cannot_trigger_one() {
        for unfit in [
            "",
            "  ",
            "nudge.offered",
            "nudge.displayed",
            &"x".repeat(201),
        ] {
            assert!(trigger_is_fit(unfit).is_err(), "{unfit}");
        }
        for fit in ["signup", "$pageview", "nudge.dismissed", &"ä".repeat(200)] {
            assert_eq!(trigger_is_fit(fit), Ok(()), "{fit}");
        }
    }
}

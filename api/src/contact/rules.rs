//! What is the same id, who may join whom, and whose value wins. Pure: no database, no clock.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    contact::{self, Status},
    contact_identifier::{Kind, Verification},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::base::{Error, Result};

/// Characters of an id: PostHog cuts distinct ids there.
pub const ID_CHARS_MAX: usize = 200;
const EMAIL_CHARS_MAX: usize = 254;

/// Ids that stem from a client's mistake: a join by one of them would join strangers.
const ILLEGAL_IDS: [&str; 20] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
    "null",
    "nan",
    "none",
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous-user",
    "backend",
    "system",
    "user",
];

/// Whether `id` can stand for no single person: blank, or one of PostHog's list, in any case, in any quotes.
pub fn is_illegal_id(id: &str) -> bool {
    let bare = id.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '\u{feff}' | '\u{fffd}')
    });
    bare.is_empty()
        || ILLEGAL_IDS
            .iter()
            .any(|illegal| bare.eq_ignore_ascii_case(illegal))
}

/// One identifier that an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub kind: Kind,
    /// Normalised: what is compared.
    pub value: String,
    /// As it came.
    pub shown: String,
    pub verification: Verification,
}

impl Claim {
    /// Reads an identifier; a user error names `field`.
    pub fn new(kind: Kind, text: &str, verification: Verification, field: &str) -> Result<Self> {
        let (value, shown) = normalize(kind, text).map_err(|why| Error::invalid(field, why))?;
        Ok(Self {
            kind,
            value,
            shown,
            verification,
        })
    }
    /// The place in which claims are asked who their contact is.
    pub(super) const fn priority(&self) -> u8 {
        match self.kind {
            Kind::ExternalId => 0,
            Kind::DistinctId => 1,
            Kind::AnonymousId => 2,
            Kind::Email => 3,
            Kind::Phone => 4,
        }
    }
}

/// Gives an identifier's compared form and its shown form, or says what is wrong with it.
///
/// E-mail: the domain lower-case and in IDNA's ASCII form, the local part lower-case where compared and as
/// typed where shown; plus tags and dots stay, since who merges on them merges strangers. Phone: E.164.
pub fn normalize(kind: Kind, text: &str) -> Result<(String, String), String> {
    let text = text.trim();
    match kind {
        Kind::Email => email(text),
        Kind::Phone => phone(text),
        Kind::ExternalId | Kind::AnonymousId | Kind::DistinctId => {
            if text.chars().count() > ID_CHARS_MAX {
                Err(format!("an id has at most {ID_CHARS_MAX} characters"))
            } else if is_illegal_id(text) {
                Err(format!("{text:?} stands for no single person"))
            } else if text.contains('\0') {
                Err("an id must not hold the character U+0000".to_owned())
            } else {
                Ok((text.to_owned(), text.to_owned()))
            }
        }
    }
}

fn email(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("{:?} is not an e-mail address", shortened(text));
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"@<>(),;:\\\"[]".contains(c);
    if local.is_empty()
        || local.len() > 64
        || text.len() > EMAIL_CHARS_MAX
        || !local.chars().all(plain)
        || !domain.contains('.')
    {
        return Err(wrong());
    }
    let Ok(url::Host::Domain(domain)) = url::Host::parse(domain) else {
        return Err(wrong());
    };
    Ok((
        format!("{}@{domain}", local.to_lowercase()),
        format!("{local}@{domain}"),
    ))
}

fn phone(text: &str) -> Result<(String, String), String> {
    let wrong = || {
        format!(
            "{:?} is not a phone number in international form, such as +4930901820",
            shortened(text)
        )
    };
    if !text.starts_with('+') || text.len() > 32 {
        return Err(wrong());
    }
    let number = phonenumber::parse(None, text).map_err(|_| wrong())?;
    let e164 = number.format().mode(phonenumber::Mode::E164).to_string();
    // E.164: at most 15 digits; fewer than 7 name no subscriber.
    if !(8..=16).contains(&e164.len()) {
        return Err(wrong());
    }
    Ok((e164.clone(), e164))
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The kinds that share PostHog's one namespace: x as one of them is x as another.
pub const fn is_distinct_id_kind(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ExternalId | Kind::AnonymousId | Kind::DistinctId
    )
}

/// What an identifier makes of its contact; nothing, where it names a browser.
pub(super) fn status_by(kind: Kind, verification: Verification) -> Option<Status> {
    match kind {
        Kind::AnonymousId | Kind::DistinctId => None,
        _ if verification > Verification::Claimed => Some(Status::Verified),
        _ => Some(Status::Known),
    }
}

pub(super) const fn trust(status: Status) -> u8 {
    match status {
        Status::Merged | Status::Quarantined | Status::Anonymous => 0,
        Status::Known => 1,
        Status::Verified => 2,
    }
}

/// Local parts of addresses that several people read.
const ROLE_ACCOUNTS: [&str; 24] = [
    "abuse",
    "accounts",
    "admin",
    "billing",
    "contact",
    "hello",
    "help",
    "hostmaster",
    "hr",
    "info",
    "jobs",
    "mail",
    "marketing",
    "news",
    "no-reply",
    "noreply",
    "office",
    "postmaster",
    "privacy",
    "root",
    "sales",
    "security",
    "support",
    "webmaster",
];

/// Whether several people read the address, as far as its name tells.
pub(super) fn is_role_account(email: &str) -> bool {
    let local = email.split(['@', '+']).next().unwrap_or_default();
    ROLE_ACCOUNTS.contains(&local)
}

/// How many identifiers of a kind one contact may have; see [`partition::Limit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindLimit {
    pub kind: Kind,
    pub max: usize,
    /// Days; none for ever.
    pub within_days: Option<u32>,
    /// Those below this level do not count.
    pub counts_from: Verification,
}

impl KindLimit {
    pub(super) fn within(&self) -> Option<TimeDelta> {
        self.within_days
            .map(|days| TimeDelta::days(i64::from(days)))
    }
}

/// Keeps the earliest and the latest touch, whatever the order of arrival; of one instant, the first and the last by text.
pub(super) fn attribute(row: &mut contact::Model, said: &Value, at: DateTime<Utc>) -> bool {
    let than = |kept_at: Option<DateTime<Utc>>, kept: &Option<Value>| {
        kept_at.map(|kept_at| {
            at.cmp(&kept_at).then_with(|| {
                let kept = kept.as_ref().map(ToString::to_string);
                Some(said.to_string()).cmp(&kept)
            })
        })
    };
    let is_first = than(row.first_touch_at, &row.first_touch).is_none_or(Ordering::is_lt);
    let is_last = than(row.last_touch_at, &row.last_touch).is_none_or(Ordering::is_gt);
    if is_first {
        row.first_touch = Some(said.clone());
        row.first_touch_at = Some(at);
    }
    if is_last {
        row.last_touch = Some(said.clone());
        row.last_touch_at = Some(at);
    }
    is_first || is_last
}

/// What an observation of a trait weighs against another of the same trait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    /// 0: set once, if absent. From 1 on: set or unset outright, by a source of that rank.
    pub(super) rank: i32,
    pub(super) observed_at: DateTime<Utc>,
    /// Tells calls of the same instant apart, the same way each time: those of version 7 in the order in which they were made.
    pub(super) said_by: Uuid,
}

impl Weight {
    /// Whether `self` replaces what `other` left: the higher rank does; of two outright the later, of two
    /// once the earlier. So the winner does not depend on the order of arrival.
    pub(super) fn replaces(self, other: Self) -> bool {
        let (own, others) = (
            (self.observed_at, self.said_by),
            (other.observed_at, other.said_by),
        );
        match self.rank.cmp(&other.rank) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.rank > 0 => own >= others,
            Ordering::Equal => own < others,
        }
    }
}

/// Characters of a trait's text that filters see.
const TRAIT_TEXT_CHARS_MAX: usize = 256;

/// A trait's value as filters see it: as text, and as a number.
pub(super) fn filterable(value: &Value) -> (Option<String>, Option<f64>) {
    let cut = |text: &str| text.chars().take(TRAIT_TEXT_CHARS_MAX).collect::<String>();
    match value {
        Value::String(text) => (Some(cut(text)), None),
        Value::Number(number) => (Some(number.to_string()), number.as_f64()),
        Value::Bool(truth) => (Some(truth.to_string()), None),
        Value::Null | Value::Array(_) | Value::Object(_) => (None, None),
    }
}

/// A name, or what it can be made of, in either of the usual spellings.
pub fn name_in(traits: &Map<String, Value>) -> Option<String> {
    let said = |keys: [&str; 2]| {
        keys.into_iter()
            .filter_map(|key| traits.get(key)?.as_str())
            .map(str::trim)
            .find(|text| !text.is_empty())
    };
    if let Some(name) = said(["name", "full_name"]) {
        return Some(name.to_owned());
    }
    let parts: Vec<&str> = [
        said(["first_name", "firstName"]),
        said(["last_name", "lastName"]),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn emails_meet_whatever_the_case_of_their_letters() {
        let (value, shown) = normalize(Kind::Email, "  Ann.Lee+x@Example.COM ").unwrap();
        assert_eq!(value, "ann.lee+x@example.com");
        assert_eq!(shown, "Ann.Lee+x@example.com");
        assert_eq!(
            normalize(Kind::Email, "a@bücher.example").unwrap().0,
            "a@xn--bcher-kva.example"
        );
        for wrong in [
            "",
            "@",
            "a@",
            "@b.co",
            "a b@c.co",
            "a@b",
            "a@@b.co",
            "a@1.2.3.4",
            "a@b.co<script>",
            "\"a\"@b.co",
            "a@b .co",
        ] {
            assert!(normalize(Kind::Email, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phones_become_e164() {
        for (text, value) in [
            ("+49 30 901820", "+4930901820"),
            ("+1 (650) 253-0000", "+16502530000"),
            ("+44 20 7031 3000", "+442070313000"),
        ] {
            assert_eq!(normalize(Kind::Phone, text).unwrap().0, value);
        }
        for wrong in ["", "030 901820", "+", "+1", "abc", "+999999999999999999999"] {
            assert!(normalize(Kind::Phone, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_that_stand_for_nobody_are_refused_in_every_disguise() {
        for id in ILLEGAL_IDS {
            for disguise in [
                id.to_owned(),
                id.to_uppercase(),
                format!("'{id}'"),
                format!("'\"{id}\"'"),
                format!(" {id}\n"),
            ] {
                assert!(is_illegal_id(&disguise), "{disguise}");
                assert!(normalize(Kind::ExternalId, &disguise).is_err());
            }
        }
        for blank in ["", " ", "\t\n", "\u{a0}", "\u{feff}", "''", "\"\"", "' '"] {
            assert!(is_illegal_id(blank), "{blank:?}");
        }
        for legal in [
            "user_1",
            "ann@example.com",
            "00",
            "guests",
            "null-ish",
            "o'neil",
        ] {
            assert!(!is_illegal_id(legal), "{legal}");
        }
        assert!(normalize(Kind::ExternalId, &"x".repeat(201)).is_err());
    }

    #[test]
    fn the_winning_trait_does_not_depend_on_the_order_of_arrival() {
        let at = |s: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(s);
        // The last digit tells calls of one instant apart.
        let observations = [(true, 30), (true, 51), (false, 10), (false, 90), (true, 50)];
        let weigh = |(outright, s): (bool, i64)| Weight {
            rank: i32::from(outright),
            observed_at: at(s / 10),
            said_by: Uuid::from_u128(s.unsigned_abs().into()),
        };
        let winner = |order: &[(bool, i64)]| {
            order
                .iter()
                .copied()
                .reduce(|kept, new| {
                    if weigh(new).replaces(weigh(kept)) {
                        new
                    } else {
                        kept
                    }
                })
                .unwrap()
        };
        for turn in 0..observations.len() {
            let mut order = observations;
            order.rotate_left(turn);
            assert_eq!(winner(&order), (true, 51));
            order.reverse();
            assert_eq!(winner(&order), (true, 51));
        }
        assert_eq!(
            winner(&[(false, 90), (false, 11), (false, 10), (false, 40)]),
            (false, 10)
        );
    }

    #[test]
    fn a_name_is_made_of_what_there_is() {
        for (traits, name) in [
            (json!({"name": " Ann Lee "}), Some("Ann Lee")),
            (
                json!({"name": "", "first_name": "Ann", "lastName": "Lee"}),
                Some("Ann Lee"),
            ),
            (json!({"firstName": "Ann"}), Some("Ann")),
            (json!({"name": 7}), None),
            (json!({}), None),
        ] {
            assert_eq!(
                name_in(traits.as_object().unwrap()).as_deref(),
                name,
                "{traits}"
            );
        }
    }
}

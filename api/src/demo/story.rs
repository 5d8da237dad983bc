//! Sixty days in the life of a small product: believable people, the same on every run.

use chrono::{DateTime, Duration, Utc};
use entity::contact_identifier::{Kind, Verification};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    base::Result,
    contact::{self, Claim, Incoming, Link, TraitChanges},
};

/// People who came by; about three in four of them signed up.
const VISITORS: usize = 200;
const DAYS: i64 = 60;

const FIRST: &[&str] = &[
    "Ada", "Noor", "Kofi", "Mei", "Luca", "Priya", "Jonas", "Amara", "Elif", "Mateo", "Yuki",
    "Freya", "Omar", "Sofia", "Tomas", "Zuri", "Ines", "Ravi", "Hanna", "Diego", "Leila", "Oskar",
    "Thandi", "Marek", "Aisha",
];
const LAST: &[&str] = &[
    "Lindqvist",
    "Okafor",
    "Tanaka",
    "Moreau",
    "Sharma",
    "Keller",
    "Haddad",
    "Silva",
    "Novak",
    "Mensah",
    "Costa",
    "Yilmaz",
    "Fischer",
    "Rossi",
    "Andersen",
    "Nguyen",
    "Ibrahim",
    "Kowalski",
    "Reyes",
    "Larsen",
];
const COMPANIES: &[(&str, &str)] = &[
    ("Northwind", "northwind.example"),
    ("Bluepeak", "bluepeak.example"),
    ("Harbor & Co", "harbor.example"),
    ("Lumen Labs", "lumenlabs.example"),
    ("Tideway", "tideway.example"),
    ("Oakline", "oakline.example"),
    ("Pinegrove", "pinegrove.example"),
];
/// Source, medium, campaign, referrer.
const CHANNELS: &[(&str, &str, &str, &str)] = &[
    ("google", "cpc", "brand-search", "https://www.google.com/"),
    ("newsletter", "email", "october-digest", ""),
    (
        "linkedin",
        "social",
        "founder-posts",
        "https://www.linkedin.com/",
    ),
    ("", "", "", "https://news.ycombinator.com/"),
    ("", "", "", ""),
];
const PAGES: &[&str] = &[
    "/",
    "/pricing",
    "/docs",
    "/blog/onboarding-that-sticks",
    "/changelog",
];
const FEATURES: &[&str] = &["boards", "automations", "exports", "comments", "api"];
const COUNTRIES: &[&str] = &["DE", "US", "GB", "IN", "BR", "JP", "NG", "FR"];

/// Every touch of every visitor, oldest first, ending before `now`.
pub(super) fn touches(now: DateTime<Utc>) -> Result<Vec<Incoming>> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut touches = vec![];
    for number in 0..VISITORS {
        visitor(&mut rng, number, now, &mut touches)?;
    }
    touches.sort_by_key(|touch| touch.occurred_at);
    for (number, touch) in (0_u32..).zip(&mut touches) {
        let name = format!("growthos demo {number}");
        touch.message_id = Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string());
    }
    Ok(touches)
}

fn visitor(
    rng: &mut StdRng,
    number: usize,
    now: DateTime<Utc>,
    touches: &mut Vec<Incoming>,
) -> Result<()> {
    let anonymous = format!(
        "visitor-{:08x}",
        0x9e37_79b9_u32.wrapping_mul(u32::try_from(number).unwrap_or(0) + 1)
    );
    let anonymous = Claim::new(
        Kind::AnonymousId,
        &anonymous,
        Verification::Claimed,
        "anonymousId",
    )?;
    let hero = number == 0;
    let (first_name, last_name) = if hero {
        ("Ada", "Lindqvist")
    } else {
        (
            *FIRST.choose(rng).unwrap_or(&"Noor"),
            *LAST.choose(rng).unwrap_or(&"Okafor"),
        )
    };
    let user_id = if hero {
        HERO.to_owned()
    } else {
        format!("user-{}", 1000 + number)
    };
    let (company, domain) = *COMPANIES.choose(rng).unwrap_or(&COMPANIES[0]);
    let user = Claim::new(
        Kind::ExternalId,
        &user_id,
        Verification::AssertedByBackend,
        "userId",
    )?;
    let email = Claim::new(
        Kind::Email,
        &format!(
            "{}.{}{number}@{domain}",
            first_name.to_lowercase(),
            last_name.to_lowercase()
        ),
        Verification::AssertedByBackend,
        "email",
    )?;
    let (source, medium, campaign, referrer) = *CHANNELS.choose(rng).unwrap_or(&CHANNELS[0]);
    let arrived = if hero {
        DAYS - 1
    } else {
        rng.random_range(1..DAYS)
    };
    let mut at = now - Duration::days(arrived) - Duration::minutes(rng.random_range(0..1_440));
    let landing = *PAGES.choose(rng).unwrap_or(&"/");

    let mut landed = page(landing);
    for (key, value) in [
        ("utm_source", source),
        ("utm_medium", medium),
        ("utm_campaign", campaign),
        ("$referrer", referrer),
    ] {
        if !value.is_empty() {
            landed.insert(key.to_owned(), value.into());
        }
    }
    let session =
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("session {number}").as_bytes()).to_string();
    let mut say = |at: DateTime<Utc>,
                   name: &str,
                   claims: &[&Claim],
                   link: Link,
                   mut properties: Map<String, Value>,
                   set: Value| {
        if at >= now {
            return;
        }
        properties.insert("$session_id".to_owned(), session.clone().into());
        let set = match set {
            Value::Object(set) => set,
            _ => Map::new(),
        };
        if !set.is_empty() {
            properties.insert("$set".to_owned(), Value::Object(set.clone()));
        }
        touches.push(Incoming {
            name: name.to_owned(),
            claims: claims.iter().copied().cloned().collect(),
            contact_id: None,
            link,
            traits: TraitChanges {
                set,
                ..TraitChanges::default()
            },
            touch: contact::touch(&properties).map(|touch| json!(touch)),
            properties,
            context: Map::new(),
            source: "demo",
            verification: Verification::AssertedByBackend,
            message_id: None,
            occurred_at: at,
            makes_contact: true,
        });
    };
    say(
        at,
        "$pageview",
        &[&anonymous],
        Link::SameEvent,
        landed,
        Value::Null,
    );
    for _ in 0..rng.random_range(0..6) {
        at += Duration::seconds(rng.random_range(20..600));
        let path = PAGES.choose(rng).unwrap_or(&"/");
        say(
            at,
            "$pageview",
            &[&anonymous],
            Link::SameEvent,
            page(path),
            Value::Null,
        );
    }
    if !hero && rng.random_bool(0.25) {
        return Ok(());
    }
    at += Duration::seconds(rng.random_range(30..400));
    let plan = if rng.random_bool(0.3) { "pro" } else { "free" };
    say(
        at,
        "$identify",
        &[&user, &anonymous, &email],
        Link::Identify,
        Map::new(),
        json!({
            "name": format!("{first_name} {last_name}"),
            "email": email.shown,
            "company": company,
            "country": COUNTRIES.choose(rng),
            "plan": plan,
        }),
    );
    say(
        at + Duration::seconds(1),
        "signup",
        &[&user],
        Link::SameEvent,
        of(json!({"plan": plan})),
        Value::Null,
    );
    // Some stay for weeks, some leave after a day.
    let stays = if hero {
        DAYS
    } else {
        rng.random_range(1..DAYS)
    };
    let signed_up = at;
    while at < now && at - signed_up < Duration::days(stays) {
        at += Duration::minutes(rng.random_range(60..4_000));
        match rng.random_range(0..10) {
            0..=3 => say(
                at,
                "$pageview",
                &[&user],
                Link::SameEvent,
                page("/app"),
                Value::Null,
            ),
            4..=7 => say(
                at,
                "feature_used",
                &[&user],
                Link::SameEvent,
                of(json!({"feature": FEATURES.choose(rng)})),
                Value::Null,
            ),
            8 => say(
                at,
                "invite_sent",
                &[&user],
                Link::SameEvent,
                of(json!({"count": rng.random_range(1..4)})),
                Value::Null,
            ),
            _ => say(
                at,
                "purchase",
                &[&user],
                Link::SameEvent,
                of(json!({"amount": rng.random_range(9..200), "currency": "EUR"})),
                Value::Null,
            ),
        }
    }
    Ok(())
}

fn page(path: &str) -> Map<String, Value> {
    of(json!({"$current_url": format!("https://app.growthos.example{path}"), "$pathname": path}))
}

fn of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The external id of the contact that the tour is about.
pub(super) const HERO: &str = "user-ada";

/// A HogQL aggregate over a contact's events.
pub(super) fn metric() -> Value {
    json!({
        "key": "revenue",
        "name": "Revenue",
        "description": "What the contact paid, in EUR",
        "expression": "sumIf(toFloat(properties.amount), event = 'purchase')",
        "window": "P90D",
    })
}

pub(super) fn nudge() -> Value {
    json!({
        "key": "welcome",
        "name": "Welcome after sign-up",
        "content": {
            "title": "Welcome aboard!",
            "body": "Create your first board: it takes a minute, and your team can join right away.",
            "action": {"label": "Create a board", "url": "/boards/new"},
        },
        "surface": "app",
        "trigger": {"event": "signup"},
        "priority": 50,
        "expiresAfter": "P7D",
    })
}

/// Flag definitions, in the form that PostHog serves them.
pub(super) fn flags() -> Value {
    json!({
        "flags": [
            {
                "id": 1, "team_id": 1, "key": "new-onboarding", "name": "New onboarding", "active": true, "version": 1,
                "filters": {
                    "groups": [{"properties": [], "rollout_percentage": 50}],
                    "payloads": {"true": "{\"steps\": 3}"},
                },
            },
            {
                "id": 2, "team_id": 1, "key": "pro-dashboard", "name": "Dashboard for Pro", "active": true, "version": 2,
                "filters": {"groups": [{
                    "properties": [{"key": "plan", "value": ["pro"], "operator": "exact", "type": "person"}],
                    "rollout_percentage": 100,
                }]},
            },
            {
                "id": 3, "team_id": 1, "key": "pricing-test", "name": "Pricing page", "active": true, "version": 1,
                "filters": {
                    "groups": [{"properties": [], "rollout_percentage": 100}],
                    "multivariate": {"variants": [
                        {"key": "control", "name": "As it is", "rollout_percentage": 50},
                        {"key": "annual-first", "name": "Annual plans first", "rollout_percentage": 50},
                    ]},
                },
            },
        ],
        "group_type_mapping": {},
        "cohorts": {},
    })
}

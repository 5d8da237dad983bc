//! Documents as clients might write them, by the dice.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A reproducible source of choices: `SplitMix64`.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

/// What documents can name.
pub(super) struct Known {
    pub(super) ids: Vec<String>,
    pub(super) cursors: Vec<String>,
}

struct Writer<'w> {
    dice: &'w mut Dice,
    known: &'w Known,
    text: String,
    fragments: String,
    definitions: String,
    variables: Map<String, Value>,
    names: usize,
    /// Fields with an alias so far: a document may have 30.
    aliases: usize,
}

/// A query, and its variables.
pub(super) fn generate(dice: &mut Dice, known: &Known) -> (String, Value) {
    let mut writer = Writer {
        dice,
        known,
        text: String::new(),
        fragments: String::new(),
        definitions: String::new(),
        variables: Map::new(),
        names: 0,
        aliases: 0,
    };
    writer.root();
    let Writer {
        text,
        fragments,
        definitions,
        variables,
        ..
    } = writer;
    let definitions = if definitions.is_empty() {
        definitions
    } else {
        format!("({definitions})")
    };
    (
        format!("query Q{definitions} {text} {fragments}"),
        Value::Object(variables),
    )
}

const CONTACT_LEAVES: &[&str] = &[
    "id",
    "status",
    "createdAt",
    "updatedAt",
    "lastSeenAt",
    "externalId",
    "email",
    "phone",
    "name",
    "anonymousIds",
    "traits",
    "__typename",
];
const EVENT_LEAVES: &[&str] = &[
    "id",
    "name",
    "properties",
    "context",
    "source",
    "messageId",
    "occurredAt",
    "receivedAt",
    "__typename",
];
const DELIVERY_LEAVES: &[&str] = &[
    "id",
    "surface",
    "priority",
    "offeredAt",
    "expiresAt",
    "leaseToken",
    "state",
    "displayedAt",
    "clickedAt",
    "completedAt",
    "dismissedAt",
    "withdrawnAt",
    "__typename",
    "nudge { id key __typename }",
    "content { title body action { label url __typename } __typename }",
];
const IDENTIFIER_LEAVES: &[&str] = &[
    "id",
    "kind",
    "value",
    "verification",
    "firstSeenAt",
    "lastSeenAt",
    "__typename",
];
const TOUCH_LEAVES: &[&str] = &[
    "at",
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "referrer",
    "referrerDomain",
    "landingUrl",
    "referralCode",
    "clickIds",
    "__typename",
];

impl Writer<'_> {
    fn variable(&mut self, of: &str, value: Value) -> String {
        self.names += 1;
        let name = format!("v{}", self.names);
        let _ = write!(self.definitions, "${name}: {of} ");
        // Sometimes it is not given, or null.
        match self.dice.below(12) {
            0 if !of.ends_with('!') => {}
            1 if !of.ends_with('!') => {
                self.variables.insert(name.clone(), Value::Null);
            }
            _ => {
                self.variables.insert(name.clone(), value);
            }
        }
        format!("${name}")
    }

    /// A value as a literal, or by a variable.
    fn value(&mut self, of: &str, literal: &str, value: Value) -> String {
        if self.dice.one_in(3) {
            self.variable(of, value)
        } else {
            literal.to_owned()
        }
    }

    fn condition(&mut self) -> String {
        if !self.dice.one_in(8) {
            return String::new();
        }
        let name = self.dice.pick(&["skip", "include"]);
        let holds = self.dice.one_in(2);
        let value = self.value("Boolean!", &holds.to_string(), json!(holds));
        format!(" @{name}(if: {value})")
    }

    /// `field`, which is a name and perhaps more, under an alias at times.
    fn field(&mut self, field: &str) {
        // The engine overlooks variables there, and refuses them as unused.
        let condition = if field.contains('{') || field == "__typename" {
            String::new()
        } else {
            self.condition()
        };
        if self.aliases < 20 && self.dice.one_in(6) {
            self.aliases += 1;
            self.names += 1;
            let _ = write!(self.text, "a{}: ", self.names);
        }
        let _ = write!(self.text, "{field}{condition} ");
    }

    /// Some of `leaves`, at least one, at times in a fragment or twice.
    fn leaves(&mut self, of: &str, leaves: &[&str]) {
        for _ in 0..=self.dice.below(5) {
            let leaf = self.dice.pick(leaves);
            match self.dice.below(9) {
                0 => {
                    let condition = self.condition();
                    let _ = write!(self.text, "... on {of}{condition} {{ {leaf} }} ");
                }
                1 => {
                    let _ = write!(self.text, "... {{ {leaf} }} ");
                }
                2 => {
                    self.names += 1;
                    let name = format!("F{}", self.names);
                    let _ = write!(self.text, "...{name} ");
                    let _ = write!(self.fragments, "fragment {name} on {of} {{ {leaf} }} ");
                }
                _ => self.field(leaf),
            }
        }
    }

    fn page(&mut self, cursors: bool) -> Vec<String> {
        let mut arguments = vec![];
        let size = [0, 1, 2, 3, 25, 100, 101, -1][self.dice.below(8)];
        let size = if self.dice.one_in(12) {
            size
        } else {
            size.clamp(1, 5)
        };
        let side = match self.dice.below(6) {
            0 => "",
            1 | 2 => "last",
            _ => "first",
        };
        if !side.is_empty() {
            let value = self.value("Int", &size.to_string(), json!(size));
            arguments.push(format!("{side}: {value}"));
        }
        if cursors && self.dice.one_in(4) {
            let side = self.dice.pick(&["after", "before"]);
            // The first one is nonsense, which is an error.
            let at = self.dice.below(self.known.cursors.len());
            let cursor = self.known.cursors[at].clone();
            let value = self.value("String", &format!("{cursor:?}"), json!(cursor));
            arguments.push(format!("{side}: {value}"));
        }
        arguments
    }

    fn list(&mut self, name: &str, of: &str, arguments: &[String], node: impl Fn(&mut Self)) {
        self.names += 1;
        let alias = self.names;
        let arguments = if arguments.is_empty() {
            String::new()
        } else {
            format!("({})", arguments.join(", "))
        };
        self.aliases += 1;
        let _ = write!(self.text, "l{alias}: {name}{arguments} {{ ");
        if self.dice.one_in(3) {
            self.field("totalCount");
        }
        if self.dice.one_in(3) {
            self.text.push_str("pageInfo { ");
            self.leaves(
                "PageInfo",
                &[
                    "hasNextPage",
                    "hasPreviousPage",
                    "startCursor",
                    "endCursor",
                    "__typename",
                ],
            );
            self.text.push_str("} ");
        }
        if self.dice.one_in(5) {
            let _ = write!(self.text, "... on {of}Connection {{ __typename }} ");
        }
        self.text.push_str("edges { ");
        if self.dice.one_in(3) {
            self.text.push_str("cursor ");
        }
        self.text.push_str("node { ");
        node(self);
        self.text.push_str("} } } ");
    }

    fn contact(&mut self) {
        self.leaves("Contact", CONTACT_LEAVES);
        if self.dice.one_in(3) {
            let key = self.dice.pick(&["plan", "n", "nested", "none"]);
            let value = self.value("String!", &format!("{key:?}"), json!(key));
            self.names += 1;
            self.aliases += 1;
            let _ = write!(self.text, "t{}: trait(key: {value}) ", self.names);
        }
        if self.dice.one_in(2) {
            self.text.push_str("identifiers { ");
            self.leaves("Identifier", IDENTIFIER_LEAVES);
            self.text.push_str("} ");
        }
        if self.dice.one_in(3) {
            self.text.push_str("attribution { __typename firstTouch { ");
            self.leaves("Touch", TOUCH_LEAVES);
            self.text.push_str("} lastTouch { ");
            self.leaves("Touch", TOUCH_LEAVES);
            self.text.push_str("} } ");
        }
        if self.dice.one_in(2) {
            let mut arguments = self.page(false);
            if self.dice.one_in(2) {
                let filter = self.dice.pick(&[
                    r#"{name: {eq: "signup"}}"#,
                    r#"{name: {startsWith: "$"}}"#,
                    r#"{source: {ne: "api"}}"#,
                    r#"{occurredAt: {after: "2020-01-01T00:00:00+02:00"}}"#,
                    r#"{occurredAt: {before: "2020-01-01T00:00:00Z"}}"#,
                    "{}",
                    "null",
                ]);
                arguments.push(format!("filter: {filter}"));
            }
            self.list("events", "Event", &arguments, |writer| {
                writer.leaves("Event", EVENT_LEAVES);
            });
        }
        if self.dice.one_in(2) {
            let mut arguments = self.page(false);
            if self.dice.one_in(3) {
                let value = self.value("NudgeState", "OFFERED", json!("OFFERED"));
                arguments.push(format!("state: {value}"));
            }
            if self.dice.one_in(3) {
                let value = self.value("String", r#""web""#, json!("web"));
                arguments.push(format!("surface: {value}"));
            }
            if self.dice.one_in(3) {
                let open = self.dice.one_in(2);
                let value = self.value("Boolean!", &open.to_string(), json!(open));
                arguments.push(format!("open: {value}"));
            }
            self.list("nudges", "NudgeDelivery", &arguments, |writer| {
                writer.leaves("NudgeDelivery", DELIVERY_LEAVES);
            });
        }
    }

    fn root(&mut self) {
        self.text.push_str("{ ");
        for _ in 0..=self.dice.below(2) {
            self.names += 1;
            self.aliases += 1;
            let alias = self.names;
            match self.dice.below(20) {
                0 => {
                    let _ = write!(self.text, "m{alias}: me {{ ");
                    self.contact();
                    self.text.push_str("} ");
                }
                1..=8 => {
                    let id = self.known.ids[self.dice.below(self.known.ids.len())].clone();
                    let of = self.dice.pick(&["ID", "ID!"]);
                    let value = self.value(of, &format!("{id:?}"), json!(id));
                    let _ = write!(self.text, "c{alias}: contact(id: {value}) {{ ");
                    self.contact();
                    self.text.push_str("} ");
                }
                _ => {
                    let mut arguments = self.page(true);
                    if self.dice.one_in(2) {
                        let filter = self.dice.pick(&[
                            r#"{trait: {key: "plan", eq: "pro"}}"#,
                            r#"{or: [{trait: {key: "n", gt: 3}}, {email: {contains: "0"}}]}"#,
                            "{status: {eq: KNOWN}}",
                            "{not: {status: {in: [ANONYMOUS, VERIFIED]}}}",
                            r#"{events: {some: {name: "signup"}}}"#,
                            r#"{createdAt: {after: "2020-01-01T00:00:00Z"}, externalId: {exists: true}}"#,
                            "{and: []}",
                            "{or: []}",
                        ]);
                        arguments.push(format!("filter: {filter}"));
                    }
                    if self.dice.one_in(3) {
                        let order = json!({"field": "UPDATED_AT", "direction": "ASC"});
                        let value = self.value(
                            "ContactOrder",
                            "{field: UPDATED_AT, direction: ASC}",
                            order,
                        );
                        arguments.push(format!("orderBy: {value}"));
                    }
                    self.list("contacts", "Contact", &arguments, Self::contact);
                }
            }
        }
        if self.dice.one_in(5) {
            self.text.push_str("__typename ");
        }
        self.text.push('}');
    }
}

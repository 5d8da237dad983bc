//! The room's tables that name contacts: how their rows follow, what an archive holds of them, what an erasure leaves.
//!
//! Of the graph itself no row names the identifier that caused it: the graph sees to them where contacts become one or are taken
//! apart.

use crate::base::{Erase, Export, Held};

const MACHINERY: Export = Export::Hidden("it tells of our deliveries, and not of the contact");

/// In the order of their erasure: the contact itself goes last.
pub(super) const TABLES: &[Held] = &[
    Held {
        through: Some(&EVENTS),
        export: MACHINERY,
        ..of_graph("event_retry", "event_id")
    },
    Held {
        through: Some(&EVENTS),
        export: MACHINERY,
        ..of_graph("dead_letter", "event_id")
    },
    Held {
        through: Some(&EVENTS),
        export: MACHINERY,
        ..of_graph("event_message", "id")
    },
    EVENTS,
    caused("trait_observation"),
    caused("touchpoint"),
    caused("consent"),
    caused("account_membership"),
    Held {
        identifier: Some("identifier_a_id"),
        ..of_two("relationship", "contact_a_id")
    },
    Held {
        identifier: Some("identifier_b_id"),
        ..of_two("relationship", "contact_b_id")
    },
    of_graph("contact_trait", "contact_id"),
    of_two("merge_proposal", "contact_a_id"),
    of_two("merge_proposal", "contact_b_id"),
    of_two("merge_record", "survivor_id"),
    of_two("merge_record", "other_id"),
    of_graph("contact_alias", "absorbed_id"),
    of_two("contact_alias", "contact_id"),
    of_identifiers("contact_cannot_link", "a_id"),
    of_identifiers("contact_cannot_link", "b_id"),
    of_identifiers("contact_evidence", "a_id"),
    of_identifiers("contact_evidence", "b_id"),
    IDENTIFIERS,
    of_two("contact", "merged_into"),
    of_graph("contact", "id"),
];

const EVENTS: Held = caused("event");
const IDENTIFIERS: Held = of_graph("contact_identifier", "contact_id");

/// Rows that were caused by an identifier, and go with it.
const fn caused(table: &'static str) -> Held {
    Held {
        identifier: Some("identifier_id"),
        ..of_graph(table, "contact_id")
    }
}

const fn of_identifiers(table: &'static str, identifier: &'static str) -> Held {
    Held {
        through: Some(&IDENTIFIERS),
        ..of_two(table, identifier)
    }
}

/// Rows about two contacts.
const fn of_two(table: &'static str, contact: &'static str) -> Held {
    Held {
        export: Export::Hidden("the other contact in it may be another person"),
        ..of_graph(table, contact)
    }
}

const fn of_graph(table: &'static str, contact: &'static str) -> Held {
    Held {
        table,
        contact,
        identifier: None,
        through: None,
        export: Export::All,
        erase: Erase::Delete,
    }
}

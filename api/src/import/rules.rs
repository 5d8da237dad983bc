//! What the columns of a file mean, and what a line of it says. Pure: no database, no clock.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use entity::{
    contact_identifier::{Kind, Verification},
    suppression::Channel,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    base::{Error, OWN_MESSAGE, Result, storable, storable_json},
    contact::{Claim, Incoming, Link, TraitChanges, normalize},
};

/// Columns that a file may map: as many as a contact may be told of traits at once.
const COLUMNS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 200;
const TRAIT_BYTES_MAX: usize = 16 * 1024;

/// What is imported, from what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) content: ImportContent,
    pub(super) format: ImportFormat,
    pub(super) delimiter: char,
    pub(super) columns: Vec<Column>,
    pub(super) dry_run: bool,
}

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ImportContent {
    /// A contact each.
    Contacts,
    /// Addresses that must not be written to. Import them first.
    Suppressions,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ImportFormat {
    /// RFC 4180, in UTF-8, with a heading.
    Csv,
    /// A JSON object a line, in UTF-8.
    Jsonl,
}

/// What a column says of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ImportTarget {
    /// The person's id in the tenant's own product.
    ExternalId,
    /// An e-mail address.
    Email,
    /// A phone number in international form.
    Phone,
    /// The id that a client made up for a visitor.
    AnonymousId,
    /// A trait, as it is written: of CSV a text.
    Trait,
    /// A trait that is a number.
    NumberTrait,
    /// A trait that is true or false: also written `yes` and `no`, `1` and `0`.
    BooleanTrait,
}

impl ImportTarget {
    const fn identifier(self) -> Option<Kind> {
        match self {
            Self::ExternalId => Some(Kind::ExternalId),
            Self::Email => Some(Kind::Email),
            Self::Phone => Some(Kind::Phone),
            Self::AnonymousId => Some(Kind::AnonymousId),
            Self::Trait | Self::NumberTrait | Self::BooleanTrait => None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) target: ImportTarget,
    /// The trait's key.
    pub(super) key: Option<String>,
}

impl Column {
    fn trait_key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.name)
    }
}

/// Why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn of_line(reason: impl Into<String>) -> Self {
        Self {
            field: None,
            reason: reason.into(),
        }
    }
    fn of(column: &Column, reason: impl Into<String>) -> Self {
        Self {
            field: Some(column.name.clone()),
            reason: reason.into(),
        }
    }
}

impl Plan {
    /// Whether it can be done; a user error names what is wrong.
    pub(super) fn check(&self) -> Result<()> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(Error::invalid(
                "columns",
                format!(
                    "give 1 to {COLUMNS_MAX} columns, not {}",
                    self.columns.len()
                ),
            ));
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\r' | '\n' | '\0') {
            return Err(Error::invalid(
                "delimiter",
                "a delimiter is one ASCII character, and no quote",
            ));
        }
        let mut names = HashSet::new();
        for (at, column) in self.columns.iter().enumerate() {
            let field = format!("columns.{at}");
            let chars = |text: &str| text.chars().count();
            if !(1..=NAME_CHARS_MAX).contains(&chars(&column.name))
                || !(1..=NAME_CHARS_MAX).contains(&chars(column.trait_key()))
            {
                return Err(Error::invalid(
                    field,
                    format!("a name has 1 to {NAME_CHARS_MAX} characters"),
                ));
            }
            if !names.insert(&column.name) {
                return Err(Error::invalid(
                    field,
                    format!("the column {:?} is mapped twice", column.name),
                ));
            }
            let is_address = matches!(column.target, ImportTarget::Email | ImportTarget::Phone);
            if self.content == ImportContent::Suppressions && !is_address {
                return Err(Error::invalid(
                    field,
                    "suppressions are e-mail addresses and phone numbers",
                ));
            }
        }
        let mut targets = self.columns.iter().map(|column| column.target);
        if targets.any(|target| target.identifier().is_some()) {
            Ok(())
        } else {
            Err(Error::invalid(
                "columns",
                "map a column to an id or an address: by what is a contact to be known?",
            ))
        }
    }

    /// What a line says of a contact. `cell` gives a column's value; `message` names the line.
    pub(super) fn touch<'a>(
        &self,
        cell: impl Fn(&str) -> Option<&'a Value>,
        message: &str,
        at: DateTime<Utc>,
    ) -> Result<Incoming, Fault> {
        let mut claims = vec![];
        let mut traits = TraitChanges::default();
        for column in &self.columns {
            let Some(value) = cell(&column.name) else {
                continue;
            };
            if let Some(kind) = column.target.identifier() {
                if let Some(text) = text_of(value).map_err(|why| Fault::of(column, why))? {
                    let claim = Claim::new(kind, &text, Verification::AssertedByBackend, "value")
                        .map_err(|error| Fault::of(column, error.to_string()))?;
                    claims.push(claim);
                }
                continue;
            }
            match trait_of(column.target, value).map_err(|why| Fault::of(column, why))? {
                Some(value) => {
                    traits
                        .set
                        .insert(storable(column.trait_key().to_owned()), value);
                }
                None if value.is_null() => traits.unset.push(column.trait_key().to_owned()),
                None => {}
            }
        }
        if claims.is_empty() {
            return Err(Fault::of_line("it has no id and no address"));
        }
        let mut properties = Map::new();
        if !traits.set.is_empty() {
            properties.insert("$set".to_owned(), Value::Object(traits.set.clone()));
        }
        if !traits.unset.is_empty() {
            properties.insert("$unset".to_owned(), json!(traits.unset));
        }
        Ok(Incoming {
            name: "$set".to_owned(),
            claims,
            contact_id: None,
            link: Link::Identify,
            traits,
            touch: None,
            properties,
            context: Map::new(),
            source: "import",
            verification: Verification::AssertedByBackend,
            message_id: Some(format!("{OWN_MESSAGE}import/{message}")),
            occurred_at: at,
            makes_contact: true,
        })
    }

    /// The addresses that a line names, normalised.
    pub(super) fn addresses<'a>(
        &self,
        cell: impl Fn(&str) -> Option<&'a Value>,
    ) -> Result<Vec<(Channel, String)>, Fault> {
        let mut addresses = vec![];
        for column in &self.columns {
            let (kind, channel) = match column.target {
                ImportTarget::Phone => (Kind::Phone, Channel::Phone),
                _ => (Kind::Email, Channel::Email),
            };
            let Some(value) = cell(&column.name) else {
                continue;
            };
            let text = text_of(value).map_err(|why| Fault::of(column, why))?;
            if let Some(text) = text {
                let (value, _) = normalize(kind, &text).map_err(|why| Fault::of(column, why))?;
                addresses.push((channel, value));
            }
        }
        if addresses.is_empty() {
            return Err(Fault::of_line("it has no address"));
        }
        Ok(addresses)
    }
}

/// An id or an address; nothing where the cell is empty.
fn text_of(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err("an id or an address is a text".to_owned())
        }
    }
}

/// A trait's value; nothing where the cell is empty.
fn trait_of(target: ImportTarget, value: &Value) -> Result<Option<Value>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => Some(text.trim()),
        _ => None,
    };
    let value = match (target, text) {
        (ImportTarget::NumberTrait, Some(text)) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            let number: Option<Value> = match text.parse::<i64>() {
                Ok(whole) => Some(whole.into()),
                Err(_) => number.map(Into::into),
            };
            number.ok_or_else(|| "it is not a number".to_owned())?
        }
        (ImportTarget::NumberTrait, None) if !value.is_number() => {
            return Err("it is not a number".to_owned());
        }
        (ImportTarget::BooleanTrait, Some(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Value::Bool(true),
            "false" | "no" | "0" => Value::Bool(false),
            _ => return Err("it is neither true nor false".to_owned()),
        },
        (ImportTarget::BooleanTrait, None) if !value.is_boolean() => {
            return Err("it is neither true nor false".to_owned());
        }
        _ => storable_json(value.clone()),
    };
    if value.to_string().len() > TRAIT_BYTES_MAX {
        return Err(format!("a trait has at most {TRAIT_BYTES_MAX} bytes"));
    }
    Ok(Some(value))
}

/// A cell that no spreadsheet takes for a formula: what begins like one is given an apostrophe.
pub(super) fn safe_cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(columns: &[(&str, ImportTarget)]) -> Plan {
        Plan {
            content: ImportContent::Contacts,
            format: ImportFormat::Csv,
            delimiter: ',',
            columns: columns
                .iter()
                .map(|(name, target)| Column {
                    name: (*name).to_owned(),
                    target: *target,
                    key: None,
                })
                .collect(),
            dry_run: true,
        }
    }

    fn touch(plan: &Plan, row: &Value) -> Result<Incoming, Fault> {
        plan.touch(|name| row.get(name), "job/2", DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_line_says_who_it_is_and_what_is_known_of_them() {
        let plan = plan(&[
            ("id", ImportTarget::ExternalId),
            ("mail", ImportTarget::Email),
            ("plan", ImportTarget::Trait),
            ("seats", ImportTarget::NumberTrait),
            ("paying", ImportTarget::BooleanTrait),
            ("gone", ImportTarget::Trait),
        ]);
        let row = json!({"id": 7, "mail": " Ann@Example.COM", "plan": "=pro", "seats": "2.5", "paying": "Yes", "gone": null, "other": 1});
        let said = touch(&plan, &row).unwrap();
        let claims: Vec<_> = said
            .claims
            .iter()
            .map(|claim| (claim.kind, claim.value.as_str()))
            .collect();
        assert_eq!(
            claims,
            [(Kind::ExternalId, "7"), (Kind::Email, "ann@example.com")]
        );
        assert_eq!(
            Value::Object(said.properties),
            json!({"$set": {"plan": "=pro", "seats": 2.5, "paying": true}, "$unset": ["gone"]})
        );
        assert_eq!(said.message_id.unwrap(), "growthos:import/job/2");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_column() {
        let plan = plan(&[
            ("mail", ImportTarget::Email),
            ("seats", ImportTarget::NumberTrait),
            ("paying", ImportTarget::BooleanTrait),
        ]);
        for (row, field) in [
            (json!({"mail": "nobody"}), Some("mail")),
            (json!({"mail": ["a@b.co"]}), Some("mail")),
            (json!({"mail": "a@b.co", "seats": "many"}), Some("seats")),
            (json!({"mail": "a@b.co", "seats": "inf"}), Some("seats")),
            (json!({"mail": "a@b.co", "paying": "maybe"}), Some("paying")),
            (json!({"mail": " ", "seats": 1}), None),
        ] {
            assert_eq!(
                touch(&plan, &row).unwrap_err().field.as_deref(),
                field,
                "{row}"
            );
        }
    }

    #[test]
    fn a_mapping_without_an_id_or_with_one_column_twice_is_refused() {
        let field = |plan: Plan| match plan.check() {
            Err(Error::User(error)) => error.field.unwrap(),
            other => panic!("{other:?}"),
        };
        let mail = ("mail", ImportTarget::Email);
        assert!(plan(&[mail]).check().is_ok());
        assert_eq!(field(plan(&[])), "columns");
        assert_eq!(field(plan(&[("plan", ImportTarget::Trait)])), "columns");
        assert_eq!(field(plan(&[mail, mail])), "columns.1");
        let suppressions = Plan {
            content: ImportContent::Suppressions,
            ..plan(&[mail, ("id", ImportTarget::ExternalId)])
        };
        assert_eq!(field(suppressions), "columns.1");
        let quoted = Plan {
            delimiter: '"',
            ..plan(&[mail])
        };
        assert_eq!(field(quoted), "delimiter");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (text, safe) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(safe_cell(text), safe);
        }
    }
}

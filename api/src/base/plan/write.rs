//! Writing an answer's JSON from the rows that it is made of.

use async_graphql::Value as Answer;
use chrono::{DateTime, Utc};
use entity::{Id, Named};
use serde::Serialize;
use serde_json::Value;

use super::ask::{Field, Given, Run, kept};
use crate::base::instant;

/// The answer as it grows.
#[derive(Default)]
pub struct Json {
    text: Vec<u8>,
    values: usize,
}

impl Json {
    /// The JSON, and how many fields it has.
    pub fn finish(self) -> Run<(String, usize)> {
        Some((String::from_utf8(self.text).ok()?, self.values))
    }

    /// An object of those of `fields` that are asked for, each value written by `write`.
    pub fn object<F>(
        &mut self,
        fields: &[Field<F>],
        given: &Given<'_>,
        mut write: impl FnMut(&mut Self, &F) -> Run<()>,
    ) -> Run<()> {
        self.text.push(b'{');
        for (at, field) in kept(fields, given).enumerate() {
            let field = field?;
            if at > 0 {
                self.text.push(b',');
            }
            self.text.extend_from_slice(field.key().as_bytes());
            self.values += 1;
            write(self, &field.what)?;
        }
        self.text.push(b'}');
        Some(())
    }

    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Run<()>,
    ) -> Run<()> {
        self.text.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            write(self, item)?;
        }
        self.text.push(b']');
        Some(())
    }

    pub fn null(&mut self) -> Run<()> {
        self.word("null")
    }
    pub fn bool(&mut self, value: bool) -> Run<()> {
        self.word(if value { "true" } else { "false" })
    }
    /// A text that needs no escape, such as an enum's value or a type's name.
    pub fn plain(&mut self, text: &str) -> Run<()> {
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
        Some(())
    }
    /// An enum's value, in the schema's words.
    pub fn word_of(&mut self, value: impl Into<Answer>) -> Run<()> {
        match value.into() {
            Answer::Enum(name) => self.plain(&name),
            _ => None,
        }
    }
    /// JSON that somebody stored; its own fields count.
    pub fn json(&mut self, value: &Value) -> Run<()> {
        self.values += fields(value);
        self.value(value)
    }
    /// Anything else, as `serde_json` writes it.
    pub fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Run<()> {
        serde_json::to_writer(&mut self.text, value).ok()
    }
    pub fn instant(&mut self, at: DateTime<Utc>) -> Run<()> {
        self.plain(instant::Printed::of(at).as_str())
    }
    pub fn id<T: Named>(&mut self, id: Id<T>) -> Run<()> {
        self.text.push(b'"');
        self.text.extend_from_slice(T::PREFIX.as_bytes());
        self.text.push(b'_');
        self.text.extend_from_slice(&id.digits());
        self.text.push(b'"');
        Some(())
    }
    /// `write` the value, or null where there is none.
    pub fn or_null<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> Run<()>,
    ) -> Run<()> {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last word of each writer")]
    fn word(&mut self, word: &str) -> Run<()> {
        self.text.extend_from_slice(word.as_bytes());
        Some(())
    }
}

fn fields(value: &Value) -> usize {
    match value {
        Value::Object(inner) => inner.values().map(|value| 1 + fields(value)).sum(),
        Value::Array(items) => items.iter().map(fields).sum(),
        _ => 0,
    }
}

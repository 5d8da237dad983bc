//! `growthos flag eval`: one question a line, one answer a line.
//!
//! A question is `{"kind", "input", "property_matching_version"?, "frozen_now"?}`; other
//! fields are ignored. Kinds and their inputs:
//!
//! | kind | input |
//! |---|---|
//! | `flag` | `flag`, `distinct_id`, and optionally `person_properties`, `groups`, `group_properties`, `device_id`, `group_type_mapping`, `cohorts`, `other_flags` |
//! | `property` | `property`, `properties` |
//! | `property_group` | `property_group`, `properties`, `cohort_properties` |
//! | `cohort` | `property`, `properties`, `cohort_properties` |
//! | `relative_date` | `value` |
//!
//! An answer is `{"outcome": "value", "value": …}`, `{"outcome": "inconclusive"}`,
//! `{"outcome": "requires_server"}` or `{"outcome": "error", "message": …}`. Where the
//! input has `{"__date__": "<ISO 8601>"}`, a native date is meant.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::date::{self, Ago};
use super::definition::Definitions;
use super::evaluate::{FlagValue, Outcome};
use super::property::PropertyFilter;
use super::subject::Subject;
use super::text::NativeDate;
use super::verdict::{Reach, Readings, UNSUPPORTED, Undecided, Verdict};

/// A line that asks nothing that can be answered.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("the line is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is missing or of the wrong type")]
    Field(&'static str),
    #[error("unknown kind `{0}`")]
    Kind(String),
    #[error("`{0}` is not a date")]
    Date(String),
    #[error(transparent)]
    Definitions(#[from] super::DefinitionsError),
}

/// The answer to one line, itself one line without its end. `now` stands for the present
/// where the line has no `frozen_now`. Never fails: a bad line is answered with an error.
pub fn answer(line: &str, now: DateTime<Utc>) -> String {
    let answer = match try_answer(line, now) {
        Ok(Ok(value)) => json!({"outcome": "value", "value": value}),
        Ok(Err(undecided)) => match undecided.reach {
            Reach::Inconclusive => json!({"outcome": "inconclusive"}),
            Reach::RequiresServer => json!({"outcome": "requires_server"}),
        },
        Err(error) => json!({"outcome": "error", "message": error.to_string()}),
    };
    answer.to_string()
}

fn try_answer(line: &str, now: DateTime<Utc>) -> Result<Result<Value, Undecided>, LineError> {
    let question: Value = serde_json::from_str(line)?;
    let kind = question.get("kind").and_then(Value::as_str);
    let input = question.get("input").and_then(Value::as_object);
    let input = input.ok_or(LineError::Field("input"))?;
    let version = question
        .get("property_matching_version")
        .and_then(Value::as_i64);
    let now = match question.get("frozen_now") {
        None | Some(Value::Null) => now,
        Some(frozen) => frozen_now(frozen)?,
    };
    let question = Question {
        input,
        version: version.unwrap_or(1),
        now,
    };
    match kind.ok_or(LineError::Field("kind"))? {
        "flag" => question.flag(),
        "property" => question.property(),
        "property_group" => question.property_group(),
        "cohort" => question.cohort(),
        "relative_date" => question.relative_date(),
        other => Err(LineError::Kind(other.to_owned())),
    }
}

fn frozen_now(frozen: &Value) -> Result<DateTime<Utc>, LineError> {
    let text = frozen.as_str().ok_or(LineError::Field("frozen_now"))?;
    DateTime::parse_from_rfc3339(text)
        .map(|frozen| frozen.to_utc())
        .map_err(|_| LineError::Date(text.to_owned()))
}

struct Question<'a> {
    input: &'a Map<String, Value>,
    version: i64,
    now: DateTime<Utc>,
}

type Answer = Result<Result<Value, Undecided>, LineError>;

impl Question<'_> {
    fn flag(&self) -> Answer {
        let flag = self.required("flag")?;
        let key = flag.get("key").and_then(Value::as_str);
        let key = key.ok_or(LineError::Field("flag.key"))?;
        let definitions = self.definitions(flag, self.object("cohorts")?)?;
        let distinct_id = self
            .required("distinct_id")
            .and_then(|id| id_text(id).ok_or(LineError::Field("distinct_id")))?;
        let device_id = self.input.get("device_id").and_then(id_text);
        let person = Given::read(self.object("person_properties")?)?;
        let groups: BTreeMap<String, String> = self
            .object("groups")?
            .iter()
            .filter_map(|(name, key)| Some((name.clone(), id_text(key)?)))
            .collect();
        let group_properties: BTreeMap<String, Map<String, Value>> = self
            .object("group_properties")?
            .iter()
            .filter_map(|(name, properties)| Some((name.clone(), properties.as_object()?.clone())))
            .collect();
        let subject = person
            .subject(&distinct_id)
            .on_device(device_id.as_deref())
            .in_groups(&groups, &group_properties);
        self.value(&definitions, key, &subject)
    }

    fn property(&self) -> Answer {
        let filter = self.required("property")?.as_object();
        let filter = filter.ok_or(LineError::Field("property"))?;
        let filter = PropertyFilter::compile(filter, self.version);
        let given = Given::read(self.properties()?)?;
        let properties = given.subject("").person_properties().only_given();
        Ok(agreed(filter.matches(properties, self.now)))
    }

    /// A group is asked about as the only cohort of a flag, which walks the same rules.
    fn property_group(&self) -> Answer {
        let group = self.required("property_group")?;
        let mut cohorts = self.cohorts()?;
        cohorts.insert(QUESTION.to_owned(), group.clone());
        self.membership(&json!({"type": "cohort", "value": QUESTION}), &cohorts)
    }

    fn cohort(&self) -> Answer {
        let filter = self.required("property")?.as_object();
        let mut filter = filter.ok_or(LineError::Field("property"))?.clone();
        filter.insert("type".to_owned(), "cohort".into());
        self.membership(&filter.into(), &self.cohorts()?)
    }

    fn membership(&self, filter: &Value, cohorts: &Map<String, Value>) -> Answer {
        let flag = json!({
            "key": QUESTION,
            "active": true,
            "filters": {"groups": [{"properties": [filter]}]},
        });
        let definitions = self.definitions(&flag, cohorts)?;
        let given = Given::read(self.properties()?)?;
        self.value(&definitions, QUESTION, &given.subject(""))
    }

    fn relative_date(&self) -> Answer {
        let value = self.required("value")?.as_str();
        let Some(ago) = Ago::parse(value.ok_or(LineError::Field("value"))?) else {
            return Ok(Ok(Value::Null));
        };
        Ok(ago.before(self.now).ok_or(UNSUPPORTED).map(|then| {
            let precision = if then.timestamp_subsec_micros() == 0 {
                SecondsFormat::Secs
            } else {
                SecondsFormat::Micros
            };
            json!({"__date__": then.to_rfc3339_opts(precision, false)})
        }))
    }

    fn definitions(
        &self,
        flag: &Value,
        cohorts: &Map<String, Value>,
    ) -> Result<Definitions, LineError> {
        let others = self.input.get("other_flags").and_then(Value::as_array);
        let mut flags = others.cloned().unwrap_or_default();
        // Last, so that it prevails over another of its key.
        flags.push(flag.clone());
        Ok(Definitions::parse(&json!({
            "flags": flags,
            "group_type_mapping": self.input.get("group_type_mapping"),
            "cohorts": cohorts,
            "property_matching_version": self.version,
        }))?)
    }

    fn value(&self, definitions: &Definitions, key: &str, subject: &Subject<'_>) -> Answer {
        let evaluation = definitions.evaluate(key, subject, self.now);
        let evaluation = evaluation.ok_or(LineError::Field("flag.key"))?;
        Ok(match evaluation.outcome {
            Outcome::Value(FlagValue::Bool(value)) => Ok(value.into()),
            Outcome::Value(FlagValue::Variant(value)) => Ok(value.into()),
            Outcome::Undecided(undecided) => Err(undecided),
        })
    }

    fn cohorts(&self) -> Result<Map<String, Value>, LineError> {
        let named = self.input.contains_key("cohorts");
        let name = if named {
            "cohorts"
        } else {
            "cohort_properties"
        };
        self.object(name).cloned()
    }

    fn properties(&self) -> Result<&Map<String, Value>, LineError> {
        let named = self.input.contains_key("property_values");
        self.object(if named {
            "property_values"
        } else {
            "properties"
        })
    }

    fn required(&self, name: &'static str) -> Result<&Value, LineError> {
        self.input.get(name).ok_or(LineError::Field(name))
    }

    /// An object that may be null or absent.
    fn object(&self, name: &'static str) -> Result<&Map<String, Value>, LineError> {
        match self.input.get(name) {
            None | Some(Value::Null) => Ok(&EMPTY),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(LineError::Field(name)),
        }
    }
}

/// The key of the flag and the cohort that a bare group is asked through.
const QUESTION: &str = "question";

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Properties with their native dates told apart.
struct Given<'a> {
    json: &'a Map<String, Value>,
    dates: BTreeMap<String, NativeDate>,
}

impl<'a> Given<'a> {
    fn read(json: &'a Map<String, Value>) -> Result<Self, LineError> {
        let mut dates = BTreeMap::new();
        for (key, value) in json {
            let Some(text) = value.get("__date__") else {
                continue;
            };
            let text = text.as_str().unwrap_or_default();
            let date = date::native(text).ok_or_else(|| LineError::Date(text.to_owned()))?;
            dates.insert(key.clone(), date);
        }
        Ok(Self { json, dates })
    }

    const fn subject(&'a self, distinct_id: &'a str) -> Subject<'a> {
        Subject {
            dates: Some(&self.dates),
            ..Subject::person(distinct_id, self.json)
        }
    }
}

/// An id is text or a number.
fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn agreed(verdicts: Readings<Verdict>) -> Result<Value, Undecided> {
    if verdicts.differ() {
        Err(UNSUPPORTED)
    } else {
        verdicts.python.map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> String {
        let now = DateTime::from_timestamp(1_650_000_000, 0).unwrap();
        answer(line, now)
    }

    #[test]
    fn a_bad_line_is_answered_with_an_error() {
        let cases = [
            ("{}", "`input` is missing or of the wrong type"),
            (
                r#"{"kind":"flag","input":{}}"#,
                "`flag` is missing or of the wrong type",
            ),
            (r#"{"kind":"riddle","input":{}}"#, "unknown kind `riddle`"),
            (
                r#"{"kind":"property","input":{"property":{},"properties":{"a":{"__date__":"x"}}}}"#,
                "`x` is not a date",
            ),
            (
                r#"{"kind":"property","frozen_now":"soon","input":{"property":{}}}"#,
                "`soon` is not a date",
            ),
        ];
        for (line, message) in cases {
            let expected = json!({"outcome": "error", "message": message});
            assert_eq!(ask(line), expected.to_string());
        }
        assert!(ask("{").starts_with(r#"{"message":"the line is not JSON: "#));
    }

    #[test]
    fn groups_and_cohorts_can_be_asked_about_alone() {
        let group = r#"{"kind":"property_group","input":{"property_group":{"type":"OR","values":[
            {"key":"plan","value":"pro"},{"key":"age","value":"3","operator":"gt"}]},
            "properties":{"plan":"free","age":4},"cohort_properties":{}}}"#;
        assert_eq!(ask(group), r#"{"outcome":"value","value":true}"#);
        let cohort = r#"{"kind":"cohort","input":{"property":{"value":7,"operator":"not_in"},
            "properties":{"plan":"pro"},
            "cohort_properties":{"7":{"type":"AND","values":[{"key":"plan","value":"pro"}]}}}}"#;
        assert_eq!(ask(cohort), r#"{"outcome":"value","value":false}"#);
        let unknown = r#"{"kind":"cohort","input":{"property":{"value":8}}}"#;
        assert_eq!(ask(unknown), r#"{"outcome":"requires_server"}"#);
    }

    #[test]
    fn relative_dates_are_answered_as_native_dates() {
        let line = r#"{"kind":"relative_date","input":{"value":"-1h"}}"#;
        let expected = r#"{"outcome":"value","value":{"__date__":"2022-04-15T04:20:00+00:00"}}"#;
        assert_eq!(ask(line), expected);
    }
}

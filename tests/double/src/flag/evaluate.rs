//! A small evaluator of its own, so that the product's is never checked against itself. It has the server's view: the whole
//! person is known, so a missing property is a mismatch. What it does not know makes the flag `failed`.

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::Definitions;

/// Who is asked about.
pub(super) struct Subject {
    pub(super) distinct_id: String,
    pub(super) device_id: Option<String>,
    /// The stored person's with the request's on top.
    pub(super) properties: Map<String, Value>,
    /// Type → key.
    pub(super) groups: Map<String, Value>,
    /// Type → properties.
    pub(super) group_properties: Map<String, Value>,
}

/// The answer for one flag.
#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) enabled: bool,
    pub(super) variant: Option<String>,
    /// PostHog's `reason.code`.
    pub(super) code: &'static str,
    /// The condition that decided, counted from 0.
    pub(super) condition: Option<usize>,
    /// The double does not understand the definition.
    pub(super) failed: bool,
}

impl Decision {
    const fn off(code: &'static str, condition: Option<usize>) -> Self {
        Self {
            enabled: false,
            variant: None,
            code,
            condition,
            failed: false,
        }
    }

    const fn on(variant: Option<String>, code: &'static str, condition: Option<usize>) -> Self {
        Self {
            enabled: true,
            variant,
            code,
            condition,
            failed: false,
        }
    }

    pub(super) fn value(&self) -> Value {
        self.variant
            .clone()
            .map_or(Value::Bool(self.enabled), Value::String)
    }

    pub(super) fn description(&self) -> String {
        match (self.code, self.condition) {
            ("condition_match", Some(index)) => format!("Matched condition set {}", index + 1),
            ("out_of_rollout_bound", _) => "Out of rollout bound".to_owned(),
            ("no_condition_match", _) => "No matching condition set".to_owned(),
            ("flag_disabled", _) => "Feature flag is disabled".to_owned(),
            ("no_group_type", _) => "No group type".to_owned(),
            (code, _) => code.to_owned(),
        }
    }

    /// The payload of the value, a string that holds JSON.
    pub(super) fn payload<'a>(&self, flag: &'a Value) -> Option<&'a Value> {
        let key = self.variant.as_deref().or(self.enabled.then_some("true"))?;
        flag.pointer("/filters/payloads")?.get(key)
    }
}

/// A definition that the double does not understand.
struct Unknown;

/// PostHog's place of an id on [0, 1].
#[expect(
    clippy::cast_precision_loss,
    reason = "the published hash divides doubles"
)]
fn hash(text: &str) -> f64 {
    const SCALE: f64 = 0xfff_ffff_ffff_ffff_u64 as f64;
    let digest = Sha1::digest(text);
    let first = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (first >> 4) as f64 / SCALE
}

pub(super) fn decide(
    definitions: &Definitions,
    flag: &Value,
    key: &str,
    subject: &Subject,
) -> Decision {
    evaluate(definitions, flag, key, subject).unwrap_or(Decision {
        failed: true,
        ..Decision::off("unsupported_definition", None)
    })
}

fn evaluate(
    definitions: &Definitions,
    flag: &Value,
    key: &str,
    subject: &Subject,
) -> Result<Decision, Unknown> {
    if flag.get("active") == Some(&Value::Bool(false)) {
        return Ok(Decision::off("flag_disabled", None));
    }
    let filters = flag.get("filters").ok_or(Unknown)?;
    let empty = Map::new();
    let (id, properties) = match filters
        .get("aggregation_group_type_index")
        .and_then(Value::as_u64)
    {
        None if flag.get("bucketing_identifier").and_then(Value::as_str) == Some("device_id") => (
            subject.device_id.as_deref().ok_or(Unknown)?,
            &subject.properties,
        ),
        None => (subject.distinct_id.as_str(), &subject.properties),
        Some(index) => {
            let group = definitions.group_type(index).ok_or(Unknown)?;
            let Some(id) = subject.groups.get(group).and_then(Value::as_str) else {
                return Ok(Decision::off("no_group_type", None));
            };
            (
                id,
                subject
                    .group_properties
                    .get(group)
                    .and_then(Value::as_object)
                    .unwrap_or(&empty),
            )
        }
    };
    if let Some(holdout) = filters.get("holdout").filter(|holdout| holdout.is_object()) {
        let excluded = holdout
            .get("exclusion_percentage")
            .and_then(Value::as_f64)
            .unwrap_or(0.0);
        if hash(&format!("holdout-{id}")) <= excluded / 100.0 {
            let name = format!("holdout-{}", holdout.get("id").unwrap_or(&Value::Null));
            return Ok(Decision::on(Some(name), "holdout_condition_value", None));
        }
    }
    let early_exit = filters.get("early_exit") == Some(&Value::Bool(true));
    let mut missed = Decision::off("no_condition_match", None);
    let conditions = filters
        .get("groups")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for (index, condition) in conditions.iter().enumerate() {
        let required = condition
            .get("properties")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let mut all = true;
        for property in required {
            all &= matches(property, properties)?;
        }
        if !all {
            continue;
        }
        let rollout = condition.get("rollout_percentage").and_then(Value::as_f64);
        if rollout.is_some_and(|percentage| hash(&format!("{key}.{id}")) > percentage / 100.0) {
            missed = Decision::off("out_of_rollout_bound", Some(index));
            if early_exit {
                break;
            }
            continue;
        }
        let forced = condition.get("variant").and_then(Value::as_str);
        return Ok(Decision::on(
            variant(filters, key, id, forced),
            "condition_match",
            Some(index),
        ));
    }
    Ok(missed)
}

/// The forced variant if it exists, else the one whose share holds the id's hash.
fn variant(filters: &Value, key: &str, id: &str, forced: Option<&str>) -> Option<String> {
    let variants = filters.pointer("/multivariate/variants")?.as_array()?;
    let name = |variant: &Value| {
        variant
            .get("key")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if let Some(forced) = variants
        .iter()
        .find(|variant| forced.is_some() && variant["key"].as_str() == forced)
    {
        return name(forced);
    }
    let place = hash(&format!("{key}.{id}variant"));
    let mut low = 0.0;
    for variant in variants {
        let high = low
            + variant
                .get("rollout_percentage")
                .and_then(Value::as_f64)
                .unwrap_or(0.0)
                / 100.0;
        if low <= place && place < high {
            return name(variant);
        }
        low = high;
    }
    None
}

fn matches(property: &Value, properties: &Map<String, Value>) -> Result<bool, Unknown> {
    let key = property.get("key").and_then(Value::as_str).ok_or(Unknown)?;
    if !matches!(
        property.get("type").and_then(Value::as_str),
        None | Some("person" | "group")
    ) {
        return Err(Unknown);
    }
    let wanted = property.get("value").unwrap_or(&Value::Null);
    let actual = properties.get(key);
    let is_any = |wanted: &Value| match wanted {
        Value::Array(any) => any
            .iter()
            .any(|one| text(one) == text(actual.unwrap_or(&Value::Null))),
        one => text(one) == text(actual.unwrap_or(&Value::Null)),
    };
    let contains = || actual.is_some_and(|actual| text(actual).contains(&text(wanted)));
    match property
        .get("operator")
        .and_then(Value::as_str)
        .unwrap_or("exact")
    {
        "exact" => Ok(actual.is_some() && is_any(wanted)),
        "is_not" => Ok(actual.is_none() || !is_any(wanted)),
        "icontains" => Ok(contains()),
        "not_icontains" => Ok(!contains()),
        "is_set" => Ok(actual.is_some()),
        "is_not_set" => Ok(actual.is_none()),
        _ => Err(Unknown),
    }
}

/// The lower-case text that values are compared by.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(distinct_id: &str, properties: Value) -> Subject {
        let Value::Object(properties) = properties else {
            panic!("properties are an object")
        };
        Subject {
            distinct_id: distinct_id.to_owned(),
            device_id: None,
            properties,
            groups: Map::new(),
            group_properties: Map::new(),
        }
    }

    fn decided(filters: &Value, key: &str, subject: &Subject) -> Decision {
        decide(
            &Definitions::default(),
            &json!({"key": key, "filters": filters}),
            key,
            subject,
        )
    }

    #[test]
    fn hashes_are_posthogs() {
        assert!((hash("simple-flag.distinct_id_0") - 0.783_696_376_422_043_2).abs() < 1e-15);
        assert!((hash("flag.🦔variant") - 0.487_576_072_017_524_74).abs() < 1e-15);
    }

    #[test]
    fn rollout_and_variant_follow_the_published_rows() {
        let simple = json!({"groups": [{"properties": [], "rollout_percentage": 45}]});
        let variants: Vec<_> = [
            ("first", 50),
            ("second", 20),
            ("third", 20),
            ("fourth", 5),
            ("fifth", 5),
        ]
        .map(|(key, share)| json!({"key": format!("{key}-variant"), "rollout_percentage": share}))
        .into();
        let several =
            json!({"groups": [{"rollout_percentage": 55}], "multivariate": {"variants": variants}});
        let rows = [
            ("distinct_id_0", json!(false), json!("second-variant")),
            ("distinct_id_2", json!(true), json!("first-variant")),
            ("distinct_id_3", json!(false), json!(false)),
            ("distinct_id_11", json!(true), json!("third-variant")),
            ("distinct_id_18", json!(true), json!("fourth-variant")),
        ];
        for (id, one, other) in rows {
            let subject = subject(id, json!({}));
            assert_eq!(
                decided(&simple, "simple-flag", &subject).value(),
                one,
                "{id}"
            );
            assert_eq!(
                decided(&several, "multivariate-flag", &subject).value(),
                other,
                "{id}"
            );
        }
    }

    #[test]
    fn conditions_are_tried_in_order_and_a_missing_property_is_a_mismatch() {
        let filters = json!({"groups": [
            {"properties": [{"key": "plan", "value": ["pro", "team"], "operator": "exact", "type": "person"}]},
            {"properties": [{"key": "email", "value": "@ACME.", "operator": "icontains", "type": "person"}]},
        ]});
        let decide = |properties| decided(&filters, "f", &subject("ann", properties));
        assert_eq!(
            decide(json!({"plan": "PRO"})),
            Decision::on(None, "condition_match", Some(0))
        );
        assert_eq!(
            decide(json!({"email": "a@acme.co"})),
            Decision::on(None, "condition_match", Some(1))
        );
        assert_eq!(decide(json!({})), Decision::off("no_condition_match", None));
    }

    #[test]
    fn a_definition_that_is_not_understood_fails_instead_of_guessing() {
        let cohort =
            json!({"groups": [{"properties": [{"key": "id", "value": 5, "type": "cohort"}]}]});
        assert!(decided(&cohort, "f", &subject("ann", json!({}))).failed);
    }
}

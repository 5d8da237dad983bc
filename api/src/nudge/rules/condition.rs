//! Conditions on an event's properties, compared by type.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Conditions of one trigger: each is asked of every event of its name.
pub(in crate::nudge) const CONDITIONS_MAX: usize = 20;

/// Values of one `IN`.
const VALUES_MAX: usize = 100;

/// Characters of a property's name, and of a text that it is compared with.
const PROPERTY_CHARS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 1_000;

/// How a property is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[graphql(name = "NudgeOperator")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operator {
    /// The property is this text, number or boolean; 1 and 1.0 are the same, 1 and "1" are not.
    Eq,
    /// It is another, or there is none.
    Ne,
    /// The property is one of a list of texts, numbers and booleans.
    In,
    /// It is none of them, or there is none.
    NotIn,
    /// The property is a text with this text in it, in the same case, or a list with this value in it.
    Contains,
    /// The property is greater: numbers with numbers, instants (RFC 3339 or `YYYY-MM-DD`) with instants.
    Gt,
    /// The property is greater or equal.
    Gte,
    /// The property is less.
    Lt,
    /// The property is less or equal.
    Lte,
    /// The event has the property, and it is not null. Takes no value.
    Exists,
    /// The event has no such property, or it is null. Takes no value.
    NotExists,
}

/// One comparison of one property of an event. Made by [`Condition::new`], so its value fits its operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::nudge) struct Condition {
    property: String,
    operator: Operator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// What of a condition is wrong, and why.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::nudge) struct Unfit {
    /// `property` or `value`.
    pub field: &'static str,
    pub message: String,
}

impl Condition {
    pub(in crate::nudge) fn new(
        property: String,
        operator: Operator,
        value: Option<Value>,
    ) -> Result<Self, Unfit> {
        if property.is_empty() || property.chars().count() > PROPERTY_CHARS_MAX {
            return Err(Unfit {
                field: "property",
                message: format!("a property's name has 1 to {PROPERTY_CHARS_MAX} characters"),
            });
        }
        let value = value.filter(|value| !value.is_null());
        value_fits(operator, value.as_ref()).map_err(|message| Unfit {
            field: "value",
            message,
        })?;
        Ok(Self {
            property,
            operator,
            value,
        })
    }
    pub(in crate::nudge) fn property(&self) -> &str {
        &self.property
    }
    pub(in crate::nudge) const fn operator(&self) -> Operator {
        self.operator
    }
    pub(in crate::nudge) const fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }
    /// Whether `properties`, an event's, meet the condition. A property of another type does not compare:
    /// only the negations `NE` and `NOT_IN` hold for it.
    pub(in crate::nudge) fn holds(&self, properties: &Value) -> bool {
        let found = properties
            .get(&self.property)
            .filter(|value| !value.is_null());
        match (self.operator, found, &self.value) {
            (Operator::Exists, found, _) => found.is_some(),
            (Operator::NotExists, found, _) => found.is_none(),
            (Operator::Ne, Some(found), Some(value)) => !same(found, value),
            (Operator::NotIn, Some(found), Some(value)) => !among(found, value),
            (Operator::Ne | Operator::NotIn, None, _) => true,
            (Operator::Eq, Some(found), Some(value)) => same(found, value),
            (Operator::In, Some(found), Some(value)) => among(found, value),
            (Operator::Contains, Some(found), Some(value)) => contains(found, value),
            (Operator::Gt, Some(found), Some(value)) => {
                order(found, value).is_some_and(Ordering::is_gt)
            }
            (Operator::Gte, Some(found), Some(value)) => {
                order(found, value).is_some_and(Ordering::is_ge)
            }
            (Operator::Lt, Some(found), Some(value)) => {
                order(found, value).is_some_and(Ordering::is_lt)
            }
            (Operator::Lte, Some(found), Some(value)) => {
                order(found, value).is_some_and(Ordering::is_le)
            }
            _ => false,
        }
    }
}

fn value_fits(operator: Operator, value: Option<&Value>) -> Result<(), String> {
    let Some(value) = value else {
        return match operator {
            Operator::Exists | Operator::NotExists => Ok(()),
            _ => Err(
                "this operator needs a value; ask for a missing property with NOT_EXISTS".into(),
            ),
        };
    };
    match operator {
        Operator::Exists | Operator::NotExists => Err("EXISTS and NOT_EXISTS take no value".into()),
        Operator::Eq | Operator::Ne => scalar_fits(value),
        Operator::Contains => scalar_fits(value).and_then(|()| match value {
            Value::String(text) if text.is_empty() => {
                Err("every text contains the empty text".into())
            }
            _ => Ok(()),
        }),
        Operator::In | Operator::NotIn => {
            let values = value.as_array().ok_or("IN and NOT_IN need a list")?;
            if values.is_empty() || values.len() > VALUES_MAX {
                return Err(format!(
                    "the list has 1 to {VALUES_MAX} values, not {}",
                    values.len()
                ));
            }
            values.iter().try_for_each(scalar_fits)
        }
        Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => match value {
            Value::Number(_) => Ok(()),
            Value::String(text) if instant(text).is_some() => Ok(()),
            _ => Err("a comparison needs a number, or an instant as RFC 3339 or YYYY-MM-DD".into()),
        },
    }
}

fn scalar_fits(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.chars().count() > TEXT_CHARS_MAX => Err(format!(
            "a text to compare with has at most {TEXT_CHARS_MAX} characters"
        )),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err("a value to compare with is a text, a number or a boolean".into())
        }
    }
}

fn same(found: &Value, value: &Value) -> bool {
    match (found, value) {
        (Value::Number(_), Value::Number(_)) => order(found, value) == Some(Ordering::Equal),
        _ => found == value,
    }
}

fn among(found: &Value, values: &Value) -> bool {
    values
        .as_array()
        .is_some_and(|values| values.iter().any(|value| same(found, value)))
}

fn contains(found: &Value, value: &Value) -> bool {
    match (found, value) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), value) => items.iter().any(|item| same(item, value)),
        _ => false,
    }
}

fn order(found: &Value, value: &Value) -> Option<Ordering> {
    match (found, value) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            // whole numbers past 2^53 are not the same for being near
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(instant(a)?.cmp(&instant(b)?)),
        _ => None,
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    Some(
        text.parse::<NaiveDate>()
            .ok()?
            .and_hms_opt(0, 0, 0)?
            .and_utc(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(operator: Operator, value: Value) -> Condition {
        Condition::new("p".into(), operator, Some(value)).unwrap()
    }

    #[test]
    fn properties_compare_by_type() {
        use Operator::{Contains, Eq, Exists, Gt, Gte, In, Lt, Lte, Ne, NotExists, NotIn};
        let none = Value::Null;
        for (operator, value, holds, fails) in [
            (
                Eq,
                json!("pro"),
                vec![json!("pro")],
                vec![json!("Pro"), json!(1), json!(null), json!(["pro"])],
            ),
            (
                Eq,
                json!(1),
                vec![json!(1), json!(1.0)],
                vec![json!("1"), json!(true), json!(2)],
            ),
            (
                Eq,
                json!(true),
                vec![json!(true)],
                vec![json!(false), json!("true"), json!(1)],
            ),
            (
                Ne,
                json!("pro"),
                vec![json!("free"), json!(null), json!(1)],
                vec![json!("pro")],
            ),
            (
                In,
                json!(["a", 2]),
                vec![json!("a"), json!(2.0)],
                vec![json!("b"), json!("2"), json!(null)],
            ),
            (
                NotIn,
                json!(["a", 2]),
                vec![json!("b"), json!(null)],
                vec![json!("a"), json!(2)],
            ),
            (
                Contains,
                json!("ro"),
                vec![json!("pro")],
                vec![json!("PRO"), json!("p"), json!(null), json!(1)],
            ),
            (
                Contains,
                json!("pro"),
                vec![json!(["free", "pro"])],
                vec![json!(["professional"]), json!([])],
            ),
            (
                Gt,
                json!(3),
                vec![json!(3.5), json!(4)],
                vec![json!(3), json!("4"), json!(null), json!(true)],
            ),
            (Gte, json!(3), vec![json!(3)], vec![json!(2.999)]),
            (Lt, json!(3), vec![json!(-1)], vec![json!(3), json!("1")]),
            (Lte, json!(3), vec![json!(3.0)], vec![json!(3.1)]),
            (
                Gt,
                json!(9_007_199_254_740_992_i64),
                vec![json!(9_007_199_254_740_993_i64)],
                vec![json!(9_007_199_254_740_992_i64)],
            ),
            (
                Gt,
                json!("2026-01-01"),
                vec![
                    json!("2026-01-01T00:00:01Z"),
                    json!("2026-01-01T00:30:00-01:00"),
                ],
                vec![
                    json!("2026-01-01"),
                    json!("2026-01-01T00:30:00+01:00"),
                    json!("soon"),
                    json!(3),
                ],
            ),
            (
                Exists,
                none.clone(),
                vec![json!(""), json!(false)],
                vec![json!(null)],
            ),
            (NotExists, none, vec![json!(null)], vec![json!(0)]),
        ] {
            let condition = condition(operator, value);
            for found in holds {
                assert!(
                    condition.holds(&json!({ "p": found })),
                    "{condition:?} {found}"
                );
            }
            for found in fails {
                assert!(
                    !condition.holds(&json!({ "p": found })),
                    "{condition:?} {found}"
                );
            }
        }
    }

    #[test]
    fn a_missing_property_is_like_null() {
        for operator in [Operator::Eq, Operator::Ne, Operator::Contains] {
            let condition = condition(operator, json!("x"));
            assert_eq!(
                condition.holds(&json!({})),
                condition.holds(&json!({"p": null}))
            );
            assert_eq!(
                condition.holds(&json!([])),
                condition.holds(&json!({"p": null}))
            );
        }
    }

    #[test]
    fn a_negation_holds_exactly_where_its_positive_does_not() {
        let values = [
            json!(null),
            json!("a"),
            json!(1),
            json!(1.5),
            json!(true),
            json!(["a"]),
            json!({"a": 1}),
        ];
        let scalars = [
            json!("a"),
            json!(1),
            json!(1.5),
            json!(true),
            json!("2026-01-01"),
        ];
        for found in &values {
            let properties = json!({ "p": found });
            for value in &scalars {
                let holds =
                    |operator, value: &Value| condition(operator, value.clone()).holds(&properties);
                assert_ne!(holds(Operator::Eq, value), holds(Operator::Ne, value));
                assert_ne!(
                    holds(Operator::In, &json!([value])),
                    holds(Operator::NotIn, &json!([value]))
                );
                assert_eq!(
                    holds(Operator::Eq, value),
                    holds(Operator::In, &json!([value]))
                );
                if matches!(value, Value::Number(_)) {
                    let (gt, gte, lt, lte) = (
                        holds(Operator::Gt, value),
                        holds(Operator::Gte, value),
                        holds(Operator::Lt, value),
                        holds(Operator::Lte, value),
                    );
                    assert!(!(gt && lt), "{found} {value}");
                    assert!(gte || !gt, "{found} {value}");
                    assert!(lte || !lt, "{found} {value}");
                    assert_eq!(gte && lte, holds(Operator::Eq, value), "{found} {value}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_operator_is_refused() {
        for (operator, value) in [
            (Operator::Eq, None),
            (Operator::Eq, Some(json!(null))),
            (Operator::Eq, Some(json!(["a"]))),
            (Operator::Ne, Some(json!({}))),
            (Operator::In, Some(json!("a"))),
            (Operator::In, Some(json!([]))),
            (Operator::In, Some(json!([["a"]]))),
            (Operator::NotIn, Some(json!(vec![1; 101]))),
            (Operator::Contains, Some(json!(""))),
            (Operator::Gt, Some(json!("ten"))),
            (Operator::Lte, Some(json!(true))),
            (Operator::Exists, Some(json!(true))),
            (Operator::Eq, Some(json!("x".repeat(1_001)))),
        ] {
            let unfit = Condition::new("p".into(), operator, value).unwrap_err();
            assert_eq!(unfit.field, "value", "{operator:?}");
        }
        for property in ["", &"p".repeat(201)] {
            let unfit = Condition::new(property.into(), Operator::Exists, None).unwrap_err();
            assert_eq!(unfit.field, "property");
        }
    }
}

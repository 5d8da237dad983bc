//! `/flags`: the request, and the two shapes of its answer.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::{self, Query, SINGLE_BODY_BYTES_MAX};
use super::capture::usable_token;
use super::error::WireError;
use super::identity;
use super::json;

/// The first version whose answer has a record per flag. Later ones are answered with it too: clients accept a lower version's.
const RECORD_VERSION: u32 = 2;

/// A request for the flags of one person.
#[derive(Clone, Debug, PartialEq)]
pub struct FlagsRequest {
    /// Not yet looked up.
    pub token: String,
    /// At most 200 characters; may be empty.
    pub distinct_id: String,
    /// Override what is known of the person, key by key.
    pub person_properties: Map<String, Value>,
    /// Group type to group key.
    pub groups: Map<String, Value>,
    /// Group type to that group's properties.
    pub group_properties: Map<String, Value>,
    /// The id before `$identify`, for flags that must not change with it.
    pub anon_distinct_id: Option<String>,
    /// The bucketing id of flags that go by device.
    pub device_id: Option<String>,
    /// The flags asked for; None for all.
    pub flag_keys: Option<Vec<String>>,
    /// `v` of the query, 1 when absent.
    pub version: u32,
    /// Only the configuration is wanted.
    pub disable_flags: bool,
    /// `config=true`: [`super::remote_config`] is to be merged into the answer.
    pub config: bool,
}

/// Decodes a flags request, sniffing compression like a capture. `query` is the raw query string without `?`.
///
/// # Errors
/// 400 undecodable or without a distinct id, 401 without a usable token, 413 over [`SINGLE_BODY_BYTES_MAX`].
pub fn decode_flags(body: &[u8], query: &str) -> Result<FlagsRequest, WireError> {
    let query = Query::parse(query);
    let text = body::decode_text(body, &query, SINGLE_BODY_BYTES_MAX)?;
    let Value::Object(mut request) = json::parse(&text)? else {
        return Err(WireError::invalid("the body is not an object"));
    };
    let token = ["token", "api_key", "$token"]
        .iter()
        .find_map(|key| request.get(*key)?.as_str());
    let token = usable_token(token)?;
    let distinct_id =
        identity::distinct_id([request.get("distinct_id"), request.get("$distinct_id")])
            .ok_or_else(|| WireError::invalid("the request has no distinct_id"))?;
    let mut object = |keys: [&str; 2]| {
        let found = keys
            .iter()
            .find_map(|key| request.remove(*key).filter(Value::is_object));
        match found {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        }
    };
    let person_properties = object(["person_properties", "$properties"]);
    let groups = object(["groups", "$groups"]);
    let group_properties = object(["group_properties", "$group_properties"]);
    let device_id = identity::distinct_id([
        request.get("$device_id"),
        request.get("device_id"),
        person_properties.get("$device_id"),
    ]);
    Ok(FlagsRequest {
        token,
        distinct_id,
        groups,
        group_properties,
        anon_distinct_id: identity::distinct_id([request.get("$anon_distinct_id")])
            .filter(|id| !id.is_empty()),
        device_id: device_id.filter(|id| !id.is_empty()),
        flag_keys: ["flag_keys_to_evaluate", "flag_keys"]
            .iter()
            .find_map(|key| texts(request.get(*key)?)),
        version: query.version.unwrap_or(1),
        disable_flags: request.get("disable_flags") == Some(&Value::Bool(true)),
        config: query.config,
        person_properties,
    })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?;
    Some(
        items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    )
}

/// One flag's value for the person asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct FlagResult {
    /// The flag's key.
    pub key: String,
    /// On, in whichever variant.
    pub enabled: bool,
    /// The variant, of a multivariate flag that is on.
    pub variant: Option<String>,
    /// Why.
    pub reason: FlagReason,
    /// The payload of this value, as JSON (not as the text of JSON).
    pub payload: Option<Value>,
    /// PostHog's number of the flag, where its definition is known.
    pub id: Option<i64>,
    /// Counts the flag's edits.
    pub version: Option<i64>,
    /// An experiment reads its exposures from this flag.
    pub has_experiment: bool,
}

/// Why a flag has its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagReason {
    /// PostHog's code, such as `condition_match`.
    pub code: String,
    /// The condition set that decided, from 0.
    pub condition_index: Option<usize>,
    /// One sentence for people.
    pub description: Option<String>,
}

/// The answer to `/flags?v={version}`: version 1 is two maps, version 2 and later a record per flag. `errors` says that some flag is
/// missing because it could not be decided; clients then keep the value they had.
pub fn flags_response(
    version: u32,
    results: &[FlagResult],
    errors: bool,
    request_id: Uuid,
    evaluated_at: DateTime<Utc>,
) -> Value {
    let mut response = if version < RECORD_VERSION {
        let values: Map<_, _> = results
            .iter()
            .map(|flag| (flag.key.clone(), flag.value()))
            .collect();
        let payloads: Map<_, _> = results
            .iter()
            .filter_map(|flag| Some((flag.key.clone(), flag.payload_text()?)))
            .collect();
        json!({"featureFlags": values, "featureFlagPayloads": payloads})
    } else {
        let records: Map<_, _> = results
            .iter()
            .map(|flag| (flag.key.clone(), flag.record()))
            .collect();
        json!({"flags": records})
    };
    response["errorsWhileComputingFlags"] = json!(errors);
    response["requestId"] = json!(request_id);
    response["evaluatedAt"] = json!(evaluated_at.timestamp_millis());
    response
}

impl FlagResult {
    fn value(&self) -> Value {
        match &self.variant {
            Some(variant) => json!(variant),
            None => json!(self.enabled),
        }
    }

    /// Payloads travel as the text of their JSON; the clients parse it.
    fn payload_text(&self) -> Option<Value> {
        self.payload
            .as_ref()
            .map(|payload| json!(payload.to_string()))
    }

    fn record(&self) -> Value {
        json!({
            "key": self.key,
            "enabled": self.enabled,
            "variant": self.variant,
            "reason": {
                "code": self.reason.code,
                "condition_index": self.reason.condition_index,
                "description": self.reason.description,
            },
            "metadata": {
                "id": self.id,
                "version": self.version,
                "description": null,
                "payload": self.payload_text(),
                "has_experiment": self.has_experiment,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::instant;
    use super::*;

    fn decode(body: &Value, query: &str) -> Result<FlagsRequest, WireError> {
        decode_flags(body.to_string().as_bytes(), query)
    }

    #[test]
    fn every_field_is_read_under_all_its_names() {
        let expected = FlagsRequest {
            token: "t".to_owned(),
            distinct_id: "7".to_owned(),
            person_properties: Map::from_iter([("plan".to_owned(), json!("pro"))]),
            groups: Map::from_iter([("company".to_owned(), json!("acme"))]),
            group_properties: Map::from_iter([("company".to_owned(), json!({"size": 11}))]),
            anon_distinct_id: Some("anon_1".to_owned()),
            device_id: Some("d1".to_owned()),
            flag_keys: Some(vec!["beta".to_owned()]),
            version: 4,
            disable_flags: true,
            config: true,
        };
        let bodies = [
            json!({"token": "t", "distinct_id": 7, "person_properties": {"plan": "pro"}, "groups": {"company": "acme"},
                "group_properties": {"company": {"size": 11}}, "$anon_distinct_id": "anon_1", "$device_id": "d1",
                "flag_keys_to_evaluate": ["beta"], "disable_flags": true}),
            json!({"api_key": "t", "$distinct_id": "7", "$properties": {"plan": "pro"}, "$groups": {"company": "acme"},
                "$group_properties": {"company": {"size": 11}}, "$anon_distinct_id": "anon_1", "device_id": "d1",
                "flag_keys": ["beta"], "disable_flags": true}),
        ];
        for body in bodies {
            assert_eq!(
                decode(&body, "v=4&config=true").as_ref(),
                Ok(&expected),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_absent_or_of_a_wrong_shape_has_a_default() {
        let body = json!({"$token": "t", "distinct_id": "", "person_properties": [], "groups": null, "device_id": null,
            "$anon_distinct_id": "", "flag_keys": "beta", "disable_flags": "yes"});
        let request = decode(&body, "").unwrap();
        assert_eq!((&*request.distinct_id, request.version), ("", 1));
        assert!(
            request.person_properties.is_empty()
                && request.groups.is_empty()
                && request.group_properties.is_empty()
        );
        assert_eq!(
            (
                request.anon_distinct_id,
                request.device_id,
                request.flag_keys
            ),
            (None, None, None)
        );
        assert!(!request.disable_flags && !request.config);
        let nested =
            json!({"token": "t", "distinct_id": "a", "person_properties": {"$device_id": "d2"}});
        assert_eq!(
            decode(&nested, "v=2").unwrap().device_id.as_deref(),
            Some("d2")
        );
    }

    #[test]
    fn not_a_number_is_null() {
        let request = decode_flags(
            br#"{"token":"t","distinct_id":"a","person_properties":{"age":NaN}}"#,
            "",
        )
        .unwrap();
        assert_eq!(request.person_properties["age"], Value::Null);
    }

    #[test]
    fn a_refusal_has_its_status() {
        let cases: [(&str, u16, &str); 5] = [
            ("[]", 400, "the body is not an object"),
            (r#"{"token":"t"}"#, 400, "the request has no distinct_id"),
            (
                r#"{"token":"t","distinct_id":null}"#,
                400,
                "the request has no distinct_id",
            ),
            (r#"{"distinct_id":"a"}"#, 401, "the request names no token"),
            (
                r#"{"token":"phx_1","distinct_id":"a"}"#,
                401,
                "a personal API key is not a project token",
            ),
        ];
        for (body, status, reason) in cases {
            let expected = WireError {
                status,
                reason: reason.to_owned(),
            };
            assert_eq!(
                decode_flags(body.as_bytes(), "v=2"),
                Err(expected),
                "{body}"
            );
        }
    }

    fn results() -> Vec<FlagResult> {
        let flag = |key: &str, enabled, variant: Option<&str>, payload| FlagResult {
            key: key.to_owned(),
            enabled,
            variant: variant.map(str::to_owned),
            reason: FlagReason {
                code: "condition_match".to_owned(),
                condition_index: Some(0),
                description: Some("Matched condition set 1".to_owned()),
            },
            payload,
            id: Some(9),
            version: Some(4),
            has_experiment: false,
        };
        vec![
            flag("exp", true, Some("blue"), Some(json!({"k": 1}))),
            flag("text", true, None, Some(json!("hello"))),
            flag("off", false, None, None),
        ]
    }

    #[test]
    fn version_1_is_two_maps() {
        let at = instant::parse("2026-11-22T15:05:52.933Z").unwrap();
        assert_eq!(
            flags_response(1, &results(), true, Uuid::nil(), at),
            json!({
                "featureFlags": {"exp": "blue", "text": true, "off": false},
                "featureFlagPayloads": {"exp": "{\"k\":1}", "text": "\"hello\""},
                "errorsWhileComputingFlags": true,
                "requestId": "00000000-0000-0000-0000-000000000000",
                "evaluatedAt": 1_795_359_952_933_i64,
            })
        );
    }

    #[test]
    fn version_2_and_later_are_a_record_per_flag() {
        let at = instant::parse("2026-11-22T15:05:52.933Z").unwrap();
        for version in 2..=4 {
            assert_eq!(
                flags_response(version, &results()[..1], false, Uuid::nil(), at),
                json!({
                    "flags": {"exp": {
                        "key": "exp", "enabled": true, "variant": "blue",
                        "reason": {"code": "condition_match", "condition_index": 0, "description": "Matched condition set 1"},
                        "metadata": {"id": 9, "version": 4, "description": null, "payload": "{\"k\":1}", "has_experiment": false},
                    }},
                    "errorsWhileComputingFlags": false,
                    "requestId": "00000000-0000-0000-0000-000000000000",
                    "evaluatedAt": 1_795_359_952_933_i64,
                })
            );
        }
    }
}

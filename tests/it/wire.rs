//! Every request that the real SDKs were recorded sending is decoded, as it was sent and in other wrappings.

mod hostile;
mod recorded;
mod served;

use std::collections::BTreeMap;

use api::contact::touch;
use api::ingest::wire::{
    BATCH_BODY_BYTES_MAX, Identity, Merge, SINGLE_BODY_BYTES_MAX, WireEvent, decode_capture,
    remote_config,
};
use serde_json::{Value, json};

use recorded::{Recorded, gzip, instant, recorded};

const TOKEN: &str = "phc_test_project_token";

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| {
        escaped + &format!("%{byte:02X}")
    })
}

/// The events of one recording, in the order sent.
fn events(file: &str) -> Vec<WireEvent> {
    recorded()
        .iter()
        .filter(|request| request.file == file && request.is_capture())
        .flat_map(|request| request.capture().events)
        .collect()
}

fn event(file: &str, name: &str) -> WireEvent {
    events(file)
        .into_iter()
        .find(|event| event.event == name)
        .expect(name)
}

#[test]
fn every_recorded_capture_is_decoded_to_what_was_sent() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for request in recorded().iter().filter(|request| request.is_capture()) {
        let capture = request.capture();
        let sent = request.body["batch"].as_array().unwrap();
        assert_eq!(capture.token, TOKEN);
        assert_eq!(capture.events.len(), sent.len());
        assert!(!capture.beacon);
        for (event, sent) in capture.events.iter().zip(sent) {
            let inner = &sent["properties"];
            assert_eq!(sent["event"], event.event);
            assert_eq!(
                sent.get("distinct_id").unwrap_or(&inner["distinct_id"]),
                &event.distinct_id
            );
            assert_eq!(sent["uuid"], event.uuid.unwrap().to_string());
            for trait_map in [("$set", &event.set), ("$set_once", &event.set_once)] {
                let (key, read) = trait_map;
                for sent in [&sent[key], &inner[key]]
                    .into_iter()
                    .filter_map(Value::as_object)
                {
                    assert!(
                        sent.iter().all(|(key, value)| read[key] == *value),
                        "{key} of {}",
                        event.event
                    );
                }
            }
            for (key, value) in inner.as_object().unwrap() {
                let expected = (key != "token").then_some(value);
                if !matches!(&**key, "$set" | "$set_once") {
                    assert_eq!(
                        event.properties.get(key),
                        expected,
                        "{key} of {}",
                        event.event
                    );
                }
            }
        }
        let (requests, events) = counts.entry(request.file.clone()).or_default();
        *requests += 1;
        *events += sent.len();
    }
    let expected = [
        ("posthog-js-nobatch", (8, 8)),
        ("posthog-js-nocomp", (4, 8)),
        ("posthog-js-plain", (4, 8)),
        ("posthog-node-hist", (1, 6)),
        ("posthog-node-local", (1, 4)),
        ("posthog-node-nogzip", (1, 6)),
        ("posthog-node-plain", (2, 10)),
        ("posthog-python-gzip", (1, 7)),
        ("posthog-python-hist", (1, 7)),
        ("posthog-python-local", (1, 4)),
        ("posthog-python-plain", (2, 11)),
        ("posthog-rs-v0-plain", (3, 7)),
    ];
    assert_eq!(
        counts,
        expected
            .map(|(file, count)| (file.to_owned(), count))
            .into()
    );
}

#[test]
fn the_same_request_in_every_wrapping_is_the_same_capture() {
    for request in recorded().iter().filter(|request| request.is_capture()) {
        let text = request.body.to_string();
        let escaped = percent_encoded(&text);
        let expected = request.capture();
        for body in [
            text.clone().into_bytes(),
            gzip(text.as_bytes()),
            format!("data={escaped}").into_bytes(),
        ] {
            let capture = decode_capture(
                &body,
                "compression=gzip-js&ver=1.449.2",
                BATCH_BODY_BYTES_MAX,
                request.at,
            );
            assert_eq!(capture.as_ref(), Ok(&expected));
        }
        let by_get = decode_capture(
            b"",
            &format!("data={escaped}&beacon=1"),
            BATCH_BODY_BYTES_MAX,
            request.at,
        )
        .unwrap();
        assert_eq!((by_get.events, by_get.beacon), (expected.events, true));
    }
}

#[test]
fn a_gzip_of_several_members_is_read_whole_and_within_the_same_cap() {
    let now = instant("2026-11-22T12:00:00Z");
    let text = json!({"api_key": "t", "batch": [
        {"event": "one", "distinct_id": "a"}, {"event": "two", "distinct_id": "a"},
    ]})
    .to_string();
    let (head, tail) = text.split_at(40);
    let members = [gzip(head.as_bytes()), gzip(b""), gzip(tail.as_bytes())].concat();
    let capture = decode_capture(&members, "", SINGLE_BODY_BYTES_MAX, now).unwrap();
    let names: Vec<_> = capture.events.iter().map(|event| &*event.event).collect();
    assert_eq!(names, ["one", "two"]);

    // Each member fits, all of them do not.
    let blank = gzip(&vec![b' '; SINGLE_BODY_BYTES_MAX - text.len()]);
    let whole = [blank.clone(), gzip(text.as_bytes())].concat();
    assert!(decode_capture(&whole, "", SINGLE_BODY_BYTES_MAX, now).is_ok());
    let over = [blank, gzip(b" "), gzip(text.as_bytes())].concat();
    assert_eq!(
        decode_capture(&over, "", SINGLE_BODY_BYTES_MAX, now).map_err(|error| error.status),
        Err(413)
    );
    let torn = [gzip(text.as_bytes()), b"?".to_vec()].concat();
    assert_eq!(
        decode_capture(&torn, "", SINGLE_BODY_BYTES_MAX, now).map_err(|error| error.status),
        Err(400)
    );
}

#[test]
fn a_visitor_of_posthog_js_becomes_known() {
    let anonymous = "01a203ca-cee2-7476-95b2-e069268b5f65";
    let told: Vec<_> = events("posthog-js-plain")
        .into_iter()
        .map(|event| {
            (
                event.event,
                event.distinct_id,
                event.identity,
                event.personless,
            )
        })
        .collect();
    let known = |event: &str| {
        (
            event.to_owned(),
            "user_1".to_owned(),
            Identity::Identified,
            false,
        )
    };
    let visitor =
        |event: &str, id: &str| (event.to_owned(), id.to_owned(), Identity::Anonymous, true);
    assert_eq!(
        told,
        [
            visitor("$pageview", anonymous),
            visitor("signup", anonymous),
            known("$identify"),
            known("$groupidentify"),
            known("$create_alias"),
            known("$set"),
            known("$feature_flag_called"),
            visitor("after_reset", "01a203ca-d8c4-7be6-849f-bddd8a4f5375"),
        ]
    );
    let identify = event("posthog-js-plain", "$identify");
    assert_eq!(
        identify.merge,
        Some(Merge::Identify {
            anonymous: anonymous.to_owned()
        })
    );
    assert_eq!(
        identify.uuid.unwrap().to_string(),
        "01a203ca-d1d9-7f29-9fb8-9926b1ccd95e"
    );
    assert_eq!(Value::Object(identify.set), json!({"name": "Ann"}));
    assert_eq!(
        (
            &identify.set_once["src"],
            &identify.set_once["$initial_gclid"]
        ),
        (&json!("ad"), &json!("g1"))
    );
    let signup = event("posthog-js-plain", "signup");
    assert_eq!(Value::Object(signup.set), json!({"email": "a@b.co"}));
    assert_eq!(
        Value::Object(signup.set_once),
        json!({"first_seen": "2026"})
    );
    let alias = event("posthog-js-plain", "$create_alias");
    assert_eq!(
        alias.merge,
        Some(Merge::Alias {
            alias: "user_1b".to_owned()
        })
    );
    assert_eq!(alias.properties["$groups"], json!({"company": "acme"}));
}

#[test]
fn a_visit_recorded_by_posthog_js_carries_its_touch() {
    let pageview = event("posthog-js-plain", "$pageview");
    let expected = json!({
        "source": "ad", "clickIds": {"gclid": "g1"}, "referrer": "https://www.google.com/", "referringDomain": "www.google.com",
        "landingUrl": "http://127.0.0.1:8803/page?utm_source=ad&gclid=g1",
    });
    assert_eq!(json!(touch(&pageview.properties)), expected);
    assert_eq!(
        touch(&event("posthog-node-plain", "signup").properties),
        None
    );
}

#[test]
fn posthog_node_names_the_survivor_and_its_traits() {
    let signup = event("posthog-node-plain", "signup");
    assert_eq!(
        signup.uuid.unwrap().to_string(),
        "01a203b8-015f-7b39-b2b3-7fba5ac47a00"
    );
    assert_eq!(
        (&*signup.distinct_id, signup.identity, signup.merge),
        ("user_1", Identity::Unknown, None)
    );
    assert_eq!(Value::Object(signup.set), json!({"email": "a@b.co"}));
    assert_eq!(
        Value::Object(signup.set_once),
        json!({"first_seen": "2026-01-01"})
    );
    assert_eq!(signup.unset, ["old_prop"]);
    assert_eq!(signup.properties["$groups"], json!({"company": "acme"}));
    let identify = event("posthog-node-plain", "$identify");
    assert_eq!(
        (&*identify.distinct_id, identify.identity),
        ("user_1", Identity::Identified)
    );
    assert_eq!(
        identify.merge,
        Some(Merge::Identify {
            anonymous: "anon_1".to_owned()
        })
    );
    assert_eq!(Value::Object(identify.set), json!({"name": "Ann"}));
    assert_eq!(Value::Object(identify.set_once), json!({"src": "ad"}));
    let alias = event("posthog-node-plain", "$create_alias");
    assert_eq!(
        (&*alias.distinct_id, alias.merge),
        (
            "user_1",
            Some(Merge::Alias {
                alias: "anon_1".to_owned()
            })
        )
    );
    let personless = event("posthog-node-plain", "personless");
    assert_eq!(
        (personless.identity, personless.personless),
        (Identity::Anonymous, true)
    );
}

#[test]
fn posthog_python_sends_traits_beside_the_properties() {
    let set = event("posthog-python-plain", "$set");
    assert_eq!(
        set.uuid.unwrap().to_string(),
        "9c0942c4-27fc-41d2-b27e-26ceb13af71d"
    );
    assert_eq!(
        (&*set.distinct_id, Value::Object(set.set)),
        ("user_1", json!({"name": "Ann"}))
    );
    assert_eq!(set.properties["$set"], json!({"name": "Ann"}));
    let set_once = event("posthog-python-gzip", "$set_once");
    assert_eq!(Value::Object(set_once.set_once), json!({"src": "ad"}));
    let alias = event("posthog-python-plain", "$create_alias");
    assert_eq!(
        (&*alias.distinct_id, alias.merge),
        (
            "anon_1",
            Some(Merge::Alias {
                alias: "user_1".to_owned()
            })
        )
    );
}

#[test]
fn timestamps_keep_their_distance_from_the_clients_clock() {
    for (file, name) in [
        ("posthog-node-plain", "ts_event"),
        ("posthog-python-plain", "ts_event"),
    ] {
        let read = event(file, name);
        assert_eq!(
            read.uuid.unwrap().to_string(),
            "0198c0de-0000-7000-8000-000000000abc"
        );
        let off = read.timestamp - instant("2025-01-02T03:04:05Z");
        assert!(off.num_seconds().abs() < 2, "{file} is off by {off}");
    }
    let request = recorded()
        .into_iter()
        .find(|request| request.file == "posthog-node-plain")
        .unwrap();
    let hours_late = decode_capture(
        &request.bytes(),
        "",
        BATCH_BODY_BYTES_MAX,
        instant("2026-11-23T00:00:00Z"),
    )
    .unwrap();
    // Sent at …20.357, happened at …20.351: six milliseconds before whatever the server's clock says.
    assert_eq!(
        hours_late.events[0].timestamp,
        instant("2026-11-22T23:59:59.994Z")
    );
    let untimed = event("posthog-rs-v0-plain", "now");
    assert_eq!(untimed.timestamp, instant("2026-11-22T15:08:49.828Z"));
}

#[test]
fn every_recorded_flags_request_is_decoded() {
    let requests: Vec<_> = recorded().into_iter().filter(Recorded::is_flags).collect();
    assert!(requests.len() >= 20, "{}", requests.len());
    for request in &requests {
        let flags = request.flags();
        assert_eq!(flags.token, TOKEN);
        assert_eq!(request.body["distinct_id"], flags.distinct_id);
        assert_eq!(format!("v={}", flags.version), request.query);
        assert!(!flags.disable_flags && !flags.config);
        assert_eq!(
            flags.groups.is_empty(),
            request.body["groups"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
        );
    }
    let of = |file: &str| {
        requests
            .iter()
            .filter(|request| request.file == file)
            .map(Recorded::flags)
            .collect::<Vec<_>>()
    };
    let known = &of("posthog-js-plain")[1];
    assert_eq!(known.distinct_id, "user_1");
    assert_eq!(
        known.anon_distinct_id.as_deref(),
        Some("01a203ca-cee2-7476-95b2-e069268b5f65")
    );
    assert_eq!(
        known.device_id.as_deref(),
        Some("01a203ca-cee2-7476-95b2-e069268b5f65")
    );
    assert_eq!(known.person_properties["$initial_gclid"], "g1");
    let python = &of("posthog-python-plain")[0];
    assert_eq!((python.version, python.device_id.as_deref()), (4, None));
    assert_eq!(
        python.flag_keys.as_deref(),
        Some(["remote-flag".to_owned()].as_slice())
    );
    assert_eq!(
        Value::Object(python.group_properties.clone()),
        json!({"company": {"$group_key": "acme", "employees": 11}})
    );
    let rust = &of("posthog-rs-v0-plain")[0];
    assert_eq!(
        (&*rust.distinct_id, rust.version, rust.flag_keys.as_deref()),
        ("user_1", 2, None)
    );
}

#[test]
fn the_configuration_answers_every_key_that_the_client_was_given() {
    let configs: Vec<_> = recorded()
        .into_iter()
        .filter(|request| request.path.starts_with("/array/"))
        .collect();
    assert_eq!(configs.len(), 3);
    let answered = remote_config(TOKEN);
    for config in configs {
        for key in config.response.as_object().unwrap().keys() {
            assert!(answered.get(key).is_some(), "{key}");
        }
        assert_eq!(answered["analytics"], config.response["analytics"]);
        assert_eq!(
            answered["supportedCompression"],
            config.response["supportedCompression"]
        );
    }
}

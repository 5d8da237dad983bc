//! Whole flags: order of evaluation, gaps, cycles, bounds.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Cause, Definitions, Evaluation, FlagValue, Outcome, Reach, Reason, Subject};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_768_435_200, 0).unwrap()
}

fn flag(key: &str, filters: &Value) -> Value {
    json!({"key": key, "active": true, "filters": filters})
}

fn definitions(flags: &[Value]) -> Definitions {
    Definitions::parse(&json!({"flags": flags})).unwrap()
}

fn properties(properties: Value) -> Map<String, Value> {
    serde_json::from_value(properties).unwrap()
}

fn evaluate(definitions: &Definitions, key: &str, given: Value) -> Evaluation {
    let given = properties(given);
    let subject = Subject::person("user-1", &given);
    definitions.evaluate(key, &subject, now()).unwrap()
}

fn on() -> Outcome {
    Outcome::Value(FlagValue::Bool(true))
}

fn off() -> Outcome {
    Outcome::Value(FlagValue::Bool(false))
}

fn variant(key: &str) -> Outcome {
    Outcome::Value(FlagValue::Variant(key.to_owned()))
}

fn undecided(evaluation: &Evaluation) -> (Reach, Cause) {
    match evaluation.outcome {
        Outcome::Undecided(undecided) => (undecided.reach, undecided.cause),
        Outcome::Value(_) => panic!("decided: {evaluation:?}"),
    }
}

fn depends_on(key: &str) -> Value {
    json!({"groups": [{"properties": [{
        "type": "flag", "key": key, "operator": "flag_evaluates_to", "value": true,
        "dependency_chain": [key],
    }]}]})
}

#[test]
fn a_gap_between_the_variants_turns_the_flag_on_without_one() {
    let filters = json!({
        "groups": [{"rollout_percentage": 100}],
        "multivariate": {"variants": [{"key": "only", "rollout_percentage": 50}]},
        "payloads": {"true": "{\"a\":1}", "only": "plain"},
    });
    // The variant hashes are 0.618… and 0.063….
    let definitions = definitions(&[flag("multivariate-flag", &filters)]);
    let none = Map::new();
    let of = |id: &str| {
        let subject = Subject::person(id, &none);
        definitions
            .evaluate("multivariate-flag", &subject, now())
            .unwrap()
    };
    assert_eq!(of("distinct_id_0").outcome, on());
    assert_eq!(of("distinct_id_0").payload, Some(json!({"a": 1})));
    assert_eq!(of("distinct_id_2").outcome, variant("only"));
    assert_eq!(of("distinct_id_2").payload, Some(json!("plain")));
}

#[test]
fn a_holdout_comes_before_every_condition() {
    let held = |percentage: u32| {
        let filters = json!({
            "groups": [{"rollout_percentage": 100}],
            "holdout": {"id": 3, "exclusion_percentage": percentage},
        });
        let definitions = definitions(&[flag("exp", &filters)]);
        let none = Map::new();
        // This id's holdout hash is 0.098….
        let subject = Subject::person("user-7", &none);
        definitions.evaluate("exp", &subject, now()).unwrap()
    };
    assert_eq!(held(10).outcome, variant("holdout-3"));
    assert_eq!(held(10).reason, Some(Reason::HoldoutConditionValue));
    assert_eq!(held(9).outcome, on());
    assert_eq!(held(9).reason, Some(Reason::ConditionMatch));
}

#[test]
fn early_exit_stops_at_the_first_missed_rollout() {
    let filters = |early_exit: bool| {
        json!({"early_exit": early_exit, "groups": [
            {"rollout_percentage": 0}, {"rollout_percentage": 100, "variant": "a"},
        ], "multivariate": {"variants": [{"key": "a", "rollout_percentage": 0}]}})
    };
    let definitions = definitions(&[flag("stops", &filters(true)), flag("goes", &filters(false))]);
    let stops = evaluate(&definitions, "stops", json!({}));
    assert_eq!(stops.outcome, off());
    assert_eq!(stops.reason.unwrap().code(), "out_of_rollout_bound");
    assert_eq!(stops.condition_index, Some(0));
    let goes = evaluate(&definitions, "goes", json!({}));
    assert_eq!(goes.outcome, variant("a"));
    assert_eq!(goes.condition_index, Some(1));
}

#[test]
fn flags_that_depend_on_each_other_are_undecided() {
    let definitions = definitions(&[
        flag("a", &depends_on("b")),
        flag("b", &depends_on("a")),
        flag("self", &depends_on("self")),
        flag("c", &depends_on("missing")),
    ]);
    let cause = |key: &str| undecided(&evaluate(&definitions, key, json!({})));
    let above = (Reach::Inconclusive, Cause::UnresolvedDependency);
    assert_eq!(cause("a"), above);
    assert_eq!(cause("b"), above);
    let broken = (Reach::Inconclusive, Cause::UnsupportedDefinition);
    assert_eq!(cause("self"), broken);
    assert_eq!(cause("c"), broken);
}

#[test]
fn cohorts_that_contain_each_other_are_undecided() {
    let member = |id: u32| json!({"type": "cohort", "key": "id", "value": id});
    let body = json!({
        "flags": [flag("f", &json!({"groups": [{"properties": [member(1)]}]}))],
        "cohorts": {
            "1": {"type": "OR", "values": [member(2)]},
            "2": {"type": "AND", "values": [member(1)]},
        },
    });
    let definitions = Definitions::parse(&body).unwrap();
    let evaluation = evaluate(&definitions, "f", json!({}));
    let expected = (Reach::Inconclusive, Cause::UnsupportedDefinition);
    assert_eq!(undecided(&evaluation), expected);
}

#[test]
fn cohorts_that_name_each_other_many_times_end_soon() {
    let member = |id: u32| json!({"type": "cohort", "key": "id", "value": id});
    let cohorts: Map<String, Value> = (0..30)
        .map(|id| {
            let values = vec![member(id + 1); 8];
            (id.to_string(), json!({"type": "OR", "values": values}))
        })
        .chain([(
            "30".to_owned(),
            json!({"type": "AND", "values": [{"key": "no", "value": 1}]}),
        )])
        .collect();
    let body = json!({
        "flags": [flag("f", &json!({"groups": [{"properties": [member(0)]}]}))],
        "cohorts": cohorts,
    });
    let definitions = Definitions::parse(&body).unwrap();
    let evaluation = evaluate(&definitions, "f", json!({}));
    assert_eq!(undecided(&evaluation).0, Reach::Inconclusive);
}

#[test]
fn the_highest_ranking_cause_is_reported() {
    let condition = |filters: Value| json!({"properties": filters});
    let missing = json!({"key": "k", "value": "x", "operator": "exact"});
    let unknown = json!({"key": "k", "value": "x", "operator": "sounds_like"});
    let filters = json!({"groups": [condition(json!([missing])), condition(json!([unknown]))]});
    let static_cohort = json!({"groups": [
        condition(json!([{"type": "cohort", "value": 9}])), condition(json!([])),
    ]});
    let definitions = definitions(&[
        flag("missing", &json!({"groups": [condition(json!([missing]))]})),
        flag("both", &filters),
        flag("static", &static_cohort),
        flag("above", &depends_on("missing")),
        json!({"key": "kept", "active": true, "ensure_experience_continuity": true}),
    ]);
    let cause = |key: &str| undecided(&evaluate(&definitions, key, json!({})));
    assert_eq!(
        cause("missing"),
        (Reach::Inconclusive, Cause::MissingContext)
    );
    assert_eq!(
        cause("both"),
        (Reach::Inconclusive, Cause::UnsupportedDefinition)
    );
    assert_eq!(
        cause("static"),
        (Reach::RequiresServer, Cause::UnsupportedDefinition)
    );
    assert_eq!(
        cause("above"),
        (Reach::Inconclusive, Cause::UnresolvedDependency)
    );
    assert_eq!(
        cause("kept"),
        (Reach::Inconclusive, Cause::ExperienceContinuity)
    );
}

#[test]
fn an_undecided_pattern_forbids_a_later_condition_another_value() {
    let pattern = |variant: &str| {
        json!({"variant": variant,
            "properties": [{"key": "k", "operator": "regex", "value": "(?=x)"}]})
    };
    let variants = json!({"variants": [
        {"key": "a", "rollout_percentage": 100}, {"key": "b", "rollout_percentage": 0},
    ]});
    let filters = |first: &str| json!({"groups": [pattern(first), {"variant": "a"}], "multivariate": variants});
    let definitions = definitions(&[flag("same", &filters("a")), flag("other", &filters("b"))]);
    let given = json!({"k": "x"});
    assert_eq!(
        evaluate(&definitions, "same", given.clone()).outcome,
        variant("a")
    );
    let other = evaluate(&definitions, "other", given);
    assert_eq!(undecided(&other).0, Reach::Inconclusive);
}

#[test]
fn what_is_not_understood_is_undecided_and_never_off() {
    let definitions = definitions(&[
        flag("shape", &json!({"groups": {"0": {}}})),
        flag(
            "type",
            &json!({"groups": [{"properties": [{"type": "mood", "key": "k"}]}]}),
        ),
        flag("rules", &json!({"rules": []})),
        flag("legacy", &json!({"super_groups": [{}], "groups": []})),
        json!({"key": "no-filters", "active": true}),
        json!({"active": true}),
    ]);
    for key in ["shape", "type", "rules", "legacy"] {
        let evaluation = evaluate(&definitions, key, json!({"k": 1}));
        let expected = (Reach::Inconclusive, Cause::UnsupportedDefinition);
        assert_eq!(undecided(&evaluation), expected, "{key}");
    }
    assert_eq!(
        evaluate(&definitions, "no-filters", json!({})).outcome,
        off()
    );
    assert_eq!(definitions.keys().count(), 5);
}

#[test]
fn a_group_flag_is_bucketed_by_the_group() {
    let filters = json!({
        "aggregation_group_type_index": 0,
        "groups": [{"properties": [{"type": "group", "key": "plan", "value": "pro"}]}],
    });
    let body = json!({"flags": [flag("f", &filters)], "group_type_mapping": {"0": "company"}});
    let definitions = Definitions::parse(&body).unwrap();
    let person = properties(json!({"plan": "pro"}));
    let outsider = Subject::person("user-1", &person);
    let evaluation = definitions.evaluate("f", &outsider, now()).unwrap();
    assert_eq!(evaluation.outcome, off());
    assert_eq!(evaluation.reason, Some(Reason::NoGroupType));
    let groups = BTreeMap::from([("company".to_owned(), "acme".to_owned())]);
    let none = BTreeMap::new();
    let unknown = outsider.in_groups(&groups, &none);
    let evaluation = definitions.evaluate("f", &unknown, now()).unwrap();
    assert_eq!(
        undecided(&evaluation),
        (Reach::Inconclusive, Cause::MissingContext)
    );
    let pro = BTreeMap::from([("company".to_owned(), properties(json!({"plan": "PRO"})))]);
    let member = outsider.in_groups(&groups, &pro);
    assert_eq!(
        definitions.evaluate("f", &member, now()).unwrap().outcome,
        on()
    );
}

#[test]
fn all_flags_come_in_the_order_of_the_definitions() {
    let all = json!({"groups": [{}]});
    let flags: Vec<Value> = ["z", "a", "m"].iter().map(|key| flag(key, &all)).collect();
    let definitions = definitions(&flags);
    let none = Map::new();
    let evaluations = definitions.evaluate_all(&Subject::person("u", &none), now());
    let keys: Vec<&str> = evaluations.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["z", "a", "m"]);
    assert!(
        evaluations
            .iter()
            .all(|(_, evaluation)| evaluation.outcome == on())
    );
    assert_eq!(
        definitions.evaluate("x", &Subject::person("u", &none), now()),
        None
    );
}

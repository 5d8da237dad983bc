//! Whatever happens, in whatever order: who is in a segment is who its rule holds of.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{members, person, save};
use crate::{
    contact::ask,
    nudge::kit::{identify, track},
};

/// Histories a database, and what happens in each.
const HISTORIES: u64 = 3;
const STEPS: usize = 25;

/// A small generator of its own, so that a history is known by its number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

fn segments() -> Vec<(&'static str, Value)> {
    vec![
        (
            "a-plan",
            json!({"trait": {"key": "plan", "in": ["pro", "team"]}}),
        ),
        (
            "b-noplan",
            json!({"not": {"trait": {"key": "plan", "exists": true}}}),
        ),
        (
            "c-recent",
            json!({"event": {"name": "order", "within": "P2D", "atLeast": 2}}),
        ),
        (
            "d-quiet",
            json!({"event": {"name": "order", "within": "P1D", "atMost": 0}}),
        ),
        (
            "e-big",
            json!({"event": {"name": "order", "where": [{"key": "total", "gte": 5}], "within": "PT36H"}}),
        ),
        (
            "f-first",
            json!({"firstEvent": {"name": "login", "within": "P1D"}}),
        ),
        (
            "g-last",
            json!({"not": {"lastEvent": {"name": "login", "within": "P1D"}}}),
        ),
        (
            "h-some",
            json!({"event": {"name": "login", "atLeast": 1, "atMost": 2}}),
        ),
        ("i-mail", json!({"identifier": {"kind": "EMAIL"}})),
        (
            "j-both",
            json!({"and": [{"segment": {"key": "c-recent"}}, {"not": {"segment": {"key": "a-plan"}}}]}),
        ),
        (
            "k-mixed",
            json!({"or": [{"segment": {"key": "j-both"}}, {"and": [{"trait": {"key": "email", "exists": true}}, {"segment": {"key": "f-first"}}]}]}),
        ),
        (
            "l-known",
            json!({"identifier": {"kind": "EXTERNAL_ID", "value": {"ne": "u1"}}}),
        ),
    ]
}

async fn step(kit: &Kit, tenant: &Tenant, dice: &mut Dice) -> anyhow::Result<String> {
    let users = ["u1", "u2", "u3"];
    let anybody = ["u1", "u2", "u3", "anon1", "anon2", "anon3", "anon4"];
    Ok(match dice.below(10) {
        0..=2 => {
            let (who, total) = (dice.pick(&anybody), dice.below(10));
            track(kit, tenant, who, "order", json!({"total": total})).await?;
            format!("{who} orders {total}")
        }
        3 => {
            let who = dice.pick(&anybody);
            track(kit, tenant, who, "login", json!({})).await?;
            format!("{who} logs in")
        }
        4 => {
            let (who, plan) = (dice.pick(&users), dice.pick(&["free", "pro", "team"]));
            person(kit, tenant, who, json!({"plan": plan})).await;
            format!("{who} takes {plan}")
        }
        5 => {
            let who = dice.pick(&users);
            person(kit, tenant, who, json!({"plan": null})).await;
            format!("{who} takes no plan")
        }
        6 => {
            let who = dice.pick(&users);
            person(
                kit,
                tenant,
                who,
                json!({"email": format!("{who}@example.com")}),
            )
            .await;
            format!("{who} has an address")
        }
        7 => {
            let (who, visitor) = (dice.pick(&users), dice.pick(&anybody[3..]));
            identify(kit, tenant, who, visitor).await?;
            format!("{who} was {visitor}")
        }
        _ => {
            let hours = i64::try_from(dice.below(30)).unwrap();
            kit.advance(TimeDelta::hours(hours));
            format!("{hours} hours go by")
        }
    })
}

/// By segment the ids of who is in it, by what is stored.
async fn stored(kit: &Kit, tenant: &Tenant) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for (key, _) in segments() {
        members(kit, tenant, key).await;
        let query = "query($key: String!) { segment(key: $key) { members(first: 100) { edges { node { id } } } } }";
        let data = ask(kit, &tenant.secret_key, query, json!({ "key": key })).await;
        found.insert(key, ids(&data["segment"]["members"]["edges"], "/node/id"));
    }
    found
}

fn ids(list: &Value, at: &str) -> Vec<String> {
    let ids = list.as_array().into_iter().flatten();
    let mut ids: Vec<String> = ids
        .map(|item| {
            item.pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    ids.sort();
    ids
}

/// The same, by asking each rule of everybody. There are fewer than ten contacts, so the sample is all.
async fn recomputed(kit: &Kit, tenant: &Tenant) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for (key, rule) in segments() {
        let query = "query($rule: SegmentRuleInput!) { segmentEstimate(rule: $rule) { count sample { id } } }";
        let data = ask(kit, &tenant.secret_key, query, json!({ "rule": rule })).await;
        let estimate = &data["segmentEstimate"];
        let ids = ids(&estimate["sample"], "/id");
        assert_eq!(estimate["count"], json!(ids.len()));
        found.insert(key, ids);
    }
    found
}

#[tokio::test]
async fn live_membership_equals_a_full_recomputation_after_any_history() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        for number in 1..=HISTORIES {
            let acme = kit.tenant(&format!("acme {number}")).await?;
            let mut dice = Dice(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for (key, rule) in segments() {
                save(&kit, &acme, json!({"key": key, "rule": rule})).await;
            }
            let mut history = vec![];
            for at in 1..=STEPS {
                history.push(step(&kit, &acme, &mut dice).await?);
                // Sometimes several things happen before anything is heard.
                if dice.below(3) == 0 || at == STEPS {
                    kit.app.worker.drain().await?;
                    assert_eq!(
                        stored(&kit, &acme).await,
                        recomputed(&kit, &acme).await,
                        "{history:#?}"
                    );
                }
            }
            // Who entered and did not leave is in, each once.
            let mut balance: BTreeMap<String, i64> = BTreeMap::new();
            for event in super::kit::told(&acme).await? {
                let key = event.properties["segmentKey"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let by = if event.name == "segment.entered" {
                    1
                } else {
                    -1
                };
                *balance.entry(key).or_default() += by;
            }
            for (key, ids) in stored(&kit, &acme).await {
                let told = balance.get(key).copied().unwrap_or_default();
                assert!(
                    told >= i64::try_from(ids.len())?,
                    "{key}: {told} of {ids:?}"
                );
            }
        }
        Ok(())
    })
    .await
}

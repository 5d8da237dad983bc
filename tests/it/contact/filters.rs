//! Which contacts and events a filter leaves.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::{ask, refused, track, upsert};

/// Four people: Ann did much, Bob little, Cleo is a visitor, Dan has nothing but an e-mail address.
async fn people(kit: &Kit) -> anyhow::Result<Tenant> {
    let acme = kit.tenant("acme").await?;
    upsert(kit, &acme, json!({"externalId": "ann", "email": "Ann.Lee@Example.com", "name": "Ann", "phone": "+4930901820",
        "traits": {"plan": "pro", "seats": 12, "beta": true, "tags": ["a"], "note": "50%_off"}})).await;
    upsert(kit, &acme, json!({"externalId": "bob", "name": "Bob", "traits": {"plan": "free", "seats": 3, "beta": "true", "was": 1}})).await;
    upsert(
        kit,
        &acme,
        json!({"externalId": "bob", "traits": {"was": null}}),
    )
    .await;
    track(
        kit,
        &acme.publishable_key,
        json!({"event": "$pageview", "anonymousId": "cleo"}),
    )
    .await;
    upsert(
        kit,
        &acme,
        json!({"email": "dan@other.org", "name": "Dan", "traits": {"seats": 3.5}}),
    )
    .await;
    // Ann signed up as a visitor whom she absorbed later.
    track(
        kit,
        &acme.publishable_key,
        json!({"event": "signup", "anonymousId": "ann-phone", "timestamp": "2025-12-01T00:00:00Z"}),
    )
    .await;
    let joined =
        "mutation { identify(input: {userId: \"ann\", anonymousId: \"ann-phone\"}) { accepted } }";
    ask(kit, &acme.secret_key, joined, json!({})).await;
    track(
        kit,
        &acme.secret_key,
        json!({"event": "paid", "userId": "bob"}),
    )
    .await;
    // Another tenant's people, who must never show.
    let other = kit.tenant("other").await?;
    upsert(kit, &other, json!({"externalId": "ann", "email": "ann.lee@example.com", "traits": {"plan": "pro", "seats": 12}})).await;
    track(
        kit,
        &other.secret_key,
        json!({"event": "paid", "userId": "ann"}),
    )
    .await;
    Ok(acme)
}

#[tokio::test]
async fn each_operator_finds_exactly_its_contacts() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = people(&kit).await?;
        for (filter, found) in [
            (json!({}), "Ann Bob Dan cleo"),
            (json!({"externalId": {"eq": "ann"}}), "Ann"),
            (json!({"externalId": {"ne": "ann"}}), "Bob Dan cleo"),
            (json!({"externalId": {"in": ["ann", "bob", "nobody"]}}), "Ann Bob"),
            (json!({"externalId": {"in": []}}), ""),
            (json!({"externalId": {"notIn": ["ann"]}}), "Bob Dan cleo"),
            (json!({"externalId": {"notIn": []}}), "Ann Bob Dan cleo"),
            (json!({"externalId": {"exists": false}}), "Dan cleo"),
            (json!({"externalId": {"exists": true, "ne": "bob"}}), "Ann"),
            (json!({"email": {"contains": "x".repeat(100_000)}}), ""),
            (json!({"createdAt": {"after": "0001-01-01T00:00:00Z", "before": "9999-12-31T23:59:59Z"}}), "Ann Bob Dan cleo"),
            (json!({"email": {"eq": "ANN.LEE@example.COM"}}), "Ann"),
            (json!({"email": {"contains": "@EXAMPLE"}}), "Ann"),
            (json!({"email": {"startsWith": "dan@"}}), "Dan"),
            (json!({"email": {"exists": true}}), "Ann Dan"),
            (json!({"phone": {"eq": "+49 30 901820"}}), "Ann"),
            (json!({"anonymousId": {"in": ["ann-phone", "cleo"]}}), "Ann cleo"),
            (json!({"status": {"eq": "ANONYMOUS"}}), "cleo"),
            (json!({"status": {"in": ["VERIFIED", "KNOWN"]}}), "Ann Bob Dan"),
            (json!({"trait": {"key": "plan", "eq": "pro"}}), "Ann"),
            (json!({"trait": {"key": "plan", "ne": "pro"}}), "Bob Dan cleo"),
            (json!({"trait": {"key": "plan", "in": ["pro", "free"]}}), "Ann Bob"),
            (json!({"trait": {"key": "plan", "in": []}}), ""),
            (json!({"trait": {"key": "plan", "notIn": ["pro"]}}), "Bob Dan cleo"),
            (json!({"trait": {"key": "plan", "eq": null}}), "Dan cleo"),
            (json!({"trait": {"key": "plan", "ne": null}}), "Ann Bob"),
            (json!({"trait": {"key": "plan", "exists": true}}), "Ann Bob"),
            (json!({"trait": {"key": "was", "exists": true}}), ""),
            (json!({"trait": {"key": "tags", "exists": true}}), "Ann"),
            (json!({"trait": {"key": "beta", "eq": true}}), "Ann"),
            (json!({"trait": {"key": "beta", "eq": "true"}}), "Bob"),
            (json!({"trait": {"key": "seats", "eq": 3}}), "Bob"),
            (json!({"trait": {"key": "seats", "gt": 3}}), "Ann Dan"),
            (json!({"trait": {"key": "seats", "gte": 3, "lt": 12}}), "Bob Dan"),
            (json!({"trait": {"key": "seats", "lte": 3.5, "ne": 3}}), "Dan"),
            (json!({"trait": {"key": "note", "contains": "0%_O"}}), "Ann"),
            (json!({"trait": {"key": "note", "contains": "0%O"}}), ""),
            (json!({"trait": {"key": "note", "startsWith": "_"}}), ""),
            (json!({"createdAt": {"after": "2026-01-01T09:00:01Z"}}), "Bob Dan cleo"),
            (json!({"createdAt": {"before": "2026-01-01T09:00:02Z"}}), "Ann"),
            (json!({"lastSeenAt": {"exists": false}}), ""),
            (json!({"events": {"some": {"name": "signup"}}}), "Ann"),
            (json!({"events": {"some": {"name": "signup", "after": "2025-12-02T00:00:00Z"}}}), ""),
            (json!({"events": {"none": {"name": "signup"}}}), "Bob Dan cleo"),
            (json!({"events": {"some": {"name": "paid"}, "none": {"name": "signup"}}}), "Bob"),
            (json!({"and": [{"trait": {"key": "plan", "eq": "pro"}}, {"trait": {"key": "seats", "gt": 3}}]}), "Ann"),
            (json!({"or": [{"externalId": {"eq": "bob"}}, {"anonymousId": {"eq": "cleo"}}]}), "Bob cleo"),
            (json!({"or": []}), ""),
            (json!({"not": {"or": [{"externalId": {"eq": "bob"}}, {"anonymousId": {"eq": "cleo"}}]}}), "Ann Dan"),
            (json!({"not": {}}), ""),
            (json!({"and": [{}], "externalId": {"eq": "bob"}}), "Bob"),
        ] {
            let query = "query($filter: ContactFilter) { contacts(filter: $filter) { totalCount edges { node { name anonymousIds } } } }";
            let data = ask(&kit, &acme.secret_key, query, json!({"filter": filter})).await;
            let edges = data["contacts"]["edges"].as_array().unwrap();
            let mut names: Vec<&str> = edges
                .iter()
                .map(|edge| edge["node"]["name"].as_str().or(edge["node"]["anonymousIds"][0].as_str()).unwrap())
                .collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), found, "{filter}");
            assert_eq!(data["contacts"]["totalCount"], names.len());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_operator_finds_exactly_its_events() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = people(&kit).await?;
        let id = |data: &Value| data["contact"]["id"].clone();
        let ann = id(&ask(&kit, &acme.secret_key, "{ contact(by: {externalId: \"ann\"}) { id } }", json!({})).await);
        for (filter, found) in [
            (json!({"name": {"in": ["signup", "paid"]}}), "paid signup"),
            (json!({"name": {"startsWith": "$PAGE"}}), "$pageview"),
            (json!({"name": {"eq": "paid"}, "contactId": ann}), ""),
            (json!({"name": {"eq": "signup"}, "contactId": ann}), "signup"),
            (json!({"contactId": "contact_nobody"}), ""),
            (json!({"occurredAt": {"before": "2025-12-31T00:00:00Z"}, "source": {"eq": "api"}}), "signup"),
            (json!({"source": {"eq": "nobody"}}), ""),
            (json!({"or": [{"name": {"eq": "signup"}}, {"name": {"startsWith": "$page"}}]}), "$pageview signup"),
            (json!({"or": []}), ""),
            (json!({"and": [{"contactId": ann}, {"not": {"name": {"eq": "paid"}}}, {"source": {"eq": "api"}}, {"name": {"eq": "signup"}}]}), "signup"),
            (json!({"not": {"contactId": "contact_nobody"}, "name": {"in": ["signup", "paid"]}}), "paid signup"),
            (json!({"not": {"contactId": ann}, "name": {"in": ["signup", "paid"]}}), "paid"),
            (json!({"not": {}}), ""),
        ] {
            let query = "query($filter: EventFilter) { events(filter: $filter) { totalCount edges { node { name } } } }";
            let data = ask(&kit, &acme.secret_key, query, json!({"filter": filter})).await;
            let edges = data["events"]["edges"].as_array().unwrap();
            let names: Vec<&str> = edges.iter().map(|edge| edge["node"]["name"].as_str().unwrap()).collect();
            assert_eq!(names.join(" "), found, "{filter}");
            assert_eq!(data["events"]["totalCount"], names.len());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_filter_over_its_limits_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        kit.advance(TimeDelta::seconds(1));
        let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "not": inner }));
        let wide =
            |operators: usize| json!({"or": vec![json!({"externalId": {"eq": "x"}}); operators]});
        let query = "query($filter: ContactFilter) { contacts(filter: $filter) { totalCount } }";
        for fine in [deep(4), wide(50)] {
            ask(&kit, &acme.secret_key, query, json!({"filter": fine})).await;
        }
        for over in [
            deep(5),
            wide(51),
            json!({"trait": {"key": "a", "eq": ["list"]}}),
            json!({"trait": {"key": "a", "in": [{}]}}),
        ] {
            let codes = refused(&kit, &acme.secret_key, query, json!({"filter": over})).await;
            assert_eq!(codes, json!([[["contacts"], "BAD_USER_INPUT"]]), "{over}");
        }
        // A text that no database stores finds nobody, and breaks nothing.
        for odd in [
            json!({"externalId": {"eq": "\0"}}),
            json!({"email": {"contains": "\0"}}),
            json!({"trait": {"key": "\0", "eq": "\0"}}),
            json!({"events": {"some": {"name": "\0"}}}),
        ] {
            let data = ask(&kit, &acme.secret_key, query, json!({"filter": odd})).await;
            assert_eq!(data["contacts"]["totalCount"], 0);
        }
        Ok(())
    })
    .await
}

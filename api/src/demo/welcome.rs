//! What the demo prints when it is ready.

use std::io::{self, Write};

use serde_json::json;

use super::{Ready, story};

pub(super) fn print(ready: &Ready, as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", line(ready))?;
    } else {
        tour(&mut out, ready)?;
    }
    out.flush()
}

fn line(ready: &Ready) -> serde_json::Value {
    let base = &ready.base_url;
    json!({
        "graphqlUrl": format!("{base}/graphql"),
        "graphqlWsUrl": format!("{}/graphql", base.replacen("http", "ws", 1)),
        "graphiqlUrl": format!("{base}/graphiql"),
        "ingestUrl": base,
        "tenantId": ready.tenant_id,
        "secretKey": ready.secret_key,
        "publishableKey": ready.publishable_key,
        "contactId": ready.contact_id,
        "contactToken": ready.contact_token,
        "posthogUrl": ready.posthog_url,
        "operatorToken": ready.operator_token,
    })
}

fn tour(out: &mut impl Write, ready: &Ready) -> io::Result<()> {
    let base = &ready.base_url;
    let hero = story::HERO;
    writeln!(
        out,
        r#"
GrowthOS demo, ready. Everything is on this machine; PostHog is a double (a stand-in): {posthog}

  GraphiQL            {base}/graphiql#token={secret}
  GraphQL             {base}/graphql
  PostHog clients     host {base}, token {publishable}

  secret key          {secret}
  publishable key     {publishable}
  contact's token     {token}
  operator's token    {operator}

Three queries worth pasting into GraphiQL:

  # one person: who she is, what PostHog saw, which flags she has
  {{ contact(by: {{externalId: "{hero}"}}) {{ id name email anonymousIds attribution {{ firstTouch {{ source campaign }} }}
      analytics {{ activity {{ eventCount activeDays lastUrl asOf }} metric(key: "revenue") {{ value }}
        featureFlag(key: "new-onboarding") {{ enabled reason source }} }} }} }}

  # a page of customers, with PostHog's numbers for all of them in one HogQL request
  {{ contacts(first: 20, filter: {{trait: {{key: "plan", eq: "pro"}}}}) {{ totalCount edges {{ node {{ name email
      analytics {{ activity(window: "P60D") {{ eventCount sessionCount }} metric(key: "revenue") {{ value }} }} }} }} }} }}

  # what happened lately
  {{ events(first: 10) {{ edges {{ node {{ name occurredAt contact {{ name }} }} }} }} }}

To see a nudge arrive: open {base}/graphiql#token={token} and subscribe,

  subscription {{ nudges {{ __typename ... on NudgeDelivered {{ cursor delivery {{ content {{ title body }} }} }} }} }}

then tell, with the secret key in another tab, that she signed up:

  mutation {{ track(input: {{event: "signup", userId: "{hero}"}}) {{ accepted }} }}

Stop with Ctrl-C.
"#,
        posthog = ready.posthog_url,
        secret = ready.secret_key,
        publishable = ready.publishable_key,
        token = ready.contact_token,
        operator = ready.operator_token,
    )
}

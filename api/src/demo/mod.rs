//! `growthos demo`: the product with nothing to set up. SQLite in a folder, a stand-in for PostHog in the
//! same process, a tenant with two months of life in it. What it sets up, it sets up through GraphQL, as a
//! user would.

mod folder;
mod story;
mod welcome;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, anyhow};
use async_graphql::{Request, Variables};
use chrono::Utc;
use entity::TenantId;
use posthog_double::{Double, DoubleOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::folder::Folder;
use crate::{
    app::{App, Parts, install_crypto},
    base::{Actor, Cx, Db},
    config::{Config, Hidden},
    contact::{self, INGEST_MAX},
    serve, telemetry,
    tenant::Caller,
};

pub struct Options {
    /// Keeps the demo's data; without it the folder goes with the process.
    pub data: Option<PathBuf>,
    /// 0: any free one.
    pub port: u16,
    /// One line of JSON when ready, instead of the tour.
    pub json: bool,
}

/// What a user needs to come in.
struct Ready {
    base_url: String,
    tenant_id: String,
    secret_key: String,
    publishable_key: String,
    contact_id: String,
    contact_token: String,
    posthog_url: String,
    operator_token: String,
}

/// Runs until it is told to stop.
pub async fn run(options: Options) -> anyhow::Result<()> {
    install_crypto();
    let folder = Folder::open(options.data)?;
    let saved = folder.load()?;
    let double = start_double().await?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], options.port)))
        .await
        .with_context(|| format!("port {} cannot be listened on", options.port))?;
    let config = Config {
        listen: listener.local_addr()?,
        database_url: Hidden::from(folder.database_url().as_str()),
        secret_key: Some(Hidden::from(saved.secret_key.as_str())),
        operator_token: Some(Hidden::from(saved.operator_token.as_str())),
        // The double listens on this machine.
        allow_private_upstreams: true,
        log_level: "warn".to_owned(),
        ..Config::default()
    };
    let _telemetry = telemetry::start(&config)?;
    Db::migrate(config.database_url.reveal()).await?;
    let app = App::new(Parts::connect(config).await?)?;
    let stage = Stage {
        app: app.clone(),
        double: &double,
    };
    let base_url = format!("http://{}", listener.local_addr()?);
    let ready = stage.set(base_url, &folder, saved).await?;
    serve::stop_at_signal(&app)?;
    app.start_worker().await?;
    welcome::print(&ready, options.json)?;
    serve::serve(app, listener).await?;
    double.stop().await;
    Ok(())
}

/// The double lives on the wall clock, like the demo.
#[expect(
    clippy::disallowed_methods,
    reason = "the double is a process of its own, were it not for the demo"
)]
async fn start_double() -> anyhow::Result<Double> {
    let double = Double::start(DoubleOptions::new(Arc::new(Utc::now))).await?;
    double.set_flags(story::flags());
    Ok(double)
}

/// Sets the scene.
struct Stage<'a> {
    app: App,
    double: &'a Double,
}

impl Stage<'_> {
    async fn set(
        &self,
        base_url: String,
        folder: &Folder,
        mut saved: folder::Saved,
    ) -> anyhow::Result<Ready> {
        let tenant = match saved.tenant.take() {
            Some(tenant) => tenant,
            None => self.make_tenant().await?,
        };
        saved.tenant = Some(tenant.clone());
        folder.save(&saved)?;
        let id = TenantId::parse(&tenant.id)
            .ok_or_else(|| anyhow!("the saved tenant id is not one: {}", tenant.id))?;
        let cx = self.app.cx(id, Actor::System);
        // The double forgets when the process ends: it is told everything again.
        self.connect(&cx).await?;
        if !saved.complete {
            self.tell_story(&cx).await?;
        }
        self.app.worker.drain().await?;
        if !saved.complete {
            // After the story, so that nobody is offered a nudge for what happened long ago.
            self.publish(&cx).await?;
            saved.complete = true;
            folder.save(&saved)?;
        }
        let (contact_id, contact_token) = self.hero(&cx).await?;
        Ok(Ready {
            base_url,
            tenant_id: tenant.id,
            secret_key: tenant.secret_key,
            publishable_key: tenant.publishable_key,
            contact_id,
            contact_token,
            posthog_url: self.double.url(),
            operator_token: saved.operator_token,
        })
    }

    async fn make_tenant(&self) -> anyhow::Result<folder::SavedTenant> {
        let operator = Caller {
            actor: Actor::Operator,
            tenant: None,
            expires_at: None,
        };
        let made = self
            .ask(
                &operator,
                "mutation($input: TenantCreateInput!) {
                   answer: tenantCreate(input: $input) { tenant { id } secretKey publishableKey userErrors { field message } }
                 }",
                json!({"input": {"name": "Northstar Boards (demo)"}}),
            )
            .await?;
        Ok(folder::SavedTenant {
            id: text(&made, "/tenant/id")?,
            secret_key: text(&made, "/secretKey")?,
            publishable_key: text(&made, "/publishableKey")?,
        })
    }

    async fn connect(&self, cx: &Cx) -> anyhow::Result<()> {
        let url = self.double.url();
        let options = self.double.options();
        self.ask(
            &caller(cx),
            "mutation($input: PosthogConnectInput!) {
               answer: posthogConnect(input: $input) { connection { id } userErrors { field message } }
             }",
            json!({"input": {
                "ingestHost": url, "apiHost": url, "uiHost": url,
                "projectId": options.project_id.to_string(),
                "projectToken": options.project_token,
                "personalApiKey": options.personal_api_key,
            }}),
        )
        .await?;
        Ok(())
    }

    async fn tell_story(&self, cx: &Cx) -> anyhow::Result<()> {
        let touches = story::touches(cx.now())?;
        for part in touches.chunks(INGEST_MAX) {
            cx.write(async |tx| contact::ingest(tx, part).await).await?;
        }
        Ok(())
    }

    async fn publish(&self, cx: &Cx) -> anyhow::Result<()> {
        self.ask(
            &caller(cx),
            "mutation($input: MetricSaveInput!) {
               answer: metricSave(input: $input) { metric { key } userErrors { field message } }
             }",
            json!({"input": story::metric()}),
        )
        .await?;
        let saved = self
            .ask(
                &caller(cx),
                "mutation($input: NudgeSaveInput!) {
                   answer: nudgeSave(input: $input) { nudge { id } userErrors { field message } }
                 }",
                json!({"input": story::nudge()}),
            )
            .await?;
        self.ask(
            &caller(cx),
            "mutation($id: ID!) {
               answer: nudgePublish(input: {id: $id}) { nudge { id } userErrors { field message } }
             }",
            json!({"id": text(&saved, "/nudge/id")?}),
        )
        .await?;
        Ok(())
    }

    /// The contact that the tour is about, and a token to speak for it.
    async fn hero(&self, cx: &Cx) -> anyhow::Result<(String, String)> {
        let found = self
            .ask(
                &caller(cx),
                "query($by: ContactKey!) { answer: contact(by: $by) { id } }",
                json!({"by": {"externalId": story::HERO}}),
            )
            .await?;
        let id = text(&found, "/id")?;
        let minted = self
            .ask(
                &caller(cx),
                "mutation($id: ID!) {
                   answer: contactTokenCreate(input: {contactId: $id, expiresIn: \"PT24H\"}) { token userErrors { field message } }
                 }",
                json!({"id": id}),
            )
            .await?;
        Ok((id, text(&minted, "/token")?))
    }

    /// Sends one operation whose one field is called `answer`, and gives that field.
    async fn ask(
        &self,
        caller: &Caller,
        document: &str,
        variables: Value,
    ) -> anyhow::Result<Value> {
        let request = Request::new(document).variables(Variables::from_json(variables));
        let response = self.app.execute(caller, request, "demo").await;
        if let Some(error) = response.errors.first() {
            return Err(anyhow!("the demo could not be set up: {}", error.message));
        }
        let answer = response.data.into_json()?["answer"].take();
        if let Some(error) = answer.pointer("/userErrors/0/message") {
            return Err(anyhow!("the demo could not be set up: {error}"));
        }
        Ok(answer)
    }
}

fn caller(cx: &Cx) -> Caller {
    Caller {
        actor: Actor::System,
        tenant: Some(cx.tenant()),
        expires_at: None,
    }
}

fn text(answer: &Value, path: &str) -> anyhow::Result<String> {
    answer
        .pointer(path)
        .and_then(Value::as_str)
        .map(ToOwned::to_owned)
        .ok_or_else(|| anyhow!("the demo could not be set up: no {path} in {answer}"))
}

//! The command line.

mod operations;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use entity::{Id, TenantId, api_key, tenant::Column};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    app::{App, Parts, install_crypto},
    base::{Actor, Clock, Cx, Db, instant},
    config::{self, Config},
    demo, doctor,
    posthog::{flag::lines, hogql_corpus},
    schema, serve, telemetry,
    tenant::{self, NewKey, NewLimits},
};

/// Read where `--config` names no other file, if it is there.
const CONFIG_FILE: &str = "growthos.toml";

/// A multi-tenant GraphQL backend for growth teams.
#[derive(Parser)]
#[command(name = "growthos", version, max_term_width = 100)]
struct Cli {
    /// The settings' file; growthos.toml in this folder if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve {
        /// Bring the database's schema up to date first
        #[arg(long)]
        migrate: bool,
    },
    /// Bring the database's schema up to date
    Migrate,
    /// Make and list tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Make and revoke keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Read what was changed of a tenant, and by whom
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show the GraphQL schema
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Trusted documents
    #[command(subcommand)]
    Operations(operations::OperationsCommand),
    /// Why a feature flag says what it says
    #[command(subcommand)]
    Flag(FlagCommand),
    /// Show the product with nothing to set up: SQLite, a double for PostHog, a tenant full of life
    Demo {
        /// Keep the data in this folder; without it they go with the process
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// The port to listen on; 0 is any free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Print one line of JSON when ready
        #[arg(long)]
        json: bool,
    },
    /// Every HogQL text that the product can emit, one JSON string a line
    #[command(hide = true)]
    HogqlCorpus,
    /// Print a growthos.toml that explains every setting
    Config,
    /// Look for what is wrong with the settings and the database, and say what to do
    Doctor {
        /// As one JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Make a tenant and print its first keys, this once
    Create {
        /// What people call it
        name: String,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set all of a tenant's limits; those that are not given are the product's defaults
    Limits(TenantLimits),
    /// List every tenant, the oldest first
    List {
        /// As one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Absent ones are the product's defaults.
#[derive(Args)]
struct TenantLimits {
    /// The tenant's id, tenant_…
    tenant: String,
    /// Points, which are values in the answer, that one operation may cost
    #[arg(long)]
    cost_max: Option<i32>,
    /// Points a minute of the tenant as a whole
    #[arg(long)]
    points_per_minute: Option<i32>,
    /// Points a minute of each key and each contact
    #[arg(long)]
    key_points_per_minute: Option<i32>,
    /// Subscriptions at the same time of the tenant as a whole
    #[arg(long)]
    subscriptions_max: Option<i32>,
    /// Subscriptions at the same time of each contact
    #[arg(long)]
    contact_subscriptions_max: Option<i32>,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and print it, this once
    Create(KeyCreate),
    /// End a key at once
    Revoke {
        /// The key's id, key_…, as the tenant's apiKeys show it
        id: String,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Print a tenant's audit log, the oldest entry first, one JSON object a line
    Export {
        /// The tenant's id, tenant_…; also of one that was deleted
        #[arg(long)]
        tenant: String,
        /// Leave out what is older, such as 2026-01-31T00:00:00Z
        #[arg(long, value_name = "INSTANT")]
        since: Option<DateTime<Utc>>,
    },
}

#[derive(Args)]
struct KeyCreate {
    /// The tenant's id, tenant_…
    #[arg(long)]
    tenant: String,
    #[arg(long)]
    kind: KeyKind,
    /// What people call it
    #[arg(long, default_value = "made on the command line")]
    name: String,
    /// What a secret key may do, such as contacts:read; may be given several times
    #[arg(long = "scope", default_values_if("kind", "secret", ["*"]))]
    scopes: Vec<String>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyKind {
    Secret,
    Publishable,
}

#[derive(Subcommand)]
enum FlagCommand {
    /// Read `{kind, input, property_matching_version, frozen_now?}` as JSON a line on stdin and print
    /// `{"outcome", "value"}` a line
    Eval,
}

#[derive(Subcommand)]
enum SchemaCommand {
    /// Print it in GraphQL's own language, sorted
    Print,
}

/// Does what the arguments say. What fails is told on stderr in one line.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    match obey(cli, &mut std::io::stdout()).await {
        Ok(code) => code,
        Err(error) => {
            // Without a stderr there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "growthos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(cli: Cli, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let config = || configuration(cli.config.as_deref());
    match cli.command {
        Command::Serve { migrate } => serve_until_stopped(config()?, migrate).await?,
        Command::Migrate => {
            let steps = Db::migrate(config()?.database_url.reveal()).await?;
            writeln!(out, "{steps} migrations were applied")?;
        }
        Command::Tenant(TenantCommand::Create { name, json }) => {
            create_tenant(&open(config()?).await?, &name, json, out).await?;
        }
        Command::Tenant(TenantCommand::List { json }) => {
            list_tenants(&open(config()?).await?, json, out).await?;
        }
        Command::Key(KeyCommand::Create(new)) => {
            create_key(&open(config()?).await?, new, out).await?;
        }
        Command::Key(KeyCommand::Revoke { id }) => {
            revoke_key(&open(config()?).await?, &id, out).await?;
        }
        Command::Audit(AuditCommand::Export { tenant, since }) => {
            export_audit(&open(config()?).await?, &tenant, since, out).await?;
        }
        Command::Tenant(TenantCommand::Limits(limits)) => {
            set_limits(&open(config()?).await?, &limits, out).await?;
        }
        Command::Operations(operations::OperationsCommand::Push(push)) => {
            operations::push(&open(config()?).await?, push, out).await?;
        }
        Command::Schema(SchemaCommand::Print) => write!(out, "{}", schema::sdl())?,
        Command::Flag(FlagCommand::Eval) => {
            for line in std::io::stdin().lines() {
                let line = line.context("stdin is no text")?;
                if !line.trim().is_empty() {
                    writeln!(out, "{}", lines::answer(&line, Clock::System.now()))?;
                    out.flush()?;
                }
            }
        }
        Command::Demo { data, port, json } => demo::run(demo::Options { data, port, json }).await?,
        Command::HogqlCorpus => {
            for text in hogql_corpus() {
                writeln!(out, "{}", json!(text))?;
            }
        }
        Command::Config => write!(out, "{}", config::documented())?,
        Command::Doctor { json } => return examine(&config()?, json, out).await,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn configuration(file: Option<&Path>) -> anyhow::Result<Config> {
    let found = Path::new(CONFIG_FILE);
    let file = file.or_else(|| found.exists().then_some(found));
    // Names and values that are no text can be none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Config::load(file, variables)?)
}

/// The application on its database, for a command that asks it something.
async fn open(config: Config) -> anyhow::Result<App> {
    install_crypto();
    require_migrated(&config).await?;
    Ok(App::new(Parts::connect(config).await?)?)
}

async fn require_migrated(config: &Config) -> anyhow::Result<()> {
    let pending = Db::pending_migrations(config.database_url.reveal())
        .await
        .context("the database does not answer")?;
    if pending > 0 {
        bail!("the database lacks {pending} migrations: run growthos migrate");
    }
    Ok(())
}

async fn serve_until_stopped(config: Config, migrate: bool) -> anyhow::Result<()> {
    install_crypto();
    let _telemetry = telemetry::start(&config)?;
    if migrate {
        Db::migrate(config.database_url.reveal())
            .await
            .context("the database could not be migrated")?;
    }
    let app = open(config).await?;
    let listener = TcpListener::bind(app.config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", app.config.listen))?;
    serve::stop_at_signal(&app)?;
    app.start_worker().await?;
    tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "serving");
    serve::serve(app, listener).await
}

async fn create_tenant(
    app: &App,
    name: &str,
    as_json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let made = tenant::create_tenant(&app.env, name).await?;
    if as_json {
        let line = json!({
            "tenantId": made.tenant.id.to_string(),
            "name": made.tenant.name,
            "secretKey": made.secret.key,
            "publishableKey": made.publishable.key,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "tenant           {}", made.tenant.id)?;
        writeln!(out, "secret key       {}", made.secret.key)?;
        writeln!(out, "publishable key  {}", made.publishable.key)?;
        writeln!(
            out,
            "The keys are shown this once: only their fingerprints are stored."
        )?;
    }
    Ok(())
}

async fn list_tenants(app: &App, as_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let system = app.env.db.system();
    let rows = tenant::tenants(&system)
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .all()
        .await?;
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| json!({"id": row.id.to_string(), "name": row.name, "createdAt": row.created_at, "suspendedAt": row.suspended_at}))
            .collect();
        writeln!(out, "{}", json!(rows))?;
        return Ok(());
    }
    for row in rows {
        let state = row.suspended_at.map_or_else(String::new, |at| {
            format!("  suspended {}", instant::text(at))
        });
        writeln!(
            out,
            "{}  {}  {}{state}",
            row.id,
            instant::text(row.created_at),
            row.name
        )?;
    }
    Ok(())
}

/// A tenant that is there, for the command line to change.
async fn cx_of(app: &App, tenant: &str) -> anyhow::Result<Cx> {
    let id = TenantId::parse(tenant).with_context(|| format!("{tenant:?} is not a tenant's id"))?;
    let cx = app.cx(id, Actor::System);
    if tenant::tenant(&cx.db()).await?.is_none() {
        bail!("there is no tenant {id}");
    }
    Ok(cx)
}

async fn set_limits(app: &App, limits: &TenantLimits, out: &mut impl Write) -> anyhow::Result<()> {
    let cx = cx_of(app, &limits.tenant).await?;
    let new: NewLimits = [
        limits.cost_max,
        limits.points_per_minute,
        limits.key_points_per_minute,
        limits.subscriptions_max,
        limits.contact_subscriptions_max,
    ];
    let front = cx
        .write(async |tx| tenant::set_limits(tx, new).await)
        .await?;
    let limits = front.limits;
    writeln!(out, "cost at most               {}", limits.cost_max)?;
    writeln!(
        out,
        "points a minute            {}",
        limits.points_per_minute
    )?;
    writeln!(
        out,
        "points a minute of a key   {}",
        limits.key_points_per_minute
    )?;
    writeln!(
        out,
        "subscriptions              {}",
        limits.subscriptions_max
    )?;
    writeln!(
        out,
        "subscriptions of a contact {}",
        limits.contact_subscriptions_max
    )?;
    Ok(())
}

async fn create_key(app: &App, new: KeyCreate, out: &mut impl Write) -> anyhow::Result<()> {
    let cx = cx_of(app, &new.tenant).await?;
    let key = NewKey {
        kind: match new.kind {
            KeyKind::Secret => api_key::Kind::Secret,
            KeyKind::Publishable => api_key::Kind::Publishable,
        },
        name: new.name,
        scopes: new.scopes,
    };
    let issued = cx
        .write(async |tx| tenant::create_key(tx, &Actor::System, key).await)
        .await?;
    if new.json {
        writeln!(
            out,
            "{}",
            json!({"id": issued.row.id.to_string(), "key": issued.key, "scopes": issued.row.scopes})
        )?;
    } else {
        writeln!(out, "{}  {}", issued.row.id, issued.key)?;
    }
    Ok(())
}

async fn revoke_key(app: &App, id: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let id: Id<api_key::Entity> =
        Id::parse(id).with_context(|| format!("{id:?} is not a key's id"))?;
    let row = app
        .env
        .db
        .system()
        .find::<api_key::Entity>()
        .filter(api_key::Column::Id.eq(id))
        .one()
        .await?;
    let Some(row) = row else {
        bail!("there is no key {id}")
    };
    let cx = Cx::new(Arc::clone(&app.env), row.tenant_id, Actor::System);
    let row = cx
        .write(async |tx| tenant::revoke_key(tx, id).await)
        .await?;
    writeln!(
        out,
        "{} ({}…, {}) works no more",
        row.id, row.prefix, row.name
    )?;
    Ok(())
}

async fn export_audit(
    app: &App,
    tenant: &str,
    since: Option<DateTime<Utc>>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let tenant =
        TenantId::parse(tenant).with_context(|| format!("{tenant:?} is not a tenant's id"))?;
    tenant::export(&app.env.db.tenant(tenant), since, |entry| {
        writeln!(out, "{}", serde_json::to_string(&entry)?)?;
        Ok(())
    })
    .await?;
    Ok(())
}

async fn examine(config: &Config, as_json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    install_crypto();
    let findings = doctor::examine(config, Clock::System.now()).await;
    if as_json {
        writeln!(out, "{}", serde_json::to_string(&findings)?)?;
    } else {
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
    }
    out.flush()?;
    let all_good = findings.iter().all(|finding| finding.ok);
    Ok(if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_secret_key_holds_everything_unless_told() {
        let scopes = |arguments: &[&str]| match Cli::try_parse_from(arguments).unwrap().command {
            Command::Key(KeyCommand::Create(new)) => new.scopes,
            _ => unreachable!("asked for a key"),
        };
        let create = ["growthos", "key", "create", "--tenant", "t"];
        assert_eq!(
            scopes(&[&create[..], &["--kind", "secret"]].concat()),
            ["*"]
        );
        assert_eq!(
            scopes(
                &[
                    &create[..],
                    &["--kind", "secret", "--scope", "contacts:read"]
                ]
                .concat()
            ),
            ["contacts:read"]
        );
        assert!(scopes(&[&create[..], &["--kind", "publishable"]].concat()).is_empty());
    }
}

//! Trusted documents from files, as build tools write them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use entity::TenantId;
use serde::Deserialize;

use crate::{
    app::App,
    base::{Actor, Cx},
    operation,
    schema::{OperationInput, checked_operations},
};

/// Documents that are written at once.
const AT_ONCE: usize = 100;

#[derive(Subcommand)]
pub(super) enum OperationsCommand {
    /// Trust the documents in these files: .graphql, or the JSON manifest that Relay's compiler (with SHA256) or Apollo's tools write
    Push(Push),
}

#[derive(Args)]
pub(super) struct Push {
    /// The tenant's id, tenant_…
    #[arg(long)]
    tenant: String,
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What manifests look like: Apollo's says its format, Relay's is texts by their hashes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    Apollo { operations: Vec<ApolloOperation> },
    Relay(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct ApolloOperation {
    id: String,
    name: Option<String>,
    body: String,
}

pub(super) async fn push(app: &App, push: Push, out: &mut impl Write) -> anyhow::Result<()> {
    let tenant = TenantId::parse(&push.tenant)
        .with_context(|| format!("{:?} is not a tenant's id", push.tenant))?;
    let cx = Cx::new(Arc::clone(&app.env), tenant, Actor::System);
    if crate::tenant::tenant(&cx.db()).await?.is_none() {
        bail!("there is no tenant {tenant}");
    }
    let mut read = vec![];
    for file in &push.files {
        let found = operations(file).with_context(|| format!("cannot read {}", file.display()))?;
        read.push((file, found));
    }
    for (file, found) in read {
        let mut rest = found.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(AT_ONCE));
            rest = later;
            let new = checked_operations(&app.documents, now.to_vec())
                .await
                .map_err(|error| match error {
                    crate::base::Error::User(error) => anyhow::anyhow!(
                        "{}: {}: {}",
                        file.display(),
                        error.field.unwrap_or_default(),
                        error.message
                    ),
                    error => error.into(),
                })?;
            let rows = cx
                .write(async |tx| operation::push(tx, cx.actor(), new.clone()).await)
                .await?;
            for row in rows {
                writeln!(out, "sha256:{}  {}", row.hash, row.name.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

fn operations(file: &Path) -> anyhow::Result<Vec<OperationInput>> {
    let text = fs::read_to_string(file)?;
    if file.extension().is_none_or(|extension| extension != "json") {
        let name = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        return Ok(vec![OperationInput {
            name,
            text,
            hash: None,
        }]);
    }
    let manifest = serde_json::from_str(&text).context(
        "it is neither Relay's persisted_queries.json nor Apollo's persisted-query-manifest.json",
    )?;
    Ok(match manifest {
        Manifest::Apollo { operations } => operations
            .into_iter()
            .map(|operation| OperationInput {
                name: operation.name,
                text: operation.body,
                hash: Some(operation.id),
            })
            .collect(),
        Manifest::Relay(texts) => texts
            .into_iter()
            .map(|(hash, text)| OperationInput {
                name: None,
                text,
                hash: Some(hash),
            })
            .collect(),
    })
}

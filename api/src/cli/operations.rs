//! Trusted documents from files, as build tools write them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::cx_of;
use crate::{
    app::App,
    base::Error,
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
    let cx = cx_of(app, &push.tenant).await?;
    let mut read = vec![];
    for file in &push.files {
        let found = operations(file).with_context(|| format!("cannot read {}", file.display()))?;
        read.push((file, found));
    }
    // all are checked before any is trusted
    let mut checked = vec![];
    for (file, found) in read {
        for some in found.chunks(AT_ONCE) {
            let new = checked_operations(&app.documents, some.to_vec()).await;
            checked.push(new.map_err(|error| refused(file, error))?);
        }
    }
    for new in checked {
        let rows = cx
            .write(async |tx| operation::push(tx, cx.actor(), new.clone()).await)
            .await?;
        for row in rows {
            writeln!(out, "sha256:{}  {}", row.hash, row.name.unwrap_or_default())?;
        }
    }
    Ok(())
}

fn refused(file: &Path, error: Error) -> anyhow::Error {
    match error {
        Error::User(error) => anyhow::anyhow!(
            "{}: {}: {}",
            file.display(),
            error.field.unwrap_or_default(),
            error.message
        ),
        error => error.into(),
    }
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

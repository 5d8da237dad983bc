//! Where the demo keeps its database and its keys.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::base::Rng;

pub(super) struct Folder {
    path: PathBuf,
    /// Removed with the process.
    _temporary: Option<TempDir>,
}

/// What a later run of the same folder needs. Keys are stored in the database as fingerprints alone.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) secret_key: String,
    pub(super) operator_token: String,
    pub(super) tenant: Option<SavedTenant>,
    /// Whether the scene is set: a demo that was stopped before sets it again.
    #[serde(default)]
    pub(super) complete: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SavedTenant {
    pub(super) id: String,
    pub(super) secret_key: String,
    pub(super) publishable_key: String,
}

impl Folder {
    pub(super) fn open(kept: Option<PathBuf>) -> anyhow::Result<Self> {
        match kept {
            Some(path) => {
                fs::create_dir_all(&path)
                    .with_context(|| format!("the folder {} cannot be made", path.display()))?;
                Ok(Self {
                    path,
                    _temporary: None,
                })
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("growthos-demo-")
                    .tempdir()?;
                Ok(Self {
                    path: temporary.path().to_owned(),
                    _temporary: Some(temporary),
                })
            }
        }
    }

    pub(super) fn database_url(&self) -> String {
        format!("sqlite:{}", self.path.join("growthos.db").display())
    }

    fn keys(&self) -> PathBuf {
        self.path.join("demo.json")
    }

    /// What an earlier run saved, or fresh secrets.
    pub(super) fn load(&self) -> anyhow::Result<Saved> {
        let path = self.keys();
        if path.exists() {
            let text = fs::read_to_string(&path)?;
            return serde_json::from_str(&text)
                .with_context(|| format!("{} is not what a demo wrote", path.display()));
        }
        let secret = || BASE64_URL_SAFE_NO_PAD.encode(Rng::Random.bytes::<32>());
        Ok(Saved {
            secret_key: secret(),
            operator_token: secret(),
            tenant: None,
            complete: false,
        })
    }

    pub(super) fn save(&self, saved: &Saved) -> anyhow::Result<()> {
        write_private(&self.keys(), &serde_json::to_vec_pretty(saved)?)
    }
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(())
}

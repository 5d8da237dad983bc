//! TLS at our own port. The certificate's files may be replaced while the process runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate with its chain and its key, both in PEM files.
    pub(super) fn load(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            config: RwLock::new(Arc::new(config(certificate, key)?)),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Greets one connection, with the certificate as it is now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Reads the files again whenever they change, for ever. What cannot be used is logged, and the certificate before it stays.
    pub(super) async fn follow(&self) {
        let mut known = self.changed_at();
        loop {
            sleep(LOOK_EVERY).await;
            let now = self.changed_at();
            if now == known {
                continue;
            }
            match config(&self.certificate, &self.key) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    tracing::info!("the TLS certificate was read again");
                    known = now;
                }
                // Perhaps one of the two files is still to come: it is tried again.
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the TLS certificate was changed and cannot be used"
                    );
                }
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|file| {
            std::fs::metadata(file)
                .and_then(|file| file.modified())
                .ok()
        })
    }
}

fn config(certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("tls_certificate: {} cannot be read", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("tls_key: {} cannot be read", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls_certificate and tls_key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

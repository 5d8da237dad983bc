//! TLS at the server's own port.

use std::{fs, path::Path, time::Duration};

use api::config::Config;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, ClientBuilder, Version};
use tests::{Kind, Kit, Server};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

/// Writes a new certificate for `localhost` and its key; gives the certificate.
fn certify(folder: &Path) -> anyhow::Result<Certificate> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(folder.join("key.pem"), signing_key.serialize_pem())?;
    fs::write(folder.join("certificate.pem"), cert.pem())?;
    Ok(Certificate::from_pem(cert.pem().as_bytes())?)
}

fn trusting(server: &Server, certificate: &Certificate) -> ClientBuilder {
    Client::builder()
        .tls_certs_only([certificate.clone()])
        .resolve("localhost", server.address)
}

async fn live(server: &Server, client: ClientBuilder) -> anyhow::Result<reqwest::Response> {
    let url = format!("https://localhost:{}/health/live", server.address.port());
    Ok(client.build()?.get(url).send().await?)
}

#[tokio::test]
async fn tls_is_spoken_with_either_http_and_a_new_certificate_is_taken_up() -> anyhow::Result<()> {
    api::app::install_crypto();
    let folder = tempfile::TempDir::new()?;
    let first = certify(folder.path())?;
    let config = Config {
        tls_certificate: Some(folder.path().join("certificate.pem")),
        tls_key: Some(folder.path().join("key.pem")),
        ..Config::default()
    };
    let kit = Kit::with(Kind::Sqlite, config).await?;
    let server = kit.serve().await?;

    let answer = live(&server, trusting(&server, &first)).await?;
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(
        answer.headers()["strict-transport-security"],
        "max-age=31536000"
    );
    let answer = live(&server, trusting(&server, &first).http1_only()).await?;
    assert_eq!(answer.version(), Version::HTTP_11);
    let old = trusting(&server, &first).tls_version_max(reqwest::tls::Version::TLS_1_2);
    assert!(live(&server, old).await?.status().is_success());
    assert!(
        Client::new()
            .get(server.url("/health/live"))
            .send()
            .await
            .is_err(),
        "plain HTTP is no TLS"
    );

    // Half of a new pair fits nothing: the one before it stays.
    fs::write(folder.path().join("certificate.pem"), "no certificate")?;
    sleep(Duration::from_secs(6)).await;
    assert!(live(&server, trusting(&server, &first)).await.is_ok());
    let second = certify(folder.path())?;
    let mut taken_up = false;
    for _ in 0..100 {
        taken_up = live(&server, trusting(&server, &second)).await.is_ok();
        if taken_up {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    assert!(taken_up, "the new certificate is not used");
    assert!(live(&server, trusting(&server, &first)).await.is_err());

    let mut silent = TcpStream::connect(server.address).await?;
    let mut said = vec![];
    let _ = timeout(Duration::from_secs(40), silent.read_to_end(&mut said)).await?;
    assert_eq!(said, b"", "a handshake that never comes is not waited for");
    server.stop().await
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named_at_the_start() -> anyhow::Result<()> {
    api::app::install_crypto();
    let (folder, other) = (tempfile::TempDir::new()?, tempfile::TempDir::new()?);
    certify(folder.path())?;
    certify(other.path())?;
    for (certificate, key, expected) in [
        (
            folder.path().join("nowhere.pem"),
            folder.path().join("key.pem"),
            "tls_certificate: ",
        ),
        (
            folder.path().join("certificate.pem"),
            folder.path().join("certificate.pem"),
            "tls_key: ",
        ),
        (
            folder.path().join("certificate.pem"),
            other.path().join("key.pem"),
            "tls_certificate and tls_key do not fit together",
        ),
    ] {
        let config = Config {
            tls_certificate: Some(certificate),
            tls_key: Some(key),
            ..Config::default()
        };
        let kit = Kit::with(Kind::Sqlite, config).await?;
        let refused = kit.serve().await?.stop().await.unwrap_err();
        assert!(refused.to_string().starts_with(expected), "{refused:#}");
    }
    Ok(())
}

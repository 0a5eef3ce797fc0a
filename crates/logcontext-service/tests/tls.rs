//! A listener that speaks TLS beside one that does not.
#![cfg(feature = "tls")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{on_both, settings, status, tcp};
use logcontext_service::ListenAddress;
use rcgen::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Writes a certificate and its key, and answers the certificate.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("certificate.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// Of a client that trusts this one alone.
async fn ask(
    address: &ListenAddress,
    trusted: &CertificateDer<'static>,
    path: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(tcp(address)).await?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await?;
    Ok(common::exchange(stream, &common::text(&format!("GET {path}"), &[], "")).await)
}

#[test]
fn it_answers_over_tls_and_totals_that_apart() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let settings = || {
        let mut settings = settings();
        let mut tls = settings.service.listeners[0].clone();
        tls.tls_certificate = Some(folder.path().join("certificate.pem"));
        tls.tls_key = Some(folder.path().join("key.pem"));
        settings.service.listeners.push(tls);
        settings
    };
    on_both(settings, async |running| {
        let [plain, tls] = &running.addresses[..] else { panic!("two listeners") };
        assert_eq!(status(&ask(tls, &trusted, "/").await.unwrap()), 200);
        assert_eq!(status(&common::ask(plain, "GET /", &[], "").await), 200);
        // Who does not speak it is not answered, and is in nobody's way.
        let mut stream = TcpStream::connect(tcp(tls)).await.unwrap();
        let mut answer = Vec::new();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert_eq!(status(&ask(tls, &trusted, "/nowhere").await.unwrap()), 404);
        let metrics = running.admin("/metrics").await;
        for (name, expected) in [("http", 1), ("https", 3)] {
            let line = format!(r#"logcontext_connections_started_total{{listener="{name}"}} {expected}"#);
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    });
}

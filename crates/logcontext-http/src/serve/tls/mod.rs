//! TLS: the certificate that listeners show, and how a connection comes by its encryption.

mod error;
mod handshake;
mod pem;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};

pub use error::TlsError;
pub(super) use handshake::drive;

/// HTTP/1 is all that is served.
const PROTOCOL: &[u8] = b"http/1.1";

/// The certificate and the key that a listener shows its clients, for [`ServeOptions::tls`](crate::ServeOptions::tls).
///
/// TLS is rustls's with ring, as rustls recommends it: TLS 1.3 and 1.2, and only what is thought safe. Clients that
/// negotiate a protocol (ALPN) get `http/1.1`.
///
/// Cheap to clone. Clones share the certificate: [`reload`](Self::reload) one, and all listeners that were given one
/// show the new certificate.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use logcontext::{Supervisor, background};
/// use logcontext_http::{ServeOptions, Tls, serve};
/// use std::{fs, sync::Arc, time::Duration};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio_rustls::{TlsConnector, rustls};
///
/// # let directory = tempfile::tempdir()?;
/// # let (certificate_file, key_file) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
/// let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?; // or by an authority
/// fs::write(&certificate_file, made.cert.pem())?;
/// fs::write(&key_file, made.signing_key.serialize_pem())?;
///
/// let tls = Tls::from_pem_files(&certificate_file, &key_file)?;
/// let service = Supervisor::new("presence");
/// let app = Router::new().route("/health", get(|| async { "ok" }));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let options = ServeOptions::default().supervisor(&service).tls(tls.clone());
/// let served = background::run("https", serve(listener, app, options));
///
/// let mut known = rustls::RootCertStore::empty();
/// known.add(made.cert.der().clone())?;
/// # let ring = Arc::new(rustls::crypto::ring::default_provider());
/// # let config = rustls::ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
/// # let config = config.with_root_certificates(known).with_no_client_auth();
/// let stream = tokio::net::TcpStream::connect(address).await?;
/// let mut client = TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream).await?;
/// client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
/// let mut response = String::new();
/// client.read_to_string(&mut response).await?;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
///
/// tls.reload()?; // the files were renewed: connections from now on get the new certificate
/// service.shutdown(Duration::from_secs(5)).await;
/// assert_eq!(served.await.expect("no panic")?.connections, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "ssl")]
#[doc(alias = "tls_certificate_path")]
#[doc(alias = "tls_private_key_path")]
pub struct Tls(Arc<Shared>);

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate and its private key from PEM files. The certificates that lead from it to an authority
    /// follow it in its file. The key is the first that the file has, PKCS#8, PKCS#1 or SEC1, without a password.
    /// Both may be the same file. Blocks the thread while it reads.
    ///
    /// # Errors
    /// [`TlsError`] names the file, and what was expected of it.
    pub fn from_pem_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let current = RwLock::new(Arc::new(load(&certificate, &key)?));
        Ok(Self(Arc::new(Shared { certificate, key, current })))
    }

    /// Reads the files again, at a SIGHUP for one. New connections get the new certificate; those there are stay as
    /// they are. Blocks the thread while it reads.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files). Then the certificate stays the one it was.
    #[doc(alias = "refresh_certificate")]
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(load(&self.0.certificate, &self.0.key)?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.0.certificate)
            .field("key", &self.0.key)
            .finish_non_exhaustive()
    }
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = pem::certificates(certificate)?;
    let private = pem::private_key(key)?;
    // By name: what the process has for a default is nobody's here.
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error, certificate, key))?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| refused(error, certificate, key))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// What rustls says of a certificate or a key, with the file that it is about.
fn refused(error: Error, certificate: &Path, key: &Path) -> TlsError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { certificate: certificate.into(), key: key.into() }
        }
        Error::InvalidCertificate(_) => {
            TlsError::Certificate { file: certificate.into(), reason: error.to_string() }
        }
        error => TlsError::Key { file: key.into(), reason: error.to_string() },
    }
}

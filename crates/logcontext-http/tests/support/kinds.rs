//! Servers and clients of every kind of listener.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use logcontext::Supervisor;
use logcontext::testing::Test;
use logcontext_http::{ServeOptions, Tls};
use rcgen::{CertifiedKey, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Client, Server};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Unix,
    TlsOverTcp,
    TlsOverUnix,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Tcp, Kind::Unix, Kind::TlsOverTcp, Kind::TlsOverUnix];

impl Kind {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::TlsOverTcp | Self::TlsOverUnix)
    }

    pub(crate) fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::TlsOverUnix)
    }
}

/// A certificate in files.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new certificate in `cert.pem` and `key.pem`.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } = certificate();
        std::fs::write(self.path("cert.pem"), cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::from_pem_files(self.path("cert.pem"), self.path("key.pem")).unwrap()
    }
}

pub(crate) fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// A client that knows these certificates, and offers these protocols.
pub(crate) fn connector(known: &[CertificateDer<'static>], protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in known {
        roots.add(certificate.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

pub(crate) async fn encrypt<I>(connector: &TlsConnector, stream: I) -> io::Result<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    connector.connect("localhost".try_into().unwrap(), stream).await
}

/// How a client gets to a server.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    socket: PathBuf,
    is_unix: bool,
    tls: Option<TlsConnector>,
}

impl Door {
    /// Without TLS, whatever the server expects.
    pub(crate) async fn raw(&self) -> Box<dyn Io> {
        if self.is_unix {
            Box::new(UnixStream::connect(&self.socket).await.unwrap())
        } else {
            let stream = TcpStream::connect(self.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Box::new(stream)
        }
    }

    pub(crate) async fn connect(&self) -> Client<Box<dyn Io>> {
        let raw = self.raw().await;
        let stream = match &self.tls {
            Some(tls) => Box::new(encrypt(tls, raw).await.unwrap()),
            None => raw,
        };
        Client { stream }
    }
}

/// A server of this kind, on a socket in this directory if it is one.
pub(crate) async fn start(
    kind: Kind,
    files: &Files,
    test: &Test,
    app: Router,
    options: ServeOptions,
) -> (Server, Door) {
    start_under(kind, files, test.supervisor(), app, options).await
}

pub(crate) async fn start_under(
    kind: Kind,
    files: &Files,
    supervisor: &Supervisor,
    app: Router,
    options: ServeOptions,
) -> (Server, Door) {
    let (options, tls) = if kind.is_tls() {
        let certificate = files.renew();
        (options.tls(files.tls()), Some(connector(&[certificate], &["http/1.1"])))
    } else {
        (options, None)
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    if kind.is_unix() {
        let socket = files.path("test.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let server = Server::start_on(supervisor, listener, nowhere, app, options);
        (server, Door { address: nowhere, socket, is_unix: true, tls })
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::start_on(supervisor, listener, address, app, options);
        (server, Door { address, socket: PathBuf::new(), is_unix: false, tls })
    }
}

/// A client's end of whatever kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Leaves with a reset instead of a goodbye, where there is such a thing.
    fn reset(&self);
}

impl Io for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Io for UnixStream {
    fn reset(&self) {}
}

impl<I: Io> Io for TlsStream<I> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

impl Io for Box<dyn Io> {
    fn reset(&self) {
        self.as_ref().reset();
    }
}

//! Sockets to listen on, bound before anything else is started.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use logcontext_http::{ServeOptions, Served, serve};
use tokio::net::TcpListener;

use super::tls::ListenerTls;
#[cfg(unix)]
use super::unix::UnixSocket;
use crate::error::StartError;
use crate::settings::{ListenAddress, ListenerSettings};

/// A listener that nobody is answered on yet.
pub(crate) struct Bound {
    pub(crate) name: String,
    /// Where it listens really.
    pub(crate) address: ListenAddress,
    socket: Socket,
    pub(super) tls: ListenerTls,
}

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Bound {
    /// # Errors
    /// If the address is in use or not this machine's, or the certificate of no use.
    pub(crate) async fn new(settings: &ListenerSettings) -> Result<Self, StartError> {
        let tls = ListenerTls::load(settings)?;
        let failed = |error| StartError::Listen(settings.address.clone(), error);
        let (socket, address) = match &settings.address {
            ListenAddress::Tcp(address) => {
                let (listener, address) = tcp(*address).await.map_err(failed)?;
                (Socket::Tcp(listener), ListenAddress::Tcp(address))
            }
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let socket = UnixSocket::bind(path).map_err(failed)?;
                (Socket::Unix(socket), settings.address.clone())
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => return Err(failed(io::ErrorKind::Unsupported.into())),
        };
        Ok(Self { name: settings.name().to_owned(), address, socket, tls })
    }

    /// Serves until the supervisor drains, or shuts down if the options say so. A Unix socket's file is gone then.
    pub(super) async fn serve(self, app: Router, options: ServeOptions) -> io::Result<Served> {
        let options = self.tls.apply(options);
        match self.socket {
            Socket::Tcp(listener) => serve(listener, app, options).await,
            #[cfg(unix)]
            Socket::Unix(socket) => {
                let (listener, _file) = socket.into_parts();
                serve(listener, app, options).await
            }
        }
    }
}

async fn tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

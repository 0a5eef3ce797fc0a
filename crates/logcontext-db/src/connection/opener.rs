//! [`Opener`]: what a connection is opened with.

#[cfg(feature = "sqlite")]
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
use logcontext::{FutureExt as _, current_context};
use tokio::runtime::Handle;

#[cfg(feature = "postgres")]
use super::Canceller;
use super::OpenConnections;
use crate::Backend;
use crate::backend::Address;
use crate::settings::Settings;

/// What a connection may be used for. SQLite has one that writes; all others only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    Reader,
}

/// What a connection is opened with.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) address: Address,
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only SQLite's connections differ"))]
    pub(crate) role: Role,
    pub(crate) settings: Arc<Settings>,
    pub(crate) open: Arc<OpenConnections>,
    /// The one in which the database was opened: for what has to be ended where there is none.
    pub(crate) runtime: Handle,
    #[cfg(feature = "postgres")]
    pub(crate) canceller: Arc<Canceller>,
}

impl Opener {
    pub(crate) fn backend(&self) -> Backend {
        self.address.backend()
    }

    /// The runtime of whoever calls this; the database's own for those outside any.
    pub(crate) fn runtime(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime.clone())
    }

    /// Runs it to its end also if nobody waits for it any more: a driver's thread cannot be told to stop opening a
    /// file, and what it opens must be closed.
    #[cfg(feature = "sqlite")]
    pub(super) async fn on_its_own<T, F>(&self, opening: F) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "in the context; and counted, so nobody forgets it")]
        let opening = self.runtime().spawn(opening.following(current_context()));
        opening.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

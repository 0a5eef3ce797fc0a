//! Names that are used once: what figures of two sources are told apart by.

use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use crate::diagnostics::{DiagnosticKind, Report};
use crate::meter;
use crate::supervisor::Supervisor;
use crate::sync::lock;

/// A name that its holder alone has, among all of one kind under one supervisor: see [`Supervisor::claim_name`].
/// Free again when it is dropped.
pub struct ClaimedName {
    supervisor: Supervisor,
    kind: &'static str,
    name: Arc<str>,
}

impl Supervisor {
    /// Claims a name for something of this kind (`cache`, for one), whose figures are told apart by it. If another
    /// has it already, this one is called `name-2`, `name-3`, .., and a diagnostic is raised: dashboards would not
    /// know which is which. `origin` is the line that asked for the name. The idea is Synapse's, which logs that a
    /// metric of the name is registered already, and loses the first.
    ///
    /// ```
    /// use logcontext::{Supervisor, diagnostics::DiagnosticKind};
    /// use std::panic::Location;
    ///
    /// let service = Supervisor::new("presence");
    /// let first = service.claim_name("cache", "profiles", Location::caller());
    /// let second = service.claim_name("cache", "profiles", Location::caller());
    /// assert_eq!((&*first, &*second), ("profiles", "profiles-2"));
    /// assert_eq!(service.diagnostics(DiagnosticKind::NameUsedTwice), 1);
    /// ```
    pub fn claim_name(
        &self,
        kind: &'static str,
        name: &str,
        origin: &'static Location<'static>,
    ) -> ClaimedName {
        let claimed: Arc<str> = {
            let mut names = lock(self.names());
            let free = |name: &str| !names.iter().any(|(k, n)| *k == kind && **n == *name);
            let claimed: Arc<str> = if free(name) {
                name.into()
            } else {
                let numbered = (2_u64..).map(|number| format!("{name}-{number}"));
                numbered.into_iter().find(|name| free(name)).unwrap_or_default().into()
            };
            names.push((kind, Arc::clone(&claimed)));
            claimed
        };
        if *claimed != *name {
            let detail = format!("a second {kind} {name} is called {claimed}");
            let report = Report::new(DiagnosticKind::NameUsedTwice, &meter::current());
            self.faults().take(&report.origin(origin).detail(&detail));
        }
        ClaimedName { supervisor: self.clone(), kind, name: claimed }
    }
}

impl ClaimedName {
    /// The name, to keep.
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }
}

impl Drop for ClaimedName {
    fn drop(&mut self) {
        let mut names = lock(self.supervisor.names());
        if let Some(index) = names.iter().position(|(k, n)| *k == self.kind && **n == *self.name) {
            names.swap_remove(index);
        }
    }
}

impl Deref for ClaimedName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for ClaimedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimedName({})", self.name)
    }
}

//! The request that a context stands for: an explicit, typed attribute.

use std::fmt;
use std::sync::OnceLock;

/// One request, as every log record of its context shows it. Synapse calls it `ContextRequest`.
///
/// ```
/// use logcontext::Request;
///
/// let request = Request::new("GET", "/presence/alice").client("127.0.0.1").user_agent("curl/8");
/// assert!(request.set_user("@alice"));         // known once the handler has authenticated it
/// assert!(!request.set_user("@mallory"));      // once
/// assert_eq!(request.user(), Some("@alice"));
/// assert_eq!(request.method(), "GET");
/// ```
#[derive(Default)]
#[doc(alias = "ContextRequest")]
pub struct Request {
    method: Box<str>,
    path: Box<str>,
    id: Option<Box<str>>,
    client: Option<Box<str>>,
    protocol: Option<Box<str>>,
    user_agent: Option<Box<str>>,
    trace_id: Option<Box<str>>,
    user: OnceLock<Box<str>>,
}

macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: impl Into<Box<str>>) -> Self {
            self.$name = Some($name.into());
            self
        }
    };
}

impl Request {
    /// A request with its method and its path, the path as it may be logged.
    pub fn new(method: impl Into<Box<str>>, path: impl Into<Box<str>>) -> Self {
        Self { method: method.into(), path: path.into(), ..Self::default() }
    }

    attribute!(
        /// The id to find it by; the name of its context if there is none.
        id
    );
    attribute!(
        /// The client's address.
        client
    );
    attribute!(
        /// The protocol and its version, such as `HTTP/1.1`.
        protocol
    );
    attribute!(
        /// What the client calls itself.
        user_agent
    );
    attribute!(
        /// The id of the trace that it belongs to.
        trace_id
    );

    /// Who makes the request, once that is known. Answers whether this was the first to say so; later ones
    /// change nothing.
    #[doc(alias = "requester")]
    #[doc(alias = "authenticated_entity")]
    pub fn set_user(&self, user: impl Into<Box<str>>) -> bool {
        self.user.set(user.into()).is_ok()
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path, as it may be logged.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The id, if it has one of its own.
    pub fn own_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The client's address.
    pub fn client_address(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The protocol and its version.
    pub fn protocol_version(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// What the client calls itself.
    pub fn agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The id of the trace it belongs to.
    pub fn trace(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Who makes the request, if that is known by now.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method, self.path)
    }
}

//! The request that a context stands for: an explicit, typed attribute.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::small_str::SmallStr;
use crate::trace::TraceContext;

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
    parts: RequestParts,
    trace_id: Option<Box<str>>,
    user: OnceLock<Box<str>>,
}

/// What is known of a [`Request`] as it comes in, all at once: for servers, to which each move of it counts.
///
/// ```
/// use logcontext::{Request, RequestParts};
///
/// let known = RequestParts { method: "GET".into(), path: "/presence/alice".into(), ..RequestParts::default() };
/// assert_eq!(Request::from(known).path(), "/presence/alice");
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestParts {
    /// The method, such as `GET`.
    pub method: Cow<'static, str>,
    /// The path, as it may be logged.
    pub path: SmallStr,
    /// See [`Request::id`].
    pub id: Option<Box<str>>,
    /// See [`Request::client`].
    pub client: Option<Arc<str>>,
    /// See [`Request::protocol`].
    pub protocol: Option<Cow<'static, str>>,
    /// See [`Request::user_agent`].
    pub user_agent: Option<Box<str>>,
    /// See [`Request::trace_context`].
    pub trace_context: Option<TraceContext>,
}

impl From<RequestParts> for Request {
    #[inline]
    fn from(parts: RequestParts) -> Self {
        Self { parts, trace_id: None, user: OnceLock::new() }
    }
}

macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        #[inline]
        pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.parts.$name = Some($name.into());
            self
        }
    };
}

impl Request {
    /// A request with its method and its path, the path as it may be logged.
    pub fn new(method: impl Into<Cow<'static, str>>, path: impl Into<SmallStr>) -> Self {
        RequestParts { method: method.into(), path: path.into(), ..RequestParts::default() }.into()
    }

    attribute!(
        /// The id to find it by; the name of its context if there is none.
        id: Box<str>
    );
    attribute!(
        /// The client's address.
        client: Arc<str>
    );
    attribute!(
        /// The protocol and its version, such as `HTTP/1.1`.
        protocol: Cow<'static, str>
    );
    attribute!(
        /// What the client calls itself.
        user_agent: Box<str>
    );
    /// The id of the trace that it belongs to, where nothing more is known of it.
    #[must_use]
    pub fn trace_id(mut self, trace_id: impl Into<Box<str>>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// Its place in the trace that it belongs to: a span of its own there. Calls that are made for it carry the
    /// trace on.
    ///
    /// ```
    /// use logcontext::{Request, TraceContext};
    ///
    /// # fn main() -> Result<(), logcontext::InvalidTraceparent> {
    /// let caller = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?;
    /// let request = Request::new("GET", "/").trace_context(caller.child());
    /// assert_eq!(request.trace(), Some("0af7651916cd43dd8448eb211c80319c"));
    /// assert_ne!(request.span().unwrap().span_id(), caller.span_id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[inline]
    pub fn trace_context(mut self, span: TraceContext) -> Self {
        self.parts.trace_context = Some(span);
        self
    }

    /// Who makes the request, once that is known. Answers whether this was the first to say so; later ones
    /// change nothing.
    #[doc(alias = "requester")]
    #[doc(alias = "authenticated_entity")]
    pub fn set_user(&self, user: impl Into<Box<str>>) -> bool {
        self.user.set(user.into()).is_ok()
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.parts.method
    }

    /// The path, as it may be logged.
    pub fn path(&self) -> &str {
        &self.parts.path
    }

    /// The id, if it has one of its own.
    pub fn own_id(&self) -> Option<&str> {
        self.parts.id.as_deref()
    }

    /// The client's address.
    pub fn client_address(&self) -> Option<&str> {
        self.parts.client.as_deref()
    }

    /// The protocol and its version.
    pub fn protocol_version(&self) -> Option<&str> {
        self.parts.protocol.as_deref()
    }

    /// What the client calls itself.
    pub fn agent(&self) -> Option<&str> {
        self.parts.user_agent.as_deref()
    }

    /// The id of the trace it belongs to.
    pub fn trace(&self) -> Option<&str> {
        self.parts.trace_context.as_ref().map(TraceContext::trace_id).or(self.trace_id.as_deref())
    }

    /// Its own span in the trace it belongs to.
    pub fn span(&self) -> Option<&TraceContext> {
        self.parts.trace_context.as_ref()
    }

    /// Who makes the request, if that is known by now.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method(), self.path())
    }
}

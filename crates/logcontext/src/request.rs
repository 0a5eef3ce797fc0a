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
    method: Cow<'static, str>,
    path: SmallStr,
    id: Option<Box<str>>,
    client: Option<Arc<str>>,
    protocol: Option<Cow<'static, str>>,
    user_agent: Option<Box<str>>,
    trace_id: Option<Box<str>>,
    span: Option<TraceContext>,
    user: OnceLock<Box<str>>,
}

macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        #[inline]
        pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.$name = Some($name.into());
            self
        }
    };
}

impl Request {
    /// A request with its method and its path, the path as it may be logged.
    pub fn new(method: impl Into<Cow<'static, str>>, path: impl Into<SmallStr>) -> Self {
        Self { method: method.into(), path: path.into(), ..Self::default() }
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
    attribute!(
        /// The id of the trace that it belongs to, where nothing more is known of it.
        trace_id: Box<str>
    );

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
        self.span = Some(span);
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
        self.span.as_ref().map(TraceContext::trace_id).or(self.trace_id.as_deref())
    }

    /// Its own span in the trace it belongs to.
    pub fn span(&self) -> Option<&TraceContext> {
        self.span.as_ref()
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

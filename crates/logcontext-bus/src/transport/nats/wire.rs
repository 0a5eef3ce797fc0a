//! One connection to the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use async_nats::ReconnectToServer;
use async_nats::{
    Client, ConnectOptions, HeaderMap, Message, Request, RequestErrorKind, ServerAddr, Subscriber,
};
use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::shared::Shared;
use super::url::{Login, Server};

/// So long it may take to connect.
const CONNECTING: Duration = Duration::from_secs(10);

/// A broker that has not answered for so long is given up.
const ANSWERING: Duration = Duration::from_secs(15);

/// So often a line is tried that is silent; after two that were not answered it is given up.
const PING: Duration = Duration::from_secs(5);

/// So long it may take to say goodbye.
const LEAVING: Duration = Duration::from_secs(1);

/// Nobody listens there.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// A connection. When it is lost it is over, with all that waited for an answer: nothing is sent again behind anybody's
/// back. Who wants another opens one.
pub(super) struct Wire {
    client: Client,
    /// Told when it is lost
    gone: CancellationToken,
    /// The stream of what is kept by name is known to be there.
    pub(super) has_kept: AtomicBool,
}

/// What is asked of the broker, as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) subject: String,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn open(shared: &Shared, server: &Server) -> Result<Self, Arc<str>> {
        let gone = CancellationToken::new();
        // They are dropped with the last of the client's tasks: whoever is told finds it counted no more.
        let held = (Counted::new(&shared.connections), gone.clone().drop_guard());
        let options = options(shared, server).event_callback(move |_| {
            let _ = &held;
            std::future::ready(())
        });
        let nowhere: ServerAddr = NOWHERE.parse().map_err(|_| "no address to fail at")?;
        let connecting = options.connect(vec![server.address.clone(), nowhere]);
        match timeout(CONNECTING, connecting).await {
            Ok(Ok(client)) => Ok(Self { client, gone, has_kept: AtomicBool::new(false) }),
            Ok(Err(error)) => Err(format!("{}: {error}", server.shown).into()),
            Err(_) => Err(format!("{}: no connection within {CONNECTING:?}", server.shown).into()),
        }
    }

    /// Completes when it is lost.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Message, Failure> {
        let request = Request {
            payload: Some(ask.payload.clone()),
            headers: ask.headers.clone(),
            timeout: Some(Some(ANSWERING)),
            inbox: None,
        };
        let error = match self.client.send_request(ask.subject.clone(), request).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error.kind(),
        };
        Err(match error {
            RequestErrorKind::NoResponders => Failure::Nobody,
            RequestErrorKind::MaxPayloadExceeded => {
                let limit = self.client.max_payload();
                Failure::Refused(format!(
                    "it takes no message of more than {limit} bytes: see its `max_payload`"
                ))
            }
            RequestErrorKind::InvalidSubject => Failure::Refused("a subject that cannot be".to_owned()),
            RequestErrorKind::TimedOut => Failure::Lost(format!("no answer within {ANSWERING:?}").into()),
            RequestErrorKind::Other => self.lost().await,
        })
    }

    /// Its end has begun: who tries again at once is to find that it is over.
    async fn lost(&self) -> Failure {
        let _ = timeout(LEAVING, self.gone()).await;
        Failure::gone()
    }

    /// Sends it, with nobody to say whether it came.
    pub(super) async fn tell(&self, subject: String, payload: impl Into<Bytes>) -> Result<(), Failure> {
        match self.client.publish(subject, payload.into()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.lost().await),
        }
    }

    /// The same, with where an answer would go.
    pub(super) async fn tell_and_hear(
        &self,
        subject: String,
        reply: String,
        payload: impl Into<Bytes>,
    ) -> Result<(), Failure> {
        use async_nats::PublishErrorKind::MaxPayloadExceeded;
        match self.client.publish_with_reply(subject, reply, payload.into()).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == MaxPayloadExceeded => Err(Failure::Refused(error.to_string())),
            Err(_) => Err(self.lost().await),
        }
    }

    /// Hears of what is published there.
    pub(super) async fn hear(&self, subject: String) -> Result<Subscriber, Failure> {
        match self.client.subscribe(subject).await {
            Ok(heard) => Ok(heard),
            Err(_) => Err(self.lost().await),
        }
    }

    /// The same, where one of all that hear it is enough.
    pub(super) async fn hear_as_one(&self, subject: String) -> Result<Subscriber, Failure> {
        match self.client.queue_subscribe(subject, "one".to_owned()).await {
            Ok(heard) => Ok(heard),
            Err(_) => Err(self.lost().await),
        }
    }

    /// Ends it, whoever still has a hold on it.
    pub(super) async fn close(&self) {
        let leave = async {
            let _ = self.client.drain().await;
            self.gone().await;
        };
        let _ = timeout(LEAVING, leave).await;
    }
}

fn options(shared: &Shared, server: &Server) -> ConnectOptions {
    let options = match &shared.address.login {
        Login::None => ConnectOptions::new(),
        Login::Token(token) => ConnectOptions::with_token(token.clone()),
        Login::Password { user, password } => {
            ConnectOptions::with_user_and_password(user.clone(), password.clone())
        }
    };
    // The client's own way to connect again would send what somebody was told to be lost: after the first time it is sent
    // nowhere, and gives up.
    let (first, is_first) = (server.address.clone(), AtomicBool::new(true));
    let select = move |(pool, _): (Vec<async_nats::Server>, _)| {
        let nowhere = pool.into_iter().map(|server| server.addr).find(|address| *address != first);
        let address = if is_first.swap(false, SeqCst) { Some(first.clone()) } else { nowhere };
        std::future::ready(address.map(|addr| ReconnectToServer { addr, delay: Some(Duration::ZERO) }))
    };
    options
        .name(&*shared.identity)
        .custom_inbox_prefix(shared.names.own(&shared.identity, "inbox"))
        .connection_timeout(CONNECTING)
        .ping_interval(PING)
        .request_timeout(None)
        .ignore_discovered_servers()
        .max_reconnects(1)
        .reconnect_to_server_callback(move |pool, info| select((pool, info)))
}

/// One connection that is open.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

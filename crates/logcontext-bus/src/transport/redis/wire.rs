//! One connection to the broker.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, Pipeline, ProtocolVersion, PushInfo, RedisError, Value, cmd,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::scripts;
use super::shared::Shared;
use super::value;

/// So long it may take to connect.
const CONNECTING: Duration = Duration::from_secs(10);

/// A broker that has not answered for so long is given up, beyond what it was asked to wait: the line may be dead without
/// anybody having told so.
const ANSWERING: Duration = Duration::from_secs(15);

/// What comes without having been asked for.
pub(super) type Pushes = Box<dyn Fn(PushInfo) + Send + Sync>;

/// A connection whose driver runs within whoever asks: it has no task of its own, and goes with its owner.
pub(super) struct Wire {
    connection: MultiplexedConnection,
    driver: Driver,
    /// What the broker calls it
    pub(super) id: i64,
    _counted: Counted,
}

impl Wire {
    /// Connects, with all scripts loaded.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn open(shared: &Shared, pushes: Option<Pushes>) -> Result<Self, Arc<str>> {
        let opening = timeout(CONNECTING, Self::handshake(shared, pushes));
        opening.await.unwrap_or_else(|_| Err(format!("no connection within {CONNECTING:?}").into()))
    }

    async fn handshake(shared: &Shared, pushes: Option<Pushes>) -> Result<Self, Arc<str>> {
        let ConnectionAddr::Tcp(host, port) = shared.address.addr() else {
            return Err("not a TCP address".into());
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // An answer can take as long as a blocking read: how long is watched over below.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut settings = shared.address.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        if let Some(pushes) = pushes {
            settings = settings.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(move |info| {
                pushes(info);
                Ok::<_, ()>(())
            });
        }
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config).await.map_err(|e| why(&e))?;
        let mut wire = Self {
            connection,
            driver: Driver(Some(Box::pin(driver))),
            id: 0,
            _counted: Counted::new(&shared.connections),
        };
        let mut hello = Pipeline::with_capacity(scripts::TEXTS.len() + 2);
        hello.cmd("CLIENT").arg("SETNAME").arg(&*shared.identity);
        hello.cmd("CLIENT").arg("ID");
        for text in scripts::TEXTS {
            hello.cmd("SCRIPT").arg("LOAD").arg(text);
        }
        let answers = wire.ask(&hello, Duration::ZERO).await?;
        if let Some(Value::ServerError(error)) =
            answers.iter().skip(1).find(|answer| matches!(answer, Value::ServerError(_)))
        {
            return Err(error.to_string().into());
        }
        wire.id = answers.get(1).and_then(value::integer).unwrap_or_default();
        Ok(wire)
    }

    /// Sends these commands and waits for all answers, of which each may be an error by itself. `blocking` is how long they
    /// ask the broker to wait.
    ///
    /// # Errors
    /// Why the connection is of no use any more.
    pub(super) async fn ask(
        &mut self,
        commands: &Pipeline,
        blocking: Duration,
    ) -> Result<Vec<Value>, Arc<str>> {
        let Self { connection, driver, .. } = self;
        let count = commands.len();
        drive(driver, connection.send_packed_commands(commands, 0, count), blocking).await
    }

    /// The same for one.
    pub(super) async fn ask_one(&mut self, command: &Cmd, blocking: Duration) -> Result<Value, Arc<str>> {
        let Self { connection, driver, .. } = self;
        drive(driver, connection.send_packed_command(command), blocking).await
    }

    /// Hears of what is published there.
    pub(super) async fn subscribe(&mut self, channels: &[String]) -> Result<(), Arc<str>> {
        let Self { connection, driver, .. } = self;
        drive(driver, connection.subscribe(channels), Duration::ZERO).await
    }

    /// Completes when it is lost; takes what comes meanwhile.
    pub(super) async fn lost(&mut self) -> Arc<str> {
        poll_fn(|cx| self.driver.poll(cx)).await;
        "the broker has closed it".into()
    }
}

/// Reads and writes, until the connection is over.
struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(driver) = &mut self.0 {
            if driver.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.0 = None;
        }
        Poll::Ready(())
    }
}

/// What `asked` comes to, with the connection's driver driven meanwhile.
async fn drive<T>(
    driver: &mut Driver,
    asked: impl Future<Output = Result<T, RedisError>>,
    blocking: Duration,
) -> Result<T, Arc<str>> {
    let mut asked = pin!(asked);
    let both = poll_fn(|cx| {
        if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        let over = driver.poll(cx).is_ready();
        // It may just have brought the answer, or the error that has ended it.
        match asked.as_mut().poll(cx) {
            Poll::Pending if over => {
                Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()))
            }
            answer => answer,
        }
    });
    match timeout(blocking + ANSWERING, both).await {
        Ok(answer) => answer.map_err(|error| why(&error)),
        Err(_) => Err(format!("no answer within {:?}", blocking + ANSWERING).into()),
    }
}

/// On one line, as it may be shown.
fn why(error: &RedisError) -> Arc<str> {
    error.to_string().into()
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

/// Has the broker end a blocking read of that connection.
pub(super) fn unblock(id: i64) -> Cmd {
    let mut command = cmd("CLIENT");
    command.arg("UNBLOCK").arg(id);
    command
}

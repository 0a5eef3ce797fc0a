//! The end: in order, by the deadline, and whatever is left is told.

mod common;

use std::time::Duration;

use common::{Running, on_both, settings, status};
use logcontext_service::{ListenAddress, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn patient(deadline: Duration) -> impl Fn() -> Settings<common::Greeter> {
    move || {
        let mut settings = settings();
        settings.service.shutdown.deadline = deadline.into();
        settings
    }
}

async fn connect(running: &Running<'_>) -> TcpStream {
    TcpStream::connect(common::tcp(running.address())).await.unwrap()
}

#[test]
fn requests_end_then_background_work_then_the_datastore() {
    let ended = on_both(patient(common::PATIENCE), async |running| {
        let slow = running.get("/slow");
        let memory = &running.memory;
        let ending = async {
            memory.gates.arrived.notified().await;
            running.stop();
            // It takes no more connections, and has not told the background work to end.
            while TcpStream::connect(common::tcp(running.address())).await.is_ok() {}
            assert!(memory.happened().is_empty());
            memory.gates.go_on.notify_one();
        };
        let (answer, ()) = tokio::join!(slow, ending);
        assert_eq!(status(&answer), 200);
    });
    for ended in ended {
        assert!(ended.stopped.is_clean(), "{:?}", ended.stopped);
        assert_eq!(ended.happened, ["request", "background", "server closed", "closed"]);
    }
}

#[test]
fn idle_connections_and_streams_are_ended_at_once() {
    let ended = on_both(patient(Duration::from_secs(3600)), async |running| {
        let mut idle = connect(running).await;
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut stream = BufReader::new(connect(running).await);
        stream.write_all(common::text("GET /stream", &[], "").as_bytes()).await.unwrap();
        let mut line = String::new();
        while !line.contains("data: on") {
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
        }
        running.stop();
        let (mut rest, mut all) = (String::new(), String::new());
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut: {rest:?}");
        idle.read_to_string(&mut all).await.unwrap();
        assert!(all.ends_with("hello"), "{all}");
    });
    assert!(ended.iter().all(|ended| ended.stopped.is_clean()));
}

#[test]
fn what_does_not_end_is_cut_off_at_the_deadline_and_told() {
    let ended = on_both(patient(Duration::from_millis(200)), async |running| {
        let endless = running.get("/endless");
        let ending = async {
            running.memory.gates.arrived.notified().await;
            running.stop();
        };
        let (answer, ()) = tokio::join!(endless, ending);
        assert_eq!(answer, "");
    });
    for ended in ended {
        assert_eq!((ended.stopped.cut, ended.stopped.left_open), (1, 0));
        assert!(!ended.stopped.is_clean());
        assert_eq!(ended.happened.last(), Some(&"closed"));
    }
}

#[test]
fn background_work_that_does_not_end_is_aborted_and_named_in_the_shutdowns_context() {
    let settings = || {
        let mut settings = patient(Duration::from_millis(200))();
        settings.server.stubborn = true;
        settings
    };
    for ended in on_both(settings, async |_| {}) {
        let aborted: Vec<_> = ended.stopped.aborted.iter().map(|running| &*running.name).collect();
        assert_eq!(aborted, ["stubborn"]);
        let told = ended.test.records_at(tracing::Level::WARN);
        assert!(told.iter().all(|record| record.context.name() == "shutdown"), "{told:#?}");
        assert_eq!(told.len(), 2, "{told:#?}");
    }
}

#[test]
fn connections_that_the_datastore_cannot_close_are_told() {
    let settings = || {
        let mut settings = settings();
        settings.database.left_open = 2;
        settings
    };
    for ended in on_both(settings, async |_| {}) {
        assert_eq!(ended.stopped.left_open, 2);
        assert!(!ended.stopped.is_clean());
    }
}

#[test]
fn a_storm_of_clients_a_third_of_which_leave_ends_cleanly_on_every_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.sock");
    let settings = || {
        let mut settings = settings();
        settings.service.listeners.push(common::unix(&path));
        settings
    };
    let ended = on_both(settings, async |running| {
        let clients = (0..300).map(|n| {
            let address = &running.addresses[n % running.addresses.len()];
            async move {
                let paths = ["/", "/panic", "/nowhere", "/stream", "/slow"];
                let text = common::text(&format!("GET {}", paths[n % paths.len()]), &[], "");
                let leaves = n % 3 == 0 || matches!(n % paths.len(), 3 | 4);
                match address {
                    ListenAddress::Tcp(address) => {
                        visit(TcpStream::connect(address).await.unwrap(), &text, leaves).await;
                    }
                    ListenAddress::Unix(path) => {
                        visit(tokio::net::UnixStream::connect(path).await.unwrap(), &text, leaves).await;
                    }
                }
            }
        });
        futures_util::future::join_all(clients).await;
    });
    for ended in ended {
        assert!(ended.stopped.is_clean(), "{:?}", ended.stopped);
        // The panics are told, and nothing else is.
        let errors = ended.test.records_at(tracing::Level::ERROR);
        assert!(errors.iter().all(|error| error.message.contains("planned")), "{errors:#?}");
    }
    assert!(!path.exists());
}

/// Leaves without a look at the answer, or reads it.
async fn visit(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    text: &str,
    leaves: bool,
) {
    if leaves {
        stream.write_all(text.as_bytes()).await.unwrap();
    } else {
        assert!(common::exchange(stream, text).await.starts_with("HTTP/1.1 "));
    }
}

#[test]
fn a_part_that_cannot_go_on_ends_the_service_in_order_and_says_why() {
    let ended = on_both(patient(common::PATIENCE), async |running| {
        let supervisor = running.test.supervisor();
        let listener = supervisor.context("listener").start();
        listener.scope(|| supervisor.ask_to_shut_down("the listener `sender` has failed"));
        listener.finish();
        supervisor.draining().await;
    });
    for ended in ended {
        assert!(ended.stopped.is_clean(), "{:?}", ended.stopped);
        assert_eq!(ended.stopped.asked.as_deref(), Some("the listener `sender` has failed"));
        assert_eq!(ended.happened, ["background", "server closed", "closed"]);
    }
}

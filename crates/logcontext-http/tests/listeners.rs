//! Listeners of every kind: what requests and their access lines know of them, and when they end.

#![cfg(all(unix, feature = "axum", feature = "tls"))]

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use logcontext::{ContextKind, Supervisor, background, run_in_background, testing};
use logcontext_http::{ConnectionInfo, ContextLayer, ServeOptions, serve, server_timing, upgraded};
use serde_json::Value;
use support::kinds::{Files, KINDS, Kind, start, start_under};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tracing::Level;

fn app() -> Router {
    Router::new().route("/", get(|| async { "ok" })).layer(ContextLayer::new())
}

#[test]
fn a_handler_sees_what_kind_of_connection_it_has() {
    let test = testing::start();
    let what = |Extension(info): Extension<ConnectionInfo>| async move {
        let peer = info.peer().map(|peer| peer.ip().to_string());
        format!("{peer:?} {} {} {}", info.local().is_some(), info.is_unix(), info.is_tls())
    };
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let router = Router::new().route("/", get(what));
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, router, ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("GET /", "connection: close\r\n").await;
                let peer = if kind.is_unix() { None } else { Some("127.0.0.1") };
                let expected = format!("{peer:?} {} {} {}", !kind.is_unix(), kind.is_unix(), kind.is_tls());
                let response = client.rest().await;
                assert!(response.ends_with(&format!("\r\n\r\n{expected}")), "{kind:?}: {response}");
            });
        }
    }
}

#[test]
fn connections_of_every_kind_have_contexts_that_end_well() {
    let test = testing::start();
    for (at, runtime) in runtimes(&test).into_iter().enumerate() {
        for kind in KINDS {
            let name = format!("{kind:?}-{at}");
            runtime.block_on(async {
                let files = Files::new();
                let options = ServeOptions::default().name(&*name);
                let (_server, door) = start(kind, &files, &test, app(), options).await;
                let mut client = door.connect().await;
                for _ in 0..3 {
                    client.send("GET /", "").await;
                    client.until("ok").await;
                }
                // Closed between two requests: that is an end like any other, with a goodbye or without.
                drop(client);
                while totals(&test, ContextKind::Connection, &name).in_flight > 0 {
                    tokio::task::yield_now().await;
                }
            });
            let connections = totals(&test, ContextKind::Connection, &name);
            assert_eq!((connections.started, connections.ok), (1, 1), "{connections:#?}");
        }
    }
}

#[test]
fn an_access_line_calls_a_unix_client_unix_and_its_listener_by_tag_or_socket() {
    let test = testing::start();
    for tag in [None, Some("admin")] {
        let layer = tag.map_or_else(ContextLayer::new, |tag| ContextLayer::new().listener_tag(tag));
        let router = Router::new().route("/", get(|| async { "ok" })).layer(layer);
        runtime(&test).block_on(async {
            let files = Files::new();
            let (_server, door) = start(Kind::Unix, &files, &test, router, ServeOptions::default()).await;
            let mut client = door.connect().await;
            client.send("GET /", "connection: close\r\n").await;
            assert!(client.rest().await.ends_with("ok"));
        });
        let line = access_lines(&test).pop().unwrap();
        let listener = tag.unwrap_or("test.sock");
        assert!(line.message.starts_with(&format!("unix - {listener} - {{-}} ")), "{}", line.message);
        assert_eq!(line.field("listener"), Some(listener));
        assert_eq!(line.context.request().unwrap().client_address(), Some("unix"));
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged, in this format, of a request to a socket with a name that nobody should give it.
fn log_of_a_unix_request(json: bool) -> String {
    let kept = Kept::default();
    let builder = logcontext_tracing::builder().panic_hook(false).writer(kept.clone());
    let (dispatch, guard) = if json { builder.json() } else { builder.text() }.build().unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        let supervisor = Supervisor::new("unix");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let files = Files::new();
            let socket = files.path("my \"socket\"\n");
            let listener = UnixListener::bind(&socket).unwrap();
            let app = Router::new()
                .route("/", get(|| async { "ok" }))
                .layer(ContextLayer::new().supervisor(&supervisor));
            let options = ServeOptions::default().supervisor(&supervisor);
            let served = background::run("serve", serve(listener, app, options));
            let mut client = Client { stream: UnixStream::connect(&socket).await.unwrap() };
            client.send("GET /", "connection: close\r\n").await;
            assert!(client.rest().await.ends_with("ok"));
            supervisor.shutdown(DEADLINE).await;
            served.await.unwrap().unwrap();
        });
    });
    assert!(guard.flush());
    let log = kept.0.lock().unwrap().clone();
    String::from_utf8(log).unwrap()
}

#[test]
fn a_sockets_name_breaks_no_line_of_text() {
    let log = log_of_a_unix_request(false);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("Processed request")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    assert!(line.contains(r#"unix - my\ "socket"\n - {-} "#), "{line}");
}

#[test]
fn a_sockets_name_breaks_no_line_of_json() {
    let log = log_of_a_unix_request(true);
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = records.iter().find(|record| record["message"] == "Processed request").expect(&log);
    assert_eq!(line["client_address"], "unix");
    assert_eq!(line["listener"], r#"my\ "socket"\n"#);
}

#[test]
fn unix_clients_are_on_the_same_machine() {
    let test = testing::start();
    let layer = ContextLayer::new().server_timing(server_timing::loopback_clients);
    let router = Router::new().route("/", get(|| async { "ok" })).layer(layer);
    runtime(&test).block_on(async {
        let files = Files::new();
        let (_server, door) = start(Kind::Unix, &files, &test, router, ServeOptions::default()).await;
        let mut client = door.connect().await;
        client.send("GET /", "connection: close\r\n").await;
        assert!(client.rest().await.contains("\r\nserver-timing: "));
    });
}

#[test]
fn who_finds_no_place_waits_until_somebody_leaves_whatever_the_kind() {
    let test = testing::start();
    for (at, runtime) in runtimes(&test).into_iter().enumerate() {
        for kind in KINDS {
            let name = format!("{kind:?}-{at}");
            runtime.block_on(async {
                let files = Files::new();
                let options = ServeOptions::default().name(&*name).max_connections(1);
                let (_server, door) = start(kind, &files, &test, app(), options).await;
                // Has said nothing yet: a handshake that is under way has a place as well.
                let first = door.raw().await;
                let started = || {
                    let all = test.supervisor().totals();
                    let label = |totals: &&logcontext::LabelTotals| {
                        totals.kind == ContextKind::Connection && totals.label.as_deref() == Some(&*name)
                    };
                    all.iter().find(label).map_or(0, |totals| totals.started)
                };
                while started() == 0 {
                    tokio::task::yield_now().await;
                }
                let second = async {
                    let mut second = door.connect().await;
                    second.send("GET /", "connection: close\r\n").await;
                    second.rest().await
                };
                let mut second = std::pin::pin!(second);
                tokio::select! {
                    biased;
                    answer = &mut second => panic!("{kind:?}: two at a time: {answer}"),
                    () = async { for _ in 0..1_000 { tokio::task::yield_now().await } } => {}
                }
                assert_eq!(started(), 1, "{kind:?}");
                drop(first);
                assert!(second.await.ends_with("ok"));
            });
        }
    }
}

#[test]
fn what_serves_while_draining_ends_at_the_shutdown() {
    let test = testing::start();
    for (at, runtime) in runtimes(&test).into_iter().enumerate() {
        runtime.block_on(async {
            let supervisor = Supervisor::new("draining");
            let files = Files::new();
            let listen = |name: &str| UnixListener::bind(files.path(name)).unwrap();
            let (public, admin) = (listen("public.sock"), listen("admin.sock"));
            let options = || ServeOptions::default().supervisor(&supervisor);
            let public = background::run("public", serve(public, app(), options()));
            let admin = background::run("admin", serve(admin, app(), options().while_draining()));
            supervisor.drain();
            assert_eq!(public.await.unwrap().unwrap().connections, 0, "{at}");
            let mut client = Client { stream: UnixStream::connect(files.path("admin.sock")).await.unwrap() };
            client.send("GET /", "").await;
            client.until("ok").await;
            supervisor.shutdown(DEADLINE).await;
            assert_eq!(client.rest().await, "");
            assert_eq!(admin.await.unwrap().unwrap().connections, 1);
        });
    }
}

#[test]
fn a_shutdown_ends_connections_of_every_kind_in_order() {
    let test = testing::start();
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let supervisor = Supervisor::new("shutdown");
                let (asked, go) =
                    (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
                let wait = {
                    let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
                    move || async move {
                        asked.notify_one();
                        go.notified().await;
                        "done"
                    }
                };
                let layer = ContextLayer::new().supervisor(&supervisor);
                let router =
                    Router::new().route("/", get(|| async { "ok" })).route("/wait", get(wait)).layer(layer);
                let files = Files::new();
                let options = ServeOptions::default();
                let (server, door) = start_under(kind, &files, &supervisor, router, options).await;
                let silent = door.raw().await;
                let mut idle = door.connect().await;
                idle.send("GET /", "").await;
                idle.until("ok").await;
                let mut busy = door.connect().await;
                busy.send("GET /wait", "").await;
                asked.notified().await;
                let told = supervisor.draining();
                let stopping = supervisor.clone();
                let shutdown = background::run("stop", async move {
                    assert!(stopping.shutdown(DEADLINE).await.aborted.is_empty());
                });
                told.await;
                // Neither waits for the one that is busy.
                assert_eq!((idle.rest().await, Client { stream: silent }.rest().await), Default::default());
                go.notify_one();
                assert!(busy.rest().await.ends_with("\r\n\r\ndone"));
                shutdown.await.unwrap();
                let served = server.served.await.unwrap().unwrap();
                assert_eq!((served.connections, served.aborted), (3, 0), "{kind:?}");
            });
        }
    }
    assert!(test.records_at(Level::WARN).is_empty());
}

#[test]
fn what_is_wrong_with_clients_of_every_kind_is_no_more_than_a_debug_line_of_their_connection() {
    let test = testing::start();
    for (at, runtime) in runtimes(&test).into_iter().enumerate() {
        for kind in KINDS {
            let name = format!("{kind:?}-{at}");
            runtime.block_on(async {
                let files = Files::new();
                let options = ServeOptions::default().name(&*name);
                let (_server, door) = start(kind, &files, &test, app(), options).await;
                let mut nonsense = door.connect().await;
                nonsense.stream.write_all(b"\x16\x03\x01 what\r\n\r\n").await.unwrap();
                assert!(nonsense.rest().await.starts_with("HTTP/1.1 400"));
                while totals(&test, ContextKind::Connection, &name).in_flight > 0 {
                    tokio::task::yield_now().await;
                }
            });
            let connections = totals(&test, ContextKind::Connection, &name);
            assert_eq!((connections.started, connections.failed), (1, 1), "{connections:#?}");
        }
    }
    let broken: Vec<_> =
        test.records().into_iter().filter(|record| record.target == "logcontext::http").collect();
    assert_eq!(broken.len(), 8, "{broken:#?}");
    for record in broken {
        assert_eq!((record.level, record.context.kind()), (Level::DEBUG, ContextKind::Connection));
    }
}

#[test]
fn connections_of_every_kind_can_be_upgraded() {
    let test = testing::start();
    let greet = |mut request: Request| async move {
        let serve = upgraded(|connection: Upgraded| async move {
            let mut socket = TokioIo::new(connection);
            let byte = socket.read_u8().await?;
            socket.write_all(&[byte, b'!']).await?;
            socket.shutdown().await
        });
        let upgrade = hyper::upgrade::on(&mut request);
        run_in_background(async move {
            if let Ok(connection) = upgrade.await {
                serve(connection).await;
            }
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "greeting")])
    };
    for runtime in runtimes(&test) {
        for kind in KINDS {
            runtime.block_on(async {
                let router = Router::new().route("/", get(greet)).layer(ContextLayer::new());
                let files = Files::new();
                let (_server, door) = start(kind, &files, &test, router, ServeOptions::default()).await;
                let mut client = door.connect().await;
                client.send("GET /", "connection: upgrade\r\nupgrade: greeting\r\n").await;
                assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
                client.stream.write_all(b"x").await.unwrap();
                assert_eq!(client.rest().await, "x!", "{kind:?}");
            });
        }
    }
}

//! TLS: the handshake, what may go wrong with it, and the certificate's renewal.

#![cfg(all(unix, feature = "axum", feature = "tls"))]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, LabelTotals, Supervisor};
use logcontext_http::{ContextLayer, ServeOptions, Tls};
use support::kinds::{Door, Files, Kind, certificate, connector, encrypt, start, start_under};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use tracing::Level;

const TLS: [Kind; 2] = [Kind::TlsOverTcp, Kind::TlsOverUnix];

fn app() -> Router {
    Router::new().route("/", get(|| async { "ok" })).layer(ContextLayer::new())
}

/// For each runtime and kind of TLS, with a name of its own for the listener.
fn each(test: &Test, mut run: impl FnMut(&Runtime, Kind, &str)) {
    for (at, runtime) in runtimes(test).iter().enumerate() {
        for kind in TLS {
            run(runtime, kind, &format!("{kind:?}-{at}"));
        }
    }
}

fn connections(test: &Test, name: &str) -> LabelTotals {
    totals(test, ContextKind::Connection, name)
}

/// Waits until there have been so many connections, and none is left.
async fn all_gone(test: &Test, name: &str, connections: u64) -> LabelTotals {
    loop {
        let totals = test.supervisor().totals();
        let found = totals
            .into_iter()
            .find(|totals| totals.kind == ContextKind::Connection && totals.label.as_deref() == Some(name));
        match found {
            Some(totals) if totals.started == connections && totals.in_flight == 0 => return totals,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// A `ClientHello` as a client would send it, that knows this certificate.
fn client_hello() -> Vec<u8> {
    let connector = connector(&[certificate().cert.der().clone()], &["http/1.1"]);
    let config: Arc<ClientConfig> = Arc::clone(connector.config());
    let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

async fn asks(client: &mut Client<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>) {
    client.send("GET /", "").await;
    client.until("ok").await;
}

/// The failed handshakes that were logged: at debug level, in the context of their connection.
#[track_caller]
fn failed_handshakes(test: &Test) -> Vec<String> {
    let records = test.records().into_iter().filter(|record| record.message == "TLS handshake failed");
    let errors = records.map(|record| {
        assert_eq!((record.level, record.context.kind()), (Level::DEBUG, ContextKind::Connection));
        assert_eq!(record.target, "logcontext::http");
        record.field("error").unwrap().to_owned()
    });
    errors.collect()
}

#[test]
fn what_is_no_handshake_fails_in_its_connections_context_and_disturbs_nobody() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let options = ServeOptions::default().name(name);
            let (_server, door) = start(kind, &files, &test, app(), options).await;
            let mut other = door.connect().await;
            let mut garbage = Client { stream: door.raw().await };
            garbage.send("GET /", "").await;
            let mut alert = Vec::new();
            let _ = garbage.stream.read_to_end(&mut alert).await;
            assert!(!String::from_utf8_lossy(&alert).contains("HTTP"), "{alert:?}");
            asks(&mut other).await;
            drop(other);
            let totals = all_gone(&test, name, 2).await;
            assert_eq!((totals.ok, totals.failed), (1, 1), "{totals:#?}");
        });
    });
    assert_eq!(failed_handshakes(&test).len(), 4);
    assert_eq!(access_lines(&test).len(), 4, "what is no handshake is no request");
}

#[test]
fn clients_that_leave_in_the_middle_of_a_handshake_are_cancelled() {
    let test = testing::start();
    let hello = client_hello();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let options = ServeOptions::default().name(name);
            let (_server, door) = start(kind, &files, &test, app(), options).await;
            for part in [0, 1, 6, hello.len() / 2, hello.len() - 1] {
                let mut client = door.raw().await;
                client.write_all(&hello[..part]).await.unwrap();
                client.shutdown().await.unwrap();
                drop(client);
            }
            // After the server's answer, with nothing of its own.
            let mut client = door.raw().await;
            client.write_all(&hello).await.unwrap();
            client.read_u8().await.unwrap();
            drop(client);
            let totals = all_gone(&test, name, 6).await;
            assert_eq!(totals.cancelled, 6, "{totals:#?}");
        });
    });
    assert_eq!(failed_handshakes(&test).len(), 24);
}

#[test]
fn a_handshake_byte_by_byte_is_as_good_as_any() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default().name(name)).await;
            let hello = client_hello();
            let mut client = door.raw().await;
            for byte in &hello {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            // A handshake record: the server's hello.
            assert_eq!(client.read_u8().await.unwrap(), 22);
        });
    });
}

#[test]
fn thousands_of_bytes_that_lead_nowhere_end_the_handshake() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let (_server, door) = start(kind, &files, &test, app(), ServeOptions::default().name(name)).await;
            let mut client = door.raw().await;
            // Records of a handshake message that says it has 16 MB.
            let mut record = vec![22, 3, 1, 0x10, 0, 1, 0xff, 0xff, 0xff];
            record.resize(5 + 0x1000, 0);
            for _ in 0..32 {
                // It may have been refused by now.
                let _ = client.write_all(&record).await;
                record.splice(5..9, [0; 4]);
            }
            // That was 128 KB of it: enough, though the client is still there.
            let totals = all_gone(&test, name, 1).await;
            assert_eq!(totals.failed, 1, "{totals:#?}");
        });
    });
}

#[test]
fn a_client_of_another_protocol_is_told_so() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let options = ServeOptions::default().name(name);
            let certificate = files.renew();
            let supervisor = test.supervisor();
            let (_server, door) = start_with_files(kind, &files, supervisor, options).await;
            let wrong = connector(std::slice::from_ref(&certificate), &["h2"]);
            let error = encrypt(&wrong, door.raw().await).await.map(drop).unwrap_err();
            assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
            // Without a protocol, or with one of several, all is well.
            for (offered, expected) in [(&[][..], None), (&["h2", "http/1.1"][..], Some(&b"http/1.1"[..]))] {
                let stream =
                    encrypt(&connector(std::slice::from_ref(&certificate), offered), door.raw().await)
                        .await
                        .unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), expected);
                assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
                asks(&mut Client { stream }).await;
            }
            assert_eq!(all_gone(&test, name, 3).await.failed, 1);
        });
    });
    assert_eq!(failed_handshakes(&test).len(), 4);
}

/// With the certificate that is in the files.
async fn start_with_files(
    kind: Kind,
    files: &Files,
    supervisor: &Supervisor,
    options: ServeOptions,
) -> (Server, Door) {
    let plain = if kind.is_unix() { Kind::Unix } else { Kind::Tcp };
    start_under(plain, files, supervisor, app(), options.tls(files.tls())).await
}

#[test]
fn a_handshake_that_hangs_holds_up_nobody() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let options = ServeOptions::default().name(name).header_read_timeout(Duration::MAX);
            let (_server, door) = start(kind, &files, &test, app(), options).await;
            let mut hanging = Vec::new();
            for part in [0, 100] {
                let mut client = door.raw().await;
                client.write_all(&client_hello()[..part]).await.unwrap();
                hanging.push(client);
            }
            // Though they came before, and are not done.
            let mut other = door.connect().await;
            asks(&mut other).await;
            assert_eq!(connections(&test, name).in_flight, 3);
            drop((other, hanging));
            let totals = all_gone(&test, name, 3).await;
            assert_eq!((totals.ok, totals.cancelled), (1, 2), "{totals:#?}");
        });
    });
}

#[test]
fn a_handshake_that_hangs_ends_with_the_time_for_headers() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let options = ServeOptions::default().name(name).header_read_timeout(Duration::from_millis(20));
            let (_server, door) = start(kind, &files, &test, app(), options).await;
            for part in [0, 100] {
                let mut client = door.raw().await;
                client.write_all(&client_hello()[..part]).await.unwrap();
                assert_eq!(Client { stream: client }.rest().await, "");
            }
            let totals = all_gone(&test, name, 2).await;
            assert_eq!(totals.cancelled, 2, "{totals:#?}");
        });
    });
    let failed = failed_handshakes(&test);
    assert_eq!(failed, ["timed out"; 8]);
}

#[test]
fn the_time_for_a_handshake_is_that_for_headers() {
    let test = testing::start();
    let limit = Duration::from_secs(77);
    let [one_thread, _] = runtimes(&test);
    one_thread.block_on(async {
        let files = Files::new();
        let options = ServeOptions::default().header_read_timeout(limit);
        let (_server, door) = start(Kind::TlsOverUnix, &files, &test, app(), options).await;
        let client = door.raw().await;
        while test.supervisor().running().len() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        assert_eq!(Client { stream: client }.rest().await, "");
        let waited = start.elapsed();
        // The timer rounds up to its next tick.
        let tick = Duration::from_millis(10);
        assert!(waited > limit - tick && waited < limit + tick, "{waited:?}");
    });
}

#[test]
fn a_shutdown_waits_for_no_handshake() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let supervisor = Supervisor::new("shutdown");
            let files = Files::new();
            let hello = client_hello();
            // Only an end of its own lets the shutdown go on.
            let for_ever = Duration::from_secs(3_600);
            let options = ServeOptions::default().name(name).header_read_timeout(for_ever);
            let (server, door) =
                start_under(kind, &files, &supervisor, app(), options.shutdown_deadline(for_ever)).await;
            let mut hanging = Vec::new();
            for part in [0, hello.len() / 2, hello.len()] {
                let mut client = door.raw().await;
                client.write_all(&hello[..part]).await.unwrap();
                hanging.push(client);
            }
            // The server has answered the last, and waits for it to go on.
            hanging[2].read_u8().await.unwrap();
            let shutdown = supervisor.shutdown(for_ever).await;
            assert!(shutdown.aborted.is_empty(), "{shutdown:#?}");
            let served = server.served.await.unwrap().unwrap();
            assert_eq!((served.connections, served.aborted), (3, 0));
            let totals = supervisor.totals();
            let ended = totals.iter().find(|totals| totals.kind == ContextKind::Connection).unwrap();
            assert_eq!((ended.in_flight, ended.cancelled), (0, 3), "{ended:#?}");
        });
    });
    assert!(failed_handshakes(&test).is_empty(), "that is nobody's failure");
    assert!(test.records_at(Level::WARN).is_empty());
}

#[test]
fn a_stuck_request_over_tls_is_cut_off_at_the_deadline() {
    let test = testing::start();
    let asked = Arc::new(Notify::new());
    let stuck = {
        let asked = Arc::clone(&asked);
        get(move || async move {
            asked.notify_one();
            std::future::pending::<()>().await;
        })
    };
    runtime(&test).block_on(async {
        let files = Files::new();
        let router = Router::new().route("/", stuck).layer(ContextLayer::new());
        let options = ServeOptions::default().shutdown_deadline(Duration::from_millis(20));
        let (server, door) = start(Kind::TlsOverTcp, &files, &test, router, options).await;
        let mut client = door.connect().await;
        client.send("GET /", "").await;
        asked.notified().await;
        let (served, _) = server.stop().await;
        assert_eq!((served.connections, served.aborted), (1, 1));
        assert_eq!(client.rest().await, "");
    });
    assert_eq!(access_line(&test).field("outcome"), Some("cancelled"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_cpu_of_handshakes_is_their_connections() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let certificate = files.renew();
            let (server, door) =
                start_with_files(kind, &files, test.supervisor(), ServeOptions::default().name(name)).await;
            let connector = connector(&[certificate], &[]);
            for _ in 0..20 {
                // A handshake, and no request.
                drop(encrypt(&connector, door.raw().await).await.unwrap());
            }
            let charged = all_gone(&test, name, 20).await.usage.cpu().unwrap();
            let accepting = totals(&test, ContextKind::Task, name).usage.cpu().unwrap();
            assert!(charged > Duration::ZERO);
            // It computes a signature and a shared secret for each, and the listener does neither.
            assert!(charged > 2 * accepting, "connections {charged:?}, listener {accepting:?}");
            drop(server);
        });
    });
}

#[test]
fn after_a_reload_new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let test = testing::start();
    each(&test, |runtime, kind, name| {
        runtime.block_on(async {
            let files = Files::new();
            let old = files.renew();
            let tls = files.tls();
            let plain = if kind.is_unix() { Kind::Unix } else { Kind::Tcp };
            let options = ServeOptions::default().name(name).tls(tls.clone());
            let (_server, door) = start_under(plain, &files, test.supervisor(), app(), options).await;
            let shown = async |known: &CertificateDer<'static>| {
                let known = connector(std::slice::from_ref(known), &[]);
                let stream = encrypt(&known, door.raw().await).await?;
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
                std::io::Result::Ok((shown, Client { stream }))
            };
            let (first, mut before) = shown(&old).await.unwrap();
            assert_eq!(first, old);
            asks(&mut before).await;

            // Half of a renewal is none, and says why.
            std::fs::write(files.path("cert.pem"), certificate().cert.pem()).unwrap();
            let error = tls.reload().unwrap_err().to_string();
            assert!(error.contains("key.pem is not that of the first certificate in"), "{error}");
            assert_eq!(shown(&old).await.unwrap().0, old);

            let new = files.renew();
            assert_eq!(shown(&old).await.unwrap().0, old, "nobody has said so yet");
            tls.reload().unwrap();
            assert_eq!(shown(&new).await.unwrap().0, new);
            assert!(shown(&old).await.is_err());
            asks(&mut before).await;
        });
    });
}

#[test]
fn what_is_wrong_with_the_files_is_told_with_the_file_and_what_was_expected() {
    let files = Files::new();
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    files.renew();
    let good = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let (good_cert, good_key) = (good(&cert), good(&key));
    assert!(Tls::from_pem_files(&cert, &key).is_ok());

    let secret = good_key.lines().nth(1).unwrap();
    let broken_base64 = |pem: &str| pem.replacen("\nM", "\n!M", 1);
    let no_end = |pem: &str| pem.split("-----END").next().unwrap().to_owned();
    let no_asn1 = |kind: &str| format!("-----BEGIN {kind}-----\naGVsbG8=\n-----END {kind}-----\n");
    let other_key = certificate().signing_key.serialize_pem();
    let encrypted = good_key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cases = [
        ("", &*good_key, "cert.pem is not PEM: expected a line that begins with"),
        ("hello", &*good_key, "cert.pem is not PEM: expected a line that begins with"),
        (&*good_key, &*good_key, "no certificate in "),
        (&*broken_base64(&good_cert), &*good_key, "cert.pem is not PEM: expected base64"),
        (&*no_end(&good_cert), &*good_key, "cert.pem is not PEM: expected an `-----END `"),
        (&*no_asn1("CERTIFICATE"), &*good_key, "cannot use the certificate in "),
        (&*good_cert, "\u{0}\u{1}", "key.pem is not PEM: expected a line that begins with"),
        (&*good_cert, &*good_cert, "no private key in "),
        (&*good_cert, &*encrypted, "without a password"),
        (&*good_cert, &*broken_base64(&good_key), "key.pem is not PEM: expected base64"),
        (&*good_cert, &*no_end(&good_key), "key.pem is not PEM: expected an `-----END `"),
        (&*good_cert, &*no_asn1("PRIVATE KEY"), "cannot use the private key in "),
        (&*good_cert, &*other_key, "is not that of the first certificate in "),
    ];
    for (certificate, private_key, expected) in cases {
        std::fs::write(&cert, certificate).unwrap();
        std::fs::write(&key, private_key).unwrap();
        let error = Tls::from_pem_files(&cert, &key).unwrap_err();
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert!(text.contains(expected), "expected `{expected}`, got: {text}");
        assert!(text.contains("cert.pem") || text.contains("key.pem"), "{text}");
        assert!(!text.contains('\n') && !text.contains(secret) && !debug.contains(secret), "{debug}");
    }
    for missing in [&cert, &key] {
        std::fs::write(&cert, &good_cert).unwrap();
        std::fs::write(&key, &good_key).unwrap();
        std::fs::remove_file(missing).unwrap();
        let error = Tls::from_pem_files(&cert, &key).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}", missing.display()));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("No such file"), "{source}");
    }
}

#[test]
fn certificate_and_key_may_be_in_one_file_in_any_order() {
    let files = Files::new();
    let made = certificate();
    let both = files.path("both.pem");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for parts in [[&cert, &key], [&key, &cert]] {
        std::fs::write(&both, format!("a note\n{}\nanother\n{}", parts[0], parts[1])).unwrap();
        let tls = Tls::from_pem_files(&both, &both).unwrap();
        assert!(format!("{tls:?}").contains("both.pem"));
    }
}

//! A line to a server that fails on command. The server is one of the test's own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use logcontext_testservers::Link;

/// Long enough for what must not come. What comes is never late for it.
const SILENCE: Duration = Duration::from_millis(50);

fn server() -> (TcpListener, Link) {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let link = Link::to(&format!("test://{}/", server.local_addr().unwrap()));
    (server, link)
}

fn try_connect(link: &Link) -> std::io::Result<TcpStream> {
    TcpStream::connect(link.url().strip_prefix("test://").unwrap().strip_suffix('/').unwrap())
}

/// A client and its connection at the server.
fn connect(server: &TcpListener, link: &Link) -> (TcpStream, TcpStream) {
    let client = try_connect(link).unwrap();
    (client, server.accept().unwrap().0)
}

fn expect(stream: &mut TcpStream, text: &str) {
    stream.set_read_timeout(None).unwrap();
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()))
}

/// All that still comes.
fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(None).unwrap();
    let mut text = String::new();
    // A reset is an end too.
    let _ = stream.read_to_string(&mut text);
    text
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn both_directions_go_through_and_end_on_their_own() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    client.write_all(b"question").unwrap();
    expect(&mut at_server, "question");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut at_server), "");
    assert_eq!(link.connections(), 1);
    at_server.write_all(b"answer").unwrap();
    drop(at_server);
    assert_eq!(rest(&mut client), "answer");
    eventually("over", || link.connections() == 0);
}

#[test]
fn a_cut_closes_what_is_open_and_refuses_what_is_new() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    let (mut other, mut other_at_server) = connect(&server, &link);
    assert_eq!(link.connections(), 2);
    link.cut();
    link.cut();
    assert_eq!(link.connections(), 0);
    for end in [&mut client, &mut at_server, &mut other, &mut other_at_server] {
        assert_eq!(rest(end), "");
    }
    assert_eq!(try_connect(&link).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    link.restore();
    link.restore();
    let (mut client, mut at_server) = connect(&server, &link);
    at_server.write_all(b"back").unwrap();
    expect(&mut client, "back");
}

#[test]
fn a_frozen_link_keeps_what_is_sent_until_it_thaws() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    link.freeze();
    client.write_all(b"question").unwrap();
    at_server.write_all(b"answer").unwrap();
    assert!(is_silent(&mut client) && is_silent(&mut at_server));
    link.thaw();
    expect(&mut client, "answer");
    expect(&mut at_server, "question");
}

#[test]
fn a_frozen_link_accepts_and_tells_the_server_nothing() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    link.freeze();
    let mut late = try_connect(&link).unwrap();
    late.write_all(b"late").unwrap();
    drop(client.write_all(b"last"));
    drop(client);
    assert!(is_silent(&mut at_server) && is_silent(&mut late));
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    server.set_nonblocking(false).unwrap();
    link.thaw();
    assert_eq!(rest(&mut at_server), "last");
    expect(&mut server.accept().unwrap().0, "late");
}

#[test]
fn a_frozen_link_can_be_cut_and_what_waited_is_lost() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    link.freeze();
    client.write_all(b"lost").unwrap();
    link.cut();
    assert_eq!(rest(&mut at_server), "");
    assert_eq!(rest(&mut client), "");
}

#[test]
fn a_peer_that_does_not_read_keeps_no_link_from_being_cut() {
    let (server, link) = server();
    let (mut client, at_server) = connect(&server, &link);
    // Until neither the server's end, nor the link, nor the client's end takes any more.
    client.set_write_timeout(Some(SILENCE)).unwrap();
    while client.write_all(&[0; 64 * 1024]).is_ok() {}
    link.cut();
    assert_eq!(link.connections(), 0);
    drop(at_server);
}

#[test]
fn a_server_that_is_gone_is_an_end_for_the_client() {
    let (server, link) = server();
    drop(server);
    assert_eq!(rest(&mut try_connect(&link).unwrap()), "");
    eventually("over", || link.connections() == 0);
}

#[test]
fn a_dropped_link_is_gone_with_its_connections() {
    let (server, link) = server();
    let (mut client, mut at_server) = connect(&server, &link);
    let url = link.url().strip_prefix("test://").unwrap().strip_suffix('/').unwrap().to_owned();
    drop(link);
    assert_eq!(rest(&mut client), "");
    assert_eq!(rest(&mut at_server), "");
    assert_eq!(TcpStream::connect(url).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_url_without_an_address_is_told() {
    let error = std::panic::catch_unwind(|| Link::to("redis://nowhere")).unwrap_err();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.contains("redis://nowhere"), "{message}");
}

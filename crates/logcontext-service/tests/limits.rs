//! What clients may take is what the settings say.

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use common::{Running, ask, on_both, settings, status};
use logcontext_service::Settings;
use logcontext_service::config::{PositiveTime, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn connect(running: &Running<'_>) -> TcpStream {
    TcpStream::connect(common::tcp(running.address())).await.unwrap()
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_body_that_is_too_large_is_refused_with_an_access_line() {
    let settings = || {
        let mut settings = settings();
        settings.service.limits.body_size = Size::from_bytes(10);
        settings
    };
    let ended = on_both(settings, async |running| {
        let echo = async |body| ask(running.address(), "POST /echo", &[], body).await;
        assert!(echo("0123456789").await.ends_with("\r\n\r\n0123456789"));
        assert_eq!(status(&echo("0123456789a").await), 413);
    });
    for ended in ended {
        let totals = ended.test.supervisor().totals();
        let echo = totals.iter().find(|totals| totals.label.as_deref() == Some("POST /echo")).unwrap();
        let responses: Vec<_> = echo.responses().filter(|(_, count)| *count > 0).collect();
        assert_eq!(responses, [("2xx", 1), ("4xx", 1)]);
    }
}

#[test]
fn a_body_that_takes_too_long_is_refused() {
    let settings = || {
        let mut settings = settings();
        settings.service.limits.body_time = PositiveTime::from_millis(50);
        settings
    };
    on_both(settings, async |running| {
        let mut stream = connect(running).await;
        let text = common::text("POST /echo", &[], "some bytes");
        stream.write_all(&text.as_bytes()[..text.len() - 1]).await.unwrap();
        assert_eq!(status(&read(stream).await), 408);
    });
}

#[test]
fn a_head_that_takes_too_long_ends_the_connection() {
    let settings = || {
        let mut settings = settings();
        settings.service.limits.header_time = PositiveTime::from_millis(50);
        settings
    };
    on_both(settings, async |running| {
        let mut stream = connect(running).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
        let answer = read(stream).await;
        assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    });
}

#[test]
fn more_connections_than_allowed_wait_until_one_is_gone() {
    let settings = || -> Settings<common::Greeter> {
        let mut settings = settings();
        settings.service.limits.connections = NonZeroUsize::new(1);
        settings
    };
    on_both(settings, async |running| {
        let mut first = connect(running).await;
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        first.read_exact(&mut answer).await.unwrap();
        let waiting = running.get("/");
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it was accepted");
        drop(first);
        assert_eq!(status(&waiting.await), 200);
    });
}

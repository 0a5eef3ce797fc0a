//! The load: keep-alive connections, each of which asks again as soon as it has its answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// As a proxy hands a browser's request on.
const REQUEST: &[u8] = b"GET /presence/alice HTTP/1.1\r\n\
    host: presence.example\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    accept: */*\r\n\
    accept-encoding: gzip, deflate, br\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    \r\n";

/// A server that is silent for so long has failed.
const SILENCE: Duration = Duration::from_secs(20);

pub(super) struct Load {
    connections: Vec<TcpStream>,
    answer: Vec<u8>,
    /// Looks for answers again and again rather than sleep until they come.
    never_sleeps: bool,
}

impl Load {
    /// Who sleeps has to be woken by the server, which takes more time the slower it is: on a processor of its own, the
    /// load never sleeps.
    pub(super) fn connect(port: u16, connections: usize, never_sleeps: bool) -> Result<Self> {
        let connect = || -> Result<TcpStream> {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            Ok(stream)
        };
        let connections = (0..connections).map(|_| connect()).collect::<Result<_>>()?;
        Ok(Self { connections, answer: Vec::with_capacity(4_096), never_sleeps })
    }

    /// Makes so many requests; answers how many there were, as each connection makes as many.
    pub(super) fn run(&mut self, requests: u32) -> Result<u32> {
        let each = requests.div_ceil(self.connections.len() as u32);
        for connection in &mut self.connections {
            connection.write_all(REQUEST).context("cannot send a request")?;
        }
        for turn in 1..=each {
            for connection in &mut self.connections {
                if self.never_sleeps {
                    watch(connection)?;
                }
                read_answer(connection, &mut self.answer).context("cannot read an answer")?;
                if turn < each {
                    connection.write_all(REQUEST).context("cannot send a request")?;
                }
            }
        }
        Ok(each * self.connections.len() as u32)
    }
}

/// Makes one request over a connection of its own, and answers with all that came.
pub(crate) fn ask(port: u16, request: &[u8]) -> Result<Vec<u8>> {
    let mut load = Load::connect(port, 1, false)?;
    let connection = load.connections.first_mut().context("there is one")?;
    connection.write_all(request)?;
    read_answer(connection, &mut load.answer)?;
    Ok(load.answer)
}

/// Returns once there is something to read.
fn watch(connection: &TcpStream) -> Result<()> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let start = Instant::now();
    while poll(&mut [PollFd::new(connection, PollFlags::IN)], Some(&NOW))? == 0 {
        ensure!(start.elapsed() < SILENCE, "no answer within {SILENCE:?}");
    }
    Ok(())
}

/// One whole answer: its headers say how long it is.
pub(crate) fn read_answer(connection: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    let mut length = None;
    while length.is_none_or(|length| answer.len() < length) {
        let mut more = [0; 4_096];
        let n = connection.read(&mut more)?;
        ensure!(n > 0, "the server has closed the connection");
        answer.extend_from_slice(&more[..n]);
        if length.is_none() {
            length = whole_length(answer)?;
        }
    }
    ensure!(length == Some(answer.len()), "more than one answer");
    Ok(())
}

/// The length of headers and body, once all headers are there.
fn whole_length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let headers = str::from_utf8(&answer[..end])?;
    ensure!(headers.starts_with("HTTP/1.1 200 "), "expected a 200, got {headers:?}");
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(Some(end + 4 + length.context("an answer without a length")?.parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(whole_length(&answer[..30]).unwrap(), None);
        assert_eq!(whole_length(&answer[..40]).unwrap(), Some(answer.len()));
        assert!(whole_length(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").is_err());
        assert!(whole_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}

//! Commands in Redis's own protocol, for the little that tests ask: one connection each.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::poll::DEADLINE;

/// How deep a reply can be nested that is still read
const DEPTH: usize = 16;

/// What the server replies: its strings and numbers, in order. Or why there is nothing.
pub(super) fn ask(url: &str, command: &[&str]) -> Result<Vec<String>, String> {
    let address = address(url).ok_or_else(|| format!("no address: {url}"))?;
    let exchange = || -> io::Result<Result<Vec<String>, String>> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        connection.write_all(&encoded(command))?;
        let mut values = Vec::new();
        Ok(read(&mut BufReader::new(connection), &mut values, DEPTH)?.map(|()| values))
    };
    exchange().unwrap_or_else(|error| Err(format!("Redis at {address}: {error}")))
}

/// `127.0.0.1:6379` of `redis://127.0.0.1:6379/`
fn address(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("redis://")?;
    let address = rest.split_once('/').map_or(rest, |(address, _)| address);
    address.contains(':').then_some(address)
}

fn encoded(command: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Reads one reply. The inner error is what the server says.
fn read(reader: &mut impl BufRead, values: &mut Vec<String>, depth: usize) -> io::Result<Result<(), String>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some((kind, rest)) = line.strip_suffix("\r\n").and_then(|line| line.split_at_checked(1)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    match kind {
        "+" | ":" => values.push(rest.to_owned()),
        "-" => return Ok(Err(rest.to_owned())),
        "$" => {
            if let Some(length) = length(rest)? {
                let mut bytes = Vec::new();
                reader.by_ref().take(length.saturating_add(2)).read_to_end(&mut bytes)?;
                let bytes = bytes.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
                values.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
        "*" if depth > 0 => {
            for _ in 0..length(rest)?.unwrap_or_default() {
                if let Err(error) = read(reader, values, depth - 1)? {
                    return Ok(Err(error));
                }
            }
        }
        _ => return Err(invalid()),
    }
    Ok(Ok(()))
}

/// `None` for what does not exist, which has the length -1
fn length(text: &str) -> io::Result<Option<u64>> {
    let length: i64 = text.parse().map_err(|_| invalid())?;
    Ok(u64::try_from(length).ok())
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not Redis's protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        read(&mut text.as_bytes(), &mut values, DEPTH).unwrap().map(|()| values)
    }

    #[test]
    fn replies_are_read_in_order() {
        assert_eq!(reply("+PONG\r\n").unwrap(), ["PONG"]);
        assert_eq!(reply("$-1\r\n").unwrap(), [] as [&str; 0]);
        assert_eq!(reply("*-1\r\n").unwrap(), [] as [&str; 0]);
        assert_eq!(
            reply("*3\r\n$4\r\na\r\nb\r\n*2\r\n:-7\r\n$0\r\n\r\n+c\r\n").unwrap(),
            ["a\r\nb", "-7", "", "c"]
        );
        assert_eq!(reply("*2\r\n:1\r\n-ERR no\r\n"), Err("ERR no".to_owned()));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let deep = "*1\r\n".repeat(100_000);
        for text in [
            "",
            "+",
            "+PONG",
            "$5\r\nab",
            "$9223372036854775807\r\nab",
            "*2\r\n:1\r\n",
            "?\r\n",
            "$x\r\n",
            "HTTP/1.1 400\r\n",
            &deep,
        ] {
            assert!(read(&mut text.as_bytes(), &mut Vec::new(), DEPTH).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn commands_are_strings_with_their_lengths() {
        assert_eq!(
            encoded(&["SET", "\u{e4}", ""]),
            "*3\r\n$3\r\nSET\r\n$2\r\n\u{e4}\r\n$0\r\n\r\n".as_bytes()
        );
    }

    #[test]
    fn the_address_is_what_stands_between_the_slashes() {
        assert_eq!(address("redis://127.0.0.1:6379/"), Some("127.0.0.1:6379"));
        assert_eq!(address("redis://db:1"), Some("db:1"));
        for none in ["postgres://db:1/", "redis://db/", ""] {
            assert_eq!(address(none), None, "{none}");
        }
    }
}

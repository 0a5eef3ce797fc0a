//! Where the broker is.

use async_nats::ServerAddr;

use crate::error::ConnectError;

const PORT: u16 = 4222;

/// Where the broker is, and who we are to it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) servers: Vec<Server>,
    pub(super) login: Login,
}

/// One server of it, without secrets.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) shown: String,
    pub(super) address: ServerAddr,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    None,
    Token(String),
    Password { user: String, password: String },
}

impl Address {
    /// As it may be shown.
    pub(super) fn shown(&self) -> String {
        self.servers.iter().map(|server| &*server.shown).collect::<Vec<_>>().join(",")
    }
}

/// # Errors
/// If it is no URL of a NATS server that can be reached by TCP. The URL is not shown: it may have a password.
pub(super) fn parse(url: &str) -> Result<Address, ConnectError> {
    let expected = "expected nats://host:port, with user:password@ or token@ before the host where it is needed, and more \
                    hosts after a comma";
    let wrong = |what: &str| ConnectError::Url(format!("{what}: {expected}"));
    if url.starts_with("tls://") {
        return Err(wrong("the URL of the broker wants TLS, which this transport does not speak"));
    }
    let Some(rest) = url.strip_prefix("nats://") else {
        return Err(wrong("the URL of the broker does not begin with nats://"));
    };
    let (login, hosts) = match rest.rsplit_once('@') {
        Some((login, hosts)) => {
            (parse_login(login).ok_or_else(|| wrong("the user and password cannot be read"))?, hosts)
        }
        None => (Login::None, rest),
    };
    let servers = hosts.trim_end_matches('/').split(',').map(|host| {
        // Each may repeat the scheme.
        parse_server(host.strip_prefix("nats://").unwrap_or(host))
            .ok_or_else(|| wrong("the URL of the broker has a host that cannot be read"))
    });
    Ok(Address { servers: servers.collect::<Result<_, _>>()?, login })
}

fn parse_login(login: &str) -> Option<Login> {
    Some(match login.split_once(':') {
        Some((user, password)) => Login::Password { user: unescape(user)?, password: unescape(password)? },
        None if login.is_empty() => return None,
        None => Login::Token(unescape(login)?),
    })
}

fn parse_server(host: &str) -> Option<Server> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || host.starts_with(':') || !host.bytes().all(is_plain) {
        return None;
    }
    let has_port =
        host.rsplit_once(':').is_some_and(|(before, _)| !before.contains(':') || before.ends_with(']'));
    let shown = if has_port { host.to_owned() } else { format!("{host}:{PORT}") };
    let address = format!("nats://{shown}").parse().ok()?;
    Some(Server { shown, address })
}

/// As URLs write what means something to them: `%40`.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_who_we_are_are_read() {
        let address = parse("nats://me:se%40cret@a.example:7000,b.example,[::1]:9").unwrap();
        assert_eq!(address.shown(), "a.example:7000,b.example:4222,[::1]:9");
        assert!(address.login == Login::Password { user: "me".into(), password: "se@cret".into() });
        let address = parse("nats://t0ken@127.0.0.1/").unwrap();
        assert_eq!(address.shown(), "127.0.0.1:4222");
        assert!(address.login == Login::Token("t0ken".into()));
        assert!(parse("nats://127.0.0.1").unwrap().login == Login::None);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "",
            "memory:",
            "tls://a:secret@b",
            "nats://",
            "nats://a:secret@",
            "nats://a:secret@:4222",
            "nats://a:secret@b,,c",
            "nats://a:%zzsecret@b",
            "nats://@secret/x y",
            "nats://a:secret@b:port",
        ] {
            let error = parse(url).map(drop).unwrap_err().to_string();
            assert!(error.contains("nats://host:port") && !error.contains("secret"), "{url}: {error}");
        }
        assert!(parse("tls://b").map(drop).unwrap_err().to_string().contains("TLS"));
    }
}

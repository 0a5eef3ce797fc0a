//! The line as people read it: Synapse's, so that what reads Synapse's logs reads these.

use std::fmt::{self, Display, Formatter, Write};
use std::time::Duration;

use http::StatusCode;
use logcontext::{Ending, Request};

use super::escape::Escaped;

pub(super) struct Line<'a> {
    pub(super) request: Option<&'a Request>,
    pub(super) tag: Tag<'a>,
    pub(super) processing: Duration,
    pub(super) sending: Option<Duration>,
    pub(super) cpu_user: Option<Duration>,
    pub(super) cpu_system: Option<Duration>,
    pub(super) db_wait: Option<Duration>,
    pub(super) db_txn: Duration,
    pub(super) db_txn_count: u64,
    pub(super) db_events: u64,
    pub(super) bytes: u64,
    pub(super) code: Code,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of_request = |value: fn(&Request) -> Option<&str>| self.request.and_then(value);
        write!(
            f,
            "{} - {} - {{{}}} Processed request: {}/{} ru=({}, {}) db=({}/{}/{}) {}B {} \"{} {} {}\" \"{}\" [{} dbevts]",
            Escaped::or_dash(of_request(Request::client_address), ' '),
            self.tag,
            Escaped::or_dash(of_request(Request::user), '}'),
            Seconds(Some(self.processing)),
            Seconds(self.sending),
            Seconds(self.cpu_user),
            Seconds(self.cpu_system),
            Seconds(self.db_wait),
            Seconds(Some(self.db_txn)),
            self.db_txn_count,
            self.bytes,
            self.code,
            Escaped::or_dash(of_request(|request| Some(request.method())), '"'),
            Escaped::or_dash(of_request(|request| Some(request.path())), '"'),
            Escaped::or_dash(of_request(Request::protocol_version), '"'),
            Escaped::or_dash(of_request(Request::agent), '"'),
            self.db_events,
        )
    }
}

/// What the listener is called: by the service, else by its port.
pub(super) struct Tag<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) port: Option<u16>,
}

impl Tag<'_> {
    pub(super) fn is_known(&self) -> bool {
        self.name.is_some() || self.port.is_some()
    }
}

impl Display for Tag<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.name, self.port) {
            (Some(name), _) => f.write_str(name),
            (None, Some(port)) => port.fmt(f),
            (None, None) => f.write_str("-"),
        }
    }
}

/// The status, with a `!` if the response did not get to its end.
pub(super) struct Code {
    pub(super) status: Option<StatusCode>,
    pub(super) complete: bool,
    pub(super) ending: Ending,
}

impl Display for Code {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.status {
            Some(status) => status.as_str(),
            None if self.ending == Ending::Cancelled => "499",
            None => "500",
        })?;
        f.write_str(if self.complete { "" } else { "!" })
    }
}

/// `0.012sec`; `-` for a time that does not exist.
struct Seconds(Option<Duration>);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(duration) = self.0 else { return f.write_str("-") };
        let millis = (duration.as_micros() + 500) / 1_000;
        if millis >= 10_000 {
            return write!(f, "{}.{:03}sec", millis / 1_000, millis % 1_000);
        }
        // Nearly all are this short, and there are six in each line.
        let digit = |unit| char::from(b'0' + (millis / unit % 10) as u8);
        f.write_char(digit(1_000))?;
        f.write_char('.')?;
        f.write_char(digit(100))?;
        f.write_char(digit(10))?;
        f.write_char(digit(1))?;
        f.write_str("sec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Request) -> Line<'_> {
        Line {
            request: Some(request),
            tag: Tag { name: None, port: Some(8008) },
            processing: Duration::from_micros(11_500),
            sending: Some(Duration::from_micros(1_499)),
            cpu_user: Some(Duration::from_millis(3)),
            cpu_system: Some(Duration::from_millis(1)),
            db_wait: Some(Duration::ZERO),
            db_txn: Duration::from_millis(4),
            db_txn_count: 2,
            db_events: 3,
            bytes: 123,
            code: Code { status: Some(StatusCode::OK), complete: true, ending: Ending::Ok },
        }
    }

    #[test]
    fn a_full_line_is_synapses() {
        let request = Request::new("PUT", "/presence/alice")
            .client("127.0.0.1")
            .protocol("HTTP/1.1")
            .user_agent("curl/8");
        request.set_user("@alice");
        assert_eq!(
            line(&request).to_string(),
            "127.0.0.1 - 8008 - {@alice} Processed request: 0.012sec/0.001sec ru=(0.003sec, 0.001sec) \
             db=(0.000sec/0.004sec/2) 123B 200 \"PUT /presence/alice HTTP/1.1\" \"curl/8\" [3 dbevts]"
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let request = Request::new("GET", "");
        let line = Line {
            tag: Tag { name: None, port: None },
            sending: None,
            cpu_user: None,
            cpu_system: None,
            code: Code { status: None, complete: false, ending: Ending::Cancelled },
            ..line(&request)
        };
        assert_eq!(
            line.to_string(),
            "- - - - {-} Processed request: 0.012sec/- ru=(-, -) db=(0.000sec/0.004sec/2) 123B 499! \
             \"GET - -\" \"-\" [3 dbevts]"
        );
    }

    #[test]
    fn nothing_from_outside_ends_its_field_or_the_line() {
        let request =
            Request::new("GET", "/a\" 200 \"b\\").user_agent("evil\n127.0.0.1 - \u{202e}\u{1b}[31m ü");
        request.set_user("@a} Processed request: 0");
        let line = line(&request).to_string();
        assert!(line.contains(r#""GET /a\" 200 \"b\\ -""#), "{line}");
        assert!(line.contains(r#""evil\n127.0.0.1 - \u{202e}\u{1b}[31m ü""#), "{line}");
        assert!(line.contains(r"{@a\} Processed request: 0}"), "{line}");
    }

    #[test]
    fn times_are_rounded_to_the_millisecond() {
        let seconds = |micros| Seconds(Some(Duration::from_micros(micros))).to_string();
        assert_eq!(seconds(0), "0.000sec");
        assert_eq!(seconds(499), "0.000sec");
        assert_eq!(seconds(999_500), "1.000sec");
        assert_eq!(seconds(9_876_499), "9.876sec");
        assert_eq!(seconds(9_999_500), "10.000sec");
        assert_eq!(seconds(61_002_000), "61.002sec");
    }
}

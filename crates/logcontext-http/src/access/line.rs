//! The line as people read it: Synapse's, so that what reads Synapse's logs reads these.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use http::StatusCode;
use logcontext::{Ending, RemoteUsage, Request};

use super::escape::Escaped;

pub(super) struct Line<'a> {
    pub(super) request: Option<&'a Request>,
    /// What the listener is called.
    pub(super) listener: Option<&'a str>,
    pub(super) processing: Duration,
    pub(super) sending: Option<Duration>,
    pub(super) cpu_user: Option<Duration>,
    pub(super) cpu_system: Option<Duration>,
    pub(super) db_wait: Option<Duration>,
    pub(super) db_txn: Duration,
    pub(super) db_txn_count: u64,
    pub(super) db_events: u64,
    /// What it has caused elsewhere, if it has called anybody.
    pub(super) remote: Option<RemoteUsage>,
    pub(super) bytes: u64,
    pub(super) code: Code,
}

/// Piece by piece: a format string of so many parts costs as much again as the rest.
impl Display for Line<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let of_request = |value: fn(&Request) -> Option<&str>| self.request.and_then(value);
        Escaped::or_dash(of_request(Request::client_address), b' ').fmt(out)?;
        out.write_str(" - ")?;
        out.write_str(self.listener.unwrap_or("-"))?;
        out.write_str(" - {")?;
        Escaped::or_dash(of_request(Request::user), b'}').fmt(out)?;
        out.write_str("} Processed request: ")?;
        seconds(out, Some(self.processing))?;
        out.write_str("/")?;
        seconds(out, self.sending)?;
        out.write_str(" ru=(")?;
        seconds(out, self.cpu_user)?;
        out.write_str(", ")?;
        seconds(out, self.cpu_system)?;
        out.write_str(") db=(")?;
        seconds(out, self.db_wait)?;
        out.write_str("/")?;
        seconds(out, Some(self.db_txn))?;
        out.write_str("/")?;
        number(out, self.db_txn_count)?;
        out.write_str(") ")?;
        number(out, self.bytes)?;
        out.write_str("B ")?;
        self.code.fmt(out)?;
        out.write_str(" \"")?;
        Escaped::or_dash(of_request(|request| Some(request.method())), b'"').fmt(out)?;
        out.write_str(" ")?;
        Escaped::or_dash(of_request(|request| Some(request.path())), b'"').fmt(out)?;
        out.write_str(" ")?;
        Escaped::or_dash(of_request(Request::protocol_version), b'"').fmt(out)?;
        out.write_str("\" \"")?;
        Escaped::or_dash(of_request(Request::agent), b'"').fmt(out)?;
        out.write_str("\" [")?;
        number(out, self.db_events)?;
        out.write_str(" dbevts]")?;
        self.remote.as_ref().map_or(Ok(()), |remote| elsewhere(out, remote))
    }
}

/// The status, with a `!` if the response did not get to its end.
pub(super) struct Code {
    pub(super) status: Option<StatusCode>,
    pub(super) complete: bool,
    pub(super) ending: Ending,
}

impl Display for Code {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match &self.status {
            Some(status) => status.as_str(),
            None if self.ending == Ending::Cancelled => "499",
            None => "500",
        })?;
        out.write_str(if self.complete { "" } else { "!" })
    }
}

/// `0.012sec`; `-` for a time that does not exist.
fn seconds(out: &mut Formatter<'_>, time: Option<Duration>) -> fmt::Result {
    let Some(time) = time else { return out.write_str("-") };
    let millis = (u64::try_from(time.as_micros()).unwrap_or(u64::MAX).saturating_add(500)) / 1_000;
    if millis == 0 {
        // Nearly all are, and there are six in each line.
        return out.write_str("0.000sec");
    }
    number(out, millis / 1_000)?;
    out.write_str(".")?;
    // With a digit in front that keeps the zeros, and that is then left out.
    out.write_str(&itoa::Buffer::new().format(1_000 + millis % 1_000)[1..])?;
    out.write_str("sec")
}

/// Behind all that Synapse's has.
fn elsewhere(out: &mut Formatter<'_>, remote: &RemoteUsage) -> fmt::Result {
    out.write_str(" [")?;
    number(out, remote.calls)?;
    out.write_str(" remote calls, ")?;
    number(out, remote.unknown)?;
    out.write_str(" unknown: cpu=")?;
    seconds(out, remote.cpu())?;
    out.write_str(" db=(")?;
    seconds(out, remote.db_wait())?;
    out.write_str("/")?;
    seconds(out, Some(remote.db_txn_duration))?;
    out.write_str("/")?;
    number(out, remote.db_txn_count)?;
    out.write_str(")]")
}

fn number(out: &mut Formatter<'_>, number: u64) -> fmt::Result {
    out.write_str(itoa::Buffer::new().format(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Request) -> Line<'_> {
        Line {
            request: Some(request),
            listener: Some("8008"),
            processing: Duration::from_micros(11_500),
            sending: Some(Duration::from_micros(1_499)),
            cpu_user: Some(Duration::from_millis(3)),
            cpu_system: Some(Duration::from_millis(1)),
            db_wait: Some(Duration::ZERO),
            db_txn: Duration::from_millis(4),
            db_txn_count: 2,
            db_events: 3,
            remote: None,
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
    fn what_was_caused_elsewhere_is_behind_all_that_synapses_has() {
        let request = Request::new("GET", "/");
        let plain = line(&request).to_string();
        let call = RemoteUsage::call().with_cpu(Duration::from_millis(12)).with_db_txns(2, Duration::ZERO);
        let remote = Some(call + RemoteUsage::unknown());
        let shown = Line { remote, ..line(&request) }.to_string();
        assert_eq!(
            shown.strip_prefix(&plain),
            Some(" [1 remote calls, 1 unknown: cpu=0.012sec db=(-/0.000sec/2)]")
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let request = Request::new("GET", "");
        let line = Line {
            listener: None,
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
        let request = Request::new("GET", "/");
        let seconds = |micros| {
            let line = Line { processing: Duration::from_micros(micros), ..line(&request) }.to_string();
            line.split([' ', '/']).find(|word| word.ends_with("sec")).unwrap().to_owned()
        };
        assert_eq!(seconds(0), "0.000sec");
        assert_eq!(seconds(499), "0.000sec");
        assert_eq!(seconds(999_500), "1.000sec");
        assert_eq!(seconds(9_876_499), "9.876sec");
        assert_eq!(seconds(9_999_500), "10.000sec");
        assert_eq!(seconds(61_002_000), "61.002sec");
    }
}

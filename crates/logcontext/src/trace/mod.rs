//! The place of a request in a trace that crosses services: W3C Trace Context, levels 1 and 2.

mod hex;
mod random;
mod state;

use std::fmt::{self, Display};

use hex::{are_hex, hex};

/// Which trace something belongs to, and which span of it it is: what `traceparent` and `tracestate` carry from
/// service to service.
///
/// ```
/// use logcontext::TraceContext;
///
/// # fn main() -> Result<(), logcontext::InvalidTraceparent> {
/// let caller = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")?;
/// assert_eq!(caller.trace_id(), "0af7651916cd43dd8448eb211c80319c");
/// assert!(caller.is_sampled());
///
/// let own = caller.child(); // the same trace, a span of our own
/// assert_eq!(own.trace_id(), caller.trace_id());
/// assert_ne!(own.span_id(), caller.span_id());
/// assert!(own.to_string().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[doc(alias = "traceparent")]
pub struct TraceContext {
    /// The header as it is sent: what is asked for most, the trace id, is a part of it as text.
    text: [u8; LENGTH],
    state: Option<Box<str>>,
}

const LENGTH: usize = 55;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const SPAN_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

const SAMPLED: u8 = 0x01;
/// The trace id is random: since level 2.
const RANDOM: u8 = 0x02;

impl TraceContext {
    /// A new trace and its first span, with random ids, for what nobody asked for from outside. It is not marked
    /// as sampled: see [`sampled`](Self::sampled).
    ///
    /// ```
    /// use logcontext::TraceContext;
    ///
    /// let (one, other) = (TraceContext::random(), TraceContext::random());
    /// assert_ne!(one.trace_id(), other.trace_id());
    /// assert!(!one.is_sampled());
    /// ```
    pub fn random() -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let [high, low, span] = random::numbers();
        text[3..19].copy_from_slice(&hex(high));
        text[19..35].copy_from_slice(&hex(low));
        text[SPAN_ID].copy_from_slice(&hex(span));
        put_flags(&mut text, RANDOM);
        Self { text, state: None }
    }

    /// Reads a `traceparent`. Of versions that do not exist yet it takes the part that all have in common, as
    /// the specification wants it.
    ///
    /// # Errors
    /// If it is none: whoever received it goes on as if there was none, with a new trace.
    pub fn parse(traceparent: &str) -> Result<Self, InvalidTraceparent> {
        let given = traceparent.as_bytes();
        let (head, rest) = given.split_first_chunk::<LENGTH>().ok_or(InvalidTraceparent(Fault::Length))?;
        let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        let digits =
            are_hex(&head[..2]) & are_hex(&head[TRACE_ID]) & are_hex(&head[SPAN_ID]) & are_hex(&head[FLAGS]);
        if !dashes || !digits || &head[..2] == b"ff" {
            return Err(InvalidTraceparent(Fault::Form));
        }
        let known = &head[..2] == b"00";
        if !rest.is_empty() && (known || rest[0] != b'-') {
            return Err(InvalidTraceparent(Fault::Length));
        }
        if head[TRACE_ID] == [b'0'; 32] || head[SPAN_ID] == [b'0'; 16] {
            return Err(InvalidTraceparent(Fault::Zero));
        }
        // Of a later version only the one flag is known to mean the same.
        let flags = flags(head) & if known { SAMPLED | RANDOM } else { SAMPLED };
        let mut text = *head;
        text[..2].copy_from_slice(b"00");
        put_flags(&mut text, flags);
        Ok(Self { text, state: None })
    }

    /// With this `tracestate`, kept as it is. One that is empty, malformed or longer than 512 characters is
    /// dropped: the trace goes on without.
    ///
    /// ```
    /// use logcontext::TraceContext;
    ///
    /// let trace = TraceContext::random();
    /// assert_eq!(trace.clone().with_state("vendor=17, other=x").state(), Some("vendor=17, other=x"));
    /// assert_eq!(trace.with_state("not a tracestate").state(), None);
    /// ```
    #[must_use]
    #[doc(alias = "tracestate")]
    pub fn with_state(mut self, tracestate: &str) -> Self {
        self.state = state::is_valid(tracestate).then(|| tracestate.into());
        self
    }

    /// Says whether whoever gets it should record it: what `traceparent` calls the sampled flag.
    #[must_use]
    pub fn sampled(mut self, sampled: bool) -> Self {
        let flags = (flags(&self.text) & !SAMPLED) | u8::from(sampled);
        put_flags(&mut self.text, flags);
        self
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut child = self.clone();
        child.text[SPAN_ID].copy_from_slice(&hex(random::numbers()[0]));
        child
    }

    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.part(TRACE_ID)
    }

    /// The id of the span: 16 hexadecimal digits. `traceparent` calls it the parent's, for that is what it is to
    /// who receives it.
    #[doc(alias = "parent_id")]
    pub fn span_id(&self) -> &str {
        self.part(SPAN_ID)
    }

    /// May whoever sent it have recorded it?
    pub fn is_sampled(&self) -> bool {
        flags(&self.text) & SAMPLED != 0
    }

    /// What tracing systems have to say to themselves, as it was received: `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The `traceparent` header.
    pub fn as_str(&self) -> &str {
        self.part(0..LENGTH)
    }

    fn part(&self, range: std::ops::Range<usize>) -> &str {
        // All of it is hexadecimal digits and dashes.
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }
}

/// The `traceparent` header.
impl Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

/// This is no `traceparent`: says what is wrong with it, and what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTraceparent(Fault);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Length,
    Form,
    Zero,
}

impl Display for InvalidTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Fault::Length => "wrong length for a traceparent: expected 55 characters",
            Fault::Form => {
                "no traceparent: expected 00-<32 digits>-<16 digits>-<2 digits>, in lower-case hexadecimal"
            }
            Fault::Zero => "no traceparent: expected a trace id and a span id other than zero",
        })
    }
}

impl std::error::Error for InvalidTraceparent {}

fn flags(text: &[u8; LENGTH]) -> u8 {
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    digit(text[FLAGS.start]) << 4 | digit(text[FLAGS.start + 1])
}

fn put_flags(text: &mut [u8; LENGTH], flags: u8) {
    text[FLAGS].copy_from_slice(&hex(u64::from(flags))[14..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_is() {
        let trace = TraceContext::parse(GIVEN).unwrap();
        assert_eq!(trace.to_string(), GIVEN);
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.span_id(), "b7ad6b7169203331");
        assert!(trace.is_sampled());
        assert!(!trace.clone().sampled(false).is_sampled());
        assert_eq!(trace.sampled(false).to_string(), GIVEN.replace("-01", "-00"));
    }

    #[test]
    fn flags_that_mean_nothing_yet_are_not_handed_on() {
        let with = |flags| TraceContext::parse(&GIVEN.replace("-01", flags)).unwrap().to_string();
        assert!(with("-ff").ends_with("-03"));
        assert!(with("-fe").ends_with("-02"));
        assert!(with("-04").ends_with("-00"));
    }

    #[test]
    fn of_a_later_version_the_part_is_taken_that_all_have_in_common() {
        for later in ["cc-", "01-", "fe-"].map(|version| GIVEN.replace("00-", version)) {
            for rest in ["", "-", "-what-comes.then"] {
                let trace = TraceContext::parse(&format!("{later}{rest}")).unwrap();
                assert_eq!(trace.to_string(), GIVEN);
            }
            assert!(TraceContext::parse(&format!("{later}.what")).is_err());
        }
        let flags = TraceContext::parse(&GIVEN.replace("00-", "01-").replace("-01", "-03")).unwrap();
        assert!(flags.as_str().ends_with("-01"), "{flags}");
    }

    #[test]
    fn what_is_no_traceparent_is_refused_and_says_why() {
        let zero = |digits: &str| GIVEN.replace(digits, &"0".repeat(digits.len()));
        let wrong = [
            (String::new(), "length"),
            (GIVEN[..54].to_owned(), "length"),
            (format!("{GIVEN}-"), "length"),
            (format!("{GIVEN}-00"), "length"),
            (GIVEN.replace("00-", "ff-"), "expected 00-"),
            (GIVEN.to_uppercase(), "lower-case"),
            (GIVEN.replace("0af7", "0aF7"), "lower-case"),
            (GIVEN.replace("00-", "0x-"), "lower-case"),
            (GIVEN.replace('-', "_"), "expected 00-"),
            (GIVEN.replace("0af7", "ä7"), "length"),
            (GIVEN.replace("0af7", "0äf"), "lower-case"),
            (zero("0af7651916cd43dd8448eb211c80319c"), "other than zero"),
            (zero("b7ad6b7169203331"), "other than zero"),
        ];
        for (given, why) in wrong {
            let error = TraceContext::parse(&given).expect_err(&given).to_string();
            assert!(error.contains(why), "{given}: {error}");
        }
    }

    #[test]
    fn what_is_made_here_is_well_formed_random_and_never_the_same() {
        let traces: Vec<_> = (0..1_000).map(|_| TraceContext::random()).collect();
        let mut ids: Vec<_> = traces.iter().flat_map(|trace| [trace.trace_id(), trace.span_id()]).collect();
        for trace in &traces {
            assert_eq!(TraceContext::parse(trace.as_str()).as_ref(), Ok(trace));
            assert!(trace.as_str().ends_with("-02"), "{trace}");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace_with_its_flags_and_state() {
        let trace = TraceContext::parse(GIVEN).unwrap().with_state("a=1");
        let (child, other) = (trace.child(), trace.child());
        assert_ne!(child.span_id(), trace.span_id());
        assert_ne!(child.span_id(), other.span_id());
        assert_eq!(
            (child.trace_id(), child.is_sampled(), child.state()),
            (trace.trace_id(), true, Some("a=1"))
        );
    }
}

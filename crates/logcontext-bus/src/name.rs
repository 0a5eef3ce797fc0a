//! The names of events, calls and listeners: they become keys, labels and names of contexts.

use std::fmt;

/// A name that none of these may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    name: Box<str>,
}

const LONGEST: usize = 100;

/// Is it one?
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let is_fine = (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if is_fine { Ok(()) } else { Err(InvalidName { what, name: name.into() }) }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name } = self;
        let shown: String = name.chars().take(LONGEST).collect();
        write!(f, "{shown:?} cannot be the name of {what}: expected 1 to {LONGEST} of `A-Z a-z 0-9 . _ -`")
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for fine in ["presence.changed", "a", "A-Z_0.9", &"x".repeat(100)] {
            assert_eq!(check("an event", fine), Ok(()));
        }
        for bad in ["", "a b", "a\n", "ü", "a:b", "a*", &"x".repeat(101)] {
            assert!(check("an event", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_said_on_one_line() {
        let error = check("an event", "a\nb").unwrap_err().to_string();
        assert_eq!(
            error,
            r#""a\nb" cannot be the name of an event: expected 1 to 100 of `A-Z a-z 0-9 . _ -`"#
        );
    }
}

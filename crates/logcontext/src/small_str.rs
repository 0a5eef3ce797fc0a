//! [`SmallStr`]: a string that is nearly always short.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use smol_str::{SmolStr, SmolStrBuilder};

/// A string for names: up to 23 bytes are held in place, without memory of their own. As large as a `String`; a
/// longer one is shared among its clones.
///
/// Names of contexts and paths of requests are of this type, so that to make one of a text costs no allocation.
///
/// ```
/// use logcontext::SmallStr;
///
/// let name = SmallStr::from("GET-17");
/// assert_eq!(&*name, "GET-17");
/// assert_eq!(SmallStr::joined(&name, "lookup").as_str(), "GET-17-lookup");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SmallStr(SmolStr);

impl SmallStr {
    /// `first-second`.
    pub fn joined(first: &str, second: &str) -> Self {
        let mut joined = SmolStrBuilder::new();
        joined.push_str(first);
        joined.push('-');
        joined.push_str(second);
        Self(joined.finish())
    }

    /// `name-17`.
    #[cfg(feature = "tokio")]
    pub(crate) fn numbered(name: &str, mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self::joined(name, std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    /// The string.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&str> for SmallStr {
    #[inline]
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&String> for SmallStr {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for SmallStr {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Box<str>> for SmallStr {
    fn from(text: Box<str>) -> Self {
        Self(text.into())
    }
}

impl From<Cow<'_, str>> for SmallStr {
    fn from(text: Cow<'_, str>) -> Self {
        Self(text.into())
    }
}

impl Deref for SmallStr {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SmallStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for SmallStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_its_length_and_wherever_it_comes_from_it_is_the_same_string() {
        for length in 0..50 {
            for letter in ["a", "é", "🦀"] {
                let text = letter.repeat(length);
                for small in [
                    SmallStr::from(text.as_str()),
                    SmallStr::from(&text),
                    SmallStr::from(text.clone()),
                    SmallStr::from(text.clone().into_boxed_str()),
                    SmallStr::from(Cow::Borrowed(text.as_str())),
                    SmallStr::from(Cow::<str>::Owned(text.clone())),
                ] {
                    assert_eq!(small.as_str(), text);
                    assert_eq!(small.0.is_heap_allocated(), text.len() > 23);
                }
            }
        }
        assert_eq!(size_of::<SmallStr>(), size_of::<String>());
    }

    #[test]
    fn two_joined_have_a_hyphen_between_them() {
        for (first, second) in [("", ""), ("a", ""), ("", "é"), ("GET", "17"), ("twenty-one-bytes-long", "1")]
        {
            for second in [second, &second.repeat(9)] {
                assert_eq!(SmallStr::joined(first, second).as_str(), format!("{first}-{second}"));
            }
        }
    }
}

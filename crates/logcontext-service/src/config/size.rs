//! [`Size`]: numbers of bytes for people.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TextError;

/// A number of bytes, by [`bytesize`]: `1MiB` (1,048,576 bytes), `1MB` (1,000,000 bytes), `512`.
///
/// Shows itself exactly, in the largest unit that needs no fraction.
///
/// ```
/// use logcontext_service::config::Size;
///
/// let size: Size = "1.5MiB".parse()?;
/// assert_eq!(size.bytes(), 1_572_864);
/// assert_eq!(size.to_string(), "1536KiB");
/// assert_eq!("big".parse::<Size>().unwrap_err().to_string(), "expected a size such as 64KiB or 1MiB");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "parse_size")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    const EXPECTED: &str = "a size such as 64KiB or 1MiB";

    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// How many bytes, for what is in memory: as many as there can be, if it is more.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.parse::<ByteSize>() {
            // It stops at the largest number without a word.
            Ok(ByteSize(u64::MAX)) if text != "18446744073709551615" => Err(TextError(Self::EXPECTED)),
            Ok(size) => Ok(Self(size.as_u64())),
            Err(_) => Err(TextError(Self::EXPECTED)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 6] =
            [(60, "EiB"), (50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let unit = UNITS.into_iter().find(|(bits, _)| self.0 > 0 && self.0.trailing_zeros() >= *bits);
        match unit {
            Some((bits, unit)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Size::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": ["string", "integer"], "minimum": 0, "x-value-name": "SIZE" })
    }
}

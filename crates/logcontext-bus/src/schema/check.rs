//! A message against its schema.

use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

/// Checks messages against one schema.
///
/// A message that can be read as its type is as its schema wants it, but for what types do not say: lengths, ranges,
/// patterns. Only a schema that says such things is worked through for each message.
#[derive(Debug)]
pub(crate) struct Check {
    validator: Option<Validator>,
}

impl Check {
    /// For messages that are read or written as the type of this schema.
    pub(crate) fn beyond_the_type(schema: &Value) -> Self {
        Self { validator: if says_more_than_a_type(schema) { Self::validator(schema) } else { None } }
    }

    /// For messages of others, about whose types nothing is known.
    pub(crate) fn all_of(schema: &Value) -> Self {
        Self { validator: Self::validator(schema) }
    }

    /// `None` of what is no schema: what others have stored may be anything.
    fn validator(schema: &Value) -> Option<Validator> {
        jsonschema::options().should_validate_formats(false).build(schema).ok()
    }

    /// # Errors
    /// Which field is wrong, and what was expected.
    pub(crate) fn check(&self, json: &[u8]) -> Result<(), String> {
        let Some(validator) = &self.validator else { return Ok(()) };
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        validator.validate(&value).map_err(|error| describe(&error))
    }
}

/// As short as it gets, on one line: the message may be long, and anything.
fn describe(error: &ValidationError<'_>) -> String {
    const LONGEST: usize = 300;
    let path = error.instance_path().to_string();
    let path = path.trim_start_matches('/').replace('/', ".");
    let text = if path.is_empty() { error.to_string() } else { format!("{path}: {error}") };
    let plain = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    plain.take(LONGEST).collect()
}

/// Words that say what serde sees to by itself.
const OF_TYPES: [&str; 17] = [
    "$schema",
    "$id",
    "$defs",
    "$ref",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "oneOf",
    "enum",
    "const",
];

fn says_more_than_a_type(schema: &Value) -> bool {
    match schema {
        Value::Object(words) => words.iter().any(|(word, value)| says_more(words, word, value)),
        _ => false,
    }
}

fn says_more(words: &Map<String, Value>, word: &str, value: &Value) -> bool {
    match word {
        "properties" | "$defs" => {
            value.as_object().is_some_and(|schemas| schemas.values().any(says_more_than_a_type))
        }
        "anyOf" | "oneOf" | "prefixItems" => {
            value.as_array().is_some_and(|schemas| schemas.iter().any(says_more_than_a_type))
        }
        "items" | "additionalProperties" => says_more_than_a_type(value),
        // Of a tuple.
        "minItems" | "maxItems" => {
            let length = words.get("prefixItems").and_then(Value::as_array).map(Vec::len);
            value.as_u64() != length.map(|n| n as u64)
        }
        "minimum" | "maximum" => !is_of_integer(words, word, value),
        // No type keeps to one: they are hints.
        "format" => false,
        _ => !OF_TYPES.contains(&word),
    }
}

/// Is it the bound of an integer's type?
fn is_of_integer(words: &Map<String, Value>, word: &str, value: &Value) -> bool {
    let Some(format) = words.get("format").and_then(Value::as_str) else { return false };
    let (signed, bits) = match (format.strip_prefix("uint"), format.strip_prefix("int")) {
        (Some(bits), _) => (false, bits),
        (_, Some(bits)) => (true, bits),
        _ => return false,
    };
    let bits: u32 = if bits.is_empty() { 64 } else { bits.parse().unwrap_or(0) };
    let Some(bound) = value.as_i64() else { return value.as_u64() == Some(u64::MAX) && bits == 64 };
    match (word, signed) {
        ("minimum", false) => bound == 0,
        ("minimum", true) => bits <= 64 && i128::from(bound) == -(1_i128 << (bits.max(1) - 1)),
        (_, false) => bits < 64 && i128::from(bound) == (1_i128 << bits) - 1,
        (_, true) => bits <= 64 && i128::from(bound) == (1_i128 << (bits.max(1) - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::schema::shape;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Plain {
        user: String,
        age: u8,
        signed: i16,
        large: u64,
        usize: usize,
        float: f64,
        maybe: Option<i64>,
        many: Vec<Kind>,
        pair: (u8, String),
        by_name: std::collections::BTreeMap<String, Box<Kind>>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Kind {
        One,
        Two { inner: u32 },
        Three(i8, bool),
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Strict {
        #[schemars(length(min = 1, max = 3))]
        name: String,
        inner: Vec<Within>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Within {
        #[schemars(range(min = 10, max = 20))]
        level: u8,
    }

    fn beyond<T: JsonSchema>() -> Check {
        Check::beyond_the_type(shape::of::<T>().as_value())
    }

    #[test]
    fn what_types_see_to_is_not_checked_again() {
        let check = beyond::<Plain>();
        assert!(check.validator.is_none(), "{:#}", shape::of::<Plain>().as_value());
        assert_eq!(check.check(b"anything"), Ok(()));
    }

    #[test]
    fn what_types_do_not_say_is_checked_and_the_field_is_named() {
        let check = beyond::<Strict>();
        assert_eq!(check.check(br#"{"name":"abc","inner":[{"level":10},{"level":20}]}"#), Ok(()));
        let wrong = |json: &str| check.check(json.as_bytes()).unwrap_err();
        assert_eq!(wrong(r#"{"name":"","inner":[]}"#), r#"name: "" is shorter than 1 character"#);
        assert_eq!(
            wrong(r#"{"name":"a","inner":[{"level":10},{"level":21}]}"#),
            "inner.1.level: 21 is greater than the maximum of 20"
        );
    }

    #[test]
    fn all_of_a_schema_is_checked_for_messages_of_others() {
        let check = Check::all_of(shape::of::<Within>().as_value());
        assert!(check.check(br#"{"level":15}"#).is_ok());
        assert_eq!(check.check(b"{}").unwrap_err(), r#""level" is a required property"#);
        let anything = Check::all_of(&serde_json::json!({ "type": 17 }));
        assert_eq!(anything.check(b"{}"), Ok(()), "what is no schema says nothing");
    }

    #[test]
    fn what_is_wrong_is_told_on_one_short_line() {
        let check = Check::all_of(&serde_json::json!({ "type": "number" }));
        let json = serde_json::to_vec(&format!("\n\u{1b}[2J{}", "x".repeat(10_000))).unwrap();
        let text = check.check(&json).unwrap_err();
        assert!(text.len() < 1_000 && !text.chars().any(char::is_control), "{text}");
    }
}

//! JSON of a value and back, with the field that is wrong.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// With room for more behind it.
///
/// # Errors
/// If it has no JSON: what is wrong.
pub(crate) fn encode_with_room(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut json = Vec::with_capacity(ROOM);
    serde_json::to_writer(&mut json, value).map_err(|error| error.to_string())?;
    Ok(json)
}

/// Enough for a short body and a head.
const ROOM: usize = 384;

/// # Errors
/// If it has no JSON: what is wrong.
pub(crate) fn encode(value: &impl Serialize) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}

/// # Errors
/// If it is no JSON, or not of that shape: which field, and what was expected there.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    // What is wrong is looked for only where something is.
    serde_json::from_slice(json).or_else(|_| explain(json))
}

#[cold]
fn explain<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        if path == "." { inner.to_string() } else { format!("{path}: {inner}") }
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_wrong_is_named() {
        #[derive(Debug, serde::Deserialize)]
        struct Outer {
            #[expect(dead_code, reason = "only read from JSON")]
            inner: Vec<u8>,
        }
        let wrong = |json: &str| decode::<Outer>(json.as_bytes()).unwrap_err();
        assert_eq!(
            wrong(r#"{"inner":[1,"x"]}"#),
            "inner[1]: invalid type: string \"x\", expected u8 at line 1 column 15"
        );
        assert_eq!(wrong("{}"), "missing field `inner` at line 1 column 2");
        assert_eq!(wrong(r#"{"inner":[]} x"#), "trailing characters at line 1 column 14");
        assert!(wrong("not JSON").starts_with("expected ident"));
    }
}

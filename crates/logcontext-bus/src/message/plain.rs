//! Pieces of JSON as they are nearly always: written and read without a detour through values.

/// In digits.
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
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
    out.extend_from_slice(&digits[at..]);
}

/// `name` with its comma and colon.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // A text can be written, and so can whatever is written to memory.
        let json = serde_json::to_string(value).unwrap_or_else(|_| r#""""#.to_owned());
        out.extend_from_slice(json.as_bytes());
    }
}

/// Is it as it is in a text of JSON?
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// A number as [`number`] writes it, and what is behind it.
pub(super) fn take_number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    let is_written_so = digits == "0" || !digits.starts_with('0');
    if is_written_so { Some((digits.parse().ok()?, rest)) } else { None }
}

/// A text that is as it stands there.
pub(super) fn take_text(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.bytes().position(|byte| !is_plain(byte))?;
    let (value, rest) = text.split_at(end);
    Some((value, rest.strip_prefix('"')?))
}

/// A field, if it is there.
pub(super) fn take_field<'a>(text: &'a str, name: &str) -> Option<(Option<&'a str>, &'a str)> {
    match text.strip_prefix(name) {
        Some(text) => take_text(text).map(|(value, rest)| (Some(value), rest)),
        None => Some((None, text)),
    }
}

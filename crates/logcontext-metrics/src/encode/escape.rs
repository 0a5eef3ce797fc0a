//! Values of labels and texts of help.
//!
//! Both formats escape backslash, quote and line feed and have no way to write any other control character but to let
//! it through, which terminals obey and some parsers stumble over (a zero byte ends Prometheus's). They are shown as
//! the pictures that Unicode has of them instead.

use crate::format::Format;

/// Adds `name="value"`, with a comma before it if there is a pair already.
pub(crate) fn push_label(pairs: &mut String, name: &str, value: &str) {
    if !pairs.is_empty() {
        pairs.push(',');
    }
    pairs.push_str(name);
    pairs.push_str("=\"");
    push(pairs, value, true);
    pairs.push('"');
}

/// Adds a text of help: in Prometheus's format quotes stay as they are there.
pub(super) fn push_help(out: &mut String, help: &str, format: Format) {
    push(out, help, format == Format::OpenMetrics);
}

fn push(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() || c == '\\' || c == '"') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('"') if quotes => out.push_str("\\\""),
            Some(other) => out.push(shown(other)),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// A picture of what is no text.
fn shown(c: char) -> char {
    const PICTURES: u32 = 0x2400;
    const PICTURE_OF_DELETE: char = '\u{2421}';
    match c {
        '\0'..='\u{1f}' => char::from_u32(PICTURES + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => PICTURE_OF_DELETE,
        // There are no pictures of these.
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_value_or_the_line_is_escaped() {
        let mut pairs = String::new();
        push_label(&mut pairs, "label", "GET /\"a\\b\"\n");
        push_label(&mut pairs, "outcome", "ok");
        assert_eq!(pairs, r#"label="GET /\"a\\b\"\n",outcome="ok""#);
    }

    #[test]
    fn control_characters_are_shown() {
        let mut pairs = String::new();
        push_label(&mut pairs, "label", "\0a\u{1b}[31m\r\t\u{7f}\u{85}é");
        assert_eq!(pairs, "label=\"␀a␛[31m␍␉␡\u{fffd}é\"");
    }
}

//! Text for people: escaped, cut to a length, compared.

use std::borrow::Cow;
use std::fmt::Write as _;

/// As long as a value in a message may be, in characters.
const SHOWN: usize = 80;

/// Whether the character would do something to a terminal, or hide, rather than show.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escape(char: char, out: &mut String) {
    match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a `String` does not fail.
        _ if u32::from(char) > 0xffff => _ = write!(out, "\\U{:08x}", u32::from(char)),
        _ => _ = write!(out, "\\u{:04x}", u32::from(char)),
    }
}

/// A string of TOML on one line, in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            _ if is_invisible(char) => escape(char, &mut out),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// The text with nothing in it that a terminal obeys.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_invisible(char) { escape(char, &mut out) } else { out.push(char) }
    }
    Cow::Owned(out)
}

/// No more of the text than a message needs.
pub(super) fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A key as TOML writes it: bare, or in quotes.
pub(super) fn key(key: &str) -> Cow<'_, str> {
    let bare = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) { Cow::Borrowed(key) } else { Cow::Owned(quoted(key)) }
}

/// The path of what has that key in the table with that path.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { key(name).into_owned() } else { format!("{path}.{}", key(name)) }
}

/// Whether the first path is the second, or of something in that.
pub(super) fn is_within(path: &str, of: &str) -> bool {
    of.is_empty() || path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What was probably meant: the known word that takes the fewest changes, if those are few.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no typos, and comparing them takes long.
    if word.len() > 200 {
        return None;
    }
    let flat = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    let word = flat(word);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &flat(known)), known))
        .filter(|(changes, known)| *changes <= (known.len() / 4).clamp(1, 3))
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}\n\u{e0041}"), "a\\u001b[2Jb\\u202e\\n\\U000e0041");
        assert_eq!(quoted("say \"hi\"\\\u{7f}"), r#""say \"hi\"\\\u007f""#);
        assert_eq!(plain("naïve"), "naïve");
    }

    #[test]
    fn keys_that_are_not_bare_are_in_quotes() {
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a", "b.c"), "a.\"b.c\"");
        assert_eq!(join("a", ""), "a.\"\"");
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["log.format", "log.filter", "limits.body_size"];
        assert_eq!(nearest("log_fromat", known), Some("log.format"));
        assert_eq!(nearest("LOG-FILTER", known), Some("log.filter"));
        assert_eq!(nearest("shutdown", known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(short(&"é".repeat(SHOWN)), "é".repeat(SHOWN));
        assert_eq!(short(&"é".repeat(SHOWN + 1)), format!("{}...", "é".repeat(SHOWN)));
    }
}

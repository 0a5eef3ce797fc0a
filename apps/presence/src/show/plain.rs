//! Text from elsewhere: nothing of it moves the cursor, turns letters around, or is longer than its place.

/// With a mark where a character cannot be shown as it is.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}

/// The same, no longer than so many characters: of what is too long the beginning, or the end.
pub(crate) fn cut(text: &str, most: usize, keep: Keep) -> String {
    let length = text.chars().count();
    if length <= most {
        return plain(text);
    }
    match keep {
        Keep::Beginning => format!("{}…", plain(&text.chars().take(most - 1).collect::<String>())),
        Keep::End => format!("…{}", plain(&text.chars().skip(length + 1 - most).collect::<String>())),
    }
}

/// Which part of a text that is too long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Beginning,
    End,
}

/// Control characters, marks of direction, and what takes no place at all.
fn moves(c: char) -> bool {
    let is_mark =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || is_mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(
            plain("a\u{1b}[2J\r\nb\u{202e}c\u{9b}ä"),
            "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}ä"
        );
    }

    #[test]
    fn nothing_is_longer_than_its_place() {
        assert_eq!(cut("abc", 3, Keep::Beginning), "abc");
        assert_eq!(cut("abcd", 3, Keep::Beginning), "ab…");
        assert_eq!(cut("abcd", 3, Keep::End), "…cd");
        assert_eq!(cut("ä\u{7}öü", 3, Keep::End), "…öü");
    }
}

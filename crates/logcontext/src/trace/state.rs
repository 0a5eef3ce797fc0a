//! What counts as a `tracestate`.

/// As many characters as everybody has to hand on; of more, nobody needs to.
const LIMIT: usize = 512;
const MEMBERS: usize = 32;

pub(super) fn is_valid(tracestate: &str) -> bool {
    let members = || tracestate.split(',').map(|member| member.trim_matches([' ', '\t']));
    tracestate.len() <= LIMIT
        && members().any(|member| !member.is_empty())
        && members().count() <= MEMBERS
        && members().all(|member| member.is_empty() || is_member(member))
}

/// `key=value`.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let later = |byte: u8| first(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    // Spaces around it are gone by now, so the value does not end with one.
    key.len() <= 256
        && key.bytes().next().is_some_and(first)
        && key.bytes().all(later)
        && (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_allows_is_taken() {
        let long = format!("k={}", "v".repeat(256));
        for state in
            ["a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "tenant@system=x", "a=1,,b=2 ,\tc=3", &long]
        {
            assert!(is_valid(state), "{state}");
        }
    }

    #[test]
    fn what_it_does_not_allow_is_not() {
        let key = format!("{}=1", "k".repeat(257));
        let value = format!("k={}", "v".repeat(257));
        let many = "a=1,".repeat(33);
        let long = format!("{},b={}", value[..258].to_owned(), "v".repeat(252));
        assert_eq!(long.len(), 513);
        for state in [
            "", ",", "a", "=1", "a=", "A=1", "a=1=2", "a b=1", "a=ä", "a=\n", "@a=1", &key, &value, &many,
            &long,
        ] {
            assert!(!is_valid(state), "{state:?}");
        }
    }
}

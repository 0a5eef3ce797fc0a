//! Texts put without a call, which costs more than most of them: their bytes go in steps of a fixed length, of which
//! the compiler makes moves. Where the length is no multiple of it, the last step goes partly over bytes that are
//! there already.

use crate::escape::specials;

/// Puts the bytes at the end of `out`.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    put::<false>(out, bytes);
}

/// Puts the bytes at the end of `out`, and answers whether all of them are printable ASCII and neither quote nor
/// backslash. If not, they are to be taken back.
#[inline]
pub(crate) fn push_plain(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    !put::<true>(out, bytes)
}

/// Whether any byte was special, if somebody wants to know.
#[inline]
fn put<const LOOK: bool>(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let end = out.len() + bytes.len();
    if let Some(last) = bytes.last_chunk::<16>() {
        let mut seen = [0; 16];
        for step in bytes.as_chunks::<16>().0 {
            if LOOK {
                look(&mut seen, step);
            }
            out.extend_from_slice(step);
        }
        if LOOK {
            look(&mut seen, last);
        }
        out.truncate(end - 16);
        out.extend_from_slice(last);
        return seen != [0; 16];
    }
    let mut seen = 0;
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        if LOOK {
            seen = specials(u64::from_le_bytes(*first)) | specials(u64::from_le_bytes(*last));
        }
        out.extend_from_slice(first);
        out.truncate(end - 8);
        out.extend_from_slice(last);
        return seen != 0;
    }
    let mut word = [b' '; 8];
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        word[..4].copy_from_slice(first);
        word[bytes.len() - 4..][..4].copy_from_slice(last);
    } else {
        // One by one: what copies any number of them is a call.
        match *bytes {
            [a] => word[0] = a,
            [a, b] => [word[0], word[1]] = [a, b],
            [a, b, c] => [word[0], word[1], word[2]] = [a, b, c],
            _ => {}
        }
    }
    if LOOK {
        seen = specials(u64::from_le_bytes(word));
    }
    out.extend_from_slice(&word);
    out.truncate(end);
    seen != 0
}

/// Marks the places where a byte is special. Of a loop like this one compilers make a few instructions.
#[inline]
fn look(seen: &mut [u8; 16], bytes: &[u8; 16]) {
    for (seen, &byte) in seen.iter_mut().zip(bytes) {
        let unprintable = byte.wrapping_sub(b' ') > b'~' - b' ';
        *seen |= u8::from(unprintable | (byte == b'"') | (byte == b'\\'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_its_length_it_is_put_after_what_was_there() {
        let text: Vec<u8> = (0..100).map(|i| b'a' + i % 26).collect();
        for before in [0, 1, 9] {
            for length in 0..text.len() {
                let mut out = vec![b'-'; before];
                push(&mut out, &text[..length]);
                assert!(push_plain(&mut out, &text[..length]));
                let (head, tail) = out.split_at(before);
                assert!(head.iter().all(|&byte| byte == b'-'));
                assert_eq!(tail, [&text[..length], &text[..length]].concat());
            }
        }
    }

    #[test]
    fn one_special_byte_is_seen_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                for special in [b'\0', b'\x1f', b'"', b'\\', b'\x7f', 0x80, 0xff] {
                    let mut text = vec![b'~'; length];
                    text[at] = special;
                    assert!(!push_plain(&mut Vec::new(), &text), "{special:?} at {at} of {length}");
                }
            }
        }
    }
}

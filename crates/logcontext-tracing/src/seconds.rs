//! Numbers that are whole nanoseconds, or micros, or millis, and less than ten seconds: most of those in logs.

const NANOS: f64 = 1e9;

/// Puts such a number in decimal, without an exponent: `0.000018447`, `1.5`, `0.0`. Answers whether it is one.
///
/// The way that fits all numbers searches for the shortest digits that mean this one. These have at most ten digits,
/// and any number of up to fifteen is the only double that is nearest to it: if they mean this number, they are the
/// shortest, once the zeros at the end are left out.
#[inline]
pub(crate) fn put(value: f64, out: &mut Vec<u8>) -> bool {
    if value.to_bits() == 0 {
        out.extend_from_slice(b"0.0");
        return true;
    }
    // Both are false of NaN.
    if !(value > 0.0 && value < 10.0) {
        return false;
    }
    // Rounded, in a way that every processor has an instruction for.
    let nanos = (value * NANOS + 0.5) as i64;
    if nanos as f64 / NANOS != value {
        return false;
    }
    put_nanos(nanos.cast_unsigned(), out);
    true
}

fn put_nanos(nanos: u64, out: &mut Vec<u8>) {
    /// Goes in one move; what is too much is cut off again.
    const ROOM: usize = 16;
    let (whole, rest) = ((nanos / 1_000_000_000) as usize, (nanos % 1_000_000_000) as usize);
    let (high, low) = (rest / 100_000, rest % 100_000);
    let mut text = [b'0'; ROOM];
    text[..2].copy_from_slice(&[PAIRS[whole % 100][1], b'.']);
    text[2..4].copy_from_slice(&PAIRS[high / 100 % 100]);
    text[4..6].copy_from_slice(&PAIRS[high % 100]);
    text[6..8].copy_from_slice(&PAIRS[low / 1_000]);
    text[8..10].copy_from_slice(&PAIRS[low / 10 % 100]);
    text[10] = PAIRS[low % 10][1];
    // One digit stays.
    let mut length = 11;
    while length > 3 && text[length - 1] == b'0' {
        length -= 1;
    }
    let end = out.len() + length;
    out.extend_from_slice(&text);
    out.truncate(end);
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
        i += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> Option<String> {
        let mut text = Vec::new();
        put(value, &mut text).then(|| String::from_utf8(text).unwrap())
    }

    #[test]
    fn whole_nanoseconds_are_told_to_the_last_digit_and_no_further() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1e-9, "0.000000001"),
            (0.000018447, "0.000018447"),
            (0.25, "0.25"),
            (1.0, "1.0"),
            (9.999999999, "9.999999999"),
        ] {
            assert_eq!(text(value).as_deref(), Some(expected));
        }
        for value in [-0.0, -1.5, 10.0, 1e-10, 0.1 + 0.2, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
            assert_eq!(text(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_told_is_the_number_and_no_longer_than_needed() {
        let mut nanos: u64 = 1;
        let mut told = 0;
        for i in 0..100_000_u64 {
            nanos = nanos.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i | 1);
            let places = 10_u64.pow((i % 10) as u32);
            let value = (nanos % (10_000_000_000 / places)) as f64 / NANOS;
            // Neighbours of such numbers are none.
            for value in [value, value.next_up(), value.next_down()] {
                if let Some(text) = text(value) {
                    assert_eq!(text.parse(), Ok(value));
                    let all = format!("{value:.9}");
                    let (whole, digits) = all.split_once('.').unwrap();
                    assert_eq!(
                        text,
                        format!("{whole}.{}{}", &digits[..1], digits[1..].trim_end_matches('0'))
                    );
                    told += 1;
                }
            }
        }
        assert_eq!(told, 100_000);
    }
}

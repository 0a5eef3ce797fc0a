//! Hexadecimal digits, many at a time: ids are read and written once a request.

/// A number in 16 hexadecimal digits.
pub(super) fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let (high, low) = digits.split_at_mut(8);
    high.copy_from_slice(&hex_of_half(number >> 32));
    low.copy_from_slice(&hex_of_half(number & 0xffff_ffff));
    digits
}

/// All eight digits at a time, each in a byte of one number.
fn hex_of_half(mut half: u64) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    half = (half | half << 16) & 0x0000_ffff_0000_ffff;
    half = (half | half << 8) & 0x00ff_00ff_00ff_00ff;
    half = (half | half << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((half + 6 * EACH) >> 4) & EACH;
    (half + u64::from(b'0') * EACH + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Are they all lower-case digits? All of them are looked at, for that is what processors do many at a time.
pub(super) fn are_hex(digits: &[u8]) -> bool {
    digits.iter().fold(true, |all, digit| all & matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_hexadecimal() {
        for number in [0, 1, 9, 10, 15, 16, 0xa0, 0x0123_4567_89ab_cdef, u64::MAX - 0x50, u64::MAX] {
            assert_eq!(hex(number), *format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn nothing_but_lower_case_digits_is_taken() {
        for byte in 0..=u8::MAX {
            let is_digit = b"0123456789abcdef".contains(&byte);
            assert_eq!(are_hex(&[b'0', byte, b'f']), is_digit, "{byte}");
        }
    }
}

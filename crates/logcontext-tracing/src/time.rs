//! Now, as RFC 3339 writes it: UTC, with microseconds.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

const LENGTH: usize = "2026-11-21T07:00:00.123456Z".len();
const SECONDS: usize = "2026-11-21T07:00:00.".len();

/// The last second written on this thread: most records only differ from the one before in what follows it.
#[derive(Clone, Copy)]
struct Stamp {
    second: u64,
    text: [u8; LENGTH],
}

thread_local! {
    static LAST: Cell<Stamp> =
        const { Cell::new(Stamp { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }) };
}

/// Puts the present time.
#[inline]
pub(crate) fn push_now(out: &mut Vec<u8>) {
    // A clock before 1970 reads as 1970.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    push(out, now.as_secs(), now.subsec_micros());
}

#[inline]
fn push(out: &mut Vec<u8>, second: u64, micros: u32) {
    // It has no destructor: it is there for as long as its thread is.
    let mut stamp = LAST.get();
    if stamp.second != second {
        stamp = Stamp { second, text: at_second(second) };
    }
    pairs(&mut stamp.text[SECONDS..SECONDS + 6], micros);
    LAST.set(stamp);
    out.extend_from_slice(&stamp.text);
}

#[cold]
fn at_second(second: u64) -> [u8; LENGTH] {
    let mut text = *b"1970-01-01T00:00:00.000000Z";
    let (days, rest) = (second / 86_400, (second % 86_400) as u32);
    let (year, month, day) = date(days);
    pairs(&mut text[0..4], year);
    pairs(&mut text[5..7], month);
    pairs(&mut text[8..10], day);
    pairs(&mut text[11..13], rest / 3_600);
    pairs(&mut text[14..16], rest / 60 % 60);
    pairs(&mut text[17..19], rest % 60);
    text
}

/// The date so many days after 1 January 1970. Counts years from March, so that the leap day is their last
/// (Howard Hinnant's `civil_from_days`).
fn date(days: u64) -> (u32, u32, u32) {
    const LAST_DAY_OF_9999: u64 = 2_932_896;
    let days = days.min(LAST_DAY_OF_9999) as u32 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

/// Fills `digits` with a number, two digits at a time.
#[inline]
fn pairs(digits: &mut [u8], mut number: u32) {
    for pair in digits.chunks_exact_mut(2).rev() {
        let two = (number % 100) as u8;
        pair.copy_from_slice(&[b'0' + two / 10, b'0' + two % 10]);
        number /= 100;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: u64, micros: u32) -> String {
        let mut out = Vec::new();
        push(&mut out, second, micros);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn seconds_become_dates() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(text(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(text(951_868_800, 20_000), "2000-03-01T00:00:00.020000Z");
        assert_eq!(text(1_795_244_400, 123_456), "2026-11-21T07:00:00.123456Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(text(253_402_300_799, 0), "9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn a_clock_out_of_its_mind_still_reads_as_a_date() {
        assert_eq!(&text(u64::MAX, 0)[..10], "9999-12-31");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = date(0);
        for day in 1..150_000 {
            let next = date(day);
            assert!(next > last, "{last:?} {next:?}");
            assert!(next.2 == last.2 + 1 || next.2 == 1);
            last = next;
        }
    }

    #[test]
    fn the_second_that_is_kept_is_not_shown_for_another() {
        assert_eq!(text(59, 5), "1970-01-01T00:00:59.000005Z");
        assert_eq!(text(60, 5), "1970-01-01T00:01:00.000005Z");
        assert_eq!(text(59, 6), "1970-01-01T00:00:59.000006Z");
    }
}

//! Rows of one kind, as one.

use super::report::Work;

/// From so many on, those that differ by a number at their end are one row.
const MANY: usize = 4;

/// With one row for all shards of one kind.
pub(super) fn shown_together(rows: &[Work]) -> Vec<Work> {
    let mut shown: Vec<Work> = Vec::new();
    for work in rows {
        let Some(name) = numbered(&work.label) else {
            shown.push(work.clone());
            continue;
        };
        let like = rows.iter().filter(|other| numbered(&other.label) == Some(name)).count();
        let label = format!("{name}-* ({like})");
        match shown.iter_mut().find(|row| row.label == label) {
            Some(row) => row.add(work),
            None if like >= MANY => shown.push(Work { label, ..work.clone() }),
            None => shown.push(work.clone()),
        }
    }
    shown
}

/// `sender` of `sender-12`.
fn numbered(label: &str) -> Option<&str> {
    let (name, number) = label.rsplit_once('-')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn work(label: &str, count: u64, cpu_user: Option<Duration>) -> Work {
        Work { label: label.to_owned(), count, cpu_user, ..Work::default() }
    }

    #[test]
    fn many_that_differ_by_a_number_are_one_row() {
        let second = Some(Duration::from_secs(1));
        let mut rows =
            vec![work("a", 1, second), work("few-1", 1, second), work("few-2", 1, None), work("x-", 1, None)];
        rows.extend((0..5).map(|n| work(&format!("shard-{n}"), 2, second)));
        let shown: Vec<_> =
            shown_together(&rows).into_iter().map(|row| (row.label, row.count, row.cpu_user)).collect();
        let row = |label: &str, n, cpu| (label.to_owned(), n, cpu);
        let five = row("shard-* (5)", 10, Some(Duration::from_secs(5)));
        let others =
            [row("a", 1, second), row("few-1", 1, second), row("few-2", 1, None), row("x-", 1, None)];
        assert_eq!(shown, others.into_iter().chain([five]).collect::<Vec<_>>());
    }
}

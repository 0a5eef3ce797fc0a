//! The report for people.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::report::{Balance, Report, Requests, Work};
use super::table::Table;
use super::units::{count, percent, time};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", requests(&self.requests))?;
        writeln!(
            f,
            "  p50, p99: as the clients see it, from sending to the last byte (streams: to the first event)"
        )?;
        writeln!(
            f,
            "  CPU: exact in total, user and system by estimate; each: a request's mean; gone: its client left\n"
        )?;
        writeln!(f, "{}", processes(&self.background))?;
        writeln!(f, "{}", connections(&self.connections))?;
        let slow = &self.slow_polls;
        writeln!(
            f,
            "slow polls   {} blocked the executor, {} burned CPU without yielding, the longest {}",
            count(slow.blocked),
            count(slow.burned),
            time(slow.longest),
        )?;
        writeln!(f, "streams      {} events until the service ended them", count(self.stream_events))?;
        let diagnostics = self.diagnostics.join(", ");
        writeln!(f, "diagnostics  {}\n", if diagnostics.is_empty() { "none" } else { &diagnostics })?;
        match &self.books {
            Some(books) => writeln!(f, "{books}")?,
            None => writeln!(f, "books        none: this platform has no CPU clocks for threads\n")?,
        }
        if !self.access_lines.is_empty() {
            writeln!(f, "out of the log, {}", self.log.display())?;
            self.access_lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
            writeln!(f)?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM      {problem}")?;
        }
        let how = if self.problems.is_empty() { "gracefully" } else { "with problems" };
        writeln!(
            f,
            "{} clients for {}; shut down {how} in {}",
            self.clients,
            time(self.time),
            time(self.shutdown)
        )
    }
}

fn requests(rows: &[Requests]) -> Table {
    let head = ["requests by label", "count", "p50", "p99", "CPU user", "system", "each", "failed", "gone"];
    let mut table = Table::new(head);
    let latency = |latency: Option<Duration>| latency.map_or("-".to_owned(), time);
    for Requests { work, p50, p99 } in rows {
        let [user, system, each] = cpu(work);
        let failed = count(work.failed + work.panicked);
        let gone = count(work.cancelled);
        table.row([
            work.label.clone(),
            count(work.count),
            latency(*p50),
            latency(*p99),
            user,
            system,
            each,
            failed,
            gone,
        ]);
    }
    let sum = |of: fn(&Work) -> u64| count(rows.iter().map(|row| of(&row.work)).sum());
    let cpu = |of: fn(&Work) -> Option<Duration>| {
        rows.iter().map(|row| of(&row.work)).sum::<Option<Duration>>().map_or("-".to_owned(), time)
    };
    let blank = String::new;
    table.row([
        "all".to_owned(),
        sum(|work| work.count),
        blank(),
        blank(),
        cpu(|work| work.cpu_user),
        cpu(|work| work.cpu_system),
        blank(),
        sum(|work| work.failed + work.panicked),
        sum(|work| work.cancelled),
    ]);
    table
}

fn processes(rows: &[Work]) -> Table {
    let head = [
        "background processes",
        "started",
        "ok",
        "failed",
        "panicked",
        "cancelled",
        "user",
        "system",
        "each",
    ];
    let mut table = Table::new(head);
    for work in rows {
        let [user, system, each] = cpu(work);
        let counts = [work.count, work.ok, work.failed, work.panicked, work.cancelled].map(count);
        let [started, ok, failed, panicked, cancelled] = counts;
        table.row([work.label.clone(), started, ok, failed, panicked, cancelled, user, system, each]);
    }
    table
}

fn connections(rows: &[Work]) -> Table {
    let mut table = Table::new(["connections by listener", "opened", "CPU user", "system", "each"]);
    for work in rows {
        let [user, system, each] = cpu(work);
        table.row([work.label.clone(), count(work.count), user, system, each]);
    }
    table
}

/// User, system, and both together for each.
fn cpu(work: &Work) -> [String; 3] {
    let (Some(user), Some(system)) = (work.cpu_user, work.cpu_system) else {
        return ["-"; 3].map(str::to_owned);
    };
    let each = (user + system).div_f64(work.count.max(1) as f64);
    [user, system, each].map(time)
}

impl Display for Balance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["books", "CPU", "of the process"]);
        for part in &self.parts {
            table.row([part.name.to_owned(), time(part.cpu), percent(part.cpu, self.process)]);
        }
        table.row(["process".to_owned(), time(self.process), percent(self.process, self.process)]);
        write!(f, "{table}")?;
        writeln!(
            f,
            "  parts against the clocks of {} threads: {:+.3} %; unaccounted: {:.2} %",
            self.known_threads, self.discrepancy_percent, self.unaccounted_percent,
        )
    }
}

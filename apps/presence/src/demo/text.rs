//! The report for people.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::balance::Balance;
use super::report::{Report, Requests, Work};
use super::second::SecondHub;
use super::together::shown_together;
use crate::show::{Keep, Table, count, cut, percent, ratio, time};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", requests(&self.requests))?;
        writeln!(f, "{LEGEND}")?;
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
        writeln!(f, "{}", self.second_hub)?;
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

const LEGEND: &str = "  \
  p50, p99: as the clients see it, from sending to the last byte (streams: to the first event)
  user, system: CPU, exact together, apart by estimate; txns: database transactions, and the time in them;
  wait: for a database connection; a request's mean each, and in the last row the sum of all requests
  gone: its client left
";

fn requests(rows: &[Requests]) -> Table {
    let head = [
        "requests by label",
        "count",
        "p50",
        "p99",
        "user",
        "system",
        "txns",
        "in txns",
        "wait",
        "fail",
        "gone",
    ];
    let mut table = Table::new(head);
    for Requests { work, p50, p99 } in rows {
        let [user, system] = cpu(work);
        let [txns, in_txns, wait] = database(work);
        table.row([
            work.label.clone(),
            count(work.count),
            maybe(*p50),
            maybe(*p99),
            user,
            system,
            txns,
            in_txns,
            wait,
            count(work.failed + work.panicked),
            count(work.cancelled),
        ]);
    }
    let sum = |of: fn(&Work) -> u64| count(rows.iter().map(|row| of(&row.work)).sum());
    let time = |of: fn(&Work) -> Option<Duration>| maybe(rows.iter().map(|row| of(&row.work)).sum());
    table.row([
        "all".to_owned(),
        sum(|work| work.count),
        String::new(),
        String::new(),
        time(|work| work.cpu_user),
        time(|work| work.cpu_system),
        sum(|work| work.db_transactions),
        time(|work| Some(work.db_transaction_time)),
        time(|work| work.db_wait),
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
        "panics",
        "dropped",
        "user",
        "system",
        "txns",
        "in txns",
        "wait",
    ];
    let mut table = Table::new(head);
    for work in &shown_together(rows) {
        let counts = [work.count, work.ok, work.failed, work.panicked, work.cancelled].map(count);
        let [started, ok, failed, panicked, cancelled] = counts;
        let ([user, system], [txns, in_txns, wait]) = (cpu(work), database(work));
        table.row([
            cut(&work.label, LABEL, Keep::Beginning),
            started,
            ok,
            failed,
            panicked,
            cancelled,
            user,
            system,
            txns,
            in_txns,
            wait,
        ]);
    }
    table
}

/// More of them would not fit.
const LABEL: usize = 28;
fn connections(rows: &[Work]) -> Table {
    let mut table = Table::new(["connections by listener", "opened", "user", "system"]);
    for work in rows {
        let [user, system] = cpu(work);
        table.row([work.label.clone(), count(work.count), user, system]);
    }
    table
}

fn maybe(measured: Option<Duration>) -> String {
    measured.map_or("-".to_owned(), time)
}

/// User and system, of each.
fn cpu(work: &Work) -> [String; 2] {
    [work.cpu_user, work.cpu_system].map(|cpu| maybe(cpu.map(|cpu| mean(cpu, work))))
}

/// Transactions, the time in them and the wait for a connection, of each.
fn database(work: &Work) -> [String; 3] {
    [
        ratio(work.db_transactions, work.count),
        time(mean(work.db_transaction_time, work)),
        maybe(work.db_wait.map(|wait| mean(wait, work))),
    ]
}

fn mean(time: Duration, work: &Work) -> Duration {
    time.div_f64(work.count.max(1) as f64)
}

impl Display for SecondHub {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (same, users) = (self.users - self.different.len(), self.users);
        let settled = time(self.settled);
        writeln!(f, "hub two      {same} of {users} users as in hub one, {settled} after the last time-out")?;
        let [transactions, states, stale] = [self.transactions, self.states, self.stale].map(count);
        write!(
            f,
            "             {transactions} transactions with {states} newer states and {stale} older ones"
        )?;
        for work in &self.requests {
            let ([user, system], [_, in_txns, _]) = (cpu(work), database(work));
            let Work { label, count: n, .. } = work;
            write!(
                f,
                "\n             {label}: {}, each {user} user, {system} system, {in_txns} in txns",
                count(*n)
            )?;
        }
        Ok(())
    }
}

impl Display for Balance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["books", "CPU", "of the process"]);
        for part in &self.parts {
            table.row([part.name.to_owned(), time(part.cpu), percent(part.cpu, self.process)]);
        }
        table.row(["process".to_owned(), time(self.process), percent(self.process, self.process)]);
        write!(f, "{table}")?;
        if !self.by_drivers.is_zero() {
            writeln!(
                f,
                "  in them what SQLite's own threads burned, charged to whom they worked for: {}, {}",
                time(self.by_drivers),
                percent(self.by_drivers, self.process),
            )?;
        }
        writeln!(
            f,
            "  parts against the clocks of {} threads: {:+.3} %; unaccounted: {:.2} %",
            self.known_threads, self.discrepancy_percent, self.unaccounted_percent,
        )
    }
}

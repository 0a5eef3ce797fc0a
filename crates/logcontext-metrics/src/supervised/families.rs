//! The families of each kind of context: the same for all, under names of their own.

use logcontext::ContextKind;

use super::figures::{ENDINGS, Figures, Remote};
use super::rows::Row;
use crate::encode::{Kind, Text, Value};

/// The families of one kind of context, each with its help.
struct Names {
    kind: ContextKind,
    started: (&'static str, &'static str),
    finished: (&'static str, &'static str),
    in_flight: (&'static str, &'static str),
    responses: Option<(&'static str, &'static str)>,
    duration: (&'static str, &'static str),
    cpu: (&'static str, &'static str),
    after_finish: (&'static str, &'static str),
    transactions: (&'static str, &'static str),
    transaction_time: (&'static str, &'static str),
    wait: (&'static str, &'static str),
    acquire: (&'static str, &'static str),
    remote_calls: (&'static str, &'static str),
    remote_unknown: (&'static str, &'static str),
    remote_cpu: (&'static str, &'static str),
    remote_transactions: (&'static str, &'static str),
    remote_transaction_time: (&'static str, &'static str),
    remote_wait: (&'static str, &'static str),
    counts: (&'static str, &'static str),
}

macro_rules! names {
    ($kind:ident, $one:literal, $many:literal, $what:literal, $responses:expr) => {
        Names {
            kind: ContextKind::$kind,
            started: (
                concat!("logcontext_", $many, "_started"),
                concat!($what, " that were started."),
            ),
            finished: (
                concat!("logcontext_", $many),
                concat!($what, " that have finished, by how they ended."),
            ),
            in_flight: (
                concat!("logcontext_", $many, "_in_flight"),
                concat!($what, " that have not finished. Those whose label is not known yet are (none)."),
            ),
            responses: $responses,
            duration: (
                concat!("logcontext_", $one, "_duration_seconds"),
                concat!($what, " that have finished, by the time from start to finish."),
            ),
            cpu: (
                concat!("logcontext_", $one, "_cpu_seconds"),
                concat!($what, ": CPU time, in flight included. The sum of the modes is exact, how it is split is an estimate."),
            ),
            after_finish: (
                concat!("logcontext_", $one, "_cpu_after_finish_seconds"),
                concat!($what, ": of their CPU time, what came after they had finished, from followers or late."),
            ),
            transactions: (
                concat!("logcontext_", $one, "_db_transactions"),
                concat!($what, ": database transactions, each counted once however often it was tried."),
            ),
            transaction_time: (
                concat!("logcontext_", $one, "_db_transaction_seconds"),
                concat!($what, ": time in database transactions."),
            ),
            wait: (
                concat!("logcontext_", $one, "_db_wait_seconds"),
                concat!($what, ": time spent waiting for a database connection."),
            ),
            acquire: (
                concat!("logcontext_", $one, "_db_acquire_seconds"),
                concat!($what, ": time spent getting connections from pools that cannot tell waiting from connecting."),
            ),
            remote_calls: (
                concat!("logcontext_", $one, "_remote_calls"),
                concat!($what, ": calls to others whose cost came home."),
            ),
            remote_unknown: (
                concat!("logcontext_", $one, "_remote_unknown_calls"),
                concat!($what, ": calls to others whose cost is not known: no answer, or one that did not say."),
            ),
            remote_cpu: (
                concat!("logcontext_", $one, "_remote_cpu_seconds"),
                concat!($what, ": CPU time that their calls cost elsewhere, as far as answers have told."),
            ),
            remote_transactions: (
                concat!("logcontext_", $one, "_remote_db_transactions"),
                concat!($what, ": database transactions that their calls made elsewhere, as far as answers have told."),
            ),
            remote_transaction_time: (
                concat!("logcontext_", $one, "_remote_db_transaction_seconds"),
                concat!($what, ": time in database transactions that their calls cost elsewhere, as far as answers have told."),
            ),
            remote_wait: (
                concat!("logcontext_", $one, "_remote_db_wait_seconds"),
                concat!($what, ": time spent waiting for a database connection that their calls cost elsewhere, as far as answers have told."),
            ),
            counts: (
                concat!("logcontext_", $one, "_counts"),
                concat!($what, ": what the service counts per context, by counter."),
            ),
        }
    };
}

const ALL: [Names; 5] = [
    names!(
        Request,
        "request",
        "requests",
        "Requests",
        Some(("logcontext_responses", "Answers to requests that have finished, by class of status."))
    ),
    names!(Background, "background_process", "background_processes", "Runs of background processes", None),
    names!(Block, "block", "blocks", "Measured blocks", None),
    names!(Connection, "connection", "connections", "Connections of clients", None),
    names!(Task, "task", "tasks", "Contexts of other work", None),
];

/// Writes the families of all rows.
pub(crate) fn write(text: &mut Text, rows: &[Row]) {
    for names in &ALL {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.kind == names.kind).collect();
        let counted: Vec<&Row> = rows.iter().copied().filter(|row| row.is_counted).collect();
        names.write_counts(text, &rows, &counted);
        names.write_costs(text, &counted);
    }
}

impl Names {
    fn write_counts(&self, text: &mut Text, rows: &[&Row], counted: &[&Row]) {
        let count = |figure: fn(&Figures) -> u64| move |row: &Row| Some(Value::Count(figure(&row.figures)));
        each(text, self.started, Kind::Counter, counted, count(|figures| figures.started));
        let (name, help) = self.finished;
        let mut family = text.family(name, Kind::Counter, help);
        for row in counted {
            for (ending, n) in ENDINGS.into_iter().zip(row.figures.endings) {
                family.sample_by(&row.pair, Some(("outcome", ending.name())), Value::Count(n));
            }
        }
        each(text, self.in_flight, Kind::Gauge, rows, count(|figures| figures.in_flight));
        if let Some((name, help)) = self.responses {
            let mut family = text.family(name, Kind::Counter, help);
            for row in counted {
                for (class, n) in &row.figures.responses {
                    family.sample_by(&row.pair, Some(("status", class)), Value::Count(*n));
                }
            }
        }
        let (name, help) = self.duration;
        let mut family = text.family(name, Kind::Histogram, help);
        for row in counted {
            family.histogram(&row.pair, &row.figures.durations);
        }
    }

    fn write_costs(&self, text: &mut Text, counted: &[&Row]) {
        let (name, help) = self.cpu;
        let mut family = text.family(name, Kind::Counter, help);
        for row in counted {
            if let Some(cpu) = row.figures.cpu {
                let user = Value::Nanos(cpu.total - cpu.system);
                family.sample_by(&row.pair, Some(("mode", "user")), user);
                family.sample_by(&row.pair, Some(("mode", "system")), Value::Nanos(cpu.system));
            }
        }
        each(text, self.after_finish, Kind::Counter, counted, |row| {
            row.figures.cpu.map(|cpu| Value::Nanos(cpu.after_finish))
        });
        each(text, self.transactions, Kind::Counter, counted, |row| {
            Some(Value::Count(row.figures.transactions))
        });
        each(text, self.transaction_time, Kind::Counter, counted, |row| {
            Some(Value::Nanos(row.figures.transaction_time))
        });
        each(text, self.wait, Kind::Counter, counted, |row| row.figures.wait.nanos().map(Value::Nanos));
        each(text, self.acquire, Kind::Counter, counted, |row| {
            (row.figures.acquire > 0).then_some(Value::Nanos(row.figures.acquire))
        });
        self.write_remote(text, counted);
        let (name, help) = self.counts;
        let mut family = text.family(name, Kind::Counter, help);
        for row in counted {
            for (counter, n) in &row.figures.counters {
                family.sample_by(&row.pair, Some(("counter", counter)), Value::Count(*n));
            }
        }
    }

    /// Of rows that have called somebody.
    fn write_remote(&self, text: &mut Text, counted: &[&Row]) {
        let mut write = |names, value: fn(&Remote) -> Option<Value>| {
            each(text, names, Kind::Counter, counted, |row| value(row.figures.remote.as_ref()?));
        };
        write(self.remote_calls, |remote| Some(Value::Count(remote.calls)));
        write(self.remote_unknown, |remote| Some(Value::Count(remote.unknown)));
        write(self.remote_cpu, |remote| remote.cpu.map(Value::Nanos));
        write(self.remote_transactions, |remote| Some(Value::Count(remote.transactions)));
        write(self.remote_transaction_time, |remote| Some(Value::Nanos(remote.transaction_time)));
        write(self.remote_wait, |remote| remote.wait.map(Value::Nanos));
    }
}

/// One sample for each row that has a value.
fn each(
    text: &mut Text,
    (name, help): (&str, &str),
    kind: Kind,
    rows: &[&Row],
    value: impl Fn(&Row) -> Option<Value>,
) {
    let mut family = text.family(name, kind, help);
    for row in rows {
        if let Some(value) = value(row) {
            family.sample(&row.pair, value);
        }
    }
}

//! What a request costs the server: ours, next to bare axum and to the usual stack, under the same load.

mod child;
mod load;
mod servers;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::Effort;
use crate::child::Child;
use crate::cpu::leave_that_processor;
use crate::report::{Report, rounded};
use crate::stats::Samples;
use load::Load;

pub(crate) use load::{ask, read_answer};
pub(crate) use servers::run as serve;

/// Over bare axum, in microseconds.
pub(crate) const CEILING: f64 = 2.3;
/// The same, of what the usual stack adds.
const SHARE_CEILING: f64 = 0.25;

/// Each server gets so many requests a round,
const REQUESTS: u32 = 20_000;
/// in so many turns: what else the machine does falls on all of them.
const TURNS: u32 = 10;
const ROUNDS: usize = 15;

/// By server.
type Figures = Vec<Samples>;

/// What a server has around its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// axum alone
    Bare,
    /// hyper's connections as ours are made, and nothing else
    BareHyper,
    /// Contexts, access lines in JSON to a file, request ids, traces
    Ours,
    /// The same without a log
    OursNoLogs,
    /// Ours, with an exposition of metrics for whoever asks: in `bench metrics`
    OursMetrics,
    /// tower-http's TraceLayer and request ids, axum-prometheus, tracing-subscriber's JSON to a file
    Stock,
}

impl Kind {
    /// Those of `bench http`
    const ALL: [Self; 5] = [Self::Bare, Self::BareHyper, Self::Ours, Self::OursNoLogs, Self::Stock];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareHyper => "bare-hyper",
            Self::Ours => "ours",
            Self::OursNoLogs => "ours-no-logs",
            Self::OursMetrics => "ours-metrics",
            Self::Stock => "stock",
        }
    }

    fn logs(self) -> bool {
        matches!(self, Self::Ours | Self::OursMetrics | Self::Stock)
    }
}

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Two that share a processor, or take turns on two, wake and interrupt each other as it happens: that costs more than
    // what is to be measured.
    let mut servers = start(&Kind::ALL, folder.path())?;
    let apart = leave_that_processor();
    for (connections, key) in [(16, None), (1, Some("one_connection"))] {
        report.section(&format!("Requests, {connections} at a time, in microseconds of CPU"));
        let (figures, busy) = measure(&mut servers, connections, apart, effort)?;
        tell(report, key, &figures, &busy);
    }
    report.put(
        "method",
        json!({
            "clock": "CLOCK_PROCESS_CPUTIME_ID of each server's own process, user and system",
            "load": "keep-alive connections over loopback, from one thread of another process; each asks again as soon as it has its answer; with a processor of its own it looks for answers without sleeping, so that no server has to wake it",
            "handler": "the same in each: some microseconds of work, which keep the server busy and are in every figure",
            "busy": "of the time that a server's own requests took",
            "servers_have_a_processor_of_their_own": apart,
            "connections": 16,
            "requests_per_round": REQUESTS,
            "rounds": effort.of(ROUNDS),
            "over": "median of the rounds' differences",
        }),
    );
    Ok(())
}

/// Starts one server of each kind, with their logs in this folder.
pub(crate) fn start(kinds: &[Kind], folder: &Path) -> Result<Vec<Server>> {
    kinds.iter().map(|kind| Server::start(*kind, folder.join(kind.name()))).collect()
}

/// One that runs, in a process of its own.
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    fn start(kind: Kind, log: PathBuf) -> Result<Self> {
        let (child, port) = child::start(kind, &log)?;
        Ok(Self { kind, child, port, log })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// There is a line for every request. What was written so far is not needed any more.
    fn check_log(&self, requests: u32) -> Result<()> {
        if self.kind.logs() {
            let lines = fs::read(&self.log)?.iter().filter(|&&byte| byte == b'\n').count();
            // The writer may be some lines behind, and then has those of the round before.
            let about = |lines: usize| lines.abs_diff(requests as usize) <= requests as usize / 10;
            ensure!(about(lines), "{}: {lines} lines for {requests} requests", self.kind.name());
            OpenOptions::new().write(true).open(&self.log)?.set_len(0)?;
        }
        Ok(())
    }
}

/// CPU per request, in microseconds, by round and server; and how much of the time that its requests took each was busy.
/// `apart`: the load has a processor of its own.
pub(crate) fn measure(
    servers: &mut [Server],
    connections: usize,
    apart: bool,
    effort: Effort,
) -> Result<(Figures, Figures)> {
    let mut loads = Vec::new();
    for server in servers.iter() {
        loads.push(Load::connect(server.port, connections, apart)?);
    }
    let mut figures = vec![Samples::default(); servers.len()];
    let mut busy = figures.clone();
    // All that a server does until the end of a round is of that round, also what it does while others are asked: what
    // is put off, a log's lines for one, is not lost. The first round is to get warm.
    let mut before = Vec::new();
    for round in 0..=effort.of(ROUNDS) {
        let mut requests = 0;
        let mut took = vec![Duration::ZERO; servers.len()];
        for _ in 0..TURNS {
            for (load, took) in loads.iter_mut().zip(&mut took) {
                let start = Instant::now();
                requests = load.run(REQUESTS / TURNS)?;
                *took += start.elapsed();
            }
        }
        requests *= TURNS;
        for (i, server) in servers.iter_mut().enumerate() {
            let now = server.child.cpu_nanos()?;
            if round == 0 {
                before.push(now);
            } else {
                figures[i].push((now - before[i]) as f64 / 1_000.0 / f64::from(requests));
                busy[i].push((now - before[i]) as f64 / took[i].as_nanos() as f64);
                before[i] = now;
            }
            server.check_log(requests)?;
        }
    }
    Ok((figures, busy))
}

fn tell(report: &mut Report, key: Option<&str>, figures: &Figures, busy: &Figures) {
    let ([bare, bare_hyper, ours, ours_no_logs, stock], [bare_busy, _, ours_busy, _, stock_busy]) =
        (&figures[..], &busy[..])
    else {
        unreachable!("there is a figure for each server")
    };
    let over_bare = |of: &Samples| of.zip(bare, |of, bare| of - bare);
    let (ours_over, stock_over) = (over_bare(ours), over_bare(stock));
    let mut object = Map::new();
    for (name, samples, ceiling) in [
        ("bare_us", bare, None),
        ("bare_hyper_us", bare_hyper, None),
        ("ours_us", ours, None),
        ("ours_no_logs_us", ours_no_logs, None),
        ("stock_us", stock, None),
        ("ours_over_bare_us", &ours_over, Some(CEILING)),
        ("stock_over_bare_us", &stock_over, None),
        (
            "ours_of_stocks_share",
            &ours_over.zip(&stock_over, |ours, stock| ours / stock),
            Some(SHARE_CEILING),
        ),
        ("bare_busy", bare_busy, None),
        ("ours_busy", ours_busy, None),
        ("stock_busy", stock_busy, None),
    ] {
        let full = key.map_or(name.to_owned(), |key| format!("{key}.{name}"));
        report.line(&full, samples.spread(), ceiling);
        if key.is_some() {
            object.insert(name.to_owned(), rounded(samples.median()).into());
        } else {
            report.put(name, rounded(samples.median()));
        }
    }
    if let Some(key) = key {
        report.put(key, Value::Object(object));
    }
}

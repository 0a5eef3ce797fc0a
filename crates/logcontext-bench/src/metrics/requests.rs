//! What a request costs where metrics are on, and somebody scrapes them.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Effort;
use crate::cpu::leave_that_processor;
use crate::http::{self, CEILING, Kind, ask};
use crate::report::Report;

const EVERY: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: presence.example\r\n\
    accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n";

/// Answers whether the servers have a processor of their own.
pub(super) fn run(report: &mut Report, effort: Effort) -> Result<bool> {
    report.section("Requests beside scrapes, 16 at a time, in microseconds of CPU");
    let folder = tempfile::tempdir()?;
    let mut servers = http::start(&[Kind::Bare, Kind::Ours, Kind::OursMetrics], folder.path())?;
    let apart = leave_that_processor();
    let port = servers[2].port();
    let (end, ended) = mpsc::channel::<()>();
    let (figures, scrapes) = std::thread::scope(|threads| {
        #[expect(clippy::disallowed_methods, reason = "a scraper of its own")]
        let scraper = threads.spawn(move || -> Result<u32> {
            let mut scrapes = 0;
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                scrape(port)?;
                scrapes += 1;
            }
            Ok(scrapes)
        });
        let figures = http::measure(&mut servers, 16, apart, effort);
        drop(end);
        let scrapes = scraper.join().ok().context("the scraper panicked")??;
        Ok::<_, anyhow::Error>((figures?.0, scrapes))
    })?;
    ensure!(scrapes > 0, "nobody has scraped");
    let [bare, without, ours] = &figures[..] else { unreachable!("there is a figure for each server") };
    report.figure("bare_us", bare.spread());
    report.figure("ours_us", ours.spread());
    report.figure("ours_without_metrics_us", without.spread());
    report.bounded("ours_over_bare_us", ours.zip(bare, |ours, bare| ours - bare).spread(), CEILING);
    report.figure("metrics_us", ours.zip(without, |ours, without| ours - without).spread());
    report.put("scrapes", scrapes);
    Ok(apart)
}

fn scrape(port: u16) -> Result<()> {
    let answer = String::from_utf8(ask(port, REQUEST)?)?;
    ensure!(answer.ends_with("# EOF\n"), "an exposition without an end");
    ensure!(answer.contains("logcontext_requests_total{"), "an exposition without requests");
    Ok(())
}

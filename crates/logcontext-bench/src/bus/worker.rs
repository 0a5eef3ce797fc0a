//! The process of one worker.

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use logcontext_bus::Bus;
use tokio::runtime::Builder;

use super::{Side, bare_nats, bare_redis, ours};
use crate::child::Child;
use crate::cpu::process_nanos;

/// Starts one.
pub(super) fn start(side: Side, url: &str, prefix: &str) -> Result<Child> {
    let side = side.to_possible_value().context("each side has a name")?;
    Child::start(&["serve-bus", side.get_name(), "--url", url, "--prefix", prefix]).map(|(child, _)| child)
}

/// What it does.
pub(crate) fn serve(side: Side, url: &str, prefix: &str) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _bus = match side {
        Side::Ours => Some(runtime.block_on(async {
            let bus = Bus::connect(&ours::config(url, prefix)).await?;
            ours::serve_echo(&bus).await?;
            anyhow::Ok(bus)
        })?),
        Side::Bare if url.starts_with("nats:") => {
            runtime.block_on(bare_nats::serve(url, prefix))?;
            None
        }
        Side::Bare => {
            runtime.block_on(bare_redis::serve(url, prefix))?;
            None
        }
    };
    println!("0");
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", process_nanos());
        io::stdout().flush()?;
    }
    runtime.shutdown_background();
    Ok(())
}

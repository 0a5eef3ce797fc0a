//! Users' interface, by one process and by two.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use logcontext_testservers::{Postgres, Redis};
use serde_json::{Map, Value};

use super::process::{Machine, Presence};
use crate::Effort;
use crate::http::read_answer;
use crate::report::{Report, rounded};
use crate::stats::Samples;

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(5);
const CLIENTS: usize = 32;
const USERS: usize = 500;

pub(super) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    report.section("Users set their presence: a second, microseconds");
    let (redis, postgres) = match (Redis::start_in_memory(), Postgres::start()) {
        (Ok(redis), Ok(postgres)) => (redis, postgres),
        (Err(missing), _) | (_, Err(missing)) => {
            report.note(&format!("not measured: {missing}"));
            return Ok(());
        }
    };
    let time = if effort.quick { TIME / 5 } else { TIME };
    let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..effort.of(ROUNDS) {
        for (n, rounds) in rounds.iter_mut().enumerate() {
            rounds.push(round(&redis, &postgres, n + 1, time)?);
        }
    }
    let mut all = Map::new();
    for (n, rounds) in rounds.iter().enumerate() {
        let (processes, mut found) = (n + 1, Map::new());
        for (name, get) in FIGURES {
            let samples: Samples = rounds.iter().map(get).collect();
            report.line(&format!("api.{processes}.{name}"), samples.spread(), None);
            found.insert(name.to_owned(), rounded(samples.median()).into());
        }
        all.insert(processes.to_string(), Value::Object(found));
    }
    report.put("api", Value::Object(all));
    Ok(())
}

struct Round {
    /// How long each request took, in microseconds, sorted.
    times: Vec<f64>,
    time: Duration,
    cpu: Duration,
    idle: f64,
}

type Get = fn(&Round) -> f64;

const FIGURES: [(&str, Get); 6] = [
    ("requests_per_second", |round| round.times.len() as f64 / round.time.as_secs_f64()),
    ("p50_us", |round| round.times[round.times.len() / 2]),
    ("p99_us", |round| round.times[round.times.len() * 99 / 100]),
    ("cpu_us_per_request", |round| round.cpu.as_secs_f64() * 1e6 / round.times.len() as f64),
    ("processors_of_the_api", |round| round.cpu.as_secs_f64() / round.time.as_secs_f64()),
    ("idle", |round| round.idle),
];

fn round(redis: &Redis, postgres: &Postgres, processes: usize, time: Duration) -> Result<Round> {
    let (url, prefix, database) = (redis.url(), redis.fresh_prefix(), postgres.fresh_database());
    let config = format!(
        "[database]\nurl = \"{database}\"\n[presence]\nrole = \"api\"\n\
        [presence.bus]\nurl = \"{url}\"\nprefix = \"{prefix}\"\n"
    );
    let all = (0..processes).map(|_| Presence::start(&config)).collect::<Result<Vec<_>>>()?;
    let addresses: Vec<_> = all.iter().map(|presence| presence.address).collect();
    // All users are there, and all connections are open.
    load(&addresses, Duration::from_millis(500))?;
    let cpu = || all.iter().map(Presence::cpu).sum::<Result<Duration>>();
    let (before, machine, begun) = (cpu()?, Machine::look()?, Instant::now());
    let times = load(&addresses, time)?;
    let round = Round {
        times,
        time: begun.elapsed(),
        cpu: cpu()?.saturating_sub(before),
        idle: machine.idle_since()?,
    };
    all.into_iter().try_for_each(Presence::end)?;
    Ok(round)
}

/// How long each request took, sorted.
fn load(addresses: &[SocketAddr], time: Duration) -> Result<Vec<f64>> {
    let is_over = &AtomicBool::new(false);
    let mut times = thread::scope(|scope| {
        #[expect(clippy::disallowed_methods, reason = "what the clients cost is not measured")]
        let start = |n| scope.spawn(move || client(addresses[n % addresses.len()], n, is_over));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        thread::sleep(time);
        is_over.store(true, Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.append(&mut client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn client(address: SocketAddr, number: usize, is_over: &AtomicBool) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut times, mut answer, mut n) = (Vec::new(), Vec::new(), 0);
    while !is_over.load(Relaxed) {
        // Each its own users, in turn.
        let user = (number + n * CLIENTS) % USERS;
        let state = ["online", "unavailable", "offline"][n % 3];
        let body = format!(r#"{{"presence":"{state}"}}"#);
        let request = format!(
            "PUT /presence/user-{user} HTTP/1.1\r\nhost: bench\r\nx-request-user: user-{user}\r\n\
            content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let begun = Instant::now();
        stream.write_all(request.as_bytes())?;
        read_answer(&mut stream, &mut answer).with_context(|| format!("client {number}"))?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        n += 1;
    }
    Ok(times)
}

//! The hubs: `one` in several processes over a broker and PostgreSQL, `two` and `three` each in one process with SQLite, and
//! one that only writes down what it is told.

use std::fs;
use std::net::SocketAddr;

use logcontext_testservers::{Nats, Postgres, Redis, Stop};
use tempfile::TempDir;

use super::client::Client;
use super::recorder::Recorder;
use super::{USERS, ports};
use crate::common::process::{How, Process, folder, presence, run};

/// Where hub `one` says what has changed.
pub(crate) enum Broker {
    Redis(Redis),
    Nats(Nats),
}

impl Broker {
    fn url(&self) -> &str {
        match self {
            Self::Redis(server) => server.url(),
            Self::Nats(server) => server.url(),
        }
    }

    /// As if its machine had lost power, but for what it had written.
    pub(crate) fn kill_and_start_again(&self) {
        match self {
            Self::Redis(server) => {
                server.stop(Stop::Immediate);
                server.start_again();
            }
            Self::Nats(server) => {
                server.stop(Stop::Immediate);
                server.start_again();
            }
        }
    }
}

/// A process that is killed and comes back, with the same address and the same folder.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    config: String,
    /// Its folder while it is away
    folder: Option<TempDir>,
    process: Option<Process>,
    lives: u32,
}

impl Member {
    fn start(name: &'static str, address: SocketAddr, config: String) -> Self {
        let mut member = Self { name, address, config, folder: Some(folder()), process: None, lives: 0 };
        member.come_back();
        member
    }

    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal("KILL");
        process.wait();
        self.folder = Some(std::mem::replace(&mut process.folder, folder()));
    }

    pub(crate) fn come_back(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        let log = folder.path().join("presence.log");
        if log.exists() {
            // What it says next is of its next life.
            fs::rename(&log, folder.path().join(format!("presence-{}.log", self.lives))).unwrap();
        }
        let _ = fs::remove_file(folder.path().join("presence.pid"));
        self.lives += 1;
        fs::write(folder.path().join("presence.toml"), &self.config).unwrap();
        let shown = run(&mut presence(folder.path(), &["config", "show", "--config", "presence.toml"]));
        assert_eq!(shown.code, Some(0), "{shown:?}");
        self.process = Some(Process::start(How::Foreground, folder, &["--config", "presence.toml"]));
    }

    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("it lives")
    }

    /// All that it has logged, in all its lives.
    pub(crate) fn logs(&self) -> String {
        let process = self.process();
        let earlier = (0..self.lives).map(|life| format!("presence-{life}.log"));
        let logs = earlier.map(|name| fs::read_to_string(process.path(&name)).unwrap_or_default());
        logs.chain([process.log()]).collect()
    }
}

pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) broker: Broker,
    /// Of hub `one`: those that answer users, and those that tell other hubs.
    pub(crate) apis: Vec<Member>,
    pub(crate) senders: Vec<Member>,
    /// The hubs that are told.
    pub(crate) told: Vec<Member>,
    pub(crate) recorder: Recorder,
}

impl World {
    pub(crate) fn start(broker: Broker) -> Self {
        let postgres = Postgres::start().unwrap();
        let database = postgres.fresh_database();
        let recorder = Recorder::start();
        let [two, three] = [ports::free(), ports::free()];
        let one = |name, role| {
            let address = ports::free();
            let config =
                config_of_one(address, role, broker.url(), &database, &[two, three, recorder.address]);
            Member::start(name, address, config)
        };
        let apis = vec![one("api-1", "api"), one("api-2", "api")];
        let senders = vec![one("sender-1", "sender"), one("sender-2", "sender")];
        let told = vec![
            Member::start("two", two, config_of_told("two", two, apis[0].address)),
            Member::start("three", three, config_of_told("three", three, apis[0].address)),
        ];
        Self { postgres, broker, apis, senders, told, recorder }
    }

    /// Hub `three` follows every other user; the others follow all.
    pub(crate) fn follow(&self) {
        let mut client = Client::new(self.apis[0].address);
        for n in (0..USERS).step_by(2) {
            let request = format!("PUT /_federation/follows/{}", user(n));
            let (status, body) = client.ask(&request, &["authorization: Bearer secret-three"], "").unwrap();
            assert_eq!(status, 200, "{body}");
        }
    }

    /// Whatever is away comes back.
    pub(crate) fn heal(&mut self) {
        for member in self.apis.iter_mut().chain(&mut self.senders).chain(&mut self.told) {
            member.come_back();
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.apis.iter().chain(&self.senders).chain(&self.told)
    }

    /// Each ends in order; senders first, so that nobody has to wait for who is gone.
    pub(crate) fn end(self) {
        for member in self.senders.into_iter().chain(self.apis).chain(self.told) {
            member.process.expect("it lives").end();
        }
    }
}

pub(crate) fn user(n: usize) -> String {
    format!("user-{n}")
}

/// Nobody times out, and whatever fails is tried again soon. The client of NATS has a task of its own, which belongs to nobody
/// and says so in the log.
const COMMON: &str = "
[log]
filter = \"info,presence=debug,async_nats=warn\"
[admin]
address = \"127.0.0.1:0\"
";

fn config_of_one(
    address: SocketAddr,
    role: &str,
    broker: &str,
    database: &str,
    told: &[SocketAddr],
) -> String {
    let mut config = format!(
        "{COMMON}
[[listeners]]
address = \"{address}\"
[database]
url = \"{database}\"
[presence]
role = \"{role}\"
unavailable_after = \"1h\"
offline_after = \"2h\"
[presence.bus]
url = \"{broker}\"
claim_after = \"2s\"
[presence.federation]
hub = \"one\"
retry_first = \"100ms\"
retry_limit = \"2s\"
timeout = \"5s\"
"
    );
    for (name, address) in ["two", "three", "recorder"].iter().zip(told) {
        let follows_all = *name != "three";
        config += &format!(
            "[presence.federation.hubs.{name}]
url = \"http://{address}\"
secret = \"secret-{name}\"
follows_all = {follows_all}
"
        );
    }
    config
}

fn config_of_told(name: &str, address: SocketAddr, one: SocketAddr) -> String {
    format!(
        "{COMMON}
[[listeners]]
address = \"{address}\"
[presence.federation]
hub = \"{name}\"
[presence.federation.hubs.one]
url = \"http://{one}\"
secret = \"secret-{name}\"
"
    )
}

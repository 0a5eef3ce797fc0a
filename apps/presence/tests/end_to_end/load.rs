//! Users who change their presence, and do not give up before it was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::Client;
use super::hubs::{World, user};

/// So many change theirs at once.
const WORKERS: usize = 8;

/// Longer than this no change takes, whatever is away meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// What each user said last that was acknowledged.
pub(crate) type Latest = BTreeMap<String, String>;

pub(crate) struct Load {
    acknowledged: Arc<AtomicUsize>,
    /// It waits where so many are.
    limit: Arc<AtomicUsize>,
    total: usize,
    workers: Vec<JoinHandle<Latest>>,
}

impl Load {
    pub(crate) fn start(world: &World, users: usize, changes: usize) -> Self {
        let (acknowledged, limit) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let apis: Vec<SocketAddr> = world.apis.iter().map(|api| api.address).collect();
        let per_worker = changes / WORKERS;
        let start = |worker: usize| {
            let (acknowledged, limit, apis) = (Arc::clone(&acknowledged), Arc::clone(&limit), apis.clone());
            let names: Vec<_> = (worker..users).step_by(WORKERS).map(user).collect();
            #[expect(clippy::disallowed_methods, reason = "users have no context")]
            thread::spawn(move || change(&apis, worker, &names, per_worker, &acknowledged, &limit))
        };
        let workers = (0..WORKERS).map(start).collect();
        Self { acknowledged, limit, total: per_worker * WORKERS, workers }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Relaxed)
    }

    /// So many changes are this part of all that there is to do.
    pub(crate) fn part(&self, part: f64) -> usize {
        (part * self.total as f64) as usize
    }

    /// It goes on until there are so many.
    pub(crate) fn go_on_until(&self, acknowledged: usize) {
        self.limit.store(acknowledged, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    pub(crate) fn join(self) -> Latest {
        let latest = self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        assert_eq!(self.acknowledged.load(Relaxed), self.total);
        latest
    }
}

fn change(
    apis: &[SocketAddr],
    worker: usize,
    names: &[String],
    changes: usize,
    acknowledged: &AtomicUsize,
    limit: &AtomicUsize,
) -> Latest {
    let mut clients: Vec<_> = apis.iter().map(|address| Client::new(*address)).collect();
    let (mut latest, mut turn) = (Latest::new(), worker);
    for n in 0..changes {
        let name = &names[n % names.len()];
        let said = format!("{worker}-{n}");
        let state = ["online", "unavailable", "offline"][n % 3];
        let body = format!(r#"{{"presence": "{state}", "status_msg": "{said}"}}"#);
        let headers = ["content-type: application/json", &format!("x-request-user: {name}")];
        while acknowledged.load(Relaxed) >= limit.load(Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        let begun = Instant::now();
        loop {
            turn += 1;
            let client = turn % clients.len();
            match clients[client].ask(&format!("PUT /presence/{name}"), &headers, &body) {
                Ok((200, _)) => break,
                Ok((500.., _)) | Err(_) => {}
                Ok(other) => panic!("{name} was answered {other:?}"),
            }
            assert!(begun.elapsed() < PATIENCE, "nobody has acknowledged {said} of {name}");
            thread::sleep(Duration::from_millis(20));
        }
        acknowledged.fetch_add(1, Relaxed);
        latest.insert(name.clone(), said);
    }
    latest
}

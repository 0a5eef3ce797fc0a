//! Random deliveries, ends of handlers, claims that are lost and come back, answers that take their time, and stops,
//! against the rules that a listener keeps.
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::DeliveryId;
use logcontext_bus::{OnError, Retry, StopReason};
use proptest::prelude::*;
use support::script::{Asked, Script, at};
use support::{Changed, changed, complaints, patient, settle, short_panics};
use tokio::sync::{Semaphore, oneshot};

const SLOTS: usize = 3;
const HOLD: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Ok,
    Error,
    Panic,
}

#[derive(Clone, Debug)]
enum Op {
    /// A new event of this key.
    Deliver(u8),
    /// One of those that there were comes once more.
    Again(prop::sample::Index),
    /// One of the handlers that run ends.
    End(prop::sample::Index, How),
    /// One of those that there are becomes another's.
    Lose(prop::sample::Index),
    /// Time goes by.
    Time(u8),
    /// The broker answers, or does not.
    Answers(bool),
    Stop,
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![3 => Just(How::Ok), 2 => Just(How::Error), 1 => Just(How::Panic)];
    prop_oneof![
        8 => (0..3_u8).prop_map(Op::Deliver),
        3 => any::<prop::sample::Index>().prop_map(Op::Again),
        8 => (any::<prop::sample::Index>(), how).prop_map(|(which, how)| Op::End(which, how)),
        2 => any::<prop::sample::Index>().prop_map(Op::Lose),
        3 => (1..8_u8).prop_map(Op::Time),
        2 => any::<bool>().prop_map(Op::Answers),
        1 => Just(Op::Stop),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    policy: OnError,
    retries: u32,
    is_ordered: bool,
    /// It is not stopped in the end, but dies.
    dies: bool,
}

fn setting() -> impl Strategy<Value = Setting> {
    let policy = prop_oneof![
        1 => Just(OnError::Ignore),
        1 => Just(OnError::AcknowledgeAndLog),
        1 => Just(OnError::StopListener),
        1 => Just(OnError::Shutdown),
        3 => Just(OnError::DeadLetter),
    ];
    (policy, 0..3_u32, any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(policy, retries, is_ordered, dies)| Setting { policy, retries, is_ordered, dies })
}

/// A run of a handler, that says how it ends.
struct Run(Script, DeliveryId, bool);

impl Run {
    fn note(&self, what: &'static str) {
        note(&self.0, self.1, what);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.2 {
            self.note("aborted");
        }
    }
}

fn note(script: &Script, id: DeliveryId, what: &'static str) {
    script.state.lock().unwrap().asked.push(Asked::Note(id, what));
}

type Running = Arc<Mutex<BTreeMap<u64, oneshot::Sender<How>>>>;

async fn play(setting: Setting, ops: Vec<Op>) -> (Vec<Asked>, Arc<Semaphore>, BTreeMap<u64, u8>) {
    let script = Script::new();
    let bus = script.bus();
    let running = Running::default();
    let handler = {
        let (script, running) = (script.clone(), Arc::clone(&running));
        move |event: Changed| {
            let (end, ended) = oneshot::channel();
            let run = Run(script.clone(), at(event.n), false);
            run.note("begun");
            assert!(running.lock().unwrap().insert(event.n, end).is_none(), "twice at once");
            async move {
                let mut run = run;
                let Ok(how) = ended.await else { return std::future::pending().await };
                run.2 = true;
                match how {
                    How::Ok => Ok(()),
                    How::Error => Err("no"),
                    How::Panic => panic!("no"),
                }
            }
        }
    };
    // Never at the moment at which claims are renewed: which comes first then is anybody's guess.
    let [from, to] = [1_100, 4_400].map(Duration::from_millis);
    let retry = Retry::times(setting.retries).backoff(from, to);
    let mut listen = bus.listen::<Changed>("sender", handler).slots(SLOTS).hold(HOLD).retry(retry);
    listen = listen.on_error(setting.policy).max_deliveries(u32::MAX);
    if setting.is_ordered {
        listen = listen.in_order();
    }
    let listener = listen.start().await.unwrap();
    let slots = Arc::clone(&script.state.lock().unwrap().wishes[0].slots);
    let mut keys = BTreeMap::new();
    let message = async |n: u64, key: u8| script.message(&bus, &changed(&format!("user-{key}"), n)).await;
    let deliver = async |n, key, what| {
        let message = message(n, key).await;
        if script.state.lock().unwrap().wishes.is_empty() {
            return;
        }
        if slots.available_permits() > 0 {
            note(&script, at(n), what);
            assert!(script.deliver(at(n), 1, &message));
        }
    };
    let end = |n: u64, how| {
        let end = running.lock().unwrap().remove(&n).unwrap();
        let what = match how {
            How::Ok => "ok",
            How::Error => "error",
            How::Panic => "panic",
        };
        note(&script, at(n), what);
        // It may be dead by then.
        let _ = end.send(how);
    };
    for op in ops {
        match op {
            Op::Deliver(key) => {
                let n = keys.len() as u64 + 1;
                keys.insert(n, key);
                deliver(n, key, "delivered").await;
            }
            Op::Again(which) if !keys.is_empty() => {
                let n = which.index(keys.len()) as u64 + 1;
                // A broker does not give out what it knows to be done.
                if !script.state.lock().unwrap().over.contains(&at(n)) {
                    let is_asked = script.peek().iter().any(|asked| match asked {
                        Asked::Acknowledge(ids) => ids.contains(&at(n)),
                        Asked::Bury(id, _) => *id == at(n),
                        _ => false,
                    });
                    deliver(n, keys[&n], if is_asked { "echoed" } else { "delivered" }).await;
                }
            }
            Op::End(which, how) => {
                let all: Vec<_> = running.lock().unwrap().keys().copied().collect();
                if !all.is_empty() {
                    end(all[which.index(all.len())], how);
                }
            }
            Op::Lose(which) if !keys.is_empty() => {
                let id = at(which.index(keys.len()) as u64 + 1);
                script.state.lock().unwrap().lost.push(id);
            }
            Op::Time(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
            Op::Answers(answers) => _ = script.answers.send_replace(answers),
            Op::Stop => listener.stop(),
            Op::Again(_) | Op::Lose(_) => {}
        }
        settle().await;
    }
    if setting.dies {
        logcontext::Supervisor::current().shutdown(Duration::ZERO).await;
        assert_ne!(listener.stopped().await, StopReason::Closed);
    } else {
        script.answers.send_replace(true);
        listener.stop();
        settle().await;
        let first = || running.lock().unwrap().keys().next().copied();
        while let Some(n) = first() {
            end(n, How::Ok);
            settle().await;
        }
        assert!(matches!(listener.stopped().await, StopReason::Asked | StopReason::Failed(_)));
    }
    (script.asked(), slots, keys)
}

/// What is known of an event from its delivery to its end.
#[derive(Debug, Default)]
struct Tenure {
    runs: u32,
    is_running: bool,
    last: Option<How>,
    is_lost: bool,
}

struct Rules {
    setting: Setting,
    keys: BTreeMap<u64, u8>,
    here: BTreeMap<DeliveryId, Tenure>,
    stopping: bool,
    failures: usize,
    panics: usize,
}

impl Rules {
    /// Has its policy disposed of it, after all retries?
    fn is_final(&self, tenure: &Tenure) -> bool {
        tenure.last.is_some_and(|how| how != How::Ok) && tenure.runs == self.setting.retries + 1
    }

    /// Was it handled, or disposed of as if it was?
    fn is_done(&self, tenure: &Tenure) -> bool {
        let disposes = matches!(self.setting.policy, OnError::Ignore | OnError::AcknowledgeAndLog);
        tenure.last == Some(How::Ok) || disposes && self.is_final(tenure)
    }

    fn key(&self, id: DeliveryId) -> u8 {
        self.keys[&id.id.0]
    }

    fn check(&mut self, asked: &Asked) {
        let policy = self.setting.policy;
        match asked {
            Asked::Note(id, "delivered") => {
                self.here.entry(*id).and_modify(|tenure| tenure.is_lost = false).or_default();
            }
            Asked::Note(_, "echoed") => {}
            Asked::Note(id, "begun") => {
                assert!(!self.stopping, "{id:?} is begun by one that stops");
                let running = self.here.values().filter(|tenure| tenure.is_running).count();
                assert!(running < SLOTS, "too many at once");
                let is_first = self.here.get(id).is_none_or(|tenure| tenure.runs == 0);
                for (other, tenure) in
                    self.here.iter().filter(|(other, _)| self.setting.is_ordered && *other != id)
                {
                    let is_of_key = self.key(*other) == self.key(*id);
                    assert!(!is_of_key || !tenure.is_running, "{id:?} beside {other:?}");
                    let is_before =
                        is_of_key && other < id && !tenure.is_lost && tenure.last != Some(How::Ok);
                    // What has begun keeps its turn through its retries, also if an older one comes back.
                    let is_open = is_before && is_first && !self.is_final(tenure);
                    assert!(!is_open, "{id:?} before {other:?}: {tenure:?}");
                }
                let tenure = self.here.get_mut(id).expect("it is here");
                assert!(!tenure.is_running && !tenure.is_lost, "{id:?}: {tenure:?}");
                assert!(tenure.runs <= self.setting.retries, "{id:?}: {tenure:?}");
                assert_ne!(tenure.last, Some(How::Ok), "{id:?} was done");
                (tenure.is_running, tenure.last) = (true, None);
                tenure.runs += 1;
            }
            Asked::Note(id, "aborted") => {
                assert!(self.setting.dies, "nobody aborts {id:?}");
                let Some(tenure) = self.here.get_mut(id) else { return };
                (tenure.is_running, tenure.last) = (false, None);
            }
            Asked::Note(id, how) => {
                let how = match *how {
                    "ok" => How::Ok,
                    "error" => How::Error,
                    _ => How::Panic,
                };
                let tenure = self.here.get_mut(id).expect("it is here");
                assert!(tenure.is_running);
                (tenure.is_running, tenure.last) = (false, Some(how));
                self.panics += usize::from(how == How::Panic);
                let tenure = &self.here[id];
                if self.is_final(tenure) {
                    self.failures += usize::from(how == How::Error);
                    self.stopping |= matches!(policy, OnError::StopListener | OnError::Shutdown);
                }
                // Whoever has it now sees to it.
                if tenure.is_lost && !self.is_done(tenure) {
                    self.here.remove(id);
                }
            }
            Asked::Acknowledge(ids) => {
                for id in ids {
                    let tenure = self.here.remove(id).expect("it is here");
                    let is_done = self.is_done(&tenure);
                    assert!(is_done && !tenure.is_running, "{id:?} is acknowledged: {tenure:?}");
                }
            }
            Asked::Bury(id, _) => {
                let tenure = self.here.remove(id).expect("it is here");
                assert!(
                    self.is_final(&tenure) && !tenure.is_running && !tenure.is_lost,
                    "{id:?}: {tenure:?}"
                );
                assert_eq!(policy, OnError::DeadLetter);
            }
            Asked::Release(ids) => {
                for id in ids {
                    let tenure = self.here.remove(id).expect("it is here");
                    assert!(!tenure.is_running && !tenure.is_lost, "{id:?} is released: {tenure:?}");
                    assert_ne!(tenure.last, Some(How::Ok), "{id:?} was done");
                }
                self.stopping = true;
            }
            Asked::Lost(id) => {
                let Some(tenure) = self.here.get(id) else { return };
                if self.is_done(tenure) {
                    return;
                }
                if tenure.is_running {
                    self.here.entry(*id).and_modify(|tenure| tenure.is_lost = true);
                } else {
                    self.here.remove(id);
                }
            }
            Asked::Stop => self.stopping = true,
            Asked::Renew(ids) => {
                for id in ids {
                    assert!(self.here.get(id).is_none_or(|tenure| !tenure.is_lost), "{id:?} is another's");
                }
            }
            Asked::LetGo => {}
        }
    }
}

fn shorten(trace: &[Asked]) -> Vec<String> {
    let ids = |ids: &[DeliveryId]| ids.iter().map(|id| id.id.0.to_string()).collect::<Vec<_>>().join(" ");
    let short = |asked: &Asked| match asked {
        Asked::Note(id, what) => format!("{what} {}", id.id.0),
        Asked::Acknowledge(all) => format!("acknowledge {}", ids(all)),
        Asked::Release(all) => format!("release {}", ids(all)),
        Asked::Renew(all) => format!("renew {}", ids(all)),
        Asked::Bury(id, _) => format!("bury {}", id.id.0),
        Asked::Lost(id) => format!("lost {}", id.id.0),
        Asked::Stop | Asked::LetGo => format!("{asked:?}"),
    };
    trace.iter().map(short).collect()
}

fn case(setting: Setting, ops: Vec<Op>) {
    short_panics();
    let test = testing::start();
    patient(test.supervisor());
    let runtime = test.current_thread();
    let (trace, slots, keys) = runtime.block_on(async {
        tokio::time::pause();
        play(setting, ops).in_context(LogContext::new("test")).await
    });
    let mut rules = Rules { setting, keys, here: BTreeMap::new(), stopping: false, failures: 0, panics: 0 };
    for (index, asked) in trace.iter().enumerate() {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rules.check(asked)));
        if result.is_err() {
            panic!("at the end of {:#?}", shorten(&trace[..=index]));
        }
    }
    if !setting.dies {
        assert!(rules.here.is_empty(), "left over: {:?} after {:#?}", rules.here, shorten(&trace));
        assert_eq!(slots.available_permits(), HOLD, "each slot is given back");
        runtime.block_on(test.supervisor().shutdown(Duration::from_secs(5)));
    }
    complain(&test, &rules);
    drop(runtime);
    assert!(test.supervisor().running().is_empty());
}

/// Each failure is logged once.
fn complain(test: &Test, rules: &Rules) {
    if rules.setting.dies {
        return;
    }
    let all = complaints(test);
    let of = |what: &str| all.iter().filter(|record| record.message.starts_with(what)).count();
    assert_eq!(of("panicked"), rules.panics);
    let quiet = rules.setting.policy == OnError::Ignore;
    // One that fails for the last time while its listener stops already is left for others; that is said as well.
    assert!(of("handler failed") >= if quiet { 0 } else { rules.failures }, "{all:?}");
    let said: usize = ["panicked", "handler failed", "an event has become another's", "asked to shut down"]
        .iter()
        .map(|what| of(what))
        .sum();
    assert_eq!(said, all.len(), "{all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_are_kept(setting in setting(), ops in prop::collection::vec(op(), 1..60)) {
        case(setting, ops);
    }
}

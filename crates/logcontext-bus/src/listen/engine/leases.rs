//! Partitions that are leased: each by one process at a time, all by somebody, none by one for long if there are others.
//!
//! Three times per lease each process says that it takes part, and is told how many do. None takes more partitions than
//! its share, rounded up, and gives back what it has beyond that: so with the shares of all who take part there is room for
//! each partition, and nobody has more than one more than needs be.
//!
//! A lease is over by its holder's clock a sixth of its time before it is over by the broker's: who has not been able to
//! renew it by then aborts what runs by it. So its handlers have gone when another's begin.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::command::Did;
use super::part::{Leased, Phase};
use super::{Engine, State};
use crate::listen::listener::StopReason;
use crate::listen::shared::Shared;
use crate::transport::{Delivery, Lease, Since, Subscribe, TransportError};

pub(super) struct Leasing {
    name: Arc<str>,
    time: Duration,
    slots: Arc<Semaphore>,
    deliver: UnboundedSender<Delivery>,
    /// When the next round is.
    next: Option<Instant>,
    /// When the first of the leases is over.
    over: Option<Instant>,
    is_asking: bool,
    /// So many partitions may be its own; not known at first.
    share: usize,
    /// Which to try next.
    candidates: Vec<usize>,
    /// So many are being tried.
    trying: usize,
}

impl Leasing {
    pub(super) fn new(shared: &Shared, slots: Arc<Semaphore>, deliver: UnboundedSender<Delivery>) -> Self {
        Self {
            name: format!("{} {}", shared.event, shared.group).into(),
            time: shared.inner.config.claim_after,
            slots,
            deliver,
            next: None,
            over: None,
            is_asking: false,
            share: 0,
            candidates: Vec::new(),
            trying: 0,
        }
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        [self.next, self.over].into_iter().flatten().min()
    }

    fn of(&self, part: usize) -> String {
        format!("{} {part}", self.name)
    }

    /// By our own clock.
    fn until(&self, begun: Instant) -> Instant {
        begun + self.time * 5 / 6
    }
}

impl Engine {
    pub(super) fn begin_leasing(&mut self) {
        let now = Instant::now();
        if let Some(leasing) = &mut self.leasing {
            leasing.next = Some(now);
        }
        self.look_after_leases(now);
    }

    pub(super) fn end_leasing(&mut self) {
        let Some(leasing) = &mut self.leasing else { return };
        leasing.next = None;
        leasing.candidates.clear();
        let (inner, name) = (Arc::clone(&self.shared.inner), Arc::clone(&leasing.name));
        self.must += 1;
        self.commands.push(Box::pin(async move {
            let _ = inner.transport.leases().leave(&name).await;
            Did::Leave
        }));
    }

    /// What is to be done for leases by now.
    pub(super) fn look_after_leases(&mut self, now: Instant) {
        let Some(leasing) = &mut self.leasing else { return };
        if leasing.over.is_some_and(|at| at <= now) {
            let over = |leased: &Leased| leased.until <= now;
            for index in 0..self.parts.len() {
                if self.parts[index].lease.as_ref().is_some_and(over) {
                    self.lose(index);
                }
            }
            self.note_ends();
        }
        let Some(leasing) = self.leasing.as_mut().filter(|leasing| leasing.next.is_some_and(|at| at <= now))
        else {
            return;
        };
        leasing.next = Some(now + leasing.time / 3);
        if !std::mem::replace(&mut leasing.is_asking, true) {
            let (inner, name, time) =
                (Arc::clone(&self.shared.inner), Arc::clone(&leasing.name), leasing.time);
            self.commands.push(Box::pin(async move {
                Did::TakePart { answer: inner.transport.leases().take_part(&name, time).await }
            }));
        }
        self.renew_leases(now);
    }

    /// Also of those that are about to be given back: what runs by them has not ended.
    fn renew_leases(&mut self, begun: Instant) {
        for (index, part) in self.parts.iter_mut().enumerate() {
            let Some(leased) = part.lease.as_mut().filter(|leased| !leased.is_renewing) else { continue };
            if part.is_lost {
                continue;
            }
            leased.is_renewing = true;
            let (lease, epoch) = (Arc::clone(&leased.lease), part.epoch);
            self.commands.push(Box::pin(async move {
                Did::RenewLease { part: index, epoch, begun, answer: lease.renew().await }
            }));
        }
    }

    pub(super) fn did_with_lease(&mut self, did: Did) {
        match did {
            Did::TakePart { answer } => self.share(&answer),
            Did::Acquire { part, begun, answer } => self.acquired(part, begun, answer),
            Did::Subscribe { part, answer } => {
                self.arrived(part);
                match answer {
                    Ok(subscription) => {
                        self.parts[part].subscription = Some(subscription);
                        self.parts[part].phase = Phase::Open;
                        if self.parts[part].is_lost || self.stopping.is_some() {
                            self.end_part(part);
                        }
                        for delivery in std::mem::take(&mut self.early) {
                            self.delivered(delivery);
                        }
                    }
                    Err(error) => {
                        self.parts[part].phase = Phase::Ended;
                        if error == TransportError::Closed {
                            self.stop(StopReason::Closed);
                        } else {
                            let (event, listener) = (self.shared.event, &*self.shared.listener);
                            tracing::warn!(
                                target: "logcontext::bus",
                                event, listener, partition = part, %error,
                                "a partition was not subscribed to",
                            );
                        }
                        self.settle_part(part);
                    }
                }
            }
            Did::RenewLease { part, epoch, .. } if self.parts[part].epoch != epoch => {}
            Did::RenewLease { part, begun, answer, .. } => {
                let until = self.leasing.as_ref().map(|leasing| leasing.until(begun));
                let Some(leased) = &mut self.parts[part].lease else { return };
                leased.is_renewing = false;
                match answer {
                    Ok(true) => leased.until = until.unwrap_or(leased.until).max(leased.until),
                    Ok(false) => self.lose(part),
                    Err(TransportError::Closed) => self.stop(StopReason::Closed),
                    // It is tried again until its time is over.
                    Err(_) => {}
                }
                self.note_ends();
            }
            Did::ReleaseLease | Did::Leave => self.must -= 1,
            _ => {}
        }
        self.note_partitions();
    }

    fn share(&mut self, answer: &Result<usize, TransportError>) {
        let Some(leasing) = &mut self.leasing else { return };
        leasing.is_asking = false;
        match answer {
            Ok(count) => leasing.share = self.parts.len().div_ceil(*count.max(&1)),
            Err(TransportError::Closed) => return self.stop(StopReason::Closed),
            Err(_) => return,
        }
        if self.stopping.is_some() {
            return;
        }
        let ours: Vec<_> = (0..self.parts.len()).filter(|index| self.parts[*index].is_ours()).collect();
        let share = leasing.share;
        for index in ours.into_iter().skip(share) {
            if self.parts[index].phase == Phase::Open {
                self.leave_all_that_has_not_begun(Some(index));
                self.end_part(index);
            }
        }
        let Some(leasing) = &mut self.leasing else { return };
        leasing.candidates = (0..self.parts.len()).filter(|i| self.parts[*i].phase == Phase::Free).collect();
        fastrand::shuffle(&mut leasing.candidates);
        self.try_more();
    }

    /// Tries to lease more, up to its share.
    fn try_more(&mut self) {
        let ours = self.parts.iter().filter(|part| part.is_ours()).count();
        let Some(leasing) = &mut self.leasing else { return };
        while ours + leasing.trying < leasing.share
            && let Some(part) = leasing.candidates.pop()
        {
            leasing.trying += 1;
            self.must += 1;
            let (inner, name, time) = (Arc::clone(&self.shared.inner), leasing.of(part), leasing.time);
            let begun = Instant::now();
            self.commands.push(Box::pin(async move {
                let answer = inner.transport.leases().acquire(&name, time).await;
                Did::Acquire { part, begun, answer }
            }));
        }
    }

    fn acquired(
        &mut self,
        index: usize,
        begun: Instant,
        answer: Result<Option<Arc<dyn Lease>>, TransportError>,
    ) {
        self.must -= 1;
        let Some(leasing) = &mut self.leasing else { return };
        leasing.trying -= 1;
        match answer {
            Ok(Some(lease)) if self.stopping.is_some() => self.let_go(lease),
            Ok(Some(lease)) => {
                let until = leasing.until(begun);
                let wish = Subscribe {
                    event: self.shared.event.into(),
                    group: Arc::clone(&self.shared.group),
                    partitions: vec![index as u16],
                    is_leased: true,
                    with_retried: index == 0,
                    // The group has been there since the listener began.
                    since: Since::Now,
                    claim_after: leasing.time,
                    slots: Arc::clone(&leasing.slots),
                    deliveries: leasing.deliver.clone(),
                };
                let part = &mut self.parts[index];
                part.phase = Phase::Taking;
                part.lease = Some(Leased { lease, until, is_renewing: false });
                part.busy += 1;
                self.must += 1;
                let inner = Arc::clone(&self.shared.inner);
                self.commands.push(Box::pin(async move {
                    Did::Subscribe { part: index, answer: inner.transport.events().subscribe(wish).await }
                }));
                self.note_ends();
            }
            Ok(None) | Err(TransportError::Lost(_) | TransportError::Refused(_)) => self.try_more(),
            Err(TransportError::Closed) => self.stop(StopReason::Closed),
        }
    }

    /// A partition has become another's, or may have.
    fn lose(&mut self, index: usize) {
        if std::mem::replace(&mut self.parts[index].is_lost, true) {
            return;
        }
        self.shared.figures.leases_lost.fetch_add(1, Relaxed);
        tracing::warn!(
            target: "logcontext::bus",
            event = self.shared.event,
            listener = &*self.shared.listener,
            partition = index,
            "the lease of a partition was lost: its handlers are aborted",
        );
        self.parts[index].lease = None;
        let ids: Vec<_> = self.held.keys().filter(|id| self.part_of(**id) == index).copied().collect();
        for id in &ids {
            let Some(held) = self.held.get_mut(id) else { continue };
            held.is_lost = true;
            if let Some(handler) = held.handler.as_ref().filter(|_| held.state == State::Running) {
                handler.abort();
            }
        }
        self.leave_all_that_has_not_begun(Some(index));
        self.end_part(index);
        self.settle_part(index);
    }

    pub(super) fn let_go(&mut self, lease: Arc<dyn Lease>) {
        self.must += 1;
        self.commands.push(Box::pin(async move {
            let _ = lease.release().await;
            Did::ReleaseLease
        }));
        self.note_ends();
        self.note_partitions();
    }

    fn note_ends(&mut self) {
        let first = self.parts.iter().filter_map(|part| part.lease.as_ref().map(|leased| leased.until)).min();
        if let Some(leasing) = &mut self.leasing {
            leasing.over = first;
        }
    }

    fn note_partitions(&self) {
        let ours = self.parts.iter().filter(|part| part.is_ours()).count();
        self.shared.figures.partitions.store(ours as u64, Relaxed);
    }
}

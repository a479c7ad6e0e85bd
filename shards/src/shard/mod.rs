//! One shard: its parts, and the order of a turn.

mod inbox;
mod leaving;
mod sleep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::application::{Application, Closed, ConnectionId, ShardId};
use crate::io::Io;
use crate::mailbox::Post;
use crate::net::{Event, Net};
use crate::ring::Port;
use crate::stats::ShardStats;
use crate::wheel::Wheel;

pub(crate) use leaving::Departure;
pub(crate) use sleep::run;

/// Steps of the timer wheel per turn.
const TIMERS_PER_TURN: u32 = 4096;
/// Messages handled per turn.
const MESSAGES_PER_TURN: u32 = 8192;
/// Slots looked at per turn while the shard ends.
const EXIT_SLOTS_PER_TURN: u32 = 16 * 1024;
/// A turn that takes longer is counted: nothing that a peer does should make one.
const SLOW_TURN: Duration = Duration::from_millis(5);
/// How often the thread's CPU time is read.
const CPU_TIME_MS: u64 = 100;

/// Everything of a shard but the application: what [`Io`] reaches.
pub(crate) struct Core<A: Application> {
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) net: Net,
    pub(crate) post: Post<A::Message, A::HandOver>,
    pub(crate) wheel: Wheel,
    /// Ports of all rings of all shards.
    pub(crate) ports: Arc<Vec<Vec<Arc<Port>>>>,
    /// Connections on their way out, by index.
    departures: HashMap<u32, Departure>,
    next_token: u64,
    /// Descriptors that have come before their parcel: token to index.
    arrived: HashMap<u64, u32>,
    /// Bytes that follow a parcel.
    late: HashMap<u64, Vec<u8>>,
    failed: VecDeque<(ConnectionId, A::HandOver)>,
    credit_back: bool,
    outside_more: bool,
    start: Instant,
    /// When the application wants a turn, microseconds since the start.
    wake_at_us: Option<u64>,
    exit: Option<Exit>,
}

/// The end of a shard.
struct Exit {
    deadline_ms: u64,
    /// Next slot to look at.
    next: u32,
    /// The flush time is over: what is left is closed at once.
    aborting: bool,
}

/// What the loop does after a turn.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// More work is waiting.
    More,
    /// Nothing to do until something happens.
    Idle,
    /// The shard has ended.
    Ended,
}

/// A shard.
pub(crate) struct Shard<A: Application> {
    pub(crate) core: Core<A>,
    pub(crate) application: A,
    stats: Arc<ShardStats>,
    cpu_time_at_ms: u64,
}

impl<A: Application> Core<A> {
    /// The parts of shard `shard` together.
    pub(crate) fn new(
        shard: u16,
        net: Net,
        post: Post<A::Message, A::HandOver>,
        ports: Arc<Vec<Vec<Arc<Port>>>>,
        start: Instant,
    ) -> Self {
        let now_ms = start.elapsed().as_millis() as u64;
        Self {
            shard: ShardId(shard),
            shards: ports.len() as u16,
            net,
            post,
            wheel: Wheel::new(now_ms),
            ports,
            departures: HashMap::new(),
            next_token: 0,
            arrived: HashMap::new(),
            late: HashMap::new(),
            failed: VecDeque::new(),
            credit_back: false,
            outside_more: false,
            start,
            wake_at_us: None,
            exit: None,
        }
    }

    /// Microseconds since the start of all shards.
    pub(crate) fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Ends the next wait at `at_us` at the latest.
    pub(crate) fn wake_at_us(&mut self, at_us: u64) {
        self.wake_at_us = Some(at_us);
    }

    /// Begins the end.
    pub(crate) fn exit(&mut self) {
        if self.exit.is_none() {
            self.net.stop_accepting();
            self.net.stop_connecting();
            let deadline_ms = self.net.now_ms + self.net.flush_timeout_ms();
            self.exit = Some(Exit { deadline_ms, next: 0, aborting: false });
        }
    }

    /// Closes the connections of an ending shard, some per turn.
    fn exit_step(&mut self) {
        let Some(exit) = &mut self.exit else { return };
        if !exit.aborting && self.net.now_ms >= exit.deadline_ms {
            exit.aborting = true;
            exit.next = 0;
        }
        let how = if exit.aborting { crate::Close::Abort } else { crate::Close::Flush };
        let end = exit.next.saturating_add(EXIT_SLOTS_PER_TURN).min(self.net.table.len());
        for index in exit.next..end {
            self.net.close_index(index, how);
        }
        exit.next = end;
        if end == self.net.table.len() && self.net.live > 0 && !exit.aborting {
            // Hand-overs may still have come in behind the hand.
            exit.next = 0;
        }
    }

    /// Whether the ending shard has ended.
    fn ended(&self) -> bool {
        self.exit.as_ref().is_some_and(|exit| {
            (self.net.live == 0
                && self.net.events.is_empty()
                && self.net.acceptor.ended()
                && self.net.connects.ended())
                || (exit.aborting && self.net.now_ms > exit.deadline_ms + 1000)
        })
    }
}

impl<A: Application> Shard<A> {
    /// The shard of `application`.
    pub(crate) fn new(core: Core<A>, application: A, stats: Arc<ShardStats>) -> Self {
        Self { core, application, stats, cpu_time_at_ms: 0 }
    }

    /// One turn, after what has arrived was taken from the rings.
    pub(crate) fn turn(&mut self) -> Turn {
        let begin = Instant::now();
        // A turn may be long because another thread had the core: the log then tells the one from the other.
        let cpu_us = tracing::enabled!(tracing::Level::DEBUG).then(crate::sys::thread_cpu_us);
        self.core.net.now_ms = begin.duration_since(self.core.start).as_millis() as u64;
        self.core.net.counts.turns += 1;
        self.dispatch();
        let mut more = self.take_mail();
        self.events();
        let unused = std::mem::take(&mut self.core.post.credit_unused);
        if std::mem::take(&mut self.core.credit_back) || unused {
            self.application.credits_available(&mut Io { core: &mut self.core });
        }
        more |= self.timers();
        self.events();
        more |= self.application.turn_end(&mut Io { core: &mut self.core });
        self.core.exit_step();
        self.core.net.flush();
        more |= !self.core.post.flush();
        self.time(begin, cpu_us);
        self.publish();
        if self.core.ended() {
            return Turn::Ended;
        }
        more |= self.core.net.has_leftovers() || !self.core.failed.is_empty() || self.core.post.credit_unused;
        if more { Turn::More } else { Turn::Idle }
    }

    /// Handles the completions that had come when the turn began.
    fn dispatch(&mut self) {
        // Left over from the last turn, so older than what has arrived: a connection's earlier bytes first.
        self.events();
        for _ in 0..self.core.net.completions.len() {
            let Some((ring, entry)) = self.core.net.completions.pop_front() else { break };
            if let Some(event) = self.core.net.complete(ring, &entry) {
                self.event(event);
            }
        }
        self.events();
    }

    /// Hands out what the sockets have queued. Each event closes, drains or unstashes something once, so the
    /// count at the beginning bounds the loop; what callbacks add waits for the next time.
    fn events(&mut self) {
        for _ in 0..self.core.net.events.len() {
            let Some(event) = self.core.net.events.pop_front() else { break };
            self.event(event);
        }
        for _ in 0..self.core.failed.len() {
            let Some((id, hand_over)) = self.core.failed.pop_front() else { break };
            if self.core.net.table.open(id).is_some() {
                self.application.hand_over_failed(&mut Io { core: &mut self.core }, id, hand_over);
            }
        }
    }

    fn event(&mut self, event: Event) {
        let core = &mut self.core;
        match event {
            Event::Accepted(id, accepted) => {
                self.application.accepted(&mut Io { core }, id, accepted);
            }
            Event::Received { id, buffer, len, more } => {
                // SAFETY: `receive_done` comes after the callback, which gets the slice for its duration.
                let bytes = unsafe { core.net.received(buffer, len) };
                self.application.received(&mut Io { core }, id, bytes);
                self.core.net.receive_done(id, buffer, more);
            }
            Event::Unstash(id) => {
                if let Some(bytes) = core.net.take_stash(id) {
                    self.application.received(&mut Io { core }, id, &bytes);
                }
            }
            Event::PeerFinished(id) => self.application.peer_finished(&mut Io { core }, id),
            Event::Drained(id) => {
                if core.net.table.open(id).is_some() {
                    self.application.drained(&mut Io { core }, id);
                }
            }
            Event::Closed(id, cause) => self.closed(id, cause),
            Event::Arrived { token, index } => self.descriptor_arrived(token, index),
            Event::Late(id, bytes) => core.send_late(id, bytes),
            Event::HandedAway(id) => {
                core.departures.remove(&id.index());
            }
            Event::HandOverBroken(id) => core.hand_over_broken(id),
            Event::Connected(id, key) => self.application.connected(&mut Io { core }, id, key),
            Event::ConnectFailed { key, error } => {
                self.application.connect_failed(&mut Io { core }, key, error);
            }
        }
    }

    fn closed(&mut self, id: ConnectionId, cause: Closed) {
        self.application.closed(&mut Io { core: &mut self.core }, id, cause);
    }

    /// Fires due timers; `true` if some are left for the next turn.
    fn timers(&mut self) -> bool {
        let now_ms = self.core.net.now_ms;
        let mut budget = TIMERS_PER_TURN;
        while let Some(key) = self.core.wheel.pop(now_ms, &mut budget) {
            self.application.timer(&mut Io { core: &mut self.core }, key);
        }
        budget == 0
    }

    fn time(&mut self, begin: Instant, cpu_us: Option<u64>) {
        let took = begin.elapsed();
        if took > SLOW_TURN {
            let cpu_us = cpu_us.map(|before| crate::sys::thread_cpu_us() - before);
            tracing::debug!(
                shard = self.core.shard.0,
                took_us = took.as_micros() as u64,
                cpu_us,
                "slow turn"
            );
            self.core.net.counts.slow_turns += 1;
        }
    }

    fn publish(&mut self) {
        let core = &mut self.core;
        core.net.counts.connections = u64::from(core.net.live);
        core.net.counts.credit_waits = core.post.refused;
        core.net.counts.mailbox_depth = core.post.depth() as u64;
        if core.net.now_ms >= self.cpu_time_at_ms {
            self.cpu_time_at_ms = core.net.now_ms + CPU_TIME_MS;
            core.net.counts.thread_cpu_us = crate::sys::thread_cpu_us();
        }
        core.net.counts.publish(&self.stats);
    }

    /// How long it is until the next thing is due that no completion tells.
    pub(crate) fn next_in(&mut self) -> Option<Duration> {
        let core = &mut self.core;
        let exit = core.exit.as_ref().map(|exit| exit.deadline_ms.max(core.net.now_ms + 10));
        let at_ms = [core.wheel.next_ms(), core.net.next_ms(), exit].into_iter().flatten().min();
        let at = [at_ms.map(|ms| ms * 1000), core.wake_at_us.take()].into_iter().flatten().min();
        at.map(|at| Duration::from_micros(at.saturating_sub(core.now_us())))
    }
}

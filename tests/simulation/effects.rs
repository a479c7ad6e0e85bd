//! `Effects` over the world's queues: what a broker does lands in sockets, links and timers of the simulation.
//! Breaches of the boundary's contract (a send without a credit, a release too many) are violations too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use myriad::auth::{Answer, Credentials, ExchangeStep, Refusal, Step, Verdict};
use myriad::broker::{Close, Effects, HandOver, ShardMessage, Timer};
use myriad::clock::Timestamp;
use myriad::config::Config;
use myriad::interest::ShardId;
use myriad::session::ConnectionId;

use crate::defect::Saboteur;
use crate::link::{Link, Mail};
use crate::random::Random;
use crate::socket::{Place, Socket, SocketId};
use crate::trace::{Trace, Violation};

/// What the world keeps for one shard beside its broker.
#[derive(Default)]
pub struct ShardState {
    /// Names in use.
    pub names: BTreeMap<ConnectionId, SocketId>,
    /// Last generation of each index, and the indices that are free.
    pub generations: Vec<u32>,
    pub free: Vec<u32>,
    /// When they fire, lateness included.
    pub timers: BTreeSet<(u64, Timer)>,
    /// Hand-overs that came back: when, which.
    pub failed: Vec<(u64, SocketId, HandOver)>,
    /// Output of this turn.
    pub output: BTreeMap<ConnectionId, Vec<u8>>,
    pub scrap: Vec<u8>,
    pub accepting: bool,
    /// Verdicts that take their time: when they come, about whom.
    pub verdicts: Vec<(u64, ConnectionId, Verdict)>,
    /// Number of the configuration in effect.
    pub config: usize,
    /// Tickets of the journal on their way back: when, which.
    pub stored: VecDeque<(u64, u64)>,
    /// What the journal's writer has to say, and when it arrives; only where there is one.
    pub notices: VecDeque<(u64, Notice)>,
    /// The generation whose images are being written.
    pub imaging: bool,
    /// What the main thread has to say to this shard, and when it arrives.
    pub orders: VecDeque<(u64, Order)>,
    /// By how much the system's clock is ahead of the world's; `None`: there is none.
    pub clock_ahead_ms: Option<i64>,
}

/// What comes to a shard by a signal.
#[derive(Debug)]
pub enum Order {
    /// SIGHUP: the configuration of this number.
    Reload(usize, Arc<Config>),
    /// The journal begins a generation.
    Generation(u32),
    /// SIGTERM.
    Drain,
}

/// What a shard hands to the journal's writer, where there is one.
#[derive(Debug)]
pub enum Written {
    Frame { shard: u16, ticket: u64, frame: Vec<u8>, is_awaited: bool },
    Imaged { shard: u16, generation: u64 },
    Fenced { shard: u16, generation: u64 },
}

/// What the journal's writer tells a shard.
#[derive(Debug, Clone, Copy)]
pub enum Notice {
    Stored(u64),
    Written(u64),
    Generation(u32),
    Fence(u32),
    Down,
}

/// The world as one shard's broker may touch it.
pub struct Port<'w> {
    pub me: usize,
    pub now: u64,
    pub state: &'w mut ShardState,
    pub sockets: &'w mut [Socket],
    /// `links[from][to]`.
    pub links: &'w mut [Vec<Link>],
    pub random: &'w mut Random,
    pub trace: &'w mut Trace,
    pub saboteur: &'w mut Saboteur,
    /// To the journal's writer, from all shards in one order; `None`: tickets come back by themselves.
    pub journal: Option<&'w mut VecDeque<Written>>,
    pub delays: Delays,
    /// Clients have to authenticate.
    pub authenticates: bool,
    /// Closed in this call.
    pub closed: Vec<(SocketId, Close)>,
    pub violation: Option<Violation>,
}

/// How late things are, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    pub mail_max: u64,
    pub credit_max: u64,
    pub timer_max: u64,
    pub wire_max: u64,
    pub disk_max: u64,
}

impl Delays {
    /// Mostly none, sometimes some.
    pub fn some(random: &mut Random, max: u64) -> u64 {
        match random.below(4) {
            0 => random.within(0, max),
            1 => random.within(0, max / 8),
            _ => 0,
        }
    }
}

impl Port<'_> {
    fn breach(&mut self, invariant: &'static str, detail: String) {
        self.violation.get_or_insert(Violation { invariant, detail });
    }

    fn socket(&mut self, connection: ConnectionId) -> Option<SocketId> {
        self.state.names.get(&connection).copied()
    }

    fn post(&mut self, to: usize, mail: Mail) {
        let delay = Delays::some(self.random, self.delays.mail_max);
        let link = &mut self.links[self.me][to];
        if link.queue.is_empty() {
            link.ready_at = link.ready_at.max(self.now + delay);
        }
        link.queue.push_back(mail);
    }
}

impl Effects for Port<'_> {
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        if self.state.names.contains_key(&connection) {
            self.state.output.entry(connection).or_default()
        } else {
            self.state.scrap.clear();
            &mut self.state.scrap
        }
    }

    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.output(connection).extend_from_slice(&bytes);
    }

    fn outbound_len(&mut self, connection: ConnectionId) -> usize {
        let turn = self.state.output.get(&connection).map_or(0, Vec::len);
        let waiting = self.state.names.get(&connection).map_or(0, |&s| self.sockets[s].waiting.len());
        turn + waiting
    }

    fn want_drained(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.socket(connection) {
            self.sockets[socket].drained_wanted = true;
        }
    }

    fn pause(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.socket(connection) {
            self.sockets[socket].paused = true;
            self.sockets[socket].ever_paused = true;
            let me = self.me;
            self.trace.note(|| format!("shard {me}: pause socket {socket}"));
        }
    }

    fn resume(&mut self, connection: ConnectionId) {
        if let Some(socket) = self.socket(connection) {
            self.sockets[socket].paused = false;
            // Keep Alive begins anew: the bytes were there, nobody read them.
            self.sockets[socket].last_fed_at = self.now;
            let me = self.me;
            self.trace.note(|| format!("shard {me}: resume socket {socket}"));
        }
    }

    fn close(&mut self, connection: ConnectionId, how: Close) {
        let me = self.me;
        if let Some(socket) = self.socket(connection) {
            self.trace.note(|| format!("shard {me}: close socket {socket} {how:?}"));
            if !matches!(self.sockets[socket].place, Place::At(..)) {
                let place = self.sockets[socket].place;
                self.breach("boundary-close", format!("shard {me} closes socket {socket} at {place:?}"));
            } else if !self.closed.iter().any(|c| c.0 == socket) {
                self.closed.push((socket, how));
            }
        }
    }

    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: HandOver) {
        let (me, to) = (self.me, usize::from(to.0));
        let Some(socket) = self.socket(connection) else {
            return self
                .breach("boundary-hand-over", format!("shard {me} hands over a connection it has not"));
        };
        if to == me || !matches!(self.sockets[socket].place, Place::At(..)) {
            return self
                .breach("boundary-hand-over", format!("shard {me} hands socket {socket} over to {to}"));
        }
        if self.authenticates && hand_over.identity.is_none() {
            return self
                .breach("identity-travels", format!("shard {me} hands socket {socket} over as nobody's"));
        }
        if self.state.output.get(&connection).is_some_and(|o| !o.is_empty()) {
            return self
                .breach("boundary-hand-over", format!("shard {me} hands socket {socket} over with output"));
        }
        self.trace.note(|| format!("shard {me}: hands socket {socket} over to shard {to}"));
        self.sockets[socket].place = Place::Moving { from: me, name: connection, to };
        self.post(to, Mail::HandOver { socket, hand_over });
    }

    fn reserve(&mut self, to: ShardId) -> bool {
        let (me, now) = (self.me, self.now);
        let link = &mut self.links[me][usize::from(to.0)];
        link.collect(now);
        if link.credits == 0 {
            link.starved = true;
            return false;
        }
        link.credits -= 1;
        link.reserved += 1;
        true
    }

    fn unreserve(&mut self, to: ShardId) {
        let (me, to) = (self.me, usize::from(to.0));
        let link = &mut self.links[me][to];
        if link.reserved == 0 {
            return self
                .breach("boundary-credits", format!("shard {me} unreserves towards {to} what it has not"));
        }
        link.reserved -= 1;
        link.credits += 1;
    }

    fn send(&mut self, to: ShardId, message: ShardMessage) {
        let (me, to) = (self.me, usize::from(to.0));
        let link = &mut self.links[me][to];
        if link.reserved == 0 {
            return self.breach("boundary-credits", format!("shard {me} sends to {to} without a credit"));
        }
        link.reserved -= 1;
        link.on_loan += 1;
        self.trace.note(|| format!("shard {me} → shard {to}: {:.300}", format!("{message:?}")));
        self.post(to, Mail::Message(message));
    }

    fn send_control(&mut self, to: ShardId, message: ShardMessage) {
        let (me, to) = (self.me, usize::from(to.0));
        self.trace.note(|| format!("shard {me} → shard {to} (control): {:.300}", format!("{message:?}")));
        self.post(to, Mail::Message(message));
    }

    fn release(&mut self, from: ShardId, n: u32) {
        let (me, from) = (self.me, usize::from(from.0));
        let at = self.now + Delays::some(self.random, self.delays.credit_max);
        let link = &mut self.links[from][me];
        if link.on_loan < n {
            let loan = link.on_loan;
            return self
                .breach("boundary-credits", format!("shard {me} releases {n} of {loan} credits of {from}"));
        }
        if self.saboteur.keeps_credit() {
            return;
        }
        link.on_loan -= n;
        let at = link.returning.back().map_or(at, |last| last.0.max(at));
        link.returning.push_back((at, n));
    }

    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        let late = Delays::some(self.random, self.delays.timer_max);
        self.state.timers.insert((at.0.max(self.now) + late, timer));
    }

    fn authenticate(&mut self, connection: ConnectionId, client: &Credentials<'_>) -> Answer {
        self.judge(connection, client)
    }

    fn exchange(&mut self, _: &Credentials<'_>, _: ExchangeStep<'_>) -> Step {
        Step::Refused(Refusal::bad_method("not in the simulation"))
    }

    fn store(&mut self, ticket: u64, frame: Vec<u8>, is_awaited: bool) {
        if let Some(journal) = &mut self.journal {
            return journal.push_back(Written::Frame { shard: self.me as u16, ticket, frame, is_awaited });
        }
        let at = self.now + Delays::some(self.random, self.delays.disk_max);
        let at = self.state.stored.back().map_or(at, |last| last.0.max(at));
        self.state.stored.push_back((at, ticket));
    }

    fn imaged(&mut self, generation: u32) {
        self.state.imaging = false;
        if let Some(journal) = &mut self.journal {
            journal.push_back(Written::Imaged { shard: self.me as u16, generation: generation.into() });
        }
    }

    fn fenced(&mut self, generation: u32) {
        if let Some(journal) = &mut self.journal {
            journal.push_back(Written::Fenced { shard: self.me as u16, generation: generation.into() });
        }
    }

    fn unix_ms(&mut self) -> Option<u64> {
        self.now.checked_add_signed(self.state.clock_ahead_ms?)
    }

    fn stop_accepting(&mut self) {
        self.state.accepting = false;
    }
}

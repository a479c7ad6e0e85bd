//! A client of MQTT 3.1, 3.1.1 or 5.0: one small state machine with the session state that the specification gives a
//! client, and a will of its own. What it does is random, what it answers is right.

mod act;
mod connect;
mod knock;
mod receive;
mod retry;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::message::MessageNumber;
use crate::model::{Model, SessionNumber};
use crate::socket::SocketId;
use crate::trace::{Check, ensure};
use crate::wire::{self, AckKind, Version};
use crate::world::World;
use knock::Knock;

/// Virtual time within which a CONNECT is answered, a request is answered.
pub const ANSWER_MS: u64 = 30_000;

/// What kind of client it is.
#[derive(Debug, Clone)]
pub struct Profile {
    pub version: Version,
    /// Session Expiry Interval; for 3.x what the broker's configuration gives a persistent session. 0: none.
    pub expiry_s: u32,
    pub keep_alive_s: u16,
    pub receive_max: Option<u16>,
    pub packet_max: Option<u32>,
    pub alias_max: Option<u16>,
    /// Member of Shared Subscriptions and nothing else.
    pub worker: bool,
    /// Sees every Will, is never disturbed.
    pub watcher: bool,
    /// How often it does without an end of its connection, in percent.
    pub calmness: u64,
    /// Longest delay before an acknowledgement, ms.
    pub ack_max: u64,
    /// Longest time between two acts, ms.
    pub act_max: u64,
}

/// The mood of a run at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Everyone does anything.
    Wild,
    /// Who has a session connects; nobody begins anything.
    Calm,
    /// Everyone goes and leaves nothing.
    Leaving,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not connected until then.
    Away {
        until: u64,
    },
    /// CONNECT is sent.
    Opening {
        since: u64,
    },
    Open,
}

/// A PUBLISH of the client that is not finished.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub pid: u16,
    pub message: MessageNumber,
    /// PUBREC has come: PUBREL is sent, PUBCOMP is awaited.
    pub released: bool,
}

/// A PUBLISH of the broker that the client has not finished.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub message: Option<MessageNumber>,
    pub qos: u8,
    /// PUBREC has been sent.
    pub received: bool,
}

/// A PUBLISH that must come again after a resume.
#[derive(Debug, Clone, Copy)]
pub struct Redelivery {
    pub pid: u16,
    /// As PUBLISH, for PUBREC has not been sent; else PUBREL will do.
    pub as_publish: bool,
    /// Its place is the one in which the broker sent it first.
    pub in_place: bool,
}

/// SUBSCRIBE or UNSUBSCRIBE without an answer yet.
#[derive(Debug, Clone)]
pub enum Request {
    /// Places of the subscriptions in the model, and the QoS asked for.
    Subscribe(Vec<(usize, u8)>),
    /// Filters with their Share Names.
    Unsubscribe { sent: u64, filters: Vec<(String, Option<String>)> },
}

/// A client.
pub struct Client {
    pub index: usize,
    pub id: String,
    pub profile: Profile,
    pub phase: Phase,
    pub socket: SocketId,
    pub connections: u64,
    inbox: Vec<u8>,
    /// The session as the model has it.
    pub session: Option<SessionNumber>,
    pub outgoing: Vec<Outgoing>,
    last_pid: u16,
    held: BTreeMap<u16, Held>,
    /// Identifiers of `held` in the order of their PUBLISHes; true: the first one was not a repetition, so this is the
    /// order in which the broker sent them first.
    order: Vec<(u16, bool)>,
    /// Due, what, for which identifier.
    acks: VecDeque<(u64, AckKind, u16)>,
    requests: BTreeMap<u16, (u64, Request)>,
    pings: VecDeque<u64>,
    /// What must come again after a resume.
    redelivery: Vec<Redelivery>,
    /// Identifiers whose PUBREL was sent again on this connection.
    resumed: BTreeSet<u16>,
    /// Identifiers whose PUBLISH was sent again, and those that wait for it.
    repeated: BTreeSet<u16>,
    to_repeat: VecDeque<u16>,
    /// Identifiers of PUBLISHes of this connection that count against Receive Maximum.
    quota: BTreeSet<u16>,
    /// When the broker wrote the last PUBLISH with an identifier on this connection.
    written: BTreeMap<u16, u64>,
    /// Bytes of this connection that were read as packets.
    parsed: u64,
    aliases_in: BTreeMap<u16, String>,
    aliases_out: Vec<String>,
    alias_max_out: u16,
    receive_max_out: u16,
    keep_alive_ms: u64,
    last_write: u64,
    stalled_until: u64,
    /// Says nothing any more, since then.
    silent: bool,
    next_act: u64,
    clean_next: bool,
    /// Connections that were left to be taken over.
    ghosts: Vec<(u64, SocketId)>,
    /// Connections over capacity.
    knocks: Vec<Knock>,
    /// When it last had a connection (stamp); for the model's windows.
    offline_from: Option<u64>,
    /// Left for good.
    pub gone: bool,
}

impl Client {
    pub fn new(index: usize, id: String, profile: Profile, first: u64) -> Self {
        Self {
            index,
            id,
            profile,
            phase: Phase::Away { until: first },
            socket: usize::MAX,
            connections: 0,
            inbox: Vec::new(),
            session: None,
            outgoing: Vec::new(),
            last_pid: 0,
            held: BTreeMap::new(),
            order: Vec::new(),
            acks: VecDeque::new(),
            requests: BTreeMap::new(),
            pings: VecDeque::new(),
            redelivery: Vec::new(),
            resumed: BTreeSet::new(),
            repeated: BTreeSet::new(),
            to_repeat: VecDeque::new(),
            quota: BTreeSet::new(),
            written: BTreeMap::new(),
            parsed: 0,
            aliases_in: BTreeMap::new(),
            aliases_out: Vec::new(),
            alias_max_out: 0,
            receive_max_out: 8,
            keep_alive_ms: 0,
            last_write: 0,
            stalled_until: 0,
            silent: false,
            next_act: 0,
            clean_next: true,
            ghosts: Vec::new(),
            knocks: Vec::new(),
            offline_from: None,
            gone: false,
        }
    }

    /// Whether its session outlives its connection.
    pub fn is_persistent(&self) -> bool {
        self.profile.expiry_s > 0
    }

    /// When it next wants to be polled; `None`: only when something comes in.
    pub fn next_at(&self, world: &World, mood: Mood) -> Option<u64> {
        if self.gone {
            return None;
        }
        let wake = match self.phase {
            Phase::Away { until } => match mood {
                Mood::Wild => Some(until),
                Mood::Calm | Mood::Leaving => (self.is_persistent() || self.profile.watcher).then_some(until),
            },
            Phase::Opening { .. } => (mood == Mood::Wild && !self.profile.watcher).then_some(self.next_act),
            Phase::Open => Some(self.next_act),
        };
        let ack = self.acks.front().map(|a| a.0).filter(|_| !self.silent);
        let readable = (!matches!(self.phase, Phase::Away { .. })
            && world.sockets[self.socket].is_readable())
        .then_some(self.stalled_until);
        let knock = self.hears_knock(world).then_some(0);
        [wake, ack, readable, knock].into_iter().flatten().min()
    }

    /// Does one thing that is due.
    pub fn poll(&mut self, world: &mut World, model: &mut Model, mood: Mood) -> Check {
        let now = world.now;
        self.watch_ghosts(world, model)?;
        if self.hears_knock(world) {
            return self.read_knock(world, model);
        }
        if !matches!(self.phase, Phase::Away { .. })
            && world.sockets[self.socket].is_readable()
            && self.stalled_until <= now
        {
            return self.read(world, model, mood);
        }
        if !self.silent && self.acks.front().is_some_and(|a| a.0 <= now) {
            self.send_ack(world);
            return Ok(());
        }
        match self.phase {
            Phase::Away { until } if until <= now => self.connect(world, model, mood),
            Phase::Away { .. } => Ok(()),
            Phase::Opening { since } => self.while_opening(world, model, mood, since),
            Phase::Open if self.next_act <= now => self.act(world, model, mood),
            Phase::Open => Ok(()),
        }
    }

    /// Whether nothing is under way any more.
    pub fn is_settled(&self, world: &World, mood: Mood) -> bool {
        if self.gone {
            return true;
        }
        let unread =
            |socket: usize| world.sockets[socket].is_readable() || !world.sockets[socket].waiting.is_empty();
        if self.phase == Phase::Open && unread(self.socket) {
            return false;
        }
        let settled = match self.phase {
            Phase::Away { .. } => mood == Mood::Calm && !self.is_persistent(),
            Phase::Opening { .. } => false,
            Phase::Open => mood == Mood::Calm && !self.silent,
        };
        let idle = self.outgoing.is_empty()
            && self.held.is_empty()
            && self.acks.is_empty()
            && self.requests.is_empty();
        settled && (matches!(self.phase, Phase::Away { .. }) || idle && self.pings.is_empty())
    }

    /// What it still waits for, in words.
    pub fn waits_for(&self) -> String {
        format!(
            "client {} ({:?}, socket {}): outgoing {:?}, held {:?}, acks {:?}, requests {:?}, pings {}",
            self.index,
            self.phase,
            self.socket as isize,
            self.outgoing,
            self.held,
            self.acks,
            self.requests,
            self.pings.len()
        )
    }

    /// Nothing may stay without an answer for ever.
    pub fn check_answers(&self, world: &World, model: &Model) -> Check {
        let now = world.now;
        self.check_knocks(now)?;
        if self.silent || self.phase != Phase::Open {
            return Ok(());
        }
        let oldest = self.requests.values().map(|r| r.0).chain(self.pings.iter().copied()).min();
        ensure(oldest.is_none_or(|at| now < at + ANSWER_MS), "requests-answered", || self.waits_for())?;
        self.check_retries(world, model)
    }

    fn write(&mut self, world: &mut World, bytes: &[u8]) {
        self.last_write = world.now;
        world.write(self.socket, bytes);
    }

    fn send_ack(&mut self, world: &mut World) {
        let Some((_, kind, pid)) = self.acks.pop_front() else { return };
        world.stamp();
        let index = self.index;
        world.trace.note(|| format!("client {index} sends {kind:?} {pid}"));
        match kind {
            AckKind::Puback => {
                self.held.remove(&pid);
                self.order.retain(|p| p.0 != pid);
                self.quota.remove(&pid);
            }
            AckKind::Pubcomp => {
                self.quota.remove(&pid);
            }
            AckKind::Pubrec => {
                if let Some(held) = self.held.get_mut(&pid) {
                    held.received = true;
                }
            }
            AckKind::Pubrel => {}
        }
        self.write(world, &wire::ack(kind, pid));
    }

    fn owe_ack(&mut self, world: &mut World, kind: AckKind, pid: u16) {
        let delay = if world.random.percent(50) { 0 } else { world.random.within(0, self.profile.ack_max) };
        let at = (world.now + delay).max(self.acks.back().map_or(0, |a| a.0));
        self.acks.push_back((at, kind, pid));
    }

    fn next_pid(&mut self) -> u16 {
        loop {
            self.last_pid = self.last_pid.checked_add(1).unwrap_or(1);
            let pid = self.last_pid;
            if !self.outgoing.iter().any(|o| o.pid == pid) && !self.requests.contains_key(&pid) {
                return pid;
            }
        }
    }

    /// Connections that a later one took over are closed by the broker in the end.
    fn watch_ghosts(&mut self, world: &mut World, model: &Model) -> Check {
        let now = world.now;
        let opened = matches!(self.phase, Phase::Open);
        let mut late = None;
        self.ghosts.retain(|&(since, ghost)| {
            if world.sockets[ghost].ended.is_some() || !world.sockets[ghost].is_live() {
                return false;
            }
            if opened && model.connections[ghost].connack.is_some() && since + ANSWER_MS < now {
                late = Some(ghost);
            }
            true
        });
        ensure(late.is_none(), "takeover-closes-the-old", || {
            format!("client {}: socket {late:?} is still open", self.index)
        })
    }
}

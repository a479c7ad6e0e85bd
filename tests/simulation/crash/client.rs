//! A client with a session that outlasts everything: it publishes with QoS 1 and 2, subscribes, loses its connection, comes
//! back and goes on as MQTT asks. What it never heard an answer to it takes as open.

use std::collections::{BTreeMap, VecDeque};

use super::model::{FILTERS, Message, Model, Session, Subscription, Will, bare, keeps_retain, qos_of};
use crate::model::message::{MessageNumber, payload};
use crate::socket::{ClientEnd, Place, SocketId};
use crate::trace::Check;
use crate::wire::{self, AckKind, Connect, Filter, Publish, Version, WillFields};
use crate::world::World;

/// Pause after a refusal, ms.
pub(super) const REFUSED_MS: u64 = 400;

/// PUBLISHes without an end at the same time.
const OUTGOING_MAX: usize = 6;

/// What kind of client it is.
#[derive(Debug, Clone)]
pub struct Profile {
    pub version: Version,
    /// Member of Shared Subscriptions and nothing else.
    pub is_worker: bool,
    /// Sees every Will, never leaves by itself.
    pub is_watcher: bool,
    /// Never begins anew and never unsubscribes.
    pub is_loyal: bool,
    /// Goes for good at this time, without a word.
    pub dies_at: Option<u64>,
    /// Longest delay before an acknowledgement, ms.
    pub ack_max: u64,
    /// Longest time between two acts, ms.
    pub act_max: u64,
    /// How often a CONNECT is a clean start, in percent.
    pub clean_percent: u64,
    /// Session Expiry Interval, seconds; `None`: never.
    pub expiry_s: Option<u32>,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Away { until: u64 },
    Opening,
    Open,
    Dead,
}

/// A PUBLISH of the client that is not finished.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub pid: u16,
    pub message: MessageNumber,
    pub released: bool,
}

/// SUBSCRIBE or UNSUBSCRIBE without an answer yet.
#[derive(Debug, Clone)]
pub enum Request {
    /// Place of the subscription in the model.
    Subscribe(usize),
    Unsubscribe {
        filter: usize,
        sent: u64,
    },
}

/// A client.
pub struct Client {
    pub index: usize,
    pub profile: Profile,
    pub phase: Phase,
    pub socket: SocketId,
    /// The model's session.
    pub session: Option<usize>,
    /// CONNACK has come for it.
    pub is_known: bool,
    pub outgoing: Vec<Outgoing>,
    /// QoS 2 PUBLISHes of the broker that are not finished: which message, PUBREC sent.
    pub held: BTreeMap<u16, (MessageNumber, bool)>,
    pub requests: BTreeMap<u16, Request>,
    /// PUBRELs sent again on this connection.
    pub resumed: Vec<u16>,
    /// Asks for everything retained, and nothing else.
    pub is_auditor: bool,
    /// When it left for good.
    pub died_at: u64,
    /// The last retained message of each topic, for an auditor.
    pub retained: BTreeMap<String, MessageNumber>,
    pub(super) inbox: Vec<u8>,
    /// Due, what, for which identifier.
    pub(super) acks: VecDeque<(u64, AckKind, u16)>,
    pub(super) next_act: u64,
    /// The last CONNECT was a clean start, and nobody has answered it.
    pub(super) clean_next: bool,
    /// The present connection was answered.
    pub(super) was_open: bool,
    /// Connections since the one that was answered last.
    pub(super) attempts: u32,
    /// When it was opened, and left; ms.
    pub(super) opened_at: u64,
    away_since: u64,
    /// When the former connection ended: as the client knows it, and as the broker does at the latest; ms.
    pub(super) gone_since: Option<(u64, u64)>,
    /// Connections without an answer: nothing may come from them after the next CONNECT.
    unanswered: Vec<SocketId>,
}

impl Client {
    pub fn new(index: usize, profile: Profile, first: u64) -> Self {
        Self {
            index,
            profile,
            phase: Phase::Away { until: first },
            socket: usize::MAX,
            session: None,
            is_known: false,
            outgoing: Vec::new(),
            held: BTreeMap::new(),
            requests: BTreeMap::new(),
            resumed: Vec::new(),
            is_auditor: false,
            died_at: u64::MAX,
            retained: BTreeMap::new(),
            inbox: Vec::new(),
            acks: VecDeque::new(),
            next_act: 0,
            clean_next: false,
            was_open: false,
            attempts: 0,
            opened_at: 0,
            away_since: 0,
            gone_since: None,
            unanswered: Vec::new(),
        }
    }

    /// When it next wants to be polled.
    pub fn next_at(&self, world: &World, is_calm: bool) -> Option<u64> {
        let is_there = matches!(self.phase, Phase::Opening | Phase::Open);
        let wake = match self.phase {
            Phase::Away { until } if self.is_old_gone(world) => Some(until),
            Phase::Open if !is_calm => Some(self.next_act),
            _ => None,
        };
        let ack = self.acks.front().map(|ack| ack.0).filter(|_| self.phase == Phase::Open);
        let readable = (is_there && world.sockets[self.socket].is_readable()).then_some(0);
        [wake, ack, readable].into_iter().flatten().min()
    }

    /// A CONNECT that was not answered could still be handled after the next one.
    fn is_old_gone(&self, world: &World) -> bool {
        self.unanswered.iter().all(|&old| world.sockets[old].place == Place::Gone)
    }

    /// Whether nothing is under way any more.
    pub fn is_settled(&self, world: &World) -> bool {
        self.phase == Phase::Dead
            || self.phase == Phase::Open
                && self.outgoing.is_empty()
                && self.held.is_empty()
                && self.requests.is_empty()
                && self.acks.is_empty()
                && !world.sockets[self.socket].is_readable()
                && world.sockets[self.socket].waiting.is_empty()
    }

    /// Does one thing that is due.
    pub fn poll(&mut self, world: &mut World, model: &mut Model, is_calm: bool) -> Check {
        let now = world.now;
        if matches!(self.phase, Phase::Opening | Phase::Open) && world.sockets[self.socket].is_readable() {
            return self.read(world, model);
        }
        if self.phase == Phase::Open && self.acks.front().is_some_and(|ack| ack.0 <= now) {
            self.send_ack(world);
            return Ok(());
        }
        match self.phase {
            Phase::Away { until } if until <= now && self.is_old_gone(world) => {
                self.connect(world, model, is_calm);
            }
            Phase::Open if self.next_act <= now && !is_calm => self.act(world, model),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, world: &mut World, model: &mut Model, is_calm: bool) {
        if let Some(former) = world.sockets.get(self.socket) {
            // One that is still there is taken over; one that was not answered may have had the session too.
            let ended_at = former.ended.map_or(world.now, |ended| ended.at);
            let left_at = self.was_open.then_some(self.away_since.min(ended_at));
            let left_at = left_at.or(self.gone_since.map(|(left_at, _)| left_at));
            self.gone_since = left_at.map(|left_at| (left_at, ended_at));
            self.was_open = false;
        }
        self.opened_at = world.now;
        self.socket = world.connect(self.index);
        self.inbox.clear();
        self.acks.clear();
        self.requests.clear();
        self.resumed.clear();
        self.unanswered = vec![self.socket];
        let is_v5 = self.profile.version == Version::V5;
        // A clean start of 3.x makes a session that ends with its connection: none of ours.
        let may_clean = is_v5 && !is_calm && !self.profile.is_loyal && self.is_known;
        // What another connection without an answer has found, perhaps a session of its own, nobody knows.
        let is_doubtful = self.attempts > 0 && self.may_have_expired(world.now, model);
        self.attempts += 1;
        let clean =
            self.clean_next || is_doubtful || may_clean && world.random.percent(self.profile.clean_percent);
        if clean {
            self.clean_next = true;
            self.begin_anew(model);
        }
        let session = *self.session.get_or_insert_with(|| {
            let expiry_s = self.profile.expiry_s;
            model.sessions.push(Session { client: self.index, is_v5, expiry_s, ..Session::default() });
            model.sessions.len() - 1
        });
        let connect = Connect {
            version: self.profile.version,
            client_id: format!("client-{}", self.index),
            clean,
            keep_alive_s: 0,
            expiry_s: is_v5.then_some(self.profile.expiry_s.unwrap_or(u32::MAX)),
            receive_max: None,
            packet_max: None,
            alias_max: None,
            will: (!is_calm && !self.profile.is_watcher).then(|| self.make_will(world, model)).flatten(),
            password: None,
        };
        let (index, socket) = (self.index, self.socket);
        world.stamp();
        world.trace.note(|| format!("client {index} socket {socket} session {session}: {connect:?}"));
        self.phase = Phase::Opening;
        world.write(self.socket, &wire::connect(&connect));
    }

    /// Nothing of the old session counts any more.
    fn begin_anew(&mut self, model: &mut Model) {
        if let Some(session) = self.session.take() {
            model.session_ended(session);
        }
        self.is_known = false;
        self.outgoing.clear();
        self.held.clear();
    }

    fn make_will(&self, world: &mut World, model: &mut Model) -> Option<WillFields> {
        let is_v5 = self.profile.version == Version::V5;
        if !world.random.percent(if self.profile.dies_at.is_some() { 90 } else { 40 }) {
            return None;
        }
        let number = model.messages.len();
        let delay_s = if is_v5 { world.random.pick(&[0, 0, 1, 3]) } else { 0 };
        let bytes = payload(number, 30);
        let message = Message {
            publisher: self.index,
            topic: format!("w/{}", self.index),
            qos: 2,
            size: bytes.len(),
            will: Some(Will { socket: self.socket, delay_s }),
            ..Message::default()
        };
        let fields = WillFields {
            topic: message.topic.clone(),
            payload: bytes,
            qos: 2,
            retain: false,
            delay_s,
            expiry_s: None,
        };
        model.messages.push(message);
        Some(fields)
    }

    fn act(&mut self, world: &mut World, model: &mut Model) {
        self.next_act = world.now + world.random.within(1, self.profile.act_max);
        if self.profile.is_watcher {
            return;
        }
        if self.profile.dies_at.is_some_and(|at| at <= world.now) {
            self.leave(world, ClientEnd::Reset);
            (self.phase, self.died_at) = (Phase::Dead, world.now);
            self.session.into_iter().for_each(|session| model.sessions[session].is_left = true);
            return;
        }
        match world.random.below(100) {
            0..66 => self.publish_something(world, model),
            66..80 => self.subscribe_something(world, model),
            80..86 => self.unsubscribe_something(world, model),
            86..90 => {
                world.write(self.socket, &wire::disconnect(self.profile.version, 0, None));
                self.leave(world, ClientEnd::Finished);
            }
            90..94 => self.leave(world, ClientEnd::Reset),
            // The connection stays, and the next one takes over.
            94..97 => self.now_away(world),
            _ => {}
        }
    }

    /// The client's end is over.
    pub fn leave(&mut self, world: &mut World, how: ClientEnd) {
        world.stamp();
        world.cut(self.socket, how);
        self.now_away(world);
    }

    pub(super) fn now_away(&mut self, world: &mut World) {
        let index = self.index;
        world.trace.note(|| format!("client {index} is away"));
        if self.phase == Phase::Open {
            self.unanswered.clear();
        }
        self.away_since = world.now;
        let pause = if world.random.percent(50) { 30 } else { 3_000 };
        self.phase = Phase::Away { until: world.now + world.random.within(0, pause) };
        self.acks.clear();
    }

    /// Leaves the connection to be taken over by the next one.
    pub(super) fn come_again(&mut self, now: u64) {
        self.away_since = now;
        self.unanswered.clear();
        self.acks.clear();
        self.phase = Phase::Away { until: now + REFUSED_MS };
    }

    fn publish_something(&mut self, world: &mut World, model: &mut Model) {
        if self.outgoing.len() >= OUTGOING_MAX {
            return;
        }
        let me = self.index;
        let topic = match world.random.below(20) {
            0..10 => format!("t/{}", world.random.below(2)),
            10..15 => format!("r/{me}/{}", world.random.below(2)),
            _ => format!("s/{}", world.random.below(2)),
        };
        let retain = topic.starts_with("r/");
        let delete = retain && world.random.percent(15);
        let qos = if retain && world.random.percent(20) { 0 } else { world.random.pick(&[1, 2]) };
        let may_expire = self.profile.version == Version::V5 && world.random.percent(15);
        let expiry_s = if may_expire { Some(world.random.pick(&[1, 2, 60])) } else { None };
        let number = model.messages.len();
        let size = world.random.pick(&[10, 30, 300]);
        model.messages.push(Message {
            publisher: me,
            topic,
            qos,
            retain,
            delete,
            expiry_s,
            size: if delete { 0 } else { payload(number, size).len() },
            ..Message::default()
        });
        if qos == 0 {
            return self.send(world, model, number, 0, false);
        }
        let pid = self.free_pid();
        self.outgoing.push(Outgoing { pid, message: number, released: false });
        self.send(world, model, number, pid, false);
    }

    pub(super) fn send(
        &self,
        world: &mut World,
        model: &mut Model,
        number: MessageNumber,
        pid: u16,
        dup: bool,
    ) {
        let stamp = world.stamp();
        model.sent(number, stamp, world.now);
        let message = &model.messages[number];
        let index = self.index;
        world.trace.note(|| format!("client {index} publishes {number} as {pid} dup {dup}: {message:?}"));
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic.clone(),
            pid,
            payload: if message.delete { Vec::new() } else { payload(number, message.size) },
            alias: None,
            subscription_ids: Vec::new(),
            expiry_s: message.expiry_s,
        };
        world.write(self.socket, &wire::publish(self.profile.version, &publish));
    }

    /// The lowest that is free: so a broker that has forgotten to forget one is found out.
    fn free_pid(&self) -> u16 {
        let is_free =
            |pid: &u16| !self.outgoing.iter().any(|o| o.pid == *pid) && !self.requests.contains_key(pid);
        (1..=u16::MAX).find(is_free).unwrap_or(u16::MAX)
    }

    fn subscribe_something(&mut self, world: &mut World, model: &mut Model) {
        let filter = if self.profile.is_worker { 8 + world.random.below(2) } else { world.random.below(7) };
        self.subscribe(world, model, filter);
    }

    /// SUBSCRIBE, unless the filter is subscribed to already or may be.
    pub fn subscribe(&mut self, world: &mut World, model: &mut Model, filter: usize) {
        let Some(session) = self.session else { return };
        let is_asked = |request: &Request| {
            matches!(request, Request::Subscribe(place)
            if model.sessions[session].subscriptions[*place].filter == filter)
        };
        let has = |s: &Subscription| s.filter == filter && s.over.is_none() && s.acked.is_some();
        let has_left = |s: &Subscription| s.leaving.is_some();
        let subscriptions = &model.sessions[session].subscriptions;
        if subscriptions.iter().any(|s| has(s) && !has_left(s)) || self.requests.values().any(is_asked) {
            return;
        }
        let stamp = world.stamp();
        let place = subscriptions.len();
        model.sessions[session].subscriptions.push(Subscription {
            filter,
            sent: stamp,
            acked: None,
            leaving: None,
            over: None,
        });
        let pid = self.free_pid();
        self.requests.insert(pid, Request::Subscribe(place));
        let index = self.index;
        world.trace.note(|| format!("client {index} subscribes as {pid}: {}", FILTERS[filter]));
        let is_v5 = self.profile.version == Version::V5;
        let wish = Filter {
            filter: FILTERS[filter].to_owned(),
            qos: qos_of(filter),
            no_local: false,
            retain_as_published: is_v5 && keeps_retain(filter),
            retain_handling: 0,
        };
        let bytes = wire::subscribe(self.profile.version, pid, filter as u32 + 1, &[wish]);
        world.write(self.socket, &bytes);
    }

    fn unsubscribe_something(&mut self, world: &mut World, model: &mut Model) {
        let Some(session) = self.session.filter(|_| !self.profile.is_loyal) else { return };
        let known: Vec<usize> =
            (0..FILTERS.len()).filter(|&filter| model.sessions[session].knows(filter)).collect();
        if known.is_empty() {
            return;
        }
        let filter = known[world.random.below(known.len())];
        let sent = world.stamp();
        for subscription in &mut model.sessions[session].subscriptions {
            if subscription.filter == filter {
                subscription.leaving.get_or_insert(sent);
            }
        }
        model.members_gone += u32::from(bare(filter).1);
        let pid = self.free_pid();
        self.requests.insert(pid, Request::Unsubscribe { filter, sent });
        let index = self.index;
        world.trace.note(|| format!("client {index} unsubscribes as {pid}: {}", FILTERS[filter]));
        let bytes = wire::unsubscribe(self.profile.version, pid, &[FILTERS[filter].to_owned()]);
        world.write(self.socket, &bytes);
    }

    /// What a watcher or an auditor asks for, once it is there.
    pub(super) fn subscribe_at_once(&mut self, world: &mut World, model: &mut Model) {
        if self.is_auditor {
            self.subscribe(world, model, 5);
        } else if self.profile.is_watcher {
            self.subscribe(world, model, 7);
            self.subscribe(world, model, 3);
        }
    }

    /// What it still waits for, in words.
    pub fn waits_for(&self) -> String {
        format!(
            "client {} ({:?}, socket {}): outgoing {:?}, held {:?}, acks {:?}, requests {:?}",
            self.index, self.phase, self.socket as isize, self.outgoing, self.held, self.acks, self.requests
        )
    }

    fn send_ack(&mut self, world: &mut World) {
        let Some((_, kind, pid)) = self.acks.pop_front() else { return };
        world.stamp();
        let index = self.index;
        world.trace.note(|| format!("client {index} sends {kind:?} {pid}"));
        if kind == AckKind::Pubrec
            && let Some(held) = self.held.get_mut(&pid)
        {
            held.1 = true;
        }
        world.write(self.socket, &wire::ack(kind, pid));
    }

    /// The wild time is over.
    pub fn calm_down(&mut self, now: u64) {
        self.profile.ack_max = 0;
        self.acks.iter_mut().for_each(|ack| ack.0 = now);
        if let Phase::Away { until } = &mut self.phase {
            *until = (*until).min(now);
        }
    }
}

//! Clients come in, come back and go: connect, CONNECT, SUBSCRIBEs, with a window of handshakes outstanding; tries
//! that failed are repeated; a storm cuts and reconnects; at the end all leave. What is special to a client's second
//! connection is in `takeover`.

use std::collections::{HashMap, VecDeque};
use std::io;

use myriad::packet::Connect;
use shards::{Close, Closed, ConnectionId, Io};

use super::clients::{Phase, Role, share};
use super::{Load, Part};
use crate::scanner::Frame;
use crate::wire;

/// Failed tries after which a client is given up.
const TRIES_MAX: u8 = 4;
/// Pause before another try, milliseconds.
const AGAIN_MS: u64 = 1_000;
/// No answer for so long ends a try; also how long the broker has to close a connection that was taken over.
pub(super) const ANSWER_MAX_US: u64 = 30_000_000;
/// Closes (or DISCONNECTs) a turn, so that pings go on between them.
const CLOSES_PER_TURN: u32 = 64;
/// Connects begun a turn, for the same reason.
const DIALS_PER_TURN: u32 = 32;
/// Bit of a connect's key: the client's second connection.
pub(super) const SECOND_KEY: u64 = 1 << 32;

/// What passes over the table once, some clients a turn.
#[derive(Clone, Copy, Debug)]
enum Pass {
    Storm(Part),
    Takeover(Part),
    Leave,
}

/// What handshakes are for, which says where their latency counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Task {
    /// The stage's latency.
    #[default]
    Fill,
    /// The second one, beside that of the PINGREQs.
    Storm,
    /// None: that of the takeover counts.
    Takeover,
}

/// Clients that connect and disconnect again and again.
#[derive(Debug)]
struct Churn {
    free: Vec<u32>,
    interval_us: f64,
    due_us: f64,
}

/// All that is under way.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Begin of each handshake, by client.
    pub(super) under_way: HashMap<u32, u64>,
    /// The fill: next client and the end, local numbers.
    next: u32,
    end: u32,
    /// Microseconds between two connects, 0: none; and when the next is due.
    interval_us: f64,
    due_us: f64,
    /// Cut and closed, to be connected at once.
    again: VecDeque<u32>,
    /// To be connected later: a constant delay, so first in, first out.
    later: VecDeque<(u64, u32)>,
    /// A pass and its next client.
    pass: Option<(Pass, u32)>,
    /// Closed by us; `closed` has not come yet.
    closing: u32,
    /// Clients from this local number on disconnect as soon as they are subscribed.
    passing_from: Option<u32>,
    churn: Option<Churn>,
    task: Task,
}

impl Handshakes {
    /// Begins no more of a fill.
    pub(super) fn stop_fill(&mut self) {
        self.end = self.next;
    }

    /// Cuts a part and lets it come back.
    pub(super) fn storm(&mut self, part: Part) {
        self.task = Task::Storm;
        self.pass = Some((Pass::Storm(part), 0));
    }

    /// Lets a part connect twice.
    pub(super) fn take_over(&mut self, part: Part) {
        self.task = Task::Takeover;
        self.pass = Some((Pass::Takeover(part), 0));
    }

    /// Sends all away.
    pub(super) fn leave(&mut self) {
        self.stop_fill();
        self.again.clear();
        self.later.clear();
        self.pass = Some((Pass::Leave, 0));
    }

    /// Begins no more of the churn.
    pub(super) fn stop_churn(&mut self) {
        self.churn = None;
    }

    /// Clients of the fill that were begun with.
    pub(super) fn begun(&self) -> u32 {
        self.next
    }

    /// How much there is still to do; a pass counts as one until it is through.
    pub(super) fn task_left(&self) -> u64 {
        let lens = self.under_way.len() + self.again.len() + self.later.len();
        lens as u64
            + u64::from(self.end - self.next)
            + u64::from(self.closing)
            + u64::from(self.pass.is_some())
    }
}

impl Load {
    /// Lets the clients from number `from` on connect and disconnect, one each `interval_us`.
    pub(super) fn churn(&mut self, io: &Io<'_, Self>, from: u32, interval_us: f64) {
        let first = share(from, self.shard, self.shards);
        self.handshakes.passing_from = Some(first);
        self.handshakes.task = Task::Fill;
        let free = (first..self.clients.len()).collect();
        self.handshakes.churn = Some(Churn { free, interval_us, due_us: io.now_us() as f64 });
    }

    /// Connects all clients below `clients`.
    pub(super) fn fill(&mut self, io: &Io<'_, Self>, clients: u32, interval_us: f64, leave: bool) {
        let h = &mut self.handshakes;
        h.passing_from = leave.then_some(h.next);
        h.task = Task::Fill;
        h.end = share(clients, self.shard, self.shards).min(self.clients.len()).max(h.next);
        h.interval_us = interval_us;
        h.due_us = io.now_us() as f64;
    }

    /// Goes on with what is under way; `true`: more could be done at once.
    pub(super) fn go_on(&mut self, io: &mut Io<'_, Self>) -> bool {
        let more = self.go_on_passing(io) | self.go_on_churning(io);
        let now_us = io.now_us();
        for _ in 0..DIALS_PER_TURN {
            if self.handshakes.under_way.len() >= self.plan.handshakes {
                return more;
            }
            let h = &mut self.handshakes;
            if let Some(local) = h.again.pop_front() {
                self.dial(io, local, now_us);
            } else if h.next < h.end && (h.interval_us == 0.0 || h.due_us <= now_us as f64) {
                let local = h.next;
                h.next += 1;
                // A scheduled connect counts from its schedule.
                let since_us = if h.interval_us > 0.0 { h.due_us as u64 } else { now_us };
                h.due_us += h.interval_us;
                self.dial(io, local, since_us);
            } else {
                return more;
            }
        }
        true
    }

    fn go_on_churning(&mut self, io: &mut Io<'_, Self>) -> bool {
        let now_us = io.now_us();
        for _ in 0..CLOSES_PER_TURN {
            let Some(churn) = &mut self.handshakes.churn else { return false };
            if churn.due_us > now_us as f64 {
                return false;
            }
            let since_us = churn.due_us as u64;
            churn.due_us += churn.interval_us;
            match churn.free.pop() {
                Some(local) => self.dial(io, local, since_us),
                // All are under way: the broker is behind.
                None => self.figures.skipped += 1,
            }
        }
        true
    }

    /// When the next connect at a fixed rate is due.
    pub(super) fn next_connect_us(&self) -> Option<u64> {
        let h = &self.handshakes;
        if let Some(churn) = &h.churn {
            return Some(churn.due_us as u64);
        }
        let open = h.next < h.end && h.interval_us > 0.0 && h.under_way.len() < self.plan.handshakes;
        open.then_some(h.due_us as u64)
    }

    fn dial(&mut self, io: &mut Io<'_, Self>, local: u32, since_us: u64) {
        self.handshakes.under_way.insert(local, since_us);
        self.clients[local].phase = Phase::Connecting;
        self.clients[local].subacks = 0;
        self.connect(io, local, u64::from(local));
    }

    pub(super) fn connect(&self, io: &mut Io<'_, Self>, local: u32, key: u64) {
        let sources = &self.plan.sources;
        let number = self.number(local) as usize;
        let from = number.checked_rem(sources.len()).and_then(|i| sources.get(i)).copied();
        io.connect(self.plan.to, from, key);
    }

    fn go_on_passing(&mut self, io: &mut Io<'_, Self>) -> bool {
        let Some((pass, mut local)) = self.handshakes.pass else { return false };
        let mut budget = CLOSES_PER_TURN;
        while budget > 0 && local < self.clients.len() {
            let chosen = match pass {
                Pass::Storm(part) | Pass::Takeover(part) => part.has(local),
                Pass::Leave => true,
            };
            if chosen && self.clients[local].phase == Phase::Held {
                budget -= 1;
                self.totals.chosen += 1;
                match pass {
                    Pass::Storm(_) => self.cut(io, local, Phase::Cut),
                    Pass::Leave => self.cut(io, local, Phase::Leaving),
                    Pass::Takeover(_) if self.handshakes.under_way.len() >= self.plan.handshakes => {
                        // Full: the answers that come make another turn.
                        self.totals.chosen -= 1;
                        self.handshakes.pass = Some((pass, local));
                        return false;
                    }
                    Pass::Takeover(_) => self.dial_again(io, local),
                }
            }
            local += 1;
        }
        let more = local < self.clients.len();
        self.handshakes.pass = more.then_some((pass, local));
        more
    }

    fn cut(&mut self, io: &mut Io<'_, Self>, local: u32, phase: Phase) {
        let connection = ConnectionId::from_bits(self.clients[local].connection);
        self.clients[local].phase = phase;
        self.totals.held -= 1;
        self.handshakes.closing += 1;
        if phase == Phase::Leaving {
            io.output(connection).extend_from_slice(&wire::DISCONNECT);
            io.close(connection, Close::Flush);
        } else {
            io.close(connection, Close::Abort);
        }
    }

    /// TCP is there: CONNECT.
    pub(super) fn dialled(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, key: u64) {
        let local = key as u32;
        if key & SECOND_KEY != 0 {
            if !self.dialled_again(connection, local) {
                return io.close(connection, Close::Abort);
            }
        } else {
            self.clients.own(connection, local, Role::First);
            let client = &mut self.clients[local];
            client.connection = connection.to_bits();
            client.phase = Phase::Connack;
            client.pinged = false;
        }
        self.clients[local].sent_s = Self::second(io);
        let number = self.number(local);
        let plan = &self.plan;
        self.traffic.write_client_id(&plan.prefix, number);
        let mut connect = Connect::new(plan.version, self.traffic.text());
        connect.clean_start = plan.clean;
        connect.keep_alive = plan.keep_alive_s;
        if plan.version.is_v5() && !plan.clean {
            connect.session_expiry_s = Some(u32::MAX);
        }
        if let Some(password) = &plan.password {
            connect.username = Some(self.traffic.text());
            connect.password = Some(password.as_bytes());
        }
        connect.encode(io.output(connection));
    }

    /// TCP did not come.
    pub(super) fn not_dialled(&mut self, io: &Io<'_, Self>, key: u64, error: &io::Error) {
        let reason = format!("connect: {error}");
        if key & SECOND_KEY != 0 {
            self.takeover_failed(key as u32, reason);
        } else {
            self.failed(reason);
            self.try_again(io, key as u32);
        }
    }

    /// A handshake ended early, by a failure that was not counted yet unless we ended it.
    fn handshake_ended(&mut self, io: &Io<'_, Self>, local: u32, before: &str, cause: Closed) {
        if !matches!(cause, Closed::Local | Closed::FlushTimeout) {
            self.failed(format!("before {before}: {}", words(cause)));
        }
        self.try_again(io, local);
    }

    /// A handshake failed: it is tried again some times.
    fn try_again(&mut self, io: &Io<'_, Self>, local: u32) {
        self.handshakes.under_way.remove(&local);
        let client = &mut self.clients[local];
        client.connection = 0;
        client.tries += 1;
        if client.tries >= TRIES_MAX {
            client.phase = Phase::Lost;
            self.totals.given_up += 1;
        } else {
            client.phase = Phase::Away;
            self.handshakes.later.push_back((io.now_ms() + AGAIN_MS, local));
        }
    }

    /// CONNACK: SUBSCRIBEs follow.
    pub(super) fn connack(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        local: u32,
        role: Role,
        frame: &Frame<'_>,
    ) {
        if let Err(reason) = wire::connack(self.plan.version, frame) {
            // The close that follows ends the try; the reason is what counts.
            self.failed(reason);
            return io.close(connection, Close::Abort);
        }
        match role {
            Role::Second => self.accepted_second(io, connection, local),
            Role::First if self.clients[local].phase == Phase::Connack => {}
            Role::First | Role::Old => return self.failed("a second CONNACK".into()),
        }
        self.clients[local].phase = Phase::Suback;
        self.clients[local].subacks = 0;
        self.subscribe(io, connection, local);
    }

    fn subscribe(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, local: u32) {
        let count = self.plan.subscriptions.count();
        let number = self.number(local);
        let version = self.plan.version;
        for which in 0..count {
            self.traffic.write_topic(&self.plan.prefix, which, number, self.plan.group_len);
            wire::subscribe(io.output(connection), version, which.into(), self.traffic.text(), 1);
        }
        if count == 0 {
            self.complete(io, local);
        }
    }

    /// SUBACK: after the last one the client is held.
    pub(super) fn suback(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        local: u32,
        frame: &Frame<'_>,
    ) {
        if let Err(reason) = wire::suback(self.plan.version, frame) {
            self.failed(reason);
            return io.close(connection, Close::Abort);
        }
        if self.clients[local].phase != Phase::Suback {
            return;
        }
        self.clients[local].subacks += 1;
        if self.clients[local].subacks == self.plan.subscriptions.count() {
            self.complete(io, local);
        }
    }

    fn complete(&mut self, io: &mut Io<'_, Self>, local: u32) {
        let client = &mut self.clients[local];
        client.phase = Phase::Held;
        client.tries = 0;
        client.sent_s = Self::second(io);
        self.totals.held += 1;
        self.totals.handshakes += 1;
        let Some(since_us) = self.handshakes.under_way.remove(&local) else { return };
        let latency_us = io.now_us().saturating_sub(since_us);
        match self.handshakes.task {
            Task::Fill => self.figures.latency.record(latency_us),
            Task::Storm => self.figures.second.record(latency_us),
            Task::Takeover => {}
        }
        if self.handshakes.passing_from.is_some_and(|from| local >= from) {
            self.cut(io, local, Phase::Leaving);
        }
    }

    /// A connection is gone.
    pub(super) fn ended(&mut self, io: &Io<'_, Self>, connection: ConnectionId, cause: Closed) {
        let Some((local, role)) = self.clients.owner(connection) else { return };
        self.clients.disown(connection);
        match role {
            Role::Old => self.old_ended(io, local),
            Role::Second => {
                self.takeover_failed(local, format!("takeover: second connection ended: {}", words(cause)));
            }
            Role::First => self.first_ended(io, local, cause),
        }
    }

    fn first_ended(&mut self, io: &Io<'_, Self>, local: u32, cause: Closed) {
        self.forget(local);
        let client = &mut self.clients[local];
        client.connection = 0;
        client.pinged = false;
        match client.phase {
            Phase::Held => {
                self.totals.held -= 1;
                if self.takeovers.first_closed(local) {
                    return;
                }
                client.phase = Phase::Lost;
                self.totals.lost += 1;
                self.failed(format!("held connection ended: {}", words(cause)));
            }
            Phase::Cut => {
                self.handshakes.closing -= 1;
                client.phase = Phase::Away;
                self.handshakes.again.push_back(local);
            }
            Phase::Leaving => {
                self.handshakes.closing -= 1;
                client.phase = Phase::Away;
                if let Some(churn) = &mut self.handshakes.churn {
                    churn.free.push(local);
                }
            }
            Phase::Connack => self.handshake_ended(io, local, "CONNACK", cause),
            Phase::Suback => self.handshake_ended(io, local, "SUBACK", cause),
            Phase::Away | Phase::Connecting | Phase::Lost => {}
        }
    }

    /// Lets those come whose pause is over, and ends what gets no answer.
    pub(super) fn look_after_handshakes(&mut self, io: &mut Io<'_, Self>) {
        let now_ms = io.now_ms();
        while let Some((_, local)) = self.handshakes.later.front().copied().filter(|(at, _)| *at <= now_ms) {
            self.handshakes.later.pop_front();
            self.handshakes.again.push_back(local);
        }
        if !self.ticks.is_multiple_of(10) {
            return;
        }
        let now_us = io.now_us();
        let late = |since_us: &u64| now_us.saturating_sub(*since_us) > ANSWER_MAX_US;
        let silent: Vec<u32> =
            self.handshakes.under_way.iter().filter(|(_, since)| late(since)).map(|(l, _)| *l).collect();
        for local in silent {
            self.give_up_waiting(io, local);
        }
        self.look_after_takeovers(now_us);
    }

    /// A handshake got no answer. While TCP itself is still under way the kernel's own patience counts.
    fn give_up_waiting(&mut self, io: &mut Io<'_, Self>, local: u32) {
        let second = self.takeovers.second(local);
        let bits = match (second, self.clients[local].phase) {
            (Some(bits), _) => bits,
            (None, Phase::Connack | Phase::Suback) => self.clients[local].connection,
            (None, _) => 0,
        };
        if bits != 0 {
            self.failed("no answer to CONNECT or SUBSCRIBE within 30 s".into());
            // `closed` ends the try.
            io.close(ConnectionId::from_bits(bits), Close::Abort);
            self.handshakes.under_way.insert(local, io.now_us());
        }
    }
}

/// How a connection ended, in words for the list of failures.
fn words(cause: Closed) -> &'static str {
    match cause {
        Closed::Peer => "closed by the broker",
        Closed::Reset => "reset by the broker",
        Closed::Error(_) => "an error of the socket",
        Closed::Local | Closed::FlushTimeout => "closed by this program",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_over_when_nothing_is_left() {
        let mut h = Handshakes::default();
        assert_eq!(h.task_left(), 0);
        (h.next, h.end) = (2, 5);
        h.again.push_back(7);
        assert_eq!(h.task_left(), 4);
        h.storm(Part { of: 10, rest: 3 });
        assert_eq!(h.task_left(), 5);
        h.leave();
        assert_eq!((h.task_left(), h.begun()), (1, 2));
    }
}

//! One Network Connection as the model sees it, and what follows from its beginning and its end: which answer a
//! CONNECT must get, whether a session goes on, when a Will is due, whether the broker was right to close it.

use std::collections::VecDeque;

use super::expiry::Upload;
use super::session::Session;
use super::will::{LATE_MS, Verdict, Will};
use super::{Model, SessionNumber};
use crate::socket::{Ended, SocketId};
use crate::trace::{Check, broken, ensure};
use crate::wire::Connack;
use myriad::config::Config;

/// How a client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// DISCONNECT: no Will.
    Normal,
    /// DISCONNECT 0x04: with Will.
    WithWill,
}

/// A moment: virtual time and stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: u64,
    pub stamp: u64,
}

/// A Network Connection.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    pub client: usize,
    pub clean: bool,
    pub expiry_s: u32,
    pub keep_alive_s: u16,
    pub is_v5: bool,
    pub connect_sent: Option<Moment>,
    pub connack: Option<Moment>,
    pub refused: bool,
    pub leave: Option<Leave>,
    /// The client ended the connection.
    pub cut: bool,
    /// The client fell silent on purpose.
    pub silent: bool,
    /// A later connection of the same client has sent CONNECT.
    pub rival: bool,
    pub will: Option<Will>,
    pub ended: Option<EndedAt>,
    /// When it was answered, an older connection of the client was still on its way through the broker, and may take
    /// the session over again, or end it.
    pub is_contested: bool,
    /// What the session was before, for what CONNACK must say.
    pub before: Life,
    pub hand_over_failed: bool,
    /// A later connection of the client ended it.
    pub is_taken_over: bool,
    /// PUBLISHes that the broker has not handled yet.
    pub uploads: VecDeque<Upload>,
    /// DISCONNECT of the broker has come in, with this Reason Code.
    pub told: Option<u8>,
}

/// When the broker's end was over.
pub type EndedAt = Moment;

/// What may be left of a client's session at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// Nothing.
    #[default]
    None,
    /// A session that `SocketId` used last.
    Of(SocketId),
    /// Nobody can know.
    Unclear,
}

impl Connection {
    /// What was asked for becomes what is granted.
    fn grant(&mut self, config: &Config) {
        let max_s = config.limits.keep_alive_s_max;
        if !self.is_v5 {
            // A persistent session of 3.x lasts as the broker's configuration says.
            self.expiry_s = if self.expiry_s > 0 { config.session.expiry_s } else { 0 };
            return;
        }
        self.expiry_s = self.expiry_s.min(config.session.expiry_s_max);
        if max_s > 0 {
            self.keep_alive_s = if self.keep_alive_s == 0 { max_s } else { self.keep_alive_s.min(max_s) };
        }
    }

    /// Whether it may take the session over at this moment: an older one too, if it was slow to get home.
    fn is_rival_at(&self, stamp: u64) -> bool {
        self.connect_sent.is_some() && self.ended.is_none_or(|ended| ended.stamp >= stamp)
    }
}

impl Model {
    /// A socket was opened by `client`.
    pub fn connection_opened(&mut self, client: usize) {
        self.connections.push(Connection { client, ..Connection::default() });
    }

    /// CONNECT goes out.
    pub fn connect_sent(&mut self, socket: SocketId, now: Moment, connect: Connection) {
        let client = connect.client;
        for other in self.connections[..socket].iter_mut().filter(|c| c.client == client) {
            other.rival = true;
            if let Some(will) = &mut other.will {
                will.connect_sent();
            }
        }
        self.connections[socket] = Connection { connect_sent: Some(now), ..connect };
    }

    /// What CONNACK grants is what the configuration in effect at that moment says, and from now on counts.
    pub fn granted(&mut self, socket: SocketId, config: Option<usize>, connack: &Connack) -> Check {
        let Some(config) = config.map(|number| self.settings.config(number)) else {
            return broken("connack-grants", format!("socket {socket}: nobody has answered"));
        };
        let connection = &mut self.connections[socket];
        let (asked_s, keep_alive_s) = (connection.expiry_s, connection.keep_alive_s);
        connection.grant(config);
        if !connection.is_v5 {
            return Ok(());
        }
        let told = (
            connack.expiry_s.unwrap_or(asked_s),
            connack.keep_alive_s.unwrap_or(keep_alive_s),
            connack.receive_max.unwrap_or(u16::MAX),
            connack.alias_max.unwrap_or(0),
        );
        let limits = &config.limits;
        let right =
            (connection.expiry_s, connection.keep_alive_s, limits.receive_max, limits.topic_alias_max);
        ensure(told == right, "connack-grants", || {
            format!(
                "socket {socket}: Session Expiry, Keep Alive, Receive Maximum, Topic Alias Maximum are {told:?} \
                 instead of {right:?}"
            )
        })
    }

    /// The broker's end is over without that the client has read an answer: its session lasts as it was granted.
    fn granted_unread(&mut self, socket: SocketId, config: Option<usize>) {
        let connection = &self.connections[socket];
        if connection.connack.is_none()
            && !connection.hand_over_failed
            && let Some(config) = config.map(|number| self.settings.config(number))
        {
            self.connections[socket].grant(config);
        }
    }

    /// CONNACK has come in; says whether the session goes on.
    pub fn connack(&mut self, socket: SocketId, now: Moment, session_present: bool) -> Check {
        self.connections[socket].connack = Some(now);
        let client = self.connections[socket].client;
        let older = self.connections[..socket].iter();
        let sent_stamp = self.connections[socket].connect_sent.map_or(0, |sent| sent.stamp);
        let on_the_way = |c: &Connection| c.connack.is_none() && !c.refused && c.is_rival_at(sent_stamp);
        self.connections[socket].is_contested = older.filter(|c| c.client == client).any(on_the_way);
        self.connections[socket].rival |= self.connections[socket].is_contested;
        let connection = &self.connections[socket];
        let sent = connection.connect_sent.map_or(0, |m| m.at);
        let expected = self.session_expected(socket, sent, now.at);
        if let Some(expected) = expected {
            ensure(session_present == expected, "session-present", || {
                format!("socket {socket}: CONNACK says {session_present}; before: {:?}", connection.before)
            })?;
        }
        match (expected, connection.clean) {
            (Some(true), _) => self.checked.resumed += 1,
            (Some(false), false) if connection.before != Life::None => self.checked.expired += 1,
            _ => {}
        }
        let mut is_next = true;
        for other in self.connections[..socket].iter_mut().rev().filter(|c| c.client == client) {
            if let Some(will) = &mut other.will {
                will.reconnected(sent, now.at, session_present, is_next);
            }
            is_next &= other.connect_sent.is_none();
        }
        Ok(())
    }

    /// CONNACK refused the client.
    pub fn connect_refused(&mut self, socket: SocketId) {
        let connection = &mut self.connections[socket];
        connection.refused = true;
        if let Some(will) = &mut connection.will {
            will.verdict = Verdict::Never;
        }
    }

    /// Whether CONNACK must say that there is a session; `None`: both are right.
    fn session_expected(&self, socket: SocketId, sent: u64, answered: u64) -> Option<bool> {
        let connection = &self.connections[socket];
        if connection.clean {
            return Some(false);
        }
        let last = match connection.before {
            Life::None => return Some(false),
            Life::Unclear => return None,
            Life::Of(last) => last,
        };
        let previous = &self.connections[last];
        if previous.expiry_s == 0 {
            return Some(false);
        }
        let client = connection.client;
        let since = || {
            let between = self.connections[last + 1..socket].iter();
            between.filter(move |c| c.client == client && c.connect_sent.is_some() && !c.refused)
        };
        if since().any(|other| other.expiry_s != previous.expiry_s) {
            // Not answered, and perhaps by another configuration.
            return None;
        }
        if previous.expiry_s == u32::MAX {
            return Some(true);
        }
        let lasts = u64::from(previous.expiry_s) * 1000;
        // A CONNECT without answer may have begun the time anew.
        let Some(first_end) = previous.ended else { return Some(true) };
        let mut last_end = first_end.at;
        for other in since() {
            last_end = last_end.max(other.ended.map_or(sent, |e| e.at));
        }
        if answered < first_end.at + lasts {
            Some(true)
        } else if sent > last_end + lasts + LATE_MS {
            Some(false)
        } else {
            None
        }
    }

    /// Whether the session of an unanswered CONNECT surely goes on, whenever the broker sees the CONNECT.
    pub fn surely_goes_on(&self, socket: SocketId, now: u64) -> bool {
        let sent = self.connections[socket].connect_sent.map_or(now, |m| m.at);
        self.session_expected(socket, sent, now + 60_000) == Some(true)
    }

    /// The broker's end of a socket is over.
    pub fn connection_ended(&mut self, socket: SocketId, ended: Ended) -> Check {
        self.granted_unread(socket, ended.config);
        let connection = &mut self.connections[socket];
        connection.ended = Some(Moment { at: ended.at, stamp: ended.stamp });
        connection.is_taken_over = ended.by_broker && connection.rival;
        let surely_left =
            connection.leave == Some(Leave::Normal) && ended.by_broker && ended.all_fed && !connection.rival;
        let answered = connection.connack.is_some();
        let (expiry_s, rival) = (connection.expiry_s, connection.rival);
        if let Some(will) = &mut connection.will {
            if !answered && (!ended.by_broker || connection.rival) {
                will.unclear();
            } else if surely_left {
                will.verdict = Verdict::Never;
            } else if connection.leave == Some(Leave::Normal)
                || !answered
                || connection.is_contested
                || self.drain_from.is_some()
            {
                will.verdict = Verdict::May;
            } else {
                will.connection_ended(ended.at, expiry_s, rival);
            }
            let message = &mut self.messages[will.message];
            if message.sent.is_empty() {
                message
                    .sent
                    .push(connection.connect_sent.filter(|_| !answered).map_or(ended.stamp, |m| m.stamp));
            }
        }
        if ended.by_broker { self.may_close(socket, ended) } else { Ok(()) }
    }

    /// Whether the broker had a reason to close a connection.
    fn may_close(&mut self, socket: SocketId, ended: Ended) -> Check {
        let connection = &self.connections[socket];
        let client = connection.client;
        let other =
            |(at, c): (usize, &Connection)| at != socket && c.client == client && c.is_rival_at(ended.stamp);
        let reason = connection.leave.is_some()
            || connection.cut
            || connection.rival
            || self.connections.iter().enumerate().any(other)
            || connection.silent
            || connection.connect_sent.is_none()
            || connection.hand_over_failed
            || self.drain_from.is_some();
        ensure(reason, "unexpected-close", || {
            format!("socket {socket} of client {} at {}", connection.client, ended.at)
        })
    }

    /// A client was silent since `since` and is closed at `now`: neither before its Keep Alive nor long after
    /// 1.5 times it.
    pub fn keep_alive_closed(&mut self, socket: SocketId, since: u64, now: u64) -> Check {
        let keep_alive_ms = u64::from(self.connections[socket].keep_alive_s) * 1000;
        let silence = now.saturating_sub(since);
        self.checked.keep_alive += 1;
        ensure(keep_alive_ms > 0 && silence >= keep_alive_ms, "keep-alive", || {
            format!("socket {socket} closed after {silence} ms of silence, Keep Alive {keep_alive_ms} ms")
        })?;
        ensure(silence <= keep_alive_ms * 3 / 2 + LATE_MS, "keep-alive", || {
            format!(
                "socket {socket} closed only after {silence} ms of silence, Keep Alive {keep_alive_ms} ms"
            )
        })
    }

    /// Places in Shared Subscriptions that were left because a session has expired by now, or may have, before its client
    /// knows: it is away, or has not read all yet.
    pub(super) fn expire_members(&mut self, now: u64) {
        for number in 0..self.sessions.len() {
            let client = self.sessions[number].client;
            let mine = self.connections.iter().filter(|c| c.client == client && !c.refused);
            let is_over = |c: &Connection| {
                let over = |ended: EndedAt| ended.at + u64::from(c.expiry_s) * 1000 <= now;
                c.expiry_s != u32::MAX && c.connect_sent.is_some() && c.ended.is_some_and(over)
            };
            let last = mine.rev().take_while(|c| c.connack.is_none() || c.ended.is_some());
            if last.into_iter().any(is_over) && self.workers[client] {
                self.members_gone += self.sessions[number].leave_shares();
            }
        }
    }

    /// The bookkeeping of a session's time without a connection.
    pub fn offline(&mut self, session: SessionNumber, from: u64, to: u64) {
        let session: &mut Session = &mut self.sessions[session];
        session.offline.push((from, to));
    }

    /// A CONNECT stayed without an answer for too long.
    pub fn unanswered<T>(&self, socket: SocketId, now: u64) -> Check<T> {
        broken(
            "connect-answered",
            format!("socket {socket} of client {}: no CONNACK by {now} ms", self.connections[socket].client),
        )
    }
}

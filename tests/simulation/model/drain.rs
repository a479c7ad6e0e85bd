//! SIGTERM: everyone is told and sent away; what was acknowledged is still there as long as the process is.

use super::message::Message;
use super::{Connection, Model};
use crate::socket::SocketId;
use crate::trace::{Check, ensure};

/// Sessions that expire sooner may be gone when the drain is over.
const LASTING_S: u32 = 60;

impl Model {
    /// A client has seen the end of a connection that the broker closed, nothing of its output lost: a client of 5.0 was
    /// told why (0x8B).
    pub fn drained_with_reason(&mut self, socket: SocketId) -> Check {
        let Some(from) = self.drain_from else { return Ok(()) };
        let c = &self.connections[socket];
        let other_reason =
            c.leave.is_some() || c.silent || c.rival || c.cut || c.refused || c.hand_over_failed;
        let by_drain = c.is_v5 && c.connack.is_some() && c.ended.is_some_and(|ended| ended.at >= from);
        if !by_drain || other_reason {
            return Ok(());
        }
        self.checked.drains += 1;
        ensure(c.told == Some(0x8b), "drain-says-why", || {
            format!("socket {socket} of client {} was closed with {:?}", c.client, c.told)
        })
    }

    /// All are away; the brokers still have `sessions` that outlive their connections, and hold `held` messages for
    /// them. Lasting sessions are among them, and what they are owed and have not got.
    pub fn drained(&mut self, now: u64, sessions: u64, held: u64) -> Check {
        let clients = 0..self.workers.len();
        let lasting: Vec<usize> = clients.filter(|&client| self.is_lasting(client)).collect();
        ensure(lasting.len() as u64 <= sessions, "drain-loses-nothing", || {
            format!("{sessions} sessions are left, but those of {lasting:?} last")
        })?;
        if self.queue_len_max < 100 {
            return Ok(());
        }
        let mut missing = Vec::new();
        for (number, session) in self.sessions.iter().enumerate() {
            if session.ended.is_some() || !self.is_lasting(session.client) {
                continue;
            }
            let owed = |(at, m): &(usize, &Message)| {
                m.accepted.is_some() && session.is_owed(m) && session.got(*at).any == 0
            };
            let owed = self.messages.iter().enumerate().filter(owed);
            missing.extend(
                owed.filter(|(at, _)| !self.may_have_expired(*at, false, now)).map(|(at, _)| (number, at)),
            );
        }
        self.checked.drains += missing.len() as u64;
        ensure(missing.len() as u64 <= held, "drain-loses-nothing", || {
            format!("the brokers hold {held} messages, but sessions are owed {missing:?}")
        })
    }

    /// Whether the client's session surely outlives its last connection by far; those that were not answered, for they
    /// came too late, would have gone on with it.
    fn is_lasting(&self, client: usize) -> bool {
        let sent = |c: &&Connection| c.client == client && c.connect_sent.is_some() && !c.refused;
        let mut latest = self.connections.iter().filter(sent).rev();
        let lasts = |c: &Connection| c.expiry_s >= LASTING_S && !c.is_contested;
        loop {
            match latest.next() {
                Some(c) if c.connack.is_some() => return lasts(c),
                Some(c) if lasts(c) && !c.clean => {}
                _ => return false,
            }
        }
    }
}

//! What a durable client makes of the broker's bytes, and what it holds against it.

use super::client::{Client, Phase, REFUSED_MS, Request};
use super::model::{Model, Reception, qos_of};
use crate::model::message::number_of;
use myriad::storage::marks::SIGN_OF_LIFE_MS;

use crate::trace::{Check, broken, ensure};
use crate::wire::{AckKind, Connack, FromServer, Publish, Unreadable, Version, next_packet};
use crate::world::World;

/// More than passes between the end of a connection's time and what follows from it: a timer that is late, a packet on its way, ms.
const LATE_MS: u64 = 1_000;

impl Client {
    /// Reads all that has arrived; or sees the end.
    pub(super) fn read(&mut self, world: &mut World, model: &mut Model) -> Check {
        if world.sockets[self.socket].arrived.is_empty() {
            self.now_away(world);
            return Ok(());
        }
        let all = world.random.percent(60);
        let bytes = world.read(self.socket, all);
        self.inbox.extend_from_slice(&bytes);
        let socket = self.socket;
        loop {
            match next_packet(self.profile.version, &self.inbox) {
                Ok(Some((packet, len))) => {
                    self.inbox.drain(..len);
                    self.packet(world, model, packet)?;
                    if self.socket != socket || !matches!(self.phase, Phase::Opening | Phase::Open) {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(Unreadable(why)) => return broken("readable", format!("client {}: {why}", self.index)),
            }
        }
    }

    fn packet(&mut self, world: &mut World, model: &mut Model, packet: FromServer) -> Check {
        let stamp = world.stamp();
        let index = self.index;
        world.trace.note(|| match &packet {
            FromServer::Publish(p) => format!(
                "client {index} gets PUBLISH {} {} QoS {} dup {} retain {} {}",
                p.pid,
                p.topic,
                p.qos,
                p.dup,
                p.retain,
                String::from_utf8_lossy(&p.payload[..p.payload.len().min(12)])
            ),
            other => format!("client {index} gets {other:?}"),
        });
        match packet {
            FromServer::Connack(connack) if self.phase == Phase::Opening => {
                self.connected(world, model, &connack)
            }
            FromServer::Disconnect { .. } => Ok(()),
            FromServer::Publish(publish) => self.publish_received(world, model, &publish),
            FromServer::Ack { kind: AckKind::Pubrel, pid, .. } => {
                if let Some((number, is_received)) = self.held.remove(&pid) {
                    ensure(is_received, "crash-pubrel-after-pubrec", || {
                        format!("client {index}: PUBREL {pid} of message {number} without PUBREC")
                    })?;
                }
                self.owe(world, AckKind::Pubcomp, pid);
                Ok(())
            }
            FromServer::Ack { kind, pid, reason } => self.acknowledged(world, model, kind, pid, reason),
            FromServer::Suback { pid, codes } => {
                let moment = (stamp, self.written_by(world));
                self.suback(model, moment, pid, &codes)
            }
            FromServer::Unsuback { pid, codes } => self.unsuback(model, stamp, pid, &codes),
            other => broken("crash-unexpected", format!("client {index}: {other:?}")),
        }
    }

    /// When the broker wrote what is read now at the latest: it may be gone.
    fn written_by(&self, world: &World) -> u64 {
        world.sockets[self.socket].ended.map_or(world.now, |ended| ended.at)
    }

    fn connected(&mut self, world: &mut World, model: &mut Model, connack: &Connack) -> Check {
        let index = self.index;
        if connack.code != 0 {
            // Only while the disk takes nothing.
            let right = [0x03, 0x97].contains(&connack.code) && model.checked.failures > 0;
            model.checked.refused += 1;
            self.phase = Phase::Away { until: world.now + REFUSED_MS };
            return ensure(right, "crash-connect-accepted", || format!("client {index}: {connack:?}"));
        }
        let present = connack.session_present;
        let is_right = if self.clean_next { !present } else { present || !self.is_known };
        let may_be_gone = model.tail_ms.is_some() && !model.crashes.is_empty();
        let is_expired = !is_right && !self.clean_next && self.may_have_expired(world.now, model);
        model.checked.sessions_expired += u64::from(is_expired);
        let is_overdue = present && self.must_have_expired(model);
        ensure(!is_overdue || may_be_gone, "crash-session-expires", || {
            format!("client {index}: gone since {:?}, and its session is there", self.gone_since)
        })?;
        ensure(is_right || is_expired || may_be_gone, "crash-session-present", || {
            format!(
                "client {index}: CONNACK says {present}, clean {}, known {}",
                self.clean_next, self.is_known
            )
        })?;
        if !is_right {
            self.start_over(model);
        }
        if may_be_gone {
            // The broker may have forgotten what the client holds.
            self.held.clear();
        }
        model.checked.resumed += u64::from(present);
        (self.clean_next, self.is_known, self.phase) = (false, true, Phase::Open);
        (self.was_open, self.gone_since, self.attempts) = (true, None, 0);
        self.next_act = world.now + world.random.within(0, self.profile.act_max);
        for outgoing in self.outgoing.clone() {
            if outgoing.released {
                self.resumed.push(outgoing.pid);
                world.stamp();
                world.write(self.socket, &crate::wire::ack(AckKind::Pubrel, outgoing.pid));
            } else {
                self.send(world, model, outgoing.message, outgoing.pid, true);
            }
        }
        self.subscribe_at_once(world, model);
        Ok(())
    }

    fn owe(&mut self, world: &mut World, kind: AckKind, pid: u16) {
        let delay = if world.random.percent(50) { 0 } else { world.random.within(0, self.profile.ack_max) };
        let at = (world.now + delay).max(self.acks.back().map_or(0, |ack| ack.0));
        self.acks.push_back((at, kind, pid));
    }

    fn publish_received(&mut self, world: &mut World, model: &mut Model, publish: &Publish) -> Check {
        let (index, pid) = (self.index, publish.pid);
        ensure(self.phase == Phase::Open && self.session.is_some(), "connack-first", || {
            format!("client {index}: {publish:?}")
        })?;
        let number = number_of(&publish.payload).filter(|&number| number < model.messages.len());
        let Some(number) = number else {
            if publish.payload.is_empty() {
                return self.deletion_received(world, publish);
            }
            return broken("payload-unaltered", format!("client {index}: {publish:?}"));
        };
        ensure(model.messages[number].topic == publish.topic, "topic-unaltered", || {
            format!("client {index}: {publish:?}")
        })?;
        let held = self.held.get(&pid).copied().filter(|_| publish.qos == 2);
        if let Some((of, _)) = held {
            ensure(of == number && publish.dup, "crash-packet-identifier-in-use", || {
                format!("client {index}: {pid} is held for message {of}, now {publish:?}")
            })?;
        }
        if publish.retain {
            self.retained.insert(publish.topic.clone(), number);
        }
        model.received(&Reception {
            now: world.now,
            session: self.session.unwrap_or(0),
            number,
            qos: publish.qos,
            dup: publish.dup,
            retain: publish.retain,
            ids: &publish.subscription_ids,
            fresh: held.is_none(),
        })?;
        if publish.qos == 2 {
            self.held.entry(pid).or_insert((number, false));
        }
        self.answer(world, publish);
        Ok(())
    }

    fn answer(&mut self, world: &mut World, publish: &Publish) {
        match publish.qos {
            1 => self.owe(world, AckKind::Puback, publish.pid),
            2 => self.owe(world, AckKind::Pubrec, publish.pid),
            _ => {}
        }
    }

    /// The deletion of a retained message is a message too.
    fn deletion_received(&mut self, world: &mut World, publish: &Publish) -> Check {
        ensure(publish.topic.starts_with("r/"), "payload-unaltered", || format!("{publish:?}"))?;
        if publish.qos == 2 {
            self.held.entry(publish.pid).or_insert((usize::MAX, false));
        }
        self.answer(world, publish);
        Ok(())
    }

    fn acknowledged(
        &mut self,
        world: &mut World,
        model: &mut Model,
        kind: AckKind,
        pid: u16,
        reason: u8,
    ) -> Check {
        let index = self.index;
        let stamp = world.stamp();
        let Some(at) = self.outgoing.iter().position(|outgoing| outgoing.pid == pid) else {
            return broken("acknowledges-what-was-sent", format!("client {index}: {kind:?} {pid}"));
        };
        let outgoing = self.outgoing[at].clone();
        let qos = model.messages[outgoing.message].qos;
        let fits = match kind {
            AckKind::Puback => qos == 1,
            AckKind::Pubrec => qos == 2 && !outgoing.released,
            _ => qos == 2 && outgoing.released,
        };
        ensure(fits, "acknowledges-what-was-sent", || {
            format!("client {index}: {kind:?} {pid} for {outgoing:?}")
        })?;
        match (kind, reason) {
            (AckKind::Pubcomp, 0) => {}
            (AckKind::Pubcomp, 0x92) if self.resumed.contains(&pid) => {}
            (AckKind::Puback | AckKind::Pubrec, 0 | 0x10) => {
                model.accepted(outgoing.message, stamp, self.written_by(world));
            }
            // The disk takes nothing.
            (AckKind::Puback | AckKind::Pubrec, 0x97) if model.checked.failures > 0 => {
                model.checked.refused += 1;
                self.outgoing.remove(at);
                return Ok(());
            }
            _ => return broken("publish-accepted", format!("client {index}: {kind:?} {pid} {reason:#x}")),
        }
        if kind == AckKind::Pubrec {
            self.outgoing[at].released = true;
            world.write(self.socket, &crate::wire::ack(AckKind::Pubrel, pid));
        } else {
            self.outgoing.remove(at);
        }
        Ok(())
    }

    fn suback(&mut self, model: &mut Model, moment: (u64, u64), pid: u16, codes: &[u8]) -> Check {
        let (Some(Request::Subscribe(place)), Some(session)) = (self.requests.remove(&pid), self.session)
        else {
            return broken("acknowledges-what-was-sent", format!("client {}: SUBACK {pid}", self.index));
        };
        let session = &mut model.sessions[session];
        let filter = session.subscriptions[place].filter;
        let is_refusal = self.profile.version != Version::V31 && codes[0] >= 0x80;
        if is_refusal && model.checked.failures > 0 {
            model.checked.refused += 1;
            if self.profile.is_watcher {
                // Comes again and asks again.
                self.come_again(moment.1);
            }
            return Ok(());
        }
        ensure(codes == [qos_of(filter)], "suback-codes", || format!("client {}: {codes:?}", self.index))?;
        session.subscriptions[place].acked = Some(moment);
        for older in &mut session.subscriptions[..place] {
            if older.filter == filter {
                older.over.get_or_insert(moment.0);
            }
        }
        Ok(())
    }

    fn unsuback(&mut self, model: &mut Model, stamp: u64, pid: u16, codes: &[u8]) -> Check {
        let (Some(Request::Unsubscribe { filter, sent }), Some(session)) =
            (self.requests.remove(&pid), self.session)
        else {
            return broken("acknowledges-what-was-sent", format!("client {}: UNSUBACK {pid}", self.index));
        };
        if codes.first().is_some_and(|code| *code >= 0x80) {
            model.checked.refused += 1;
            return ensure(model.checked.failures > 0, "unsuback-codes", || format!("{codes:?}"));
        }
        for subscription in &mut model.sessions[session].subscriptions {
            if subscription.filter == filter && subscription.sent < sent {
                subscription.over.get_or_insert(stamp);
            }
        }
        Ok(())
    }

    /// The session's time may be over: since the client left its last connection. While the disk takes nothing it may come back to its
    /// session, and a crash forgets that.
    pub(super) fn may_have_expired(&self, now: u64, model: &Model) -> bool {
        let Some(seconds) = self.session.and_then(|session| model.sessions[session].expiry_s) else {
            return false;
        };
        let is_over = |(left_at, _): (u64, u64)| left_at + u64::from(seconds) * 1000 <= now;
        let is_forgotten = model.checked.failures > 0 && !model.crashes.is_empty();
        is_forgotten || self.gone_since.is_some_and(is_over)
    }

    /// The session's time was over when this connection was opened: since the broker saw the last one end. After a crash the moment is not
    /// known better than by the last sign of life.
    fn must_have_expired(&self, model: &Model) -> bool {
        let expiry_s = self.session.and_then(|session| model.sessions[session].expiry_s);
        let (seconds, ended_at) = match (expiry_s, self.gone_since) {
            (Some(seconds), Some((_, ended_at))) => (u64::from(seconds), ended_at),
            _ => return false,
        };
        let since = model.crashes.last().map_or(ended_at, |crash| ended_at.max(*crash) + SIGN_OF_LIFE_MS);
        since + seconds * 1000 + LATE_MS < self.opened_at
    }

    /// The broker has lost the session with the tail of its journal: the client knows nothing any more.
    fn start_over(&mut self, model: &mut Model) {
        if let Some(session) = self.session {
            model.session_ended(session);
        }
        let is_v5 = self.profile.version == Version::V5;
        let expiry_s = self.profile.expiry_s;
        model.sessions.push(super::model::Session {
            client: self.index,
            is_v5,
            expiry_s,
            ..Default::default()
        });
        self.session = Some(model.sessions.len() - 1);
        self.outgoing.clear();
        self.held.clear();
    }
}

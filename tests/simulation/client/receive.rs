//! What a client makes of the broker's bytes: the acknowledgements that it owes, and the checks that one connection
//! alone allows (identifiers, Receive Maximum, order of acknowledgements, repetitions).

use super::{Client, Held, Mood, Phase, Request};
use crate::model::{Model, Reception};
use crate::trace::{Check, broken, ensure};
use crate::wire::{AckKind, FromServer, Publish, Unreadable, Version, next_packet};
use crate::world::World;

impl Client {
    /// Reads some of what has arrived, packet by packet; then perhaps the end.
    pub(super) fn read(&mut self, world: &mut World, model: &mut Model, mood: Mood) -> Check {
        if world.sockets[self.socket].arrived.is_empty() {
            return self.closed_by_broker(world, model);
        }
        let all = mood != Mood::Wild || world.random.percent(60);
        let bytes = world.read(self.socket, all);
        self.inbox.extend_from_slice(&bytes);
        let mut used = 0;
        let outcome = loop {
            match next_packet(self.profile.version, &self.inbox[used..]) {
                Ok(Some((packet, len))) => {
                    used += len;
                    self.parsed += len as u64;
                    let written = world.sockets[self.socket].written.written_at(self.parsed);
                    let in_use = self.order.last().map(|p| p.0);
                    let again = matches!(&packet, FromServer::Publish(publish) if self.is_retried(publish));
                    let Some(packet) = world.saboteur.heard(packet, in_use, again) else { continue };
                    let again = world.saboteur.repeats(&packet);
                    if let Err(violation) = self.packet(world, model, mood, packet, len, written) {
                        break Err(violation);
                    }
                    if let Some(packet) = again
                        && let Err(violation) = self.packet(world, model, mood, packet, len, written)
                    {
                        break Err(violation);
                    }
                }
                Ok(None) => break Ok(()),
                Err(Unreadable(why)) => {
                    break broken(
                        "readable",
                        format!("client {} ({:?}): {why}", self.index, self.profile.version),
                    );
                }
            }
        };
        self.inbox.drain(..used);
        outcome
    }

    fn closed_by_broker(&mut self, world: &mut World, model: &mut Model) -> Check {
        let stamp = world.stamp();
        let (index, socket) = (self.index, self.socket);
        world.trace.note(|| format!("client {index} sees the end of socket {socket}"));
        let connection = &model.connections[socket];
        let on_silence = model.drain_from.is_none()
            && connection.silent
            && connection.leave.is_none()
            && !connection.cut
            && !connection.rival;
        let end = &world.sockets[socket];
        if on_silence
            && !end.ever_paused
            && connection.connack.is_some()
            && let Some(ended) = end.ended
            && ended.by_broker
        {
            model.keep_alive_closed(socket, end.last_fed_at, ended.at)?;
        }
        if !world.sockets[socket].output_lost {
            model.drained_with_reason(socket)?;
        }
        // A shutdown does not wait for the rest of a CONNECT.
        let refused = model.connections[socket].refused || model.drain_from.is_some();
        if self.phase == (Phase::Open)
            || refused
            || world.sockets[socket].hand_over_failed
            || model.connections[socket].silent
        {
            self.now_away(world, model, stamp);
            return Ok(());
        }
        broken("connect-answered", format!("client {index}: socket {socket} closed without CONNACK"))
    }

    fn packet(
        &mut self,
        world: &mut World,
        model: &mut Model,
        mood: Mood,
        packet: FromServer,
        len: usize,
        written: u64,
    ) -> Check {
        let stamp = world.stamp();
        let index = self.index;
        world.trace.note(|| match &packet {
            FromServer::Publish(p) => format!(
                "client {index} gets PUBLISH {} {} QoS {} dup {} retain {} ids {:?} {}",
                p.pid,
                p.topic,
                p.qos,
                p.dup,
                p.retain,
                p.subscription_ids,
                String::from_utf8_lossy(&p.payload[..p.payload.len().min(12)])
            ),
            other => format!("client {index} gets {other:?}"),
        });
        if let (Some(max), Version::V5) = (self.profile.packet_max, self.profile.version) {
            ensure(len <= max as usize, "maximum-packet-size", || {
                format!("client {index}: {len} bytes of {packet:?}")
            })?;
        }
        let first = matches!(self.phase, Phase::Opening { .. });
        match packet {
            FromServer::Connack(connack) if first => self.connected(world, model, mood, &connack),
            FromServer::Disconnect { reason } => self.told_to_go(model, reason),
            other if first => broken("connack-first", format!("client {index}: {other:?}")),
            FromServer::Connack(_) => broken("connack-first", format!("client {index}: a second CONNACK")),
            FromServer::Publish(publish) => self.publish_received(world, model, &publish, written),
            FromServer::Ack { kind: AckKind::Pubrel, pid, .. } => self.pubrel(world, model, pid),
            FromServer::Ack { kind, pid, reason } => self.acknowledged(world, model, kind, pid, reason),
            FromServer::Suback { pid, codes } => self.suback(model, stamp, pid, &codes),
            FromServer::Unsuback { pid, codes } => self.unsuback(model, stamp, pid, &codes),
            FromServer::Pingresp => {
                ensure(self.pings.pop_front().is_some(), "pingresp-asked", || format!("client {index}"))
            }
        }
    }

    /// DISCONNECT of the broker: keep alive, takeover, or a mistake of ours that is none.
    fn told_to_go(&self, model: &mut Model, reason: u8) -> Check {
        let is_draining = model.drain_from.is_some();
        let connection = &mut model.connections[self.socket];
        connection.told = Some(reason);
        let right = match reason {
            0x8d => connection.silent,
            0x8e => connection.rival,
            0x8b => is_draining,
            _ => false,
        };
        ensure(right, "disconnect-reason", || {
            format!("client {} socket {}: {reason:#x}", self.index, self.socket)
        })
    }

    fn publish_received(
        &mut self,
        world: &mut World,
        model: &mut Model,
        publish: &Publish,
        written: u64,
    ) -> Check {
        let Some(session) = self.session else {
            return broken(
                "connack-first",
                format!("client {} gets a PUBLISH without a session", self.index),
            );
        };
        let topic = self.resolve(publish)?;
        let pid = publish.pid;
        let held = self.held.get(&pid).copied().filter(|_| publish.qos > 0);
        let retried = self.is_retried(publish);
        let fresh = if publish.qos == 2 { held.is_none() } else { !publish.dup };
        let is_v5 = self.profile.version == Version::V5;
        let reception =
            Reception { now: world.now, written, is_v5, session, publish, topic: &topic, fresh, retried };
        let message = model.received(&reception)?;
        if publish.qos == 0 {
            return Ok(());
        }
        if let Some(held) = held {
            ensure(
                publish.dup && held.message == message && held.qos == publish.qos,
                "packet-identifier-in-use",
                || format!("client {}: {pid} is held for {held:?}, now {message:?} {publish:?}", self.index),
            )?;
        }
        self.check_repetition(model, publish, written)?;
        self.quota.insert(pid);
        if let (Some(max), Version::V5) = (self.profile.receive_max, self.profile.version) {
            ensure(self.quota.len() <= max.into(), "receive-maximum", || {
                format!("client {}: {} unacknowledged of {max}", self.index, self.quota.len())
            })?;
        }
        self.expect_redelivery(model, pid, true)?;
        if publish.qos == 2 {
            let received = held.is_some_and(|h| h.received);
            self.held.insert(pid, Held { message, qos: 2, received });
            self.owe_ack(world, AckKind::Pubrec, pid);
        } else {
            self.owe_ack(world, AckKind::Puback, pid);
            if retried && held.is_none() {
                // Crossed the first one's PUBACK.
                return Ok(());
            }
            self.held.insert(pid, Held { message, qos: 1, received: false });
        }
        if !self.order.iter().any(|p| p.0 == pid) {
            self.order.push((pid, !publish.dup));
        }
        Ok(())
    }

    fn resolve(&mut self, publish: &Publish) -> Check<String> {
        let Some(alias) = publish.alias else { return Ok(publish.topic.clone()) };
        ensure(alias <= self.profile.alias_max.unwrap_or(0), "topic-alias", || {
            format!("client {}: alias {alias} is above the maximum", self.index)
        })?;
        if !publish.topic.is_empty() {
            self.aliases_in.insert(alias, publish.topic.clone());
        }
        match self.aliases_in.get(&alias) {
            Some(topic) => Ok(topic.clone()),
            None => broken("topic-alias", format!("client {}: alias {alias} is unknown", self.index)),
        }
    }

    /// After a resume, what was not finished comes again in its order [MQTT-4.6.0-1].
    fn expect_redelivery(&mut self, model: &mut Model, pid: u16, as_publish: bool) -> Check {
        let Some(at) = self.redelivery.iter().position(|r| r.pid == pid) else { return Ok(()) };
        if as_publish && self.redelivery[at].in_place {
            let skipped = self.redelivery[..at].iter().find(|r| r.as_publish && r.in_place);
            ensure(skipped.is_none(), "redelivery-in-order", || {
                format!("client {}: {pid} came before {:?}", self.index, self.redelivery)
            })?;
        }
        model.checked.redelivered += 1;
        self.redelivery.remove(at);
        Ok(())
    }

    fn pubrel(&mut self, world: &mut World, model: &mut Model, pid: u16) -> Check {
        let held = self.held.get(&pid).copied();
        let session = self.session.map_or(0, |s| model.sessions[s].connections);
        match held {
            Some(held) => ensure(held.received && held.qos == 2, "pubrel-after-pubrec", || {
                format!("client {}: PUBREL {pid} for {held:?}", self.index)
            })?,
            // A repetition and the PUBREC of the first one crossed, so that there were two PUBRECs.
            None if self.written.contains_key(&pid) && self.profile.version != Version::V5 => {}
            None => ensure(session > 1, "pubrel-after-pubrec", || {
                format!("client {}: PUBREL {pid} for nothing", self.index)
            })?,
        }
        self.expect_redelivery(model, pid, false)?;
        self.held.remove(&pid);
        self.order.retain(|p| p.0 != pid);
        self.owe_ack(world, AckKind::Pubcomp, pid);
        Ok(())
    }

    /// PUBACK, PUBREC, PUBCOMP: in the order of the PUBLISHes, with success.
    fn acknowledged(
        &mut self,
        world: &mut World,
        model: &mut Model,
        kind: AckKind,
        pid: u16,
        reason: u8,
    ) -> Check {
        let stamp = world.stamp();
        let Some(at) = self.outgoing.iter().position(|o| o.pid == pid) else {
            return broken("acknowledges-what-was-sent", format!("client {}: {kind:?} {pid}", self.index));
        };
        let outgoing = self.outgoing[at].clone();
        let qos = model.messages[outgoing.message].qos;
        let fits = match kind {
            AckKind::Puback => qos == 1,
            AckKind::Pubrec => qos == 2 && !outgoing.released,
            _ => qos == 2 && outgoing.released,
        };
        ensure(fits, "acknowledges-what-was-sent", || {
            format!("client {}: {kind:?} {pid} for {outgoing:?}", self.index)
        })?;
        // PUBREL again after a resume: the broker may have forgotten the identifier with its lost PUBCOMP.
        let forgotten = kind == AckKind::Pubcomp && reason == 0x92 && self.resumed.contains(&pid);
        if model.messages[outgoing.message].is_denied() && kind != AckKind::Pubcomp {
            return self.denied(world, model, kind, at, reason);
        }
        ensure(
            reason == 0 || reason == 0x10 && kind != AckKind::Pubcomp || forgotten,
            "publish-accepted",
            || format!("client {}: {kind:?} {pid} with {reason:#x}", self.index),
        )?;
        if kind == AckKind::Pubcomp {
            self.outgoing.remove(at);
            self.repeat(world, model);
            return Ok(());
        }
        let before = self.outgoing[..at].iter().find(|o| !o.released);
        ensure(before.is_none(), "acknowledged-in-order", || {
            format!("client {}: {kind:?} {pid} before {before:?}", self.index)
        })?;
        model.accepted_by_none(outgoing.message, reason)?;
        model.message_accepted(outgoing.message, stamp, world.now);
        if kind == AckKind::Puback {
            self.outgoing.remove(at);
            self.repeat(world, model);
        } else {
            self.outgoing[at].released = true;
            let bytes = crate::wire::ack(AckKind::Pubrel, pid);
            self.write(world, &bytes);
        }
        Ok(())
    }

    /// The ACL denies it: 5.0 is told, and that is the end of it; others are acknowledged as if nothing were.
    fn denied(
        &mut self,
        world: &mut World,
        model: &mut Model,
        kind: AckKind,
        at: usize,
        reason: u8,
    ) -> Check {
        let is_v5 = self.profile.version == Version::V5;
        ensure(reason == if is_v5 { 0x87 } else { 0 }, "denied-publish", || {
            format!("client {}: {kind:?} with {reason:#x} for {:?}", self.index, self.outgoing[at])
        })?;
        model.checked.denied += 1;
        if is_v5 || kind == AckKind::Puback {
            self.outgoing.remove(at);
            self.repeat(world, model);
        } else {
            self.outgoing[at].released = true;
            let pid = self.outgoing[at].pid;
            let bytes = crate::wire::ack(AckKind::Pubrel, pid);
            self.write(world, &bytes);
        }
        Ok(())
    }

    fn suback(&mut self, model: &mut Model, stamp: u64, pid: u16, codes: &[u8]) -> Check {
        let (Some((_, Request::Subscribe(places))), Some(session)) =
            (self.requests.remove(&pid), self.session)
        else {
            return broken("acknowledges-what-was-sent", format!("client {}: SUBACK {pid}", self.index));
        };
        ensure(codes.len() == places.len(), "suback-codes", || format!("client {}: {codes:?}", self.index))?;
        for ((place, qos), &code) in places.into_iter().zip(codes) {
            ensure(code == qos, "suback-codes", || {
                format!("client {}: {code:#x} for QoS {qos}", self.index)
            })?;
            model.subscribe_acked(session, place, stamp, code);
        }
        Ok(())
    }

    fn unsuback(&mut self, model: &mut Model, stamp: u64, pid: u16, codes: &[u8]) -> Check {
        let (Some((_, Request::Unsubscribe { sent, filters })), Some(session)) =
            (self.requests.remove(&pid), self.session)
        else {
            return broken("acknowledges-what-was-sent", format!("client {}: UNSUBACK {pid}", self.index));
        };
        if self.profile.version == Version::V5 {
            ensure(codes.len() == filters.len(), "unsuback-codes", || {
                format!("client {}: {codes:?}", self.index)
            })?;
        }
        for (at, (filter, share)) in filters.iter().enumerate() {
            if let Some(&code) = codes.get(at) {
                let surely = model.was_subscribed(session, filter, share.as_deref(), sent);
                let right =
                    if filter == "no/such" { code == 0x11 } else { code == 0 || code == 0x11 && !surely };
                ensure(right, "unsuback-codes", || format!("client {}: {code:#x} for {filter}", self.index))?;
            }
            model.unsubscribe_acked(session, filter, share.as_deref(), sent, stamp);
        }
        Ok(())
    }

    /// All that had to come again has come.
    pub fn check_redelivered(&self) -> Check {
        ensure(self.redelivery.is_empty(), "redelivery-complete", || {
            format!("client {}: {:?} never came again", self.index, self.redelivery)
        })
    }
}

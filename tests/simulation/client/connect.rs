//! How a client comes: a socket, CONNECT, what it keeps of its session and what it forgets.

use super::{ANSWER_MS, Client, Mood, Phase, Redelivery};
use crate::guard::RIGHT;
use crate::model::Model;
use crate::model::connection::{Connection, Life, Moment};
use crate::model::message::{Message, payload};
use crate::model::will::{Verdict, Will};
use crate::socket::ClientEnd;
use crate::trace::Check;
use crate::wire::{self, Connack, Connect, Version, WillFields};
use crate::world::World;

/// The key of a message on `w/…`: the Will of a connection comes after its birth and before the next one's.
pub fn will_key(connections: u64, will: bool) -> u64 {
    connections * 2 + u64::from(will)
}

impl Client {
    /// Opens a socket and sends CONNECT.
    pub(super) fn connect(&mut self, world: &mut World, model: &mut Model, mood: Mood) -> Check {
        self.socket = world.connect(self.index);
        model.connection_opened(self.index);
        self.connections += 1;
        self.forget_connection(world.now);
        if mood == Mood::Wild && !self.profile.watcher && world.random.percent(3) {
            // A connection that never says anything: the broker must end it by itself.
            self.phase = Phase::Away { until: world.now + 50 };
            return Ok(());
        }
        let fresh_start = match mood {
            Mood::Wild => {
                !self.is_persistent() && world.random.percent(70)
                    || self.clean_next
                    || world.random.percent(15)
            }
            Mood::Calm => self.clean_next,
            Mood::Leaving => true,
        };
        let clean = fresh_start || self.profile.version == Version::V31;
        let stamp = world.stamp();
        let now = Moment { at: world.now, stamp };
        let will =
            if mood == Mood::Wild && !self.profile.watcher { self.make_will(world, model) } else { None };
        let fields = will.map(|(fields, _)| fields);
        let clean = clean || !self.is_persistent() && self.profile.version != Version::V5;
        self.clean_next = clean;
        let connect = Connect {
            version: self.profile.version,
            client_id: self.id.clone(),
            clean,
            keep_alive_s: self.profile.keep_alive_s,
            expiry_s: (self.profile.version == Version::V5 && self.is_persistent())
                .then_some(self.profile.expiry_s),
            receive_max: self.profile.receive_max.filter(|_| self.profile.version == Version::V5),
            packet_max: self.profile.packet_max.filter(|_| self.profile.version == Version::V5),
            alias_max: self.profile.alias_max.filter(|_| self.profile.version == Version::V5),
            will: fields,
            password: world.authenticates.then_some(RIGHT),
        };
        self.begin(model, now, &connect);
        self.phase = Phase::Opening { since: world.now };
        self.next_act = world.now + world.random.within(1, 2_000);
        let bytes = wire::connect(&connect);
        self.write(world, &bytes);
        let (socket, index) = (self.socket, self.index);
        world.trace.note(|| format!("client {index} socket {socket}: {connect:?}"));
        if connect.clean && mood == Mood::Wild && !self.profile.watcher && world.random.percent(30) {
            self.eager(world, model);
        }
        Ok(())
    }

    /// The model learns of the CONNECT.
    fn begin(&mut self, model: &mut Model, now: Moment, connect: &Connect) {
        let persistent = self.is_persistent() && !(connect.clean && connect.version != Version::V5);
        let will =
            model.messages.iter().rposition(|m| m.will && m.publisher == self.index && m.sent.is_empty());
        let will = connect.will.as_ref().and(will).map(|message| Will {
            message,
            delay_s: connect.will.as_ref().map_or(0, |w| w.delay_s),
            verdict: Verdict::Armed,
        });
        let connection = Connection {
            client: self.index,
            clean: connect.clean,
            expiry_s: if persistent { self.profile.expiry_s } else { 0 },
            keep_alive_s: connect.keep_alive_s,
            is_v5: connect.version == Version::V5,
            before: self.life(model),
            will,
            ..Connection::default()
        };
        model.connect_sent(self.socket, now, connection);
        if let (Some(from), Some(session)) = (self.offline_from.take(), self.session) {
            model.offline(session, from, now.stamp);
        }
        if connect.clean {
            if let Some(session) = self.session.take() {
                model.session_ended(session, now.stamp);
            }
            self.forget_session();
            self.session = Some(model.session(self.index));
            self.limit(model);
        }
    }

    /// What may be left of this client's session at the broker: what its last answered connection left, unless a
    /// CONNECT without an answer came in between.
    fn life(&self, model: &Model) -> Life {
        let mine =
            || model.connections[..self.socket].iter().enumerate().filter(|(_, c)| c.client == self.index);
        let Some((last, _)) = mine().rfind(|(_, c)| c.connack.is_some() && !c.refused) else {
            return if mine().any(|(_, c)| c.connect_sent.is_some()) { Life::Unclear } else { Life::None };
        };
        let unanswered = || mine().filter(|(at, c)| *at > last && c.connect_sent.is_some() && !c.refused);
        let ephemeral = model.connections[last].expiry_s == 0;
        if unanswered().any(|(_, c)| c.clean || ephemeral) { Life::Unclear } else { Life::Of(last) }
    }

    fn limit(&self, model: &mut Model) {
        if let (Some(session), Some(max)) = (self.session, self.profile.packet_max)
            && self.profile.version == Version::V5
        {
            model.sessions[session].packet_max = Some(max as usize);
        }
    }

    fn make_will(&mut self, world: &mut World, model: &mut Model) -> Option<(WillFields, usize)> {
        if !world.random.percent(50) {
            return None;
        }
        let v5 = self.profile.version == Version::V5;
        let delay_s = if v5 { world.random.pick(&[0, 0, 1, 4]) } else { 0 };
        let number = model.messages.len();
        let size = world.random.within(12, 80) as usize;
        let fields = WillFields {
            topic: format!("w/{}", self.index),
            payload: payload(number, size),
            qos: 2,
            retain: world.random.percent(30),
            delay_s,
            expiry_s: self.expiry(world),
        };
        model.message(Message {
            publisher: self.index,
            session: None,
            socket: self.socket,
            topic: fields.topic.clone(),
            qos: fields.qos,
            retain: fields.retain,
            size: fields.payload.len(),
            key: will_key(self.connections, true),
            will: true,
            expiry_s: fields.expiry_s,
            ..Message::default()
        });
        Some((fields, number))
    }

    /// CONNACK has come in.
    pub(super) fn connected(
        &mut self,
        world: &mut World,
        model: &mut Model,
        mood: Mood,
        connack: &Connack,
    ) -> Check {
        let stamp = world.stamp();
        if connack.code != 0 {
            model.connect_refused(self.socket);
            let end = &world.sockets[self.socket];
            let has_no_room = end.hand_over_failed || end.no_memory;
            return model.refusal_is_right(self.socket, connack.code, has_no_room);
        }
        model.granted(self.socket, world.sockets[self.socket].config, connack)?;
        model.connack(self.socket, Moment { at: world.now, stamp }, connack.session_present)?;
        self.phase = Phase::Open;
        self.clean_next = false;
        self.next_act = world.now + world.random.within(0, self.profile.act_max);
        self.keep_alive_ms = u64::from(model.connections[self.socket].keep_alive_s) * 1000;
        self.alias_max_out = connack.alias_max.unwrap_or(0).min(3);
        self.receive_max_out = connack.receive_max.unwrap_or(65_535).min(12);
        if !connack.session_present && !model.connections[self.socket].clean {
            if let Some(session) = self.session.take() {
                model.session_ended(session, stamp);
            }
            self.forget_session();
        }
        let session = *self.session.get_or_insert_with(|| model.session(self.index));
        self.limit(model);
        model.sessions[session].connections += 1;
        if connack.session_present {
            self.resume(world, model);
        }
        if mood == Mood::Wild && !self.profile.watcher {
            self.publish_birth(world, model);
        }
        Ok(())
    }

    /// Sends again what is not finished, in order, with DUP [MQTT-4.4.0-1], and expects the same of the broker.
    fn resume(&mut self, world: &mut World, model: &mut Model) {
        self.redelivery = self.redelivery_expected();
        self.to_repeat = self.outgoing.iter().map(|outgoing| outgoing.pid).collect();
        self.repeat(world, model);
    }

    /// Goes on with that, within the Receive Maximum of this connection: it is not kept from the former one
    /// [MQTT-4.9.0-1].
    pub(super) fn repeat(&mut self, world: &mut World, model: &mut Model) {
        while let Some(&pid) = self.to_repeat.front() {
            let Some(outgoing) = self.outgoing.iter().find(|o| o.pid == pid).cloned() else {
                self.to_repeat.pop_front();
                continue;
            };
            if outgoing.released {
                self.resumed.insert(pid);
                self.write(world, &wire::ack(wire::AckKind::Pubrel, pid));
            } else if self.outgoing.iter().filter(|o| self.repeated.contains(&o.pid)).count()
                < self.receive_max_out.into()
            {
                self.repeated.insert(pid);
                let stamp = world.stamp();
                model.message_sent(outgoing.message, stamp);
                let publish = self.publish_packet(model, outgoing.message, pid, true);
                let bytes = wire::publish(self.profile.version, &publish);
                self.write(world, &bytes);
                model.uploaded(self.socket, world.sockets[self.socket].sent, outgoing.message);
            } else {
                return;
            }
            self.to_repeat.pop_front();
            let index = self.index;
            world.trace.note(|| format!("client {index} repeats {pid}: {outgoing:?}"));
        }
    }

    fn redelivery_expected(&self) -> Vec<Redelivery> {
        let held = |&(pid, in_place): &(u16, bool)| {
            self.held.get(&pid).map(|held| Redelivery { pid, as_publish: !held.received, in_place })
        };
        self.order.iter().filter_map(held).collect()
    }

    fn forget_connection(&mut self, now: u64) {
        self.inbox.clear();
        self.acks.clear();
        self.requests.clear();
        self.pings.clear();
        self.redelivery.clear();
        self.resumed.clear();
        self.to_repeat.clear();
        self.repeated.clear();
        self.quota.clear();
        self.written.clear();
        self.parsed = 0;
        self.aliases_in.clear();
        self.aliases_out.clear();
        self.alias_max_out = 0;
        // What the server allows is not known before CONNACK; one is always allowed.
        self.receive_max_out = 1;
        self.stalled_until = 0;
        self.silent = false;
        self.last_write = now;
    }

    pub(super) fn forget_session(&mut self) {
        self.outgoing.clear();
        self.held.clear();
        self.order.clear();
    }

    /// Waits for CONNACK, perhaps not patiently.
    pub(super) fn while_opening(
        &mut self,
        world: &mut World,
        model: &mut Model,
        mood: Mood,
        since: u64,
    ) -> Check {
        if world.now > since + ANSWER_MS && !self.silent {
            return model.unanswered(self.socket, world.now);
        }
        if mood == Mood::Wild && self.next_act <= world.now && !self.profile.watcher {
            self.next_act = world.now + world.random.within(100, 5_000);
            match world.random.below(6) {
                0 => self.leave_socket(world, model, ClientEnd::Reset),
                1 => self.leave_socket(world, model, ClientEnd::Finished),
                2 => self.leave_to_takeover(world, model),
                _ => {}
            }
        }
        Ok(())
    }
}

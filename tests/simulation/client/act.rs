//! What a client does of its own will: publish, subscribe, fall silent, go, be taken over.

use super::connect::will_key;
use super::{Client, Mood, Outgoing, Phase, Request};
use crate::model::message::{Message, MessageNumber, payload};
use crate::model::{Leave, Model, Wish};
use crate::socket::ClientEnd;
use crate::trace::{Check, ensure};
use crate::wire::{self, Filter, Publish, Version};
use crate::world::World;

/// Filters that clients choose from; workers take the shared ones only.
const FILTERS: [&str; 14] =
    ["t/0", "t/1", "t/2", "t/+", "t/#", "#", "+/0", "r/#", "r/+/0", "r/0/0", "r/1/1", "w/#", "+/+/1", "$x/#"];
const SHARED: [&str; 3] = ["s/0", "s/1", "s/+"];
const SHARE_NAMES: [&str; 2] = ["g", "h"];

impl Client {
    pub(super) fn act(&mut self, world: &mut World, model: &mut Model, mood: Mood) -> Check {
        self.next_act = world.now + world.random.within(1, self.profile.act_max);
        if self.silent {
            return self.while_silent(world, model);
        }
        if self.keep_alive_ms > 0 {
            // Never late by itself: half of the Keep Alive, as the next act may be far.
            self.next_act = self.next_act.min(world.now + self.keep_alive_ms / 3);
            if world.now >= self.last_write + self.keep_alive_ms / 3 {
                self.ping(world);
                return Ok(());
            }
        }
        match mood {
            Mood::Calm => {
                self.next_act = world.now + self.profile.act_max.max(500);
                if self.keep_alive_ms > 0 {
                    self.next_act = world.now + self.keep_alive_ms / 3;
                }
                return Ok(());
            }
            Mood::Leaving => return self.leave_for_good(world, model),
            Mood::Wild => {}
        }
        if self.profile.watcher {
            return Ok(());
        }
        match world.random.below(100) {
            0..60 => self.publish_something(world, model),
            60..76 => self.subscribe_something(world, model),
            76..82 => self.unsubscribe_something(world, model),
            82..86 => self.ping(world),
            86..89 => self.stalled_until = world.now + world.random.within(1, 4_000),
            89 => self.knock(world, model),
            _ if world.random.percent(self.profile.calmness) => {}
            90..92 => self.disconnect(world, model),
            92 => self.fall_silent(world, model),
            93..95 => self.leave_socket(world, model, ClientEnd::Reset),
            95 => self.leave_socket(world, model, ClientEnd::Finished),
            96 => self.leave_socket(world, model, ClientEnd::Silent),
            _ => self.leave_to_takeover(world, model),
        }
        Ok(())
    }

    fn ping(&mut self, world: &mut World) {
        self.pings.push_back(world.now);
        self.write(world, &wire::pingreq());
    }

    /// Says nothing and waits for the broker to close.
    fn fall_silent(&mut self, world: &World, model: &mut Model) {
        if self.keep_alive_ms > 0 {
            self.silent = true;
            model.connections[self.socket].silent = true;
            self.next_act = world.now + self.keep_alive_ms * 2;
        }
    }

    fn while_silent(&mut self, world: &mut World, model: &mut Model) -> Check {
        let socket = &world.sockets[self.socket];
        let (silence, paused) = (world.now - socket.last_fed_at, socket.ever_paused);
        if !paused
            && socket.up.is_empty()
            && silence > self.keep_alive_ms * 3 / 2 + crate::model::will::LATE_MS
        {
            let (now, since) = (world.now, socket.last_fed_at);
            ensure(socket.ended.is_some(), "keep-alive", || {
                format!("socket {} silent since {since} is still open at {now}", self.socket)
            })?;
        }
        if silence > self.keep_alive_ms * 3 {
            self.leave_socket(world, model, ClientEnd::Reset);
        }
        Ok(())
    }

    /// DISCONNECT, mostly without the Will.
    fn disconnect(&mut self, world: &mut World, model: &mut Model) {
        let v5 = self.profile.version == Version::V5;
        let with_will = v5 && world.random.percent(30);
        let reason = if with_will { 4 } else { 0 };
        model.connections[self.socket].leave = Some(if with_will { Leave::WithWill } else { Leave::Normal });
        let bytes = wire::disconnect(self.profile.version, reason, None);
        self.write(world, &bytes);
        world.stamp();
        let index = self.index;
        world.trace.note(|| format!("client {index} sends DISCONNECT {reason}"));
        if world.random.percent(70) {
            // Waits a moment, so that the broker surely reads it.
            self.silent = true;
            model.connections[self.socket].silent = true;
            self.next_act = world.now + 60_000;
        } else {
            self.leave_socket(world, model, ClientEnd::Finished);
        }
    }

    /// Leaves nothing at the broker.
    fn leave_for_good(&mut self, world: &mut World, model: &mut Model) -> Check {
        let expiry =
            (self.profile.version == Version::V5 && model.connections[self.socket].expiry_s > 0).then_some(0);
        model.connections[self.socket].leave = Some(Leave::Normal);
        let bytes = wire::disconnect(self.profile.version, 0, expiry);
        self.write(world, &bytes);
        self.gone = true;
        Ok(())
    }

    /// The client's end is over.
    pub(super) fn leave_socket(&mut self, world: &mut World, model: &mut Model, how: ClientEnd) {
        let stamp = world.stamp();
        model.connections[self.socket].cut = true;
        world.cut(self.socket, how);
        self.now_away(world, model, stamp);
    }

    /// The connection stays open and is forgotten: the next one will take over.
    pub(super) fn leave_to_takeover(&mut self, world: &mut World, model: &mut Model) {
        let stamp = world.stamp();
        let (index, socket) = (self.index, self.socket);
        world.trace.note(|| format!("client {index} leaves socket {socket} to be taken over"));
        model.connections[self.socket].silent = true;
        self.ghosts.push((world.now, self.socket));
        self.now_away(world, model, stamp);
        self.phase = Phase::Away { until: world.now + world.random.pick(&[0, 1, 20]) };
    }

    pub(super) fn now_away(&mut self, world: &mut World, model: &mut Model, stamp: u64) {
        let connection = &model.connections[self.socket];
        let lost = connection.expiry_s == 0 || connection.is_contested;
        if connection.connack.is_none() && !model.surely_goes_on(self.socket, world.now) {
            // An unanswered CONNECT may have begun a new session: only a clean start is safe for a client.
            self.clean_next = true;
        }
        self.clean_next |= connection.is_contested;
        if lost && let Some(session) = self.session.take() {
            model.session_ended(session, stamp);
            self.forget_session();
        }
        self.acks.clear();
        let pause = if world.random.percent(40) { 20 } else { 8_000 };
        self.phase = Phase::Away { until: world.now + world.random.within(0, pause) };
        self.silent = false;
    }

    /// Before CONNACK: allowed by MQTT, with a clean start safe for the model.
    pub(super) fn eager(&mut self, world: &mut World, model: &mut Model) {
        for _ in 0..world.random.within(1, 3) {
            if world.random.percent(60) {
                self.publish_something(world, model);
            } else {
                self.subscribe_something(world, model);
            }
        }
    }

    fn publish_something(&mut self, world: &mut World, model: &mut Model) {
        let me = self.index;
        let topic = match world.random.below(20) {
            0..11 => format!("t/{}", world.random.below(3)),
            11..15 => format!("r/{me}/{}", world.random.below(2)),
            15..18 => format!("s/{}", world.random.below(2)),
            18 => format!("d/{}", world.random.below(2)),
            _ => "$x/1".to_owned(),
        };
        let retained = topic.starts_with("r/");
        let qos = world.random.pick(&[0, 1, 1, 1, 2, 2]);
        if qos > 0 && self.outgoing.len() >= usize::from(self.receive_max_out) {
            return;
        }
        let number = model.messages.len();
        let delete = retained && world.random.percent(15);
        let size = world.random.pick(&[10, 10, 30, 90, 300]);
        let message = Message {
            publisher: me,
            session: self.session,
            socket: self.socket,
            topic,
            qos,
            retain: retained && (delete || world.random.percent(75)),
            size: if delete { 0 } else { payload(number, size).len() },
            key: number as u64 + 1,
            delete,
            expiry_s: if delete { None } else { self.expiry(world) },
            ..Message::default()
        };
        self.publish(world, model, message);
    }

    /// Message Expiry Interval of what is published next.
    pub(super) fn expiry(&self, world: &mut World) -> Option<u32> {
        let expires = self.profile.version == Version::V5 && world.random.percent(40);
        expires.then(|| world.random.pick(&[1, 1, 2, 5, 30, 3600]))
    }

    /// The first message of a connection, on the topic of the Will, so that their order can be seen.
    pub(super) fn publish_birth(&mut self, world: &mut World, model: &mut Model) {
        let number = model.messages.len();
        let message = Message {
            publisher: self.index,
            session: self.session,
            socket: self.socket,
            topic: format!("w/{}", self.index),
            qos: 2,
            retain: false,
            size: payload(number, 20).len(),
            key: will_key(self.connections, false),
            ..Message::default()
        };
        if self.outgoing.len() < usize::from(self.receive_max_out) {
            self.publish(world, model, message);
        }
    }

    fn publish(&mut self, world: &mut World, model: &mut Model, message: Message) {
        let qos = message.qos;
        let number = model.message(message);
        let stamp = world.stamp();
        model.message_sent(number, stamp);
        let pid = if qos > 0 { self.next_pid() } else { 0 };
        let mut publish = self.publish_packet(model, number, pid, false);
        if self.alias_max_out > 0 && world.random.percent(50) {
            self.alias(&mut publish);
        }
        if qos > 0 {
            self.outgoing.push(Outgoing { pid, message: number, released: false });
        }
        let index = self.index;
        world
            .trace
            .note(|| format!("client {index} publishes {number} as {pid}: {:?}", model.messages[number]));
        let bytes = wire::publish(self.profile.version, &publish);
        self.write(world, &bytes);
        model.uploaded(self.socket, world.sockets[self.socket].sent, number);
    }

    /// The topic by a number that the broker knows or learns now.
    fn alias(&mut self, publish: &mut Publish) {
        let known = self.aliases_out.iter().position(|t| *t == publish.topic);
        if let Some(at) = known {
            publish.alias = Some(at as u16 + 1);
            publish.topic.clear();
        } else if self.aliases_out.len() < usize::from(self.alias_max_out) {
            self.aliases_out.push(publish.topic.clone());
            publish.alias = Some(self.aliases_out.len() as u16);
        }
    }

    pub(super) fn publish_packet(
        &self,
        model: &Model,
        number: MessageNumber,
        pid: u16,
        dup: bool,
    ) -> Publish {
        let message = &model.messages[number];
        Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic.clone(),
            pid,
            payload: if message.delete { Vec::new() } else { payload(number, message.size) },
            alias: None,
            subscription_ids: Vec::new(),
            expiry_s: message.expiry_s,
        }
    }

    pub(super) fn subscribe_something(&mut self, world: &mut World, model: &mut Model) {
        let mut wishes: Vec<Wish> = Vec::new();
        for _ in 0..world.random.within(1, 2) {
            let wish = self.wish(world);
            if !wishes.iter().any(|w| w.filter == wish.filter && w.share == wish.share) {
                wishes.push(wish);
            }
        }
        let id = wishes.first().map_or(0, |w| w.id);
        for wish in &mut wishes {
            wish.id = id;
        }
        self.subscribe(world, model, wishes);
    }

    fn wish(&self, world: &mut World) -> Wish {
        let v5 = self.profile.version == Version::V5;
        let random = &mut world.random;
        if self.profile.worker {
            let share = random.pick(&SHARE_NAMES);
            // One QoS a Shared Subscription, so that it doesn't matter who is chosen.
            let qos = if share == "g" { 1 } else { 2 };
            return Wish {
                filter: random.pick(&SHARED).to_owned(),
                share: Some(share.to_owned()),
                qos,
                no_local: false,
                retain_as_published: v5 && random.percent(20),
                retain_handling: v5.then(|| random.below(3) as u8),
                id: if v5 && random.percent(50) { random.within(1, 300) as u32 } else { 0 },
            };
        }
        Wish {
            filter: random.pick(&FILTERS).to_owned(),
            share: None,
            qos: random.pick(&[0, 1, 1, 2, 2]),
            no_local: v5 && random.percent(20),
            retain_as_published: v5 && random.percent(20),
            retain_handling: v5.then(|| random.pick(&[0, 0, 1, 2])),
            id: if v5 && random.percent(50) { random.within(1, 300) as u32 } else { 0 },
        }
    }

    /// SUBSCRIBE with all `wishes`, which share one Subscription Identifier.
    pub fn subscribe(&mut self, world: &mut World, model: &mut Model, wishes: Vec<Wish>) {
        let Some(session) = self.session else { return };
        let stamp = world.stamp();
        let id = wishes.first().map_or(0, |w| w.id);
        let mut filters = Vec::new();
        let mut places = Vec::new();
        for wish in wishes {
            filters.push(Filter {
                filter: match &wish.share {
                    Some(share) => format!("$share/{share}/{}", wish.filter),
                    None => wish.filter.clone(),
                },
                qos: wish.qos,
                no_local: wish.no_local,
                retain_as_published: wish.retain_as_published,
                retain_handling: wish.retain_handling.unwrap_or(0),
            });
            let qos = wish.qos;
            places.push((model.subscribe_sent(session, stamp, wish), qos));
        }
        let pid = self.next_pid();
        let index = self.index;
        world.trace.note(|| format!("client {index} subscribes as {pid}: {filters:?} id {id}"));
        self.requests.insert(pid, (world.now, Request::Subscribe(places)));
        let bytes = wire::subscribe(self.profile.version, pid, id, &filters);
        self.write(world, &bytes);
    }

    fn unsubscribe_something(&mut self, world: &mut World, model: &mut Model) {
        let Some(session) = self.session else { return };
        let known: Vec<(String, Option<String>)> = model.sessions[session]
            .subscriptions
            .iter()
            .filter(|s| s.over.is_none())
            .map(|s| (s.filter.clone(), s.share.clone()))
            .collect();
        let (filter, share) = if known.is_empty() || world.random.percent(10) {
            ("no/such".to_owned(), None)
        } else {
            known[world.random.below(known.len())].clone()
        };
        let stamp = world.stamp();
        model.unsubscribe_sent(session, &filter, share.as_deref(), stamp);
        let pid = self.next_pid();
        let text = match &share {
            Some(share) => format!("$share/{share}/{filter}"),
            None => filter.clone(),
        };
        let index = self.index;
        world.trace.note(|| format!("client {index} unsubscribes as {pid}: {text}"));
        let bytes = wire::unsubscribe(self.profile.version, pid, &[text]);
        let request = Request::Unsubscribe { sent: stamp, filters: vec![(filter, share)] };
        self.requests.insert(pid, (world.now, request));
        self.write(world, &bytes);
    }

    /// The wild time is over: whoever sulks stops sulking.
    pub fn calm_down(&mut self, world: &mut World, model: &mut Model) {
        self.stalled_until = 0;
        self.next_act = world.now;
        self.profile.ack_max = 0;
        for ack in &mut self.acks {
            ack.0 = world.now;
        }
        self.drop_knocks(world, model);
        if self.silent {
            self.leave_socket(world, model, ClientEnd::Reset);
        }
        if let Phase::Away { until } = &mut self.phase {
            *until = (*until).min(world.now + 100);
        }
    }

    /// A client that begins when the wild time is over.
    pub fn comes_in_calm(&mut self) {
        self.clean_next = true;
    }

    /// Time to go for good.
    pub fn start_leaving(&mut self, world: &mut World, model: &mut Model) {
        self.next_act = world.now;
        let needs_clean = self.is_persistent() && self.profile.version != Version::V5;
        match self.phase {
            Phase::Open if needs_clean && model.connections[self.socket].expiry_s > 0 => {
                self.leave_socket(world, model, ClientEnd::Finished);
                self.phase = Phase::Away { until: world.now };
            }
            Phase::Away { .. } if self.is_persistent() => self.phase = Phase::Away { until: world.now },
            Phase::Away { .. } => self.gone = true,
            _ => {}
        }
    }
}

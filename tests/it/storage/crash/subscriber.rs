//! A subscriber of the crash test. It answers late, goes away at times, and knows of each Packet Identifier how far its
//! handshake has come, so that it sees what a restart forgets, repeats or gives away twice (sections 4.3 and 4.4).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Phase};
use super::link::{Heard, Link};
use super::random::Random;
use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Property, Publish, Subscribe, Version};

/// Where an inbound QoS 2 identifier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBLISH came, PUBREC did not leave.
    Published,
    /// PUBREC left.
    Recorded,
    /// PUBREL came, PUBCOMP did not leave.
    Released,
}

/// An inbound QoS 2 identifier in use.
#[derive(Debug)]
struct Inbound {
    topic: String,
    number: u32,
    stage: Stage,
    /// The connection was cut since: the broker has to go on by itself.
    is_owed: bool,
}

/// What a subscriber is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) name: &'static str,
    pub(super) version: Version,
    pub(super) filter: &'static str,
    pub(super) qos: u8,
    /// Goes away at times, with and without DISCONNECT.
    pub(super) goes_away: bool,
    /// Receive Maximum, in 5.0.
    pub(super) receive_max: u16,
}

/// A subscriber.
pub(super) struct Subscriber {
    manner: Manner,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    random: Random,
    inbound: HashMap<u16, Inbound>,
    /// Answers that wait for their moment, in the order in which they have to leave.
    answers: VecDeque<(Instant, AckKind, u16)>,
    is_busy: bool,
    away_until: Option<Instant>,
    leaves_at: Instant,
}

impl Subscriber {
    /// Makes the session and its subscription, against a broker that does not die meanwhile.
    pub(super) fn subscribed(manner: Manner, address: SocketAddr, ledger: &Arc<Ledger>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let leaves_at = Instant::now() + random.pause(200, 2_000);
        let subscriber = Self {
            manner,
            address,
            ledger: Arc::clone(ledger),
            random,
            inbound: HashMap::new(),
            answers: VecDeque::new(),
            is_busy: false,
            away_until: None,
            leaves_at,
        };
        let (mut link, connack) = Link::open(address, subscriber.connect_packet()).unwrap();
        assert!(connack.reason == 0 && !connack.session_present, "{connack:?}");
        link.send(Subscribe::new(1, manner.filter, manner.qos));
        match link.hear(Duration::from_secs(5)) {
            Heard::Packet(Packet::Ack(ack)) if ack.kind == AckKind::Suback && ack.reasons == [manner.qos] => {
            }
            _ => panic!("{}: no SUBACK", manner.name),
        }
        subscriber
    }

    fn connect_packet(&self) -> Connect {
        let connect = Connect::new(self.manner.version, self.manner.name).persistent();
        if !self.manner.version.is_v5() {
            return connect;
        }
        connect.with(Property::ReceiveMax(self.manner.receive_max))
    }

    /// Receives until the test ends.
    pub(super) fn run(mut self) {
        let mut link: Option<Link> = None;
        while self.ledger.phase() != Phase::End {
            let is_busy = link.is_none() || !self.inbound.is_empty() || !self.answers.is_empty();
            let mut was_busy = self.is_busy;
            self.ledger.set_busy(&mut was_busy, is_busy);
            self.is_busy = was_busy;
            link = match link {
                Some(link) => self.go_on(link),
                None => self.connect(),
            };
            if link.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        for (id, inbound) in &self.inbound {
            self.fault(format!("the handshake of {id} never went on: {inbound:?}"));
        }
    }

    fn fault(&self, what: String) {
        self.ledger.fault(self.manner.name, what);
    }

    fn connect(&mut self) -> Option<Link> {
        if self.away_until.is_some_and(|until| Instant::now() < until)
            && self.ledger.phase() == Phase::Traffic
        {
            return None;
        }
        let (link, connack) = Link::open(self.address, self.connect_packet())?;
        if connack.reason != 0 {
            return None;
        }
        if !connack.session_present {
            self.fault("the subscriber's session is gone".into());
        }
        self.away_until = None;
        self.leaves_at = Instant::now() + self.random.pause(200, 2_000);
        self.answers.clear();
        for inbound in self.inbound.values_mut() {
            inbound.is_owed = true;
        }
        Some(link)
    }

    /// One step: what there is to hear, answers whose moment has come, and at times a farewell.
    fn go_on(&mut self, mut link: Link) -> Option<Link> {
        let is_open = self.hear(&mut link);
        self.answer(&mut link);
        if !is_open {
            return None;
        }
        let leaves = self.manner.goes_away && self.ledger.phase() == Phase::Traffic;
        if leaves && Instant::now() >= self.leaves_at {
            if self.random.chance(50) {
                link.send(Disconnect::default());
            }
            self.away_until = Some(Instant::now() + self.random.pause(50, 1_500));
            return None;
        }
        Some(link)
    }

    /// Whether the connection goes on.
    fn hear(&mut self, link: &mut Link) -> bool {
        match link.hear(Duration::from_millis(2)) {
            Heard::Packet(Packet::Publish(publish)) => self.published(&publish),
            Heard::Packet(Packet::Ack(ack)) if ack.kind == AckKind::Pubrel => self.released(ack.id),
            Heard::Packet(Packet::Disconnect(disconnect)) if self.ledger.may_say(disconnect.reason) => {
                return false;
            }
            Heard::Packet(other) => self.fault(format!("{other:?} came")),
            Heard::Malformed(why) => {
                self.fault(why);
                return false;
            }
            Heard::Nothing => {}
            Heard::Closed => return false,
        }
        true
    }

    fn published(&mut self, publish: &Publish) {
        let Ok(number) = publish.text().parse() else {
            return self.fault(format!("nobody sent {publish:?}"));
        };
        if publish.qos > self.manner.qos || publish.qos == 0 {
            self.fault(format!("{publish:?} at a QoS that was not asked for"));
        }
        if publish.qos == 2 {
            self.begun(publish, number);
        } else {
            self.ledger.arrived(self.manner.name, &publish.topic, number);
            self.hold(AckKind::Puback, publish.id);
        }
    }

    /// A PUBLISH of QoS 2: a new message, unless its identifier is in use.
    fn begun(&mut self, publish: &Publish, number: u32) {
        match self.inbound.get_mut(&publish.id) {
            None => {
                let topic = publish.topic.clone();
                self.ledger.arrived(self.manner.name, &topic, number);
                let inbound = Inbound { topic, number, stage: Stage::Published, is_owed: false };
                self.inbound.insert(publish.id, inbound);
            }
            Some(known) => {
                let is_same = known.topic == publish.topic && known.number == number;
                let fits = is_same && known.is_owed && known.stage != Stage::Released && publish.dup;
                known.is_owed = false;
                if !fits {
                    let fault = format!("{publish:?} under an identifier in use: {known:?}");
                    self.fault(fault);
                }
            }
        }
        self.hold(AckKind::Pubrec, publish.id);
    }

    fn released(&mut self, id: u16) {
        // An identifier that is not in use any more: PUBCOMP was lost.
        if let Some(inbound) = self.inbound.get_mut(&id) {
            if inbound.stage == Stage::Published {
                let fault = format!("PUBREL for {id}, whose PUBREC never left: {inbound:?}");
                self.ledger.fault(self.manner.name, fault);
            }
            inbound.stage = Stage::Released;
            inbound.is_owed = false;
        }
        self.hold(AckKind::Pubcomp, id);
    }

    /// Answers later, but in the order of what is answered.
    fn hold(&mut self, kind: AckKind, id: u16) {
        let pause = if self.random.chance(20) { self.random.pause(1, 40) } else { Duration::ZERO };
        let earliest = self.answers.back().map_or_else(Instant::now, |(at, ..)| *at);
        self.answers.push_back((earliest.max(Instant::now() + pause), kind, id));
    }

    fn answer(&mut self, link: &mut Link) {
        while let Some((at, kind, id)) = self.answers.front().copied()
            && at <= Instant::now()
        {
            self.answers.pop_front();
            link.send(Ack::new(kind, id));
            match kind {
                AckKind::Pubrec => {
                    if let Some(inbound) = self.inbound.get_mut(&id) {
                        inbound.stage = Stage::Recorded;
                    }
                }
                AckKind::Pubcomp => drop(self.inbound.remove(&id)),
                _ => {}
            }
        }
    }
}

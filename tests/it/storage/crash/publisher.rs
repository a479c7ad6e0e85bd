//! A publisher of the crash test: QoS 1, QoS 2 and RETAIN, up to a window unacknowledged; after each reconnect it repeats, as
//! a Client with a session has to, what was not acknowledged (section 4.4).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Phase};
use super::link::{Heard, Link};
use super::random::Random;
use crate::wire::{Ack, AckKind, Connack, Connect, Packet, Publish, Version};

/// PUBLISHes that may be unacknowledged.
const WINDOW: usize = 16;
/// Topics of each QoS, and those with Retained Messages.
const LANES: u64 = 3;
const LANES_RETAINED: u64 = 8;
/// Time from one PUBLISH to the next: more of them would be a test of rates.
const PAUSE: Duration = Duration::from_millis(3);

/// How far a PUBLISH has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBACK or PUBREC awaited.
    Published,
    /// PUBREC came; PUBCOMP awaited.
    Recorded {
        /// PUBREL went out on an earlier connection, so the broker may have forgotten the identifier rightly.
        was_released: bool,
    },
}

struct Outstanding {
    publish: Publish,
    /// Of its topic, which the payload names too unless it is empty.
    number: u32,
    stage: Stage,
}

/// A publisher.
pub(super) struct Publisher {
    name: String,
    version: Version,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    random: Random,
    /// In the order in which they were first sent.
    outstanding: VecDeque<Outstanding>,
    next_id: u16,
    /// A CONNACK said that there is a session.
    has_session: bool,
    is_busy: bool,
    next_at: Instant,
}

impl Publisher {
    pub(super) fn new(
        name: &str,
        version: Version,
        address: SocketAddr,
        ledger: &Arc<Ledger>,
        seed: u64,
    ) -> Self {
        Self {
            name: name.into(),
            version,
            address,
            ledger: Arc::clone(ledger),
            random: Random::new(seed),
            outstanding: VecDeque::new(),
            next_id: 0,
            has_session: false,
            is_busy: false,
            next_at: Instant::now(),
        }
    }

    /// Publishes until the test ends.
    pub(super) fn run(mut self) {
        let mut link = None;
        while self.ledger.phase() != Phase::End {
            let is_busy = self.ledger.phase() == Phase::Traffic || !self.outstanding.is_empty();
            let mut was_busy = self.is_busy;
            self.ledger.set_busy(&mut was_busy, is_busy);
            self.is_busy = was_busy;
            link = match link {
                None => self.connect(),
                Some(link) => self.go_on(link),
            };
            if link.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn connect(&mut self) -> Option<Link> {
        let (mut link, connack) =
            Link::open(self.address, Connect::new(self.version, &self.name).persistent())?;
        self.check_session(&connack)?;
        for outstanding in &mut self.outstanding {
            match &mut outstanding.stage {
                Stage::Published => {
                    self.ledger.repeat();
                    link.send(outstanding.publish.clone().dup());
                }
                Stage::Recorded { was_released } => {
                    *was_released = true;
                    link.send(Ack::new(AckKind::Pubrel, outstanding.publish.id));
                }
            }
        }
        Some(link)
    }

    /// `None`: the broker does not want us now.
    fn check_session(&mut self, connack: &Connack) -> Option<()> {
        // Server shutting down is no fault; the same for 3.x.
        if connack.reason != 0 {
            return None;
        }
        if self.has_session && !connack.session_present {
            self.ledger.fault(&self.name, "the publisher's session is gone");
        }
        self.has_session = true;
        Some(())
    }

    /// One step: a PUBLISH if the window has room, and what there is to hear.
    fn go_on(&mut self, mut link: Link) -> Option<Link> {
        let may_send = self.ledger.phase() == Phase::Traffic && self.outstanding.len() < WINDOW;
        if may_send && Instant::now() >= self.next_at {
            self.next_at = Instant::now() + PAUSE;
            let (publish, number) = self.next();
            link.send(publish.clone());
            self.outstanding.push_back(Outstanding { publish, number, stage: Stage::Published });
        }
        match link.hear(Duration::from_millis(2)) {
            Heard::Packet(Packet::Ack(ack)) => self.acknowledged(&mut link, &ack),
            Heard::Packet(Packet::Disconnect(disconnect)) if self.ledger.may_say(disconnect.reason) => {
                return None;
            }
            Heard::Packet(other) => self.ledger.fault(&self.name, format!("{other:?} came")),
            Heard::Malformed(why) => {
                self.ledger.fault(&self.name, why);
                return None;
            }
            Heard::Nothing => {}
            Heard::Closed => return None,
        }
        Some(link)
    }

    fn next(&mut self) -> (Publish, u32) {
        let id = self.free_id();
        if self.random.chance(15) {
            // One QoS for each topic, so that its versions are acknowledged in their order.
            let lane = self.random.below(LANES_RETAINED);
            let topic = format!("r/{}/{lane}", self.name);
            let deletes = self.random.chance(25);
            let version = self.ledger.send_retained(&topic, deletes);
            let payload = if deletes { String::new() } else { version.to_string() };
            return (Publish::new(&topic, payload).qos(1 + (lane % 2) as u8).retain().id(id), version);
        }
        let (qos, lane) = (1 + self.random.below(2) as u8, self.random.below(LANES));
        let topic = format!("c/{}/{qos}/{lane}", self.name);
        let number = self.ledger.send(&topic);
        (Publish::new(&topic, number.to_string()).qos(qos).id(id), number)
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if self.outstanding.iter().all(|outstanding| outstanding.publish.id != self.next_id) {
                return self.next_id;
            }
        }
    }

    fn acknowledged(&mut self, link: &mut Link, ack: &Ack) {
        let Some(at) = self.outstanding.iter().position(|outstanding| outstanding.publish.id == ack.id)
        else {
            return self.ledger.fault(&self.name, format!("{ack:?} for nothing"));
        };
        let Outstanding { ref publish, number, stage } = self.outstanding[at];
        let publish = publish.clone();
        match (ack.kind, publish.qos, stage) {
            (AckKind::Puback, 1, Stage::Published) => {
                self.taken(&publish, number, ack);
                self.outstanding.remove(at);
            }
            (AckKind::Pubrec, 2, _) => {
                if stage == Stage::Published {
                    self.taken(&publish, number, ack);
                    self.outstanding[at].stage = Stage::Recorded { was_released: false };
                }
                if ack.reasons[0] >= 0x80 {
                    self.outstanding.remove(at);
                } else {
                    link.send(Ack::new(AckKind::Pubrel, ack.id));
                }
            }
            (AckKind::Pubcomp, 2, Stage::Recorded { was_released }) => {
                if ack.reasons[0] != 0 && !was_released {
                    self.ledger.fault(&self.name, format!("an identifier got lost: {ack:?}"));
                }
                self.outstanding.remove(at);
            }
            _ => self.ledger.fault(&self.name, format!("{ack:?} for {publish:?}, {stage:?}")),
        }
    }

    /// The broker has taken responsibility, or says why not.
    fn taken(&self, publish: &Publish, number: u32, ack: &Ack) {
        let reason = ack.reasons[0];
        if reason == 0x97 && self.ledger.disk_fails {
            if !publish.retain {
                self.ledger.refuse(&publish.topic, number);
            }
            return;
        }
        // A message that nobody subscribes to is a lost subscription here, but for the retained ones.
        if reason != 0 && !(reason == 0x10 && publish.retain) {
            self.ledger.fault(&self.name, format!("{reason:#04x} for {publish:?}"));
        }
        self.ledger.acknowledge();
        if publish.retain {
            self.ledger.acknowledge_retained(&publish.topic, number);
        }
    }
}

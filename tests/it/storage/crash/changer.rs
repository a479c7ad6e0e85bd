//! A client of the crash test that subscribes, unsubscribes and begins its session anew, and looks after each restart whether
//! it has exactly the subscriptions whose SUBACK it saw and none whose UNSUBACK it saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Phase};
use super::link::{Heard, Link};
use super::random::Random;
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Subscribe, Unsubscribe, Version};

/// Its filters.
const FILTERS: u8 = 6;
/// How long a message that has to come may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after PINGRESP a message still might come that must not.
const SILENCE: Duration = Duration::from_millis(60);

/// What is known of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The packet that changes it was not answered.
    Either,
    /// `None`: there is none; else its QoS.
    Is(Option<u8>),
}

/// The client.
pub(super) struct Changer {
    name: String,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    random: Random,
    filters: [Known; FILTERS as usize],
    has_session: bool,
    packet_id: u16,
    probe: u32,
    is_busy: bool,
}

impl Changer {
    pub(super) fn new(name: &str, address: SocketAddr, ledger: &Arc<Ledger>, seed: u64) -> Self {
        Self {
            name: name.into(),
            address,
            ledger: Arc::clone(ledger),
            random: Random::new(seed),
            filters: [Known::Is(None); FILTERS as usize],
            has_session: false,
            packet_id: 0,
            probe: 0,
            is_busy: false,
        }
    }

    /// Changes until the test ends, the last look included.
    pub(super) fn run(mut self) {
        let mut link = None;
        let mut has_looked = false;
        while self.ledger.phase() != Phase::End {
            let mut was_busy = self.is_busy;
            self.ledger.set_busy(&mut was_busy, self.ledger.phase() == Phase::Traffic || !has_looked);
            self.is_busy = was_busy;
            link = match link {
                None => {
                    let connected = self.connect();
                    has_looked = connected.is_some();
                    connected
                }
                Some(link) if self.ledger.phase() == Phase::Traffic => self.change(link),
                open => open,
            };
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn fault(&self, what: String) {
        self.ledger.fault(&self.name, what);
    }

    fn topic(&self, filter: u8) -> String {
        format!("f/{}/{filter}", self.name)
    }

    fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    /// Connects and looks; `None`: the broker went away before all was seen.
    fn connect(&mut self) -> Option<Link> {
        let begins_anew = self.random.chance(15);
        let connect = Connect::new(Version::V50, &self.name).persistent();
        let connect = Connect { clean: begins_anew, ..connect };
        let before = self.filters;
        if begins_anew {
            for known in &mut self.filters {
                *known = if *known == Known::Is(None) { *known } else { Known::Either };
            }
        }
        let (mut link, connack) = Link::open(self.address, connect)?;
        if connack.reason != 0 {
            self.filters = before;
            return None;
        }
        if begins_anew {
            if connack.session_present {
                self.fault("a session is present after Clean Start".into());
            }
            self.filters = [Known::Is(None); FILTERS as usize];
        } else if self.has_session && !connack.session_present {
            self.fault("the session is gone".into());
        }
        self.has_session = true;
        self.look(&mut link)?;
        Some(link)
    }

    /// Publishes to all filters and compares what comes back with what is known.
    fn look(&mut self, link: &mut Link) -> Option<()> {
        self.probe += 1;
        let probe = self.probe.to_string();
        for filter in 0..FILTERS {
            let id = self.next_id();
            link.send(Publish::new(&self.topic(filter), probe.as_str()).qos(1).id(id));
        }
        let must: Vec<u8> =
            (0..FILTERS).filter(|at| matches!(self.filters[usize::from(*at)], Known::Is(Some(_)))).collect();
        let mut came: BTreeMap<u8, u8> = BTreeMap::new();
        let mut acks = 0;
        let mut deadline = Instant::now() + PATIENCE;
        let mut is_pinged = false;
        while Instant::now() < deadline {
            match link.hear(Duration::from_millis(5)) {
                Heard::Packet(Packet::Publish(publish)) => {
                    if publish.qos > 0 {
                        link.send(Ack::new(AckKind::Puback, publish.id));
                    }
                    let filter = publish.topic.rsplit('/').next().and_then(|last| last.parse().ok());
                    if publish.text() == probe {
                        came.insert(filter.unwrap(), publish.qos);
                    }
                }
                // Refused, it does not come.
                Heard::Packet(Packet::Ack(ack)) if ack.reasons[0] == 0x97 && self.ledger.disk_fails => {
                    return None;
                }
                Heard::Packet(Packet::Ack(ack)) if ack.kind == AckKind::Puback => acks += 1,
                Heard::Packet(Packet::Pingresp) => deadline = Instant::now() + SILENCE,
                Heard::Packet(Packet::Disconnect(disconnect)) if self.ledger.may_say(disconnect.reason) => {
                    return None;
                }
                Heard::Packet(other) => self.fault(format!("{other:?} came")),
                Heard::Malformed(why) => self.fault(why),
                Heard::Nothing => {}
                Heard::Closed => return None,
            }
            if !is_pinged && acks == FILTERS && must.iter().all(|filter| came.contains_key(filter)) {
                is_pinged = true;
                link.send(Packet::Pingreq);
            }
        }
        for filter in 0..FILTERS {
            let is = came.get(&filter).copied();
            let known = self.filters[usize::from(filter)];
            match (known, is) {
                // The message is of QoS 1.
                (Known::Is(qos), is) if qos.map(|qos| qos.min(1)) == is => continue,
                (Known::Is(_), _) => {
                    self.fault(format!("subscription {filter} is to be {known:?}, and {is:?} came"));
                }
                (Known::Either, _) => {}
            }
            // Whether QoS 2 was granted can't be seen: what is known is what comes.
            self.filters[usize::from(filter)] = Known::Is(is);
        }
        Some(())
    }

    /// Whether the broker may refuse to change a subscription.
    fn refused(&self, reason: u8) -> bool {
        if !self.ledger.may_say(reason) {
            self.fault(format!("refused with {reason:#04x}"));
        }
        self.ledger.may_say(reason)
    }

    /// Changes one subscription.
    fn change(&mut self, mut link: Link) -> Option<Link> {
        let filter = self.random.below(FILTERS.into()) as u8;
        let (topic, id) = (self.topic(filter), self.next_id());
        let wanted = self.random.chance(60).then(|| self.random.below(3) as u8);
        self.filters[usize::from(filter)] = Known::Either;
        let kind = if let Some(qos) = wanted {
            link.send(Subscribe::new(id, &topic, qos));
            AckKind::Suback
        } else {
            link.send(Unsubscribe::new(id, &[&topic]));
            AckKind::Unsuback
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match link.hear(Duration::from_millis(5)) {
                Heard::Packet(Packet::Ack(ack)) if ack.kind == kind && ack.id == id => {
                    if ack.reasons[0] >= 0x80 {
                        return self.refused(ack.reasons[0]).then_some(link);
                    }
                    self.filters[usize::from(filter)] = Known::Is(wanted);
                    return Some(link);
                }
                // A look before this one was given up, or its answers came late.
                Heard::Packet(Packet::Publish(publish)) if publish.qos > 0 => {
                    link.send(Ack::new(AckKind::Puback, publish.id));
                }
                Heard::Closed | Heard::Malformed(_) => return None,
                Heard::Packet(Packet::Disconnect(_)) => return None,
                _ => {}
            }
        }
        self.fault(format!("no {kind:?} for {topic}"));
        None
    }
}

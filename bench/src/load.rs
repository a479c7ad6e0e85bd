//! The load of one thread: its publishers and subscribers, as the engine's handler.

use std::io;
use std::ops::Range;

use crate::board::Board;
use crate::clock::now_ns;
use crate::engine::{Engine, Handler};
use crate::publisher::{Publisher, record};
use crate::scanner::{self, Frame, Publish};
use crate::schedule::Schedule;
use crate::stats::{Arrival, Counters, Latency, Sequences};
use crate::topology::Topology;
use crate::wire::{self, PacketType, ProtocolVersion};

/// Most pairs of subscriber and publisher whose numbers are followed (4 bytes each).
const PAIRS_MAX: usize = 16 << 20;
/// The local index of a publisher that belongs to another thread.
const ELSEWHERE: u32 = u32::MAX;

/// A thread's publishers and subscribers while messages flow.
#[derive(Debug)]
pub(crate) struct Load {
    version: ProtocolVersion,
    groups: usize,
    /// The first publisher's index among the connections; subscribers come before.
    publishers_at: usize,
    publishers: Vec<Publisher>,
    /// Local indices of all publishers of the run.
    local: Vec<u32>,
    /// Where each subscriber's pairs start.
    pairs_at: Vec<u32>,
    sequences: Sequences,
    /// Publishers that may have something to send.
    ready: Vec<usize>,
    schedule: Option<Schedule>,
    /// Slots of the schedule that have come.
    slots: u64,
    measured: Range<u64>,
    now_ns: u64,
    pub(crate) latency: Latency,
    pub(crate) acknowledge_latency: Latency,
    pub(crate) counters: Counters,
    /// Deliveries for publishers of other threads, not yet credited.
    credits: Vec<u32>,
    credited: Vec<usize>,
    /// What the broker said before it closed a connection.
    last_words: Option<String>,
    pub(crate) failure: Option<(usize, String)>,
}

impl Load {
    /// The load of a thread that has `subscribers` and `publishers`, both by their numbers in the topology.
    pub(crate) fn new(
        version: ProtocolVersion,
        topology: &Topology,
        subscribers: &[usize],
        publishers: Vec<(usize, Publisher)>,
    ) -> Self {
        let mut local = vec![ELSEWHERE; topology.publishers];
        for (i, (number, _)) in publishers.iter().enumerate() {
            if let Some(place) = local.get_mut(*number) {
                *place = i as u32;
            }
        }
        let mut pairs = 0;
        let mut pairs_at = Vec::with_capacity(subscribers.len());
        for &subscriber in subscribers {
            pairs_at.push(pairs as u32);
            pairs += topology.sources(subscriber);
        }
        // Without room the numbers go unwatched; losses still show in the totals.
        let pairs = if pairs > PAIRS_MAX { 0 } else { pairs };
        Self {
            version,
            groups: topology.groups,
            publishers_at: subscribers.len(),
            publishers: publishers.into_iter().map(|(_, publisher)| publisher).collect(),
            local,
            pairs_at,
            sequences: Sequences::new(pairs, topology.is_shared()),
            ready: Vec::new(),
            schedule: None,
            slots: 0,
            measured: 0..0,
            now_ns: now_ns(),
            latency: Latency::new(),
            acknowledge_latency: Latency::new(),
            counters: Counters::default(),
            credits: vec![0; topology.publishers],
            credited: Vec::new(),
            last_words: None,
            failure: None,
        }
    }

    /// Starts sending: on `schedule`, or in a closed loop. Latencies count for what is due within `measured`.
    pub(crate) fn start(&mut self, schedule: Option<Schedule>, measured: Range<u64>) {
        self.schedule = schedule.filter(|_| !self.publishers.is_empty());
        self.measured = measured;
        (0..self.publishers.len()).for_each(|k| self.wake(k));
    }

    #[inline]
    fn wake(&mut self, k: usize) {
        if let Some(publisher) = self.publishers.get_mut(k)
            && !publisher.queued
        {
            publisher.queued = true;
            self.ready.push(k);
        }
    }

    /// Sends what may be sent at `now_ns`. Returns when the next message is due, if that is known.
    pub(crate) fn send(&mut self, engine: &mut Engine, now_ns: u64) -> io::Result<Option<u64>> {
        self.now_ns = now_ns;
        if let Some(schedule) = self.schedule {
            while schedule.due_ns(self.slots) <= now_ns {
                let k = schedule.publisher(self.slots);
                if let Some(publisher) = self.publishers.get_mut(k) {
                    publisher.due += 1;
                }
                self.wake(k);
                self.slots += 1;
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        for k in ready.drain(..) {
            self.fill(engine, k)?;
        }
        self.ready = ready;
        Ok(self.schedule.map(|s| s.due_ns(self.slots)))
    }

    /// Sends all that one publisher may send. What a full socket stops goes on in [`Handler::drained`].
    #[inline]
    fn fill(&mut self, engine: &mut Engine, k: usize) -> io::Result<()> {
        let index = self.publishers_at + k;
        let (schedule, now) = (self.schedule, self.now_ns);
        let Some(publisher) = self.publishers.get_mut(k) else { return Ok(()) };
        publisher.queued = false;
        while !engine.is_blocked(index) {
            let n = match schedule {
                Some(s) => publisher.compose(&mut engine.output, |number| s.message_due_ns(k, number)),
                None => publisher.compose(&mut engine.output, |_| now),
            };
            if engine.output.is_empty() {
                break;
            }
            self.counters.sent += n;
            self.counters.expected += n * u64::from(publisher.fan());
            engine.send(index)?;
        }
        Ok(())
    }

    /// After the end of the load at `until_ns`: an open loop still sends what was due before, and each publisher asks
    /// for a last sign that its messages of QoS 0 were taken.
    pub(crate) fn wind_up(&mut self, engine: &mut Engine, qos: u8, until_ns: u64) -> io::Result<()> {
        if self.schedule.is_some() {
            self.send(engine, until_ns.saturating_sub(1))?;
        }
        self.counters.unsent = 0;
        for (k, publisher) in self.publishers.iter_mut().enumerate() {
            if publisher.due != u64::MAX {
                self.counters.unsent += publisher.due.saturating_sub(publisher.sent);
            }
            if qos == 0 && !engine.is_blocked(self.publishers_at + k) {
                publisher.ping(&mut engine.output);
                engine.send(self.publishers_at + k)?;
            }
        }
        self.counters.finished = 1;
        Ok(())
    }

    /// Deliveries that other threads received, and theirs that this one did.
    pub(crate) fn exchange_credits(&mut self, board: &Board, owner: impl Fn(usize) -> usize) {
        let mut credited = std::mem::take(&mut self.credited);
        for publisher in credited.drain(..) {
            if let Some(place) = self.credits.get_mut(publisher) {
                board.credit(publisher, u64::from(std::mem::take(place)));
                board.wake(owner(publisher));
            }
        }
        self.credited = credited;
        for number in 0..self.local.len() {
            let Some(&k) = self.local.get(number).filter(|k| **k != ELSEWHERE) else { continue };
            let deliveries = board.take_credits(number);
            if deliveries > 0 {
                self.credit(k as usize, deliveries);
            }
        }
    }

    #[inline]
    fn credit(&mut self, k: usize, deliveries: u64) {
        if let Some(publisher) = self.publishers.get_mut(k) {
            publisher.delivered(deliveries);
            self.wake(k);
        }
    }

    /// Lets publishers go on whose messages seem lost.
    pub(crate) fn write_off(&mut self) {
        for k in 0..self.publishers.len() {
            if self.publishers.get_mut(k).is_some_and(Publisher::write_off) {
                self.wake(k);
            }
        }
    }

    /// A publisher whose connection needs no PINGREQ of ours: it counts the answers to its own.
    pub(crate) fn pings_itself(&self, index: usize) -> bool {
        index
            .checked_sub(self.publishers_at)
            .is_some_and(|k| self.publishers.get(k).is_some_and(|p| p.sent > 0))
    }

    #[inline]
    fn published(&mut self, index: usize, publish: Publish) {
        self.counters.delivered += 1;
        let Some(header) = publish.header else {
            self.counters.foreign += 1;
            return;
        };
        record(&mut self.latency, &self.measured, header.stamp_ns, self.now_ns);
        let number = header.publisher as usize;
        let Some(&k) = self.local.get(number) else {
            // Another process: `sub` counts these; who publishes itself takes no credit for them.
            self.counters.foreign += u64::from(!self.local.is_empty());
            return;
        };
        if let Some(pairs_at) = self.pairs_at.get(index) {
            match self.sequences.arrived(*pairs_at as usize + number / self.groups, header.sequence) {
                Arrival::InOrder => {}
                Arrival::Gap(n) => self.counters.gaps += u64::from(n),
                Arrival::Stale => {
                    self.counters.stale += 1;
                    return;
                }
            }
        }
        if k != ELSEWHERE {
            self.credit(k as usize, 1);
        } else if let Some(place) = self.credits.get_mut(number) {
            if *place == 0 {
                self.credited.push(number);
            }
            *place += 1;
        }
    }

    #[inline]
    fn acknowledged(&mut self, index: usize, frame: &Frame<'_>) {
        let Some(k) = index.checked_sub(self.publishers_at) else { return };
        let Some(publisher) = self.publishers.get_mut(k) else { return };
        let stamp = publisher.acknowledged(frame.packet_id());
        if frame.reason_code() >= 0x80 {
            self.counters.refused += 1;
        } else {
            self.counters.accepted += 1;
        }
        if let Some(stamp) = stamp {
            record(&mut self.acknowledge_latency, &self.measured, stamp, self.now_ns);
        }
        self.wake(k);
    }
}

/// Appends what a subscriber owes for a PUBLISH.
#[inline]
pub(crate) fn answer(version: ProtocolVersion, publish: &Publish, out: &mut Vec<u8>) {
    match publish.qos {
        1 => wire::acknowledge(out, version, PacketType::PubAck, publish.packet_id),
        2 => wire::acknowledge(out, version, PacketType::PubRec, publish.packet_id),
        _ => {}
    }
}

impl Handler for Load {
    #[inline]
    fn received(&mut self, bytes: usize) {
        self.counters.bytes_received += bytes as u64;
        // One reading for all packets of a read: they were there together.
        self.now_ns = now_ns();
    }

    #[inline]
    fn frame(&mut self, index: usize, frame: Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind() {
            scanner::PUBLISH => {
                if let Some(publish) = scanner::publish(self.version, &frame) {
                    answer(self.version, &publish, out);
                    self.published(index, publish);
                }
            }
            scanner::PUBREL => {
                wire::acknowledge(out, self.version, PacketType::PubComp, frame.packet_id());
            }
            scanner::PUBREC if frame.reason_code() < 0x80 => {
                wire::acknowledge(out, self.version, PacketType::PubRel, frame.packet_id());
            }
            scanner::PUBACK | scanner::PUBCOMP | scanner::PUBREC => self.acknowledged(index, &frame),
            scanner::PINGRESP => {
                if let Some(k) = index.checked_sub(self.publishers_at) {
                    self.counters.accepted += self.publishers.get_mut(k).map_or(0, Publisher::answered);
                    self.wake(k);
                }
            }
            scanner::DISCONNECT => self.last_words = Some(wire::disconnect(self.version, &frame)),
            _ => {}
        }
    }

    fn drained(&mut self, index: usize) {
        if let Some(k) = index.checked_sub(self.publishers_at) {
            self.wake(k);
        }
    }

    fn closed(&mut self, index: usize, why: &io::Error) {
        let words = self.last_words.take().unwrap_or_else(|| why.to_string());
        self.failure.get_or_insert((index, words));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ProtocolVersion::{V5, V311};
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::publisher::Pacing;
    use crate::wire::PublishTemplate;

    /// One thread's load of a closed loop with window 1; connection 0 subscribes, the last publishes.
    fn load(line: &str, version: ProtocolVersion, qos: u8) -> Load {
        let arguments = format!("myriad-bench {line}");
        let (scenario, options) = Cli::try_parse_from(arguments.split(' ')).unwrap().command.parts();
        let topology = Topology::new(scenario, &options, "t".into()).unwrap();
        let template = PublishTemplate::new(version, &topology.topic(0), qos, 16, 0).unwrap();
        let publisher =
            Publisher::new(template, Pacing::Deliveries(topology.fan(0).into()), 0, topology.fan(0), qos, 1);
        let subscribers: Vec<usize> = (0..topology.subscribers).collect();
        let mut load = Load::new(version, &topology, &subscribers, vec![(0, publisher)]);
        load.start(None, 0..u64::MAX);
        load
    }

    /// What the publisher sends now.
    fn compose(load: &mut Load) -> Vec<u8> {
        let mut bytes = Vec::new();
        let n = load.publishers[0].compose(&mut bytes, |_| 1);
        load.counters.sent += n;
        load.counters.expected += n * u64::from(load.publishers[0].fan());
        load.publishers[0].queued = false;
        load.ready.clear();
        bytes
    }

    fn receive(load: &mut Load, index: usize, packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        load.frame(index, scanner::head(packet).unwrap(), &mut out);
        out
    }

    #[test]
    fn a_delivery_opens_the_closed_loop() {
        let mut load = load("p2p --clients 1", V311, 0);
        let message = compose(&mut load);
        assert!(compose(&mut load).is_empty() && !message.is_empty());
        assert!(receive(&mut load, 0, &message).is_empty());
        assert_eq!(load.ready, [0]);
        assert!(!compose(&mut load).is_empty());
        assert_eq!((load.counters.sent, load.counters.delivered, load.counters.undelivered()), (2, 1, 1));
        assert_eq!(load.latency.summary().map(|s| s.count), Some(1));
    }

    #[test]
    fn a_duplicate_opens_nothing_and_is_counted() {
        let mut load = load("p2p --clients 1", V311, 1);
        let message = compose(&mut load);
        assert_eq!(receive(&mut load, 0, &message), [0x40, 2, 0, 1]);
        compose(&mut load);
        assert_eq!(receive(&mut load, 0, &message), [0x40, 2, 0, 1]);
        assert_eq!((load.counters.delivered, load.counters.stale), (2, 1));
        assert!(load.ready.is_empty());
    }

    #[test]
    fn mqtt_4_3_3_qos_2_takes_both_sides_through_all_steps() {
        let mut load = load("p2p --clients 1", V5, 2);
        let message = compose(&mut load);
        assert_eq!(receive(&mut load, 0, &message), [0x50, 2, 0, 1]);
        assert_eq!(receive(&mut load, 0, &[0x62, 2, 0, 1]), [0x70, 2, 0, 1]);
        assert_eq!(receive(&mut load, 1, &[0x50, 2, 0, 1]), [0x62, 2, 0, 1]);
        assert!(compose(&mut load).is_empty());
        assert!(receive(&mut load, 1, &[0x70, 2, 0, 1]).is_empty());
        assert_eq!(load.counters.accepted, 1);
        assert!(!compose(&mut load).is_empty());
    }

    #[test]
    fn a_refused_message_is_over() {
        let mut load = load("p2p --clients 1", V5, 2);
        let message = compose(&mut load);
        receive(&mut load, 0, &message);
        assert!(receive(&mut load, 1, &[0x50, 3, 0, 1, 0x97]).is_empty());
        assert_eq!((load.counters.accepted, load.counters.refused), (0, 1));
        assert!(!compose(&mut load).is_empty());
    }

    #[test]
    fn deliveries_for_publishers_of_another_thread_become_credits() {
        let mut one = load("fanout --clients 2", V311, 0);
        let message = compose(&mut one);
        let mut other = load("fanout --clients 2", V311, 0);
        other.local = vec![ELSEWHERE];
        receive(&mut other, 0, &message);
        receive(&mut other, 1, &message);
        let board = Board::new(Vec::new(), 1);
        other.exchange_credits(&board, |_| 0);
        assert!(one.ready.is_empty());
        one.exchange_credits(&board, |_| 0);
        assert_eq!(one.ready, [0]);
        assert_eq!(board.take_credits(0), 0);
    }

    #[test]
    fn messages_of_others_are_told_apart() {
        let mut load = load("p2p --clients 1", V311, 0);
        receive(&mut load, 0, b"0\x08\0\x01ahello");
        assert_eq!((load.counters.delivered, load.counters.foreign, load.counters.undelivered()), (1, 1, 0));
    }

    #[test]
    fn the_last_words_of_the_broker_explain_a_close() {
        let mut load = load("p2p --clients 1", V5, 0);
        receive(&mut load, 1, &[0xe0, 1, 0x8e]);
        load.closed(1, &io::ErrorKind::UnexpectedEof.into());
        let (index, why) = load.failure.unwrap();
        assert!(index == 1 && why.contains("0x8E"), "{why}");
    }
}

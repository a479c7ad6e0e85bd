//! What held clients send: PINGREQs and PUBLISHes at a fixed rate, the fan-out's one message, and PINGREQs for the
//! Keep Alive. Latency counts from the scheduled moment, so a stall of either end counts for all that it delayed.

use std::collections::HashMap;
use std::fmt::Write as _;

use myriad::packet::{PINGREQ, PacketId, PacketType, PublishHead, QoS, encode_publish_head};
use shards::{ConnectionId, Io};

use super::clients::{Client, Phase};
use super::{Flow, Kind, Load};
use crate::scanner::{self, Frame, PayloadHeader};
use crate::wire;

/// Due messages sent a turn before answers are looked at again.
const SENDS_PER_TURN: u32 = 256;
/// Random clients looked at for one that is held, has nothing under way and is to send.
const LOOKS_MAX: u32 = 64;
/// Ticks in which the Keep Alive's pass goes over all clients once: 10 s.
const KEEP_ALIVE_TICKS: u32 = 100;
/// Packet Identifier of every measured PUBLISH: a client has one under way at most.
const PACKET_ID: PacketId = PacketId::FIRST;

/// What flows from this shard.
#[derive(Debug)]
pub(super) struct Traffic {
    shard: u16,
    flow: Option<Flow>,
    /// Messages of the flow that have come due.
    slots: u64,
    stage: u16,
    /// Numbers of this stage's PUBLISHes.
    sequence: u32,
    random: u64,
    /// When a client's measured message was due, while its answer has not come.
    pending: HashMap<u32, u64>,
    /// Those are PINGREQs.
    pinging: bool,
    /// Which numbers have been delivered here, by the shard that sent them.
    seen: Vec<Vec<u64>>,
    /// The fan-out's repetition and its largest latency.
    repetition: u32,
    /// The next client of the Keep Alive's pass.
    cursor: u32,
    /// Room for a topic or a Client Identifier.
    text: String,
    payload: Vec<u8>,
}

impl Traffic {
    /// Nothing flows yet.
    pub(super) fn new(shard: u16, shards: u16) -> Self {
        Self {
            shard,
            flow: None,
            slots: 0,
            stage: 0,
            sequence: 0,
            // Any odd number starts xorshift; the same each run, so that runs compare.
            random: (u64::from(shard) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            pending: HashMap::new(),
            pinging: false,
            seen: vec![Vec::new(); usize::from(shards)],
            repetition: u32::MAX,
            cursor: 0,
            text: String::with_capacity(64),
            payload: Vec::new(),
        }
    }

    /// Measured messages whose answer has not come.
    pub(super) fn pending_len(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Messages of the flow that have come due.
    pub(super) fn slots(&self) -> u64 {
        self.slots
    }

    /// The topic or Client Identifier written last.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Writes a Client Identifier: a dash and twelve digits behind the prefix, twenty bytes with the default one.
    pub(super) fn write_client_id(&mut self, prefix: &str, number: u32) {
        self.text.clear();
        // Writing to a String can't fail, here and below.
        let _ = write!(self.text, "{prefix}-{number:012}");
    }

    /// Writes a client's own topic (`which` 0) or its group's (1).
    pub(super) fn write_topic(&mut self, prefix: &str, which: u8, number: u32, group_len: u32) {
        self.text.clear();
        let _ = match which {
            0 => write!(self.text, "{prefix}/c/{number}"),
            _ => write!(self.text, "{prefix}/g/{}", number / group_len),
        };
    }

    /// A random number below `n` (xorshift64*), 0 of nothing.
    fn below(&mut self, n: u32) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * u64::from(n)) >> 32) as u32
    }

    /// When the next message is due.
    fn due_us(&self) -> Option<(Flow, f64)> {
        let flow = self.flow?;
        let due_us = flow.first_us + self.slots as f64 * flow.interval_us;
        (due_us < flow.until_us).then_some((flow, due_us))
    }

    /// Notes a number; `false`: it was there before.
    fn first_time(&mut self, shard: usize, sequence: u32) -> bool {
        let Some(bits) = self.seen.get_mut(shard) else { return true };
        let (word, bit) = (sequence as usize / 64, 1 << (sequence % 64));
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        let first = bits.get(word).is_none_or(|bits| bits & bit == 0);
        if let Some(bits) = bits.get_mut(word) {
            *bits |= bit;
        }
        first
    }
}

impl Load {
    /// Deliveries of earlier stages are foreign from now on.
    pub(super) fn begin_stage(&mut self, number: u16) {
        let t = &mut self.traffic;
        (t.stage, t.sequence, t.repetition) = (number, 0, u32::MAX);
        t.seen.iter_mut().for_each(Vec::clear);
    }

    /// Sends messages from now on.
    pub(super) fn flow(&mut self, flow: Flow) {
        self.traffic.flow = Some(flow);
        self.traffic.slots = 0;
        self.traffic.pinging = flow.kind == Kind::Ping;
    }

    /// Sends no more of them.
    pub(super) fn stop_flow(&mut self) {
        self.traffic.flow = None;
    }

    /// Sends what is due; `true`: more is due already.
    pub(super) fn send_due(&mut self, io: &mut Io<'_, Self>) -> bool {
        for _ in 0..SENDS_PER_TURN {
            let Some((flow, due_us)) = self.traffic.due_us() else { return false };
            if due_us > io.now_us() as f64 {
                return false;
            }
            self.traffic.slots += 1;
            match self.free_client(&flow) {
                None => self.figures.skipped += 1,
                Some(local) => self.send(io, local, &flow, due_us as u64),
            }
        }
        true
    }

    /// Ends the coming wait when the next message or connect is due.
    pub(super) fn wake(&self, io: &mut Io<'_, Self>) {
        let message = self.traffic.due_us().map(|(_, due_us)| due_us.ceil() as u64);
        if let Some(at_us) = message.into_iter().chain(self.next_connect_us()).min() {
            io.wake_at_us(at_us);
        }
    }

    /// A random client that is held, has nothing under way and is to send.
    fn free_client(&mut self, flow: &Flow) -> Option<u32> {
        let len = self.handshakes.begun();
        let free = |c: &Client| c.phase == Phase::Held && !c.pinged;
        (0..LOOKS_MAX).find_map(|_| {
            let local = self.traffic.below(len);
            let held = self.clients.find(local).is_some_and(free);
            let spared = flow.spare.is_some_and(|part| part.has(local));
            (held && !spared && !self.traffic.pending.contains_key(&local)).then_some(local)
        })
    }

    fn send(&mut self, io: &mut Io<'_, Self>, local: u32, flow: &Flow, due_us: u64) {
        self.clients[local].sent_s = Self::second(io);
        match flow.kind {
            Kind::Ping => {
                let connection = ConnectionId::from_bits(self.clients[local].connection);
                io.output(connection).extend_from_slice(&PINGREQ);
                self.traffic.pending.insert(local, due_us);
                self.totals.sent += 1;
            }
            Kind::Publish(qos) => {
                let to = self.traffic.below(flow.clients);
                self.traffic.write_topic(&self.plan.prefix, 0, to, self.plan.group_len);
                let sequence = self.traffic.sequence;
                self.traffic.sequence += 1;
                self.publish(io, local, qos, due_us, sequence);
            }
        }
    }

    /// The fan-out's message, due now, if the publisher is one of this shard's.
    pub(super) fn fan_out(&mut self, io: &mut Io<'_, Self>, client: u32, group: u32, sequence: u32) {
        // Deliveries of it may have come already, from the publisher's shard.
        if self.traffic.repetition != sequence {
            self.traffic.repetition = sequence;
            self.totals.slowest_us = 0;
        }
        if client % u32::from(self.shards) != u32::from(self.shard) {
            return;
        }
        let local = client / u32::from(self.shards);
        if self.clients.find(local).is_none_or(|c| c.phase != Phase::Held) {
            return self.failed("the fan-out's publisher is not connected".into());
        }
        let number = group.saturating_mul(self.plan.group_len);
        self.traffic.write_topic(&self.plan.prefix, 1, number, self.plan.group_len);
        let now_us = io.now_us();
        self.publish(io, local, 1, now_us, sequence);
    }

    /// PUBLISH to the topic written last.
    fn publish(&mut self, io: &mut Io<'_, Self>, local: u32, qos: u8, due_us: u64, sequence: u32) {
        let t = &mut self.traffic;
        let header = PayloadHeader {
            stamp_ns: due_us,
            publisher: u32::from(t.stage) << 16 | u32::from(t.shard),
            sequence,
        };
        t.payload.clear();
        t.payload.extend_from_slice(&header.to_bytes());
        t.payload.resize(self.plan.payload_len, b'x');
        let head = PublishHead {
            version: self.plan.version,
            dup: false,
            qos: if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain: false,
            topic: &t.text,
            packet_id: (qos > 0).then_some(PACKET_ID),
            expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &[],
            payload_len: t.payload.len(),
        };
        let out = io.output(ConnectionId::from_bits(self.clients[local].connection));
        // Only a packet of 256 MB does not encode.
        if encode_publish_head(&head, out).is_err() {
            return;
        }
        out.extend_from_slice(&t.payload);
        self.totals.sent += 1;
        if qos > 0 {
            t.pending.insert(local, due_us);
        }
    }

    /// PINGRESP.
    pub(super) fn pinged(&mut self, io: &Io<'_, Self>, local: u32) {
        self.totals.messages += 1;
        if std::mem::take(&mut self.clients[local].pinged) {
            return;
        }
        if let Some(due_us) = self.traffic.pending.remove(&local) {
            self.figures.latency.record(io.now_us().saturating_sub(due_us));
            self.totals.done += 1;
        }
    }

    /// PUBACK.
    pub(super) fn acknowledged(&mut self, io: &Io<'_, Self>, local: u32, frame: &Frame<'_>) {
        if frame.packet_id() != PACKET_ID.value() {
            return;
        }
        if frame.reason_code() != 0 {
            self.failed(format!("PUBACK with reason 0x{:02X}", frame.reason_code()));
        }
        if let Some(due_us) = self.traffic.pending.remove(&local) {
            self.figures.second.record(io.now_us().saturating_sub(due_us));
        }
    }

    /// PUBLISH from the broker.
    pub(super) fn delivered(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, frame: &Frame<'_>) {
        self.totals.messages += 1;
        let Some(publish) = scanner::publish(self.plan.version, frame) else {
            return self.failed("PUBLISH cut short".into());
        };
        if publish.qos > 0 {
            let out = io.output(connection);
            wire::acknowledge(out, self.plan.version, PacketType::PubAck, publish.packet_id);
        }
        let of_stage = |h: &PayloadHeader| h.publisher >> 16 == u32::from(self.traffic.stage);
        let Some(header) = publish.header.filter(of_stage) else {
            self.figures.foreign += 1;
            return;
        };
        let latency_us = io.now_us().saturating_sub(header.stamp_ns);
        if self.traffic.flow.is_some() {
            if !self.traffic.first_time((header.publisher & 0xFFFF) as usize, header.sequence) {
                self.figures.duplicates += 1;
                return;
            }
        } else if self.traffic.repetition != header.sequence {
            self.traffic.repetition = header.sequence;
            self.totals.slowest_us = 0;
        }
        self.totals.slowest_us = self.totals.slowest_us.max(latency_us);
        self.totals.done += 1;
        self.figures.latency.record(latency_us);
    }

    /// A connection is gone: its message has no answer to come.
    pub(super) fn forget(&mut self, local: u32) {
        if self.traffic.pending.remove(&local).is_some() {
            self.figures.unanswered += 1;
        }
    }

    /// How many answers have not come; none is waited for any more. A late PINGRESP is not taken for another's.
    pub(super) fn forget_pending(&mut self) -> u64 {
        let pending = std::mem::take(&mut self.traffic.pending);
        if self.traffic.pinging {
            for local in pending.keys() {
                self.clients[*local].pinged = true;
            }
        }
        self.figures.unanswered + pending.len() as u64
    }

    /// Goes on with the pass over all clients: who has been silent for three quarters of the Keep Alive, less the
    /// time of a pass, pings. None is held alive by luck.
    pub(super) fn keep_alive(&mut self, io: &mut Io<'_, Self>) {
        let len = self.handshakes.begun();
        if len == 0 {
            return;
        }
        let now_s = Self::second(io);
        let silent_s = self.plan.keep_alive_s / 4 * 3;
        for _ in 0..len.div_ceil(KEEP_ALIVE_TICKS) {
            let local = self.traffic.cursor % len;
            self.traffic.cursor = local + 1;
            let client = &mut self.clients[local];
            if client.phase != Phase::Held || now_s.wrapping_sub(client.sent_s) < silent_s {
                continue;
            }
            client.sent_s = now_s;
            let connection = ConnectionId::from_bits(client.connection);
            if std::mem::replace(&mut client.pinged, true) {
                self.failed("a PINGREQ unanswered for three quarters of the Keep Alive".into());
            }
            io.output(connection).extend_from_slice(&PINGREQ);
            self.figures.keep_alive_pings += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_clients_are_spread_over_all() {
        let mut t = Traffic::new(0, 1);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[t.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (9_000..11_000).contains(n)), "{counts:?}");
        assert_eq!(t.below(0), 0);
    }

    #[test]
    fn a_number_is_new_once() {
        let mut t = Traffic::new(1, 2);
        assert!(t.first_time(0, 1_000) && t.first_time(1, 1_000) && t.first_time(0, 0));
        assert!(!t.first_time(0, 1_000) && !t.first_time(0, 0));
    }

    #[test]
    fn topics_are_the_clients_own_and_its_groups() {
        let mut t = Traffic::new(0, 1);
        t.write_topic("million", 0, 12_345, 1000);
        assert_eq!(t.text(), "million/c/12345");
        t.write_topic("million", 1, 12_345, 1000);
        assert_eq!(t.text(), "million/g/12");
        t.write_client_id("million", 123);
        assert_eq!((t.text(), t.text().len()), ("million-000000000123", 20));
    }

    #[test]
    fn messages_are_due_on_a_grid_until_the_end() {
        let mut t = Traffic::new(0, 1);
        assert!(t.due_us().is_none());
        t.flow = Some(Flow {
            kind: Kind::Ping,
            first_us: 1_000.0,
            interval_us: 500.0,
            until_us: 2_000.0,
            clients: 1,
            spare: None,
        });
        let mut due = Vec::new();
        while let Some((_, at)) = t.due_us() {
            due.push(at);
            t.slots += 1;
        }
        assert_eq!(due, [1_000.0, 1_500.0]);
    }
}

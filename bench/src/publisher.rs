//! One publisher: what it may send now, and what the broker still owes it.

use crate::scanner::PayloadHeader;
use crate::stats::Latency;
use crate::wire::{PINGREQ, PublishTemplate};

/// Bytes composed for one write.
const BATCH_BYTES_MAX: usize = 128 * 1024;

/// What lets a publisher send its next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pacing {
    /// Its moment (open loop).
    Schedule,
    /// Deliveries of earlier ones: at most so many outstanding.
    Deliveries(u64),
    /// Acknowledgements alone.
    Acknowledgements,
    /// Answers to PINGREQ, which at QoS 0 are the only sign of progress: at most so many messages ahead.
    Pings(u64),
}

/// A publisher's state.
#[derive(Debug)]
pub(crate) struct Publisher {
    template: PublishTemplate,
    pacing: Pacing,
    number: u32,
    fan: u32,
    qos: u8,
    /// Already in the list of those that may have something to send.
    pub(crate) queued: bool,
    /// A delivery came since the last look for losses.
    progress: bool,
    pub(crate) sent: u64,
    /// Open loop: messages whose moment has come.
    pub(crate) due: u64,
    outstanding: u64,
    unacknowledged: u32,
    inflight_max: u32,
    packet_id: u16,
    /// When the unacknowledged messages were due, by Packet Identifier.
    stamps: Box<[u64]>,
    /// Messages before the PINGREQ under way, if one is.
    pinged: Option<u64>,
    answered: u64,
}

impl Publisher {
    /// `number` counts publishers of all threads; `inflight_max` bounds unacknowledged messages.
    pub(crate) fn new(
        template: PublishTemplate,
        pacing: Pacing,
        number: u32,
        fan: u32,
        qos: u8,
        inflight_max: u16,
    ) -> Self {
        let stamps = if qos == 0 { 0 } else { usize::from(inflight_max).next_power_of_two() * 2 };
        Self {
            template,
            pacing,
            number,
            fan,
            qos,
            queued: false,
            progress: false,
            sent: 0,
            due: if pacing == Pacing::Schedule { 0 } else { u64::MAX },
            outstanding: 0,
            unacknowledged: 0,
            inflight_max: inflight_max.into(),
            packet_id: 0,
            stamps: vec![0; stamps].into(),
            pinged: None,
            answered: 0,
        }
    }

    /// Deliveries that each message causes.
    pub(crate) fn fan(&self) -> u32 {
        self.fan
    }

    #[inline]
    fn may_send(&self) -> bool {
        self.sent < self.due
            && (self.qos == 0 || self.unacknowledged < self.inflight_max)
            && match self.pacing {
                Pacing::Schedule | Pacing::Acknowledgements => true,
                Pacing::Deliveries(window) => self.outstanding + u64::from(self.fan) <= window,
                Pacing::Pings(window) => self.sent - self.answered < window,
            }
    }

    /// Appends what may be sent, at most a batch; `stamp_ns` tells when message number n is due.
    /// Returns the messages appended.
    #[inline]
    pub(crate) fn compose(&mut self, out: &mut Vec<u8>, stamp_ns: impl Fn(u64) -> u64) -> u64 {
        let before = self.sent;
        while out.len() < BATCH_BYTES_MAX && self.may_send() {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            let stamp_ns = stamp_ns(self.sent);
            let header = PayloadHeader { stamp_ns, publisher: self.number, sequence: self.sent as u32 };
            self.template.write(out, self.packet_id, header);
            if self.qos > 0 {
                self.unacknowledged += 1;
                let place = usize::from(self.packet_id) & (self.stamps.len() - 1);
                if let Some(place) = self.stamps.get_mut(place) {
                    *place = stamp_ns;
                }
            }
            self.outstanding += u64::from(self.fan);
            self.sent += 1;
        }
        if let Pacing::Pings(window) = self.pacing
            && self.sent - self.answered >= window.div_ceil(2)
        {
            self.ping(out);
        }
        self.sent - before
    }

    /// Appends a PINGREQ if messages went out that none has followed yet.
    pub(crate) fn ping(&mut self, out: &mut Vec<u8>) {
        if self.pinged.is_none() && self.sent > self.answered {
            self.pinged = Some(self.sent);
            out.extend_from_slice(&PINGREQ);
        }
    }

    /// PINGRESP: returns the messages that it confirms.
    pub(crate) fn answered(&mut self) -> u64 {
        let Some(pinged) = self.pinged.take() else { return 0 };
        let confirmed = pinged - self.answered;
        self.answered = pinged;
        confirmed
    }

    /// Counts `n` deliveries of its messages.
    #[inline]
    pub(crate) fn delivered(&mut self, n: u64) {
        self.outstanding = self.outstanding.saturating_sub(n);
        self.progress = true;
    }

    /// The last acknowledgement of a message: PUBACK, PUBCOMP, or a PUBREC that refuses. Returns when it was due.
    #[inline]
    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<u64> {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.stamps.get(usize::from(packet_id) & self.stamps.len().wrapping_sub(1)).copied()
    }

    /// Gives up deliveries that did not come since the last call, so that a loss does not end a closed loop.
    /// They are counted at the end. Returns true if there were any.
    pub(crate) fn write_off(&mut self) -> bool {
        let lost = self.outstanding > 0 && !self.progress;
        self.progress = false;
        if lost {
            self.outstanding = 0;
        }
        lost
    }
}

/// Counts a latency if its message was due while measuring.
#[inline]
pub(crate) fn record(latency: &mut Latency, measured: &std::ops::Range<u64>, stamp_ns: u64, now_ns: u64) {
    if measured.contains(&stamp_ns) {
        latency.record(now_ns.saturating_sub(stamp_ns));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::ProtocolVersion;

    fn publisher(pacing: Pacing, fan: u32, qos: u8) -> Publisher {
        let template = PublishTemplate::new(ProtocolVersion::V311, "t", qos, 64, 0).unwrap();
        Publisher::new(template, pacing, 0, fan, qos, 4)
    }

    fn compose(p: &mut Publisher) -> u64 {
        p.compose(&mut Vec::new(), |n| n * 10)
    }

    #[test]
    fn a_closed_loop_keeps_its_window() {
        let mut p = publisher(Pacing::Deliveries(30), 3, 0);
        assert_eq!((compose(&mut p), compose(&mut p)), (10, 0));
        p.delivered(2);
        assert_eq!(compose(&mut p), 0);
        p.delivered(1);
        assert_eq!(compose(&mut p), 1);
    }

    #[test]
    fn unacknowledged_messages_are_bounded() {
        let mut p = publisher(Pacing::Acknowledgements, 0, 1);
        assert_eq!(compose(&mut p), 4);
        assert_eq!(p.acknowledged(2), Some(10));
        assert_eq!(compose(&mut p), 1);
        assert_eq!(p.acknowledged(5), Some(40));
    }

    #[test]
    fn an_open_loop_sends_what_is_due() {
        let mut p = publisher(Pacing::Schedule, 1, 0);
        assert_eq!(compose(&mut p), 0);
        p.due = 3;
        assert_eq!(compose(&mut p), 3);
    }

    #[test]
    fn pings_confirm_messages_of_qos_0() {
        let mut p = publisher(Pacing::Pings(10), 0, 0);
        let mut out = Vec::new();
        assert_eq!(p.compose(&mut out, |_| 0), 10);
        assert!(out.ends_with(&PINGREQ));
        assert_eq!(compose(&mut p), 0);
        assert_eq!((p.answered(), p.answered()), (10, 0));
        assert_eq!(compose(&mut p), 10);
    }

    #[test]
    fn packet_identifiers_are_never_zero() {
        let mut p = publisher(Pacing::Acknowledgements, 0, 1);
        for _ in 0..70_000 {
            compose(&mut p);
            assert_ne!(p.packet_id, 0);
            p.acknowledged(p.packet_id);
        }
    }

    #[test]
    fn losses_do_not_end_a_closed_loop() {
        let mut p = publisher(Pacing::Deliveries(1), 1, 0);
        assert_eq!(compose(&mut p), 1);
        p.delivered(1);
        assert!(!p.write_off());
        assert_eq!(compose(&mut p), 1);
        assert!(p.write_off());
        assert_eq!(compose(&mut p), 1);
    }

    #[test]
    fn only_messages_due_while_measuring_count() {
        let mut latency = Latency::new();
        for stamp in [9, 10, 19, 20] {
            record(&mut latency, &(10..20), stamp, 5_000);
        }
        assert_eq!(latency.summary().map(|s| s.count), Some(2));
    }
}

//! A subscriber's entry in four bytes: session index and Subscription Options in one word.
//! Ordered by session index, because the index is the high part.

/// Index of a session in its shard's table of sessions.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct SessionIndex(pub u32);

impl SessionIndex {
    /// The highest index that a subscription can name: 134 million sessions a shard.
    pub const MAX: Self = Self((u32::MAX >> SubscriptionOptions::BITS) - 1);
}

/// Subscription Options (MQTT 5.0 section 3.8.3.1) as far as they matter at delivery, in five bits; and whether the
/// subscription has a Subscription Identifier, which the session holds.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct SubscriptionOptions(u8);

impl SubscriptionOptions {
    const BITS: u32 = 5;
    const QOS: u8 = 0b0_0011;
    const NO_LOCAL: u8 = 0b0_0100;
    const RETAIN_AS_PUBLISHED: u8 = 0b0_1000;
    const HAS_ID: u8 = 0b1_0000;
    const ALL: u8 = 0b1_1111;

    /// Options of a subscription with maximum QoS `qos` (above 2 counts as 2).
    pub const fn new(qos: u8, no_local: bool, retain_as_published: bool, has_id: bool) -> Self {
        let qos = if qos > 2 { 2 } else { qos };
        Self(
            qos | if no_local { Self::NO_LOCAL } else { 0 }
                | if retain_as_published { Self::RETAIN_AS_PUBLISHED } else { 0 }
                | if has_id { Self::HAS_ID } else { 0 },
        )
    }

    /// Maximum QoS that the subscriber gets: 0, 1 or 2.
    pub const fn qos(self) -> u8 {
        self.0 & Self::QOS
    }

    /// No Local: messages of the same client are not delivered.
    pub const fn no_local(self) -> bool {
        self.0 & Self::NO_LOCAL != 0
    }

    /// Retain As Published: the RETAIN flag is forwarded as it came.
    pub const fn retain_as_published(self) -> bool {
        self.0 & Self::RETAIN_AS_PUBLISHED != 0
    }

    /// The subscription has a Subscription Identifier.
    pub const fn has_id(self) -> bool {
        self.0 & Self::HAS_ID != 0
    }

    /// The five bits, for a record or a compact list.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The options of [`bits`](Self::bits); a QoS of 3 counts as 2, higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        let bits = bits & Self::ALL;
        Self(if bits & Self::QOS == Self::QOS { bits & !1 } else { bits })
    }
}

/// One subscriber of a filter: session index in the high 27 bits, options in the low 5.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(super) struct Entry(u32);

impl Entry {
    /// No subscriber: the word of a session index above `SessionIndex::MAX`.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn new(session: SessionIndex, options: SubscriptionOptions) -> Self {
        assert!(session <= SessionIndex::MAX, "the limit on sessions keeps indices below 2^27");
        Self(session.0 << SubscriptionOptions::BITS | u32::from(options.bits()))
    }

    /// The lowest word of any session after `session`.
    pub(super) fn first_after(session: SessionIndex) -> Self {
        Self(session.0.min(SessionIndex::MAX.0).saturating_add(1) << SubscriptionOptions::BITS)
    }

    /// The highest word of `session`.
    pub(super) fn last_of(session: SessionIndex) -> Self {
        Self(Self::first_of(session).0 | SubscriptionOptions::ALL as u32)
    }

    /// The lowest word of `session`.
    pub(super) fn first_of(session: SessionIndex) -> Self {
        Self(session.0.min(SessionIndex::MAX.0 + 1) << SubscriptionOptions::BITS)
    }

    pub(super) const fn session(self) -> SessionIndex {
        SessionIndex(self.0 >> SubscriptionOptions::BITS)
    }

    pub(super) const fn options(self) -> SubscriptionOptions {
        SubscriptionOptions((self.0 & SubscriptionOptions::ALL as u32) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_packing_and_order_is_by_session() {
        for bits in 0..32_u8 {
            let options = SubscriptionOptions::from_bits(bits);
            for session in [0, 1, 77, SessionIndex::MAX.0] {
                let entry = Entry::new(SessionIndex(session), options);
                assert_eq!((entry.session(), entry.options()), (SessionIndex(session), options));
                assert!(entry < Entry::NONE && entry >= Entry::first_of(SessionIndex(session)));
                assert!(entry < Entry::first_after(SessionIndex(session)));
            }
        }
        let options = SubscriptionOptions::new(3, true, false, true);
        assert_eq!(options.qos(), 2, "there is no QoS 3");
        assert!(options.no_local() && !options.retain_as_published() && options.has_id());
        assert_eq!(SubscriptionOptions::from_bits(options.bits()), options);
    }
}

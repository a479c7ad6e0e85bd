//! What one shard says to another. Each variant: from whom to whom, who owns what is in flight, and what
//! happens when it can't be delivered. Shards of one process never lose a message, so nothing is repeated.

use std::sync::Arc;

use super::effects::Origin;
use super::journal::Reach;
use super::observe::LongQueues;
use crate::auth::Identity;
use crate::connection::Allowance;
use crate::packet::QoS;
use crate::router::SubscriptionOptions;
use crate::session::{Message, SessionSerial, ShareName};

/// A connection on its way home. Owned by the target from the moment it is sent; comes back whole in
/// `Input::HandOverFailed`.
#[derive(Debug)]
pub struct HandOver {
    /// The CONNECT packet and whatever followed it, unaltered.
    pub bytes: Vec<u8>,
    /// Where it came in.
    pub origin: Origin,
    /// Who the client was found to be: its home does not ask again.
    pub identity: Option<Arc<Identity>>,
    /// What it has used of its rates, and its place among those of its address.
    pub allowance: Option<Box<Allowance>>,
    /// Authentication Data for its CONNACK.
    pub authentication_data: Option<Vec<u8>>,
}

/// Number of an operation of the sending shard that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationId(pub u32);

/// Names a session of another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionToken {
    /// Its place in that shard's table.
    pub index: u32,
    /// Tells it from later sessions at the same place.
    pub serial: SessionSerial,
}

/// One message of a Shared Subscription for one chosen member.
#[derive(Debug)]
pub struct SharedDelivery {
    /// The chosen member, on the receiving shard.
    pub member: SessionToken,
    /// Which Shared Subscription.
    pub share: Arc<ShareName>,
    /// The message.
    pub message: Arc<Message>,
    /// QoS, RETAIN and identifier by the member's subscription.
    pub options: SubscriptionOptions,
    /// Subscription Identifier; 0: none.
    pub subscription_id: u32,
}

/// A message between shards.
#[derive(Debug)]
pub enum ShardMessage {
    /// Publisher's shard → a shard whose interest bit is set. Deliver to the sessions there.
    /// Holds one credit if `credit`; answered by `Accepted` if `operation` is given.
    Publish {
        /// What.
        message: Arc<Message>,
        /// The sender's operation that counts the answers; `None` for QoS 0.
        operation: Option<OperationId>,
        /// Sent with credit: the receiver releases it when the message is in its sessions' queues.
        credit: bool,
    },
    /// Publisher's shard → the topic's retained slice. Store if RETAIN is set, then fan out from there, so that
    /// no subscriber sees an older retained message after a newer live one. Always answered by `Accepted`.
    Relay {
        /// What.
        message: Arc<Message>,
        /// The sender's operation.
        operation: OperationId,
        /// Sent with credit, released when every shard that wants the message has it.
        credit: bool,
    },
    /// Answer: the message is in the queues of all sessions of the sender that want it.
    Accepted {
        /// The receiver's operation.
        operation: OperationId,
        /// What it reached there.
        reach: Reach,
    },
    /// Publisher's shard → every other one, if deliveries of QoS 2 wait for it: the message's `Commit` is on disk.
    Committed {
        /// The message.
        number: u64,
    },
    /// Every shard → every other one: it has begun the images of a generation of the journal. Whatever it has sent before, `Committed`
    /// above all, has come by then.
    Generation {
        /// Which.
        generation: u32,
    },
    /// Any shard → shard 0: what is new about its long mqueues. At most one every other second.
    LongQueues(Box<LongQueues>),
    /// A session's shard → the Shared Subscription's home. The session joins (or changes its options).
    /// Answered by `Accepted` once the interest bit is visible.
    SharedJoin {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// Who, on the sending shard.
        member: SessionToken,
        /// With which options.
        options: SubscriptionOptions,
        /// Subscription Identifier; 0: none.
        subscription_id: u32,
        /// The sender's operation: its SUBACK waits for it.
        operation: OperationId,
    },
    /// A session's shard → the Shared Subscription's home. The session leaves.
    SharedLeave {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// Who.
        member: SessionToken,
    },
    /// A session's shard → the Shared Subscription's home. Its client came or went.
    SharedPresence {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// Who.
        member: SessionToken,
        /// Whether the client is connected now.
        connected: bool,
    },
    /// Shared Subscription's home → the chosen member's shard. Answered by `Accepted` or `SharedReturn`.
    SharedDeliver {
        /// To whom and what.
        delivery: Box<SharedDelivery>,
        /// The home's operation; `None`: nobody waits.
        operation: Option<OperationId>,
        /// Sent with credit.
        credit: bool,
    },
    /// A member's shard → the Shared Subscription's home. The member's session is gone and had not begun or not
    /// acknowledged this message, which no journal has for it: it is for another member, or dropped if there is none.
    SharedReturn {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// The message.
        message: Arc<Message>,
        /// The home's operation that waits, if the message never reached a session.
        operation: Option<OperationId>,
    },
    /// A member's shard → the Shared Subscription's home. The member's session has ended and leaves this message, which the sender's
    /// journal has: it is for another member, or dropped if there is none. Answered by `Accepted`.
    SharedGiveBack {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// The message, under a number of its own.
        message: Arc<Message>,
        /// The sender's operation.
        operation: OperationId,
    },
    /// A member's shard → the home, strategy `least_inflight` only: one of its messages was acknowledged.
    SharedAcked {
        /// Which Shared Subscription.
        share: Arc<ShareName>,
        /// Who.
        member: SessionToken,
    },
    /// A session's shard → a retained slice: the next messages that match. One outstanding a cursor.
    RetainedPull {
        /// For whom: comes back in the answer.
        cursor: CursorToken,
        /// Topic Filter.
        filter: Arc<str>,
        /// Go on after this topic.
        after: Option<Box<str>>,
    },
    /// A retained slice → the session's shard: the answer. Dropped if the session is gone.
    RetainedChunk {
        /// For whom.
        cursor: CursorToken,
        /// In the order of the slice.
        messages: Vec<Arc<Message>>,
        /// Where to go on; `None`: this slice has no more.
        next: Option<Box<str>>,
    },
}

/// Names a retained cursor of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorToken {
    /// Whose.
    pub session: SessionToken,
    /// Which of its cursors.
    pub number: u32,
}

/// QoS of a delivery: the lower of the message's and the subscription's, or the subscription's (`upgrade_qos`).
pub(super) fn delivery_qos(published: QoS, granted: QoS, upgrade: bool) -> QoS {
    if upgrade { granted } else { published.min(granted) }
}

// Messages travel in batches: a large variant would make every other one as large.
const _: () = assert!(size_of::<ShardMessage>() <= 64);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::limits::Tally;

    #[test]
    fn a_hand_over_that_is_lost_gives_its_place_back() {
        let addresses = Arc::new(Tally::new(1));
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for _ in 0..3 {
            let allowance = Allowance { counted: addresses.enter(address, 1), ..Allowance::default() };
            assert!(allowance.counted.is_some());
            let hand_over = HandOver {
                bytes: Vec::new(),
                origin: Origin { listener: 0, remote: (address, 1).into(), over_capacity: false },
                identity: None,
                allowance: Some(Box::new(allowance)),
                authentication_data: None,
            };
            assert_eq!(addresses.count(&address), 1);
            // As when its client leaves while it waits.
            drop(hand_over);
            assert_eq!(addresses.count(&address), 0);
        }
    }
}

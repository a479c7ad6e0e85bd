//! Faults put into a run on purpose, between the brokers and at the clients' ears: each must break a promise by name.
//! A check that can't fail is worse than none.

use std::sync::Arc;

use myriad::broker::{Reach, ShardMessage, Timer};
use myriad::clock::Timestamp;
use myriad::session::{Message, MessageHead};

use crate::random::Random;
use crate::wire::{AckKind, FromServer, Publish};

/// One way in which a broker could be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A shard says `Accepted` and forgets the message.
    LoseAccepted,
    /// A message between shards vanishes.
    LoseMail,
    /// A message reaches a shard twice.
    Double,
    /// Two messages between the same two shards change places.
    Overtake,
    /// The choice of a Shared Subscription is carried out twice.
    DoubleShared,
    /// A credit is never given back.
    KeepCredit,
    /// A slice says that it has no retained messages.
    EmptyChunk,
    /// A connection's timer never fires.
    NoConnectionTimer,
    /// A session's timer never fires.
    NoSessionTimer,
    /// Session Present is wrong.
    SessionPresent,
    /// DUP is set on a first transmission.
    Dup,
    /// RETAIN is set on a live message.
    Retain,
    /// A payload is altered.
    Payload,
    /// A Packet Identifier in use is given again.
    Identifier,
    /// A PUBLISH carries too low a QoS.
    LowQos,
    /// A PUBACK never comes.
    LosePuback,
    /// A PUBACK comes for something never sent.
    StrayPuback,
    /// A SUBACK grants less than asked for.
    Suback,
    /// A PINGRESP never comes.
    LosePingresp,
    /// A message between shards forgets its expiry.
    Immortal,
    /// A message between shards expires at once.
    Mortal,
    /// The expiry is not counted down.
    Expiry,
    /// A PUBLISH is sent twice on one connection.
    Repeat,
    /// A PUBLISH is not sent again.
    LoseRepeated,
    /// A shard does not hear of a reload.
    IgnoreReload,
    /// The `$SYS` tree stops.
    NoSys,
    /// A shard does not hear that it has to end.
    IgnoreDrain,
    /// DISCONNECT 0x8B is not sent.
    SilentDrain,
    /// As `LoseAccepted`, and then the node shuts down.
    LoseAndDrain,
    /// A connection over capacity is admitted.
    Admit,
    /// A connection over capacity is refused for another reason.
    Refusal,
    /// A wrong password is admitted.
    AdmitWrong,
}

impl Defect {
    /// Whether it needs a node that shuts down.
    pub fn is_of_drain(self) -> bool {
        matches!(self, Self::IgnoreDrain | Self::SilentDrain | Self::LoseAndDrain)
    }
}

/// Every defect, and the promises of which it must break at least one.
pub const DEFECTS: [(Defect, &[&str]); 32] = [
    (Defect::LoseAccepted, &["no-message-lost", "will-exactly-when-due", "shared-no-message-lost"]),
    (Defect::LoseMail, &["calm-comes-to-rest", "credits-come-home", "requests-answered"]),
    (Defect::Double, &["exactly-once", "no-duplicate"]),
    (Defect::Overtake, &["order"]),
    (Defect::DoubleShared, &["shared-one-member", "exactly-once", "no-duplicate"]),
    (Defect::KeepCredit, &["calm-comes-to-rest", "credits-come-home"]),
    (Defect::EmptyChunk, &["retained-is-the-last", "retained-never-missed"]),
    (Defect::NoConnectionTimer, &["keep-alive", "nothing-stays", "gauges-back-to-zero"]),
    (Defect::NoSessionTimer, &["will-exactly-when-due", "gauges-back-to-zero", "session-present"]),
    (Defect::SessionPresent, &["session-present"]),
    (Defect::Dup, &["dup-only-repeated"]),
    (Defect::Retain, &["retain-flag"]),
    (Defect::Payload, &["payload-unaltered"]),
    (Defect::Identifier, &["packet-identifier-in-use"]),
    (Defect::LowQos, &["delivery-qos"]),
    (Defect::LosePuback, &["acknowledged-in-order", "calm-comes-to-rest"]),
    (Defect::StrayPuback, &["acknowledges-what-was-sent"]),
    (Defect::Suback, &["suback-codes"]),
    (Defect::LosePingresp, &["requests-answered", "calm-comes-to-rest"]),
    (Defect::Immortal, &["expiry-counted-down"]),
    (Defect::Mortal, &["no-message-lost"]),
    (Defect::Expiry, &["expiry-counted-down"]),
    (Defect::Repeat, &["repeated-only-on-resume", "retry-in-time"]),
    (Defect::LoseRepeated, &["retry-in-time"]),
    (Defect::IgnoreReload, &["connack-grants"]),
    (Defect::NoSys, &["sys-in-time"]),
    (Defect::IgnoreDrain, &["drain-comes-to-rest"]),
    (Defect::SilentDrain, &["drain-says-why"]),
    (Defect::LoseAndDrain, &["drain-loses-nothing"]),
    (Defect::Admit, &["over-capacity-refused", "unexpected-close"]),
    (Defect::Refusal, &["over-capacity-refused"]),
    (Defect::AdmitWrong, &["strangers-refused", "unexpected-close"]),
];

/// What becomes of a message between shards.
pub enum Fate {
    Arrives(ShardMessage),
    /// It arrives, and once more without anybody waiting for it.
    ArrivesTwice(ShardMessage, ShardMessage),
    /// Nothing arrives; this is answered, and a credit is given back or not.
    Answered(Option<ShardMessage>, bool),
    Vanishes,
}

/// Does the damage, with chances of its own so that a run without a defect is not disturbed.
pub struct Saboteur {
    defect: Option<Defect>,
    random: Random,
}

impl Saboteur {
    pub fn new(defect: Option<Defect>, seed: u64) -> Self {
        Self { defect, random: Random::new(seed ^ 0x5ab0) }
    }

    fn strikes(&mut self, defect: Defect, percent: u64) -> bool {
        self.defect == Some(defect) && self.random.percent(percent)
    }

    /// A message arrives at a shard.
    pub fn mail(&mut self, message: ShardMessage) -> Fate {
        match message {
            ShardMessage::Publish { operation, credit, .. }
                if self.strikes(Defect::LoseAccepted, 20) || self.strikes(Defect::LoseAndDrain, 50) =>
            {
                let answer = operation.map(|operation| ShardMessage::Accepted {
                    operation,
                    reach: Reach { matched: true, ..Reach::default() },
                });
                Fate::Answered(answer, credit)
            }
            ShardMessage::Publish { message, operation, credit } if self.strikes(Defect::Double, 20) => {
                let again =
                    ShardMessage::Publish { message: message.clone(), operation: None, credit: false };
                Fate::ArrivesTwice(ShardMessage::Publish { message, operation, credit }, again)
            }
            ShardMessage::Publish { message, operation, credit } if message.head().expires_at.is_some() => {
                let message = self.expiring(message);
                Fate::Arrives(ShardMessage::Publish { message, operation, credit })
            }
            ShardMessage::SharedDeliver { delivery, operation, credit }
                if self.strikes(Defect::DoubleShared, 50) =>
            {
                let again = Box::new(myriad::broker::SharedDelivery {
                    member: delivery.member,
                    share: delivery.share.clone(),
                    message: delivery.message.clone(),
                    options: delivery.options,
                    subscription_id: delivery.subscription_id,
                });
                let again = ShardMessage::SharedDeliver { delivery: again, operation: None, credit: false };
                Fate::ArrivesTwice(ShardMessage::SharedDeliver { delivery, operation, credit }, again)
            }
            ShardMessage::RetainedChunk { cursor, .. } if self.strikes(Defect::EmptyChunk, 50) => {
                Fate::Arrives(ShardMessage::RetainedChunk { cursor, messages: Vec::new(), next: None })
            }
            _ if self.strikes(Defect::LoseMail, 5) => Fate::Vanishes,
            message => Fate::Arrives(message),
        }
    }

    /// Another expiry than its publisher gave it.
    fn expiring(&mut self, message: Arc<Message>) -> Arc<Message> {
        let expires_at = if self.strikes(Defect::Immortal, 50) {
            None
        } else if self.strikes(Defect::Mortal, 50) {
            Some(Timestamp(0))
        } else {
            return message;
        };
        let head = MessageHead { expires_at, ..*message.head() };
        Message::new(head, message.topic(), message.forwarded(), message.payload())
    }

    /// A shard does not hear of a reload.
    pub fn is_deaf_to_reload(&mut self) -> bool {
        self.strikes(Defect::IgnoreReload, 50)
    }

    /// A shard does not hear that it has to end.
    pub fn is_deaf_to_drain(&mut self) -> bool {
        self.strikes(Defect::IgnoreDrain, 50)
    }

    /// A connection over capacity is taken for any other.
    pub fn admits(&mut self) -> bool {
        self.strikes(Defect::Admit, 50)
    }

    /// A wrong password is taken for the right one.
    pub fn admits_wrong(&mut self) -> bool {
        self.strikes(Defect::AdmitWrong, 50)
    }

    /// The same packet once more.
    pub fn repeats(&mut self, packet: &FromServer) -> Option<FromServer> {
        match packet {
            FromServer::Publish(publish) if publish.qos > 0 && self.strikes(Defect::Repeat, 20) => {
                Some(FromServer::Publish(Publish { dup: true, ..publish.clone() }))
            }
            _ => None,
        }
    }

    /// Two messages of one queue change places.
    pub fn overtakes(&mut self) -> bool {
        self.strikes(Defect::Overtake, 30)
    }

    /// A credit is not given back.
    pub fn keeps_credit(&mut self) -> bool {
        self.strikes(Defect::KeepCredit, 10)
    }

    /// A timer does not fire.
    pub fn stops(&mut self, timer: Timer) -> bool {
        match timer {
            Timer::Connection(_) => self.defect == Some(Defect::NoConnectionTimer),
            Timer::Session(_) => self.defect == Some(Defect::NoSessionTimer),
            Timer::Sys => self.strikes(Defect::NoSys, 30),
            _ => false,
        }
    }

    /// A client hears something else than the broker said, or (`None`) nothing. `in_use`: an identifier that the
    /// client has not finished with. `again`: it came on this connection before.
    pub fn heard(&mut self, packet: FromServer, in_use: Option<u16>, again: bool) -> Option<FromServer> {
        if self.defect.is_none() {
            return Some(packet);
        }
        let mut packet = packet;
        match &mut packet {
            FromServer::Connack(connack) if self.strikes(Defect::SessionPresent, 30) && connack.code == 0 => {
                connack.session_present = !connack.session_present;
            }
            FromServer::Connack(connack) if connack.code == 0x97 && self.strikes(Defect::Refusal, 50) => {
                connack.code = 0x88;
            }
            FromServer::Disconnect { reason: 0x8b } if self.strikes(Defect::SilentDrain, 50) => return None,
            FromServer::Publish(publish)
                if again && publish.dup && self.strikes(Defect::LoseRepeated, 100) =>
            {
                return None;
            }
            FromServer::Publish(publish) if !publish.payload.is_empty() => {
                if self.strikes(Defect::Expiry, 20) {
                    publish.expiry_s = publish.expiry_s.map(|left_s| left_s + 1);
                }
                publish.dup |= publish.qos > 0 && self.strikes(Defect::Dup, 20);
                publish.retain |= self.strikes(Defect::Retain, 20);
                if self.strikes(Defect::Payload, 20) {
                    publish.payload[0] ^= 1;
                }
                if publish.qos > 1 && self.strikes(Defect::LowQos, 20) {
                    publish.qos -= 1;
                }
                if let Some(in_use) = in_use.filter(|_| publish.qos > 0 && !publish.dup)
                    && self.strikes(Defect::Identifier, 50)
                {
                    publish.pid = in_use;
                }
            }
            FromServer::Ack { kind: AckKind::Puback, pid, .. } => {
                if self.strikes(Defect::LosePuback, 20) {
                    return None;
                }
                if self.strikes(Defect::StrayPuback, 20) {
                    *pid = pid.wrapping_add(1000);
                }
            }
            FromServer::Suback { codes, .. } if self.strikes(Defect::Suback, 30) => {
                codes[0] = if codes[0] == 0 { 0x80 } else { codes[0] - 1 };
            }
            FromServer::Pingresp if self.strikes(Defect::LosePingresp, 30) => return None,
            _ => {}
        }
        Some(packet)
    }
}

//! What entries come to: one case a rule, and random histories against a model.
#![allow(clippy::unwrap_used)]

pub(crate) mod describe;
mod history;
pub(crate) mod model;

use std::sync::Arc;

use super::{Replay, ReplayOutcome};
use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, QoS};
use crate::storage::{
    Entry, Restored, RestoredSlot, StoredDelivery, StoredMessage, StoredSession, StoredWill, SubscriptionIds,
};

const NOW: Timestamp = Timestamp(1_000_000);
const ALIVE: Timestamp = Timestamp(900_000);

const WILL: StoredWill<'static> = StoredWill {
    qos: QoS::AtLeastOnce,
    retain: true,
    delay_s: 5,
    expiry_s: Some(60),
    topic: "w",
    forwarded: &[],
    payload: b"gone",
};

fn begin(serial: u64, client_id: &'static str) -> StoredSession<'static> {
    StoredSession {
        serial,
        is_new: true,
        client_id,
        version: ProtocolVersion::V5,
        expiry_s: u32::MAX,
        user: 3,
        last_packet_id: 0,
        disconnected_at: None,
        will: None,
    }
}

fn message(number: u64, topic: &'static str) -> Entry<'static> {
    Entry::Message(StoredMessage {
        number,
        qos: QoS::AtLeastOnce,
        retain: false,
        publisher: 0,
        expires_at: None,
        topic,
        forwarded: &[],
        payload: b"x",
    })
}

fn deliver(serial: u64, number: u64, packet_id: Option<u16>) -> StoredDelivery<'static> {
    StoredDelivery {
        serial,
        number,
        qos: QoS::ExactlyOnce,
        retain: false,
        is_conditional: false,
        packet_id,
        subscription_ids: SubscriptionIds::Numbers(&[]),
        share: None,
    }
}

fn replay(entries: &[Entry<'_>]) -> (Restored, ReplayOutcome) {
    let mut replay = Replay::default();
    entries.iter().for_each(|entry| replay.apply(Timestamp(1), entry));
    replay.finish(NOW, ALIVE)
}

/// Packet Identifiers of the first session's window; negative: PUBREL was sent.
fn window(restored: &Restored) -> Vec<i32> {
    let slots = restored.sessions[0].inflight.iter();
    slots
        .map(|(id, slot)| match slot {
            RestoredSlot::Publish(_) => i32::from(*id),
            RestoredSlot::Release => -i32::from(*id),
        })
        .collect()
}

fn queue(restored: &Restored) -> Vec<u64> {
    restored.sessions[0].mqueue.iter().map(|delivery| delivery.message.head().number).collect()
}

#[test]
fn an_empty_journal_is_an_empty_state_whose_names_begin_with_one() {
    let (restored, outcome) = replay(&[]);
    assert!(restored.sessions.is_empty() && restored.retained.is_empty() && restored.wills.is_empty());
    assert_eq!((restored.first_serial, restored.first_number, restored.now), (1, 1, NOW));
    assert_eq!(outcome, ReplayOutcome::default());
}

#[test]
fn every_name_counts_for_the_first_free_ones() {
    let (restored, _) = replay(&[Entry::Done { serial: 70, packet_id: 1 }, Entry::Confirm { number: 90 }]);
    assert_eq!((restored.first_serial, restored.first_number), (71, 91));
    let (restored, _) = replay(&[Entry::Commit { number: 5, publisher: 8, packet_id: 0, is_will: false }]);
    assert_eq!((restored.first_serial, restored.first_number), (9, 6));
    let (restored, _) = replay(&[Entry::Gone { serial: u64::MAX, number: u64::MAX }]);
    assert_eq!((restored.first_serial, restored.first_number), (u64::MAX, u64::MAX));
}

#[test]
fn a_change_of_an_unknown_session_means_nothing() {
    let changed = StoredSession { is_new: false, ..begin(1, "c") };
    let (restored, outcome) = replay(&[
        Entry::Session(changed),
        Entry::Subscribe { serial: 1, filter: "a", options: 1, id: 0 },
        Entry::Deliver(deliver(1, 5, Some(4))),
        Entry::Sent { serial: 1, number: 5, packet_id: 9 },
        Entry::Received { serial: 1, packet_id: 9 },
        Entry::Inbound { serial: 1, packet_id: 9 },
    ]);
    assert!(restored.sessions.is_empty());
    assert_eq!(outcome, ReplayOutcome::default());
}

#[test]
fn a_change_of_a_known_session_leaves_its_queues() {
    let changed =
        StoredSession { is_new: false, expiry_s: 7_200, disconnected_at: Some(ALIVE), ..begin(1, "c") };
    let (restored, _) = replay(&[
        Entry::Session(begin(1, "c")),
        Entry::Subscribe { serial: 1, filter: "b", options: 1, id: 0 },
        Entry::Subscribe { serial: 1, filter: "a", options: 2, id: 7 },
        Entry::Subscribe { serial: 1, filter: "b", options: 3, id: 0 },
        message(5, "t"),
        Entry::Deliver(deliver(1, 5, None)),
        Entry::Session(changed),
    ]);
    let session = &restored.sessions[0];
    assert_eq!((session.expiry_s, session.was_connected, session.disconnected_at), (7_200, false, ALIVE));
    let filters: Vec<_> = session.subscriptions.iter().map(|s| (&*s.filter, s.options, s.id)).collect();
    assert_eq!((filters, queue(&restored)), (vec![("b", 3, 0), ("a", 2, 7)], vec![5]));
}

#[test]
fn of_two_sessions_of_one_client_the_later_is_left_and_the_other_ones_will_is_due() {
    let first = StoredSession { will: Some(WILL), ..begin(4, "c") };
    let (restored, _) = replay(&[Entry::Session(begin(9, "c")), Entry::Session(first)]);
    assert_eq!(restored.sessions.iter().map(|session| session.serial).collect::<Vec<_>>(), [9]);
    assert_eq!(restored.wills.len(), 1);
}

#[test]
fn a_delivery_counts_when_its_message_is_committed_wherever_that_stands() {
    let conditional =
        |number| Entry::Deliver(StoredDelivery { is_conditional: true, ..deliver(1, number, None) });
    let (restored, outcome) = replay(&[
        Entry::Session(begin(1, "c")),
        Entry::Confirm { number: 3 },
        conditional(1),
        conditional(2),
        conditional(3),
        message(1, "t"),
        message(2, "t"),
        message(3, "t"),
        Entry::Commit { number: 1, publisher: 0, packet_id: 0, is_will: false },
    ]);
    assert_eq!(queue(&restored), [1, 3]);
    assert_eq!(outcome, ReplayOutcome { uncommitted: 1, ..ReplayOutcome::default() });
}

#[test]
fn inflight_is_in_the_order_of_sending_and_pubrel_keeps_its_place() {
    let (restored, _) = replay(&[
        Entry::Session(begin(1, "c")),
        message(1, "t"),
        message(2, "t"),
        message(3, "t"),
        Entry::Deliver(deliver(1, 1, Some(65_534))),
        Entry::Deliver(deliver(1, 2, None)),
        Entry::Deliver(deliver(1, 3, Some(65_535))),
        Entry::Received { serial: 1, packet_id: 65_534 },
        Entry::Sent { serial: 1, number: 2, packet_id: 1 },
        Entry::Done { serial: 1, packet_id: 65_535 },
        Entry::Received { serial: 1, packet_id: 40 },
    ]);
    assert_eq!(window(&restored), [-65_534, 1, -40]);
    assert_eq!(restored.sessions[0].last_packet_id, 1);
    assert!(restored.sessions[0].mqueue.is_empty());
}

#[test]
fn the_identifier_given_last_is_not_what_an_image_names_last() {
    let (restored, _) = replay(&[
        Entry::Session(StoredSession { last_packet_id: 10, ..begin(1, "c") }),
        message(1, "t"),
        Entry::Deliver(deliver(1, 1, Some(65_000))),
        Entry::Deliver(deliver(1, 1, Some(9))),
    ]);
    assert_eq!((window(&restored), restored.sessions[0].last_packet_id), (vec![65_000, 9], 10));
}

#[test]
fn one_message_is_in_memory_once_for_all_its_receivers() {
    let share = Some(("g", "t/#"));
    let ids = SubscriptionIds::Numbers(&[4, 5]);
    let (restored, _) = replay(&[
        Entry::Session(begin(1, "a")),
        Entry::Session(begin(2, "b")),
        Entry::Deliver(deliver(1, 7, None)),
        message(7, "t"),
        message(7, "t"),
        Entry::Deliver(StoredDelivery { share, subscription_ids: ids, ..deliver(2, 7, Some(1)) }),
        Entry::Deliver(StoredDelivery { share, ..deliver(2, 7, Some(2)) }),
        Entry::Retain { number: 7 },
    ]);
    assert_eq!(Arc::strong_count(&restored.retained[0]), 4);
    let shares: Vec<_> = restored.sessions[1]
        .inflight
        .iter()
        .filter_map(|(_, slot)| match slot {
            RestoredSlot::Publish(delivery) => delivery.share.clone(),
            RestoredSlot::Release => None,
        })
        .collect();
    assert!(Arc::ptr_eq(&shares[0], &shares[1]) && *shares[0].filter == *"t/#");
}

#[test]
fn a_delivery_without_its_message_is_lost_and_counted() {
    let (restored, outcome) = replay(&[
        Entry::Session(begin(1, "a")),
        Entry::Deliver(deliver(1, 7, None)),
        Entry::Deliver(deliver(1, 7, Some(1))),
        Entry::Retain { number: 8 },
    ]);
    assert!(restored.retained.is_empty() && restored.sessions[0].mqueue.is_empty());
    assert_eq!(outcome, ReplayOutcome { deliveries_lost: 2, retained_lost: 1, ..ReplayOutcome::default() });
}

#[test]
fn a_commit_records_the_publishers_identifier_and_takes_its_will() {
    let with_will = StoredSession { will: Some(WILL), ..begin(1, "c") };
    let (restored, _) = replay(&[
        Entry::Session(with_will),
        Entry::Commit { number: 1, publisher: 1, packet_id: 9, is_will: false },
        Entry::Commit { number: 2, publisher: 1, packet_id: 4, is_will: false },
        Entry::Inbound { serial: 1, packet_id: 7 },
        Entry::InboundDone { serial: 1, packet_id: 9 },
    ]);
    assert_eq!(restored.sessions[0].inbound, [4, 7]);
    let will = restored.sessions[0].will.as_ref().unwrap();
    assert_eq!(
        (will.delay_s, will.expiry_s, will.message.topic(), will.message.head().retain),
        (5, Some(60), "w", true)
    );
    assert_eq!((will.message.head().publisher.0, will.message.head().number), (1, 0));
    let (restored, _) = replay(&[
        Entry::Session(with_will),
        Entry::Commit { number: 1, publisher: 1, packet_id: 0, is_will: true },
    ]);
    assert!(restored.sessions[0].will.is_none() && restored.wills.is_empty());
}

#[test]
fn an_ended_sessions_will_is_due_until_a_commit_says_that_it_is_out() {
    let with_will = Entry::Session(StoredSession { will: Some(WILL), ..begin(1, "c") });
    let ended = Entry::End { serial: 1, keeps_will: true };
    let out = Entry::Commit { number: 1, publisher: 1, packet_id: 0, is_will: true };
    let due = |entries: &[Entry<'_>]| replay(entries).0.wills.len();
    assert_eq!(due(&[with_will, ended]), 1);
    assert_eq!(due(&[with_will, ended, out]), 0);
    assert_eq!(due(&[with_will, out, ended]), 0);
    assert_eq!(due(&[with_will, Entry::End { serial: 1, keeps_will: false }]), 0);
    assert_eq!(due(&[ended, out]), 0);
}

#[test]
fn time_that_passed_ends_sessions_and_messages() {
    let ended_100_s_ago = StoredSession { disconnected_at: Some(ALIVE), ..begin(1, "a") };
    let expiring = |number, ms| {
        let Entry::Message(message) = message(number, "t") else { unreachable!() };
        Entry::Message(StoredMessage { expires_at: Some(Timestamp(ms)), ..message })
    };
    let (restored, outcome) = replay(&[
        Entry::Session(StoredSession { expiry_s: 100, will: Some(WILL), ..ended_100_s_ago }),
        Entry::Session(StoredSession { expiry_s: 101, serial: 2, client_id: "b", ..ended_100_s_ago }),
        Entry::Session(StoredSession { expiry_s: 100, ..begin(3, "connected, until the last sign of life") }),
        expiring(1, NOW.0),
        expiring(2, NOW.0 + 1),
        Entry::Deliver(deliver(2, 1, None)),
        Entry::Deliver(deliver(2, 2, None)),
        Entry::Deliver(deliver(2, 1, Some(1))),
        Entry::Retain { number: 1 },
    ]);
    assert_eq!(restored.sessions.iter().map(|session| session.serial).collect::<Vec<_>>(), [2]);
    // What was on its way keeps its identifier.
    assert_eq!((queue(&restored), window(&restored), restored.wills.len()), (vec![2], vec![1], 1));
    let expected = ReplayOutcome { sessions_expired: 2, messages_expired: 2, ..ReplayOutcome::default() };
    assert_eq!((outcome, restored.retained.len()), (expected, 0));
}

#[test]
fn retained_is_the_last_one_of_its_topic_whenever_its_message_comes() {
    let kept = |entries: &[Entry<'_>]| -> Vec<u64> {
        replay(entries).0.retained.iter().map(|message| message.head().number).collect()
    };
    let (one, two) = (Entry::Retain { number: 1 }, Entry::Retain { number: 2 });
    let gone = Entry::Unretain { topic: "t" };
    assert_eq!(kept(&[message(1, "t"), message(2, "t"), one, two]), [2]);
    assert_eq!(kept(&[message(1, "t"), message(2, "u"), two, one, gone]), [2]);
    assert_eq!(kept(&[one, message(2, "t"), two, message(1, "t")]), [2]);
    assert_eq!(kept(&[message(2, "t"), two, one, message(1, "t")]), [1]);
    assert_eq!(kept(&[one, gone, message(1, "t")]), [0; 0]);
    assert_eq!(kept(&[one, gone, one, message(1, "t")]), [1]);
}

#[test]
fn an_image_replaces_what_was_known() {
    let (restored, outcome) = replay(&[
        Entry::Session(begin(1, "c")),
        Entry::Subscribe { serial: 1, filter: "old", options: 0, id: 0 },
        Entry::Deliver(deliver(1, 99, None)),
        Entry::Reset { serial: 1 },
        Entry::Session(begin(1, "c")),
        Entry::Subscribe { serial: 1, filter: "new", options: 0, id: 0 },
        message(3, "t"),
        Entry::Deliver(deliver(1, 3, None)),
    ]);
    assert_eq!((&*restored.sessions[0].subscriptions[0].filter, queue(&restored)), ("new", vec![3]));
    assert_eq!((restored.sessions[0].subscriptions.len(), outcome), (1, ReplayOutcome::default()));
}

#[test]
fn section_4_8_2_what_an_ended_session_leaves_of_shared_subscriptions_is_for_other_members() {
    let shared = |serial, number, packet_id| StoredDelivery {
        share: Some(("g", "t")),
        ..deliver(serial, number, packet_id)
    };
    let left = |entries: &[Entry<'_>]| -> Vec<(u64, u64, Option<u16>)> {
        let (restored, _) = replay(entries);
        let returned = restored.returned.iter();
        returned.map(|r| (r.serial, r.delivery.message.head().number, r.packet_id)).collect()
    };
    // Kept apart from its session, under a serial of its own, until it is given to another member.
    let nobody = StoredSession { expiry_s: 0, disconnected_at: Some(Timestamp(0)), ..begin(5, "") };
    let apart = [Entry::Session(nobody), Entry::Deliver(shared(5, 1, None)), message(1, "t")];
    assert_eq!(left(&apart), [(5, 1, None)]);
    assert_eq!(left(&[&apart[..], &[Entry::End { serial: 5, keeps_will: false }]].concat()), []);
    assert!(replay(&apart).0.sessions.is_empty() && replay(&apart).1 == ReplayOutcome::default());
    // The same, if its message was not committed.
    let conditional = StoredDelivery { is_conditional: true, ..shared(5, 1, None) };
    assert_eq!(left(&[apart[0], Entry::Deliver(conditional), message(1, "t")]), []);
    // Several of them have nothing to do with each other.
    let other = StoredSession { serial: 6, ..nobody };
    let two = [&apart[..], &[Entry::Session(other), Entry::Deliver(shared(6, 1, None))]].concat();
    assert_eq!(left(&two), [(5, 1, None), (6, 1, None)]);
    // A session that expired while the node was down leaves what was not begun with QoS 2 [MQTT-4.8.2-5].
    let expired = StoredSession { expiry_s: 1, disconnected_at: Some(Timestamp(0)), ..begin(7, "c") };
    let once = |delivery| Entry::Deliver(StoredDelivery { qos: QoS::AtLeastOnce, ..delivery });
    let entries = [
        Entry::Session(expired),
        once(shared(7, 1, Some(3))),
        Entry::Deliver(shared(7, 1, Some(4))),
        Entry::Deliver(shared(7, 1, None)),
        Entry::Deliver(deliver(7, 1, None)),
        message(1, "t"),
    ];
    assert_eq!(left(&entries), [(7, 1, Some(3)), (7, 1, None)]);
}

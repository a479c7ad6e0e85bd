//! What is written is read; what is cut or nonsense is told.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, QoS};

fn samples() -> Vec<Entry<'static>> {
    let message = StoredMessage {
        number: 300,
        qos: QoS::ExactlyOnce,
        retain: true,
        publisher: 7,
        expires_at: Some(Timestamp(u64::MAX)),
        topic: "käse/1",
        forwarded: &[1, 2],
        payload: b"payload",
    };
    let will = StoredWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_s: 5,
        expiry_s: Some(u32::MAX),
        topic: "will",
        forwarded: &[],
        payload: &[],
    };
    let session = StoredSession {
        serial: 7,
        is_new: true,
        client_id: "client",
        version: ProtocolVersion::V5,
        expiry_s: u32::MAX,
        user: 9,
        last_packet_id: 65_535,
        disconnected_at: Some(Timestamp(4)),
        will: Some(will),
    };
    let delivery = StoredDelivery {
        serial: 7,
        number: 300,
        qos: QoS::AtLeastOnce,
        retain: true,
        is_conditional: true,
        packet_id: Some(3),
        subscription_ids: SubscriptionIds::Numbers(&[1, 268_435_455]),
        share: Some(("group", "a/+")),
    };
    vec![
        Entry::Message(message),
        Entry::Message(StoredMessage { expires_at: None, retain: false, payload: b"", ..message }),
        Entry::Session(session),
        Entry::Session(StoredSession { will: None, disconnected_at: None, expiry_s: 0, ..session }),
        Entry::Reset { serial: 1 << 40 },
        Entry::End { serial: 1, keeps_will: true },
        Entry::Subscribe { serial: 1, filter: "$share/g/a/#", options: 0b1_1111, id: 5 },
        Entry::Unsubscribe { serial: 1, filter: "a/#" },
        Entry::Deliver(delivery),
        Entry::Deliver(StoredDelivery {
            packet_id: None,
            share: None,
            subscription_ids: SubscriptionIds::Numbers(&[]),
            ..delivery
        }),
        Entry::Sent { serial: 1, number: 2, packet_id: 3 },
        Entry::Gone { serial: 1, number: 2 },
        Entry::Done { serial: 1, packet_id: 3 },
        Entry::Received { serial: 1, packet_id: 3 },
        Entry::Commit { number: 2, publisher: 1, packet_id: 3, is_will: false },
        Entry::Inbound { serial: 1, packet_id: 3 },
        Entry::InboundDone { serial: 1, packet_id: 3 },
        Entry::Retain { number: u64::MAX },
        Entry::Unretain { topic: "käse" },
        Entry::Confirm { number: 2 },
    ]
}

#[test]
fn entries_come_back_as_they_were_written() {
    let mut out = Vec::new();
    samples().iter().for_each(|entry| entry.encode(&mut out));
    let mut rest = out.as_slice();
    for sample in samples() {
        assert_eq!(Entry::decode(&mut rest).unwrap(), sample);
    }
    assert!(rest.is_empty());
}

#[test]
fn a_cut_entry_is_an_error_wherever_it_is_cut() {
    for sample in samples() {
        let mut out = Vec::new();
        sample.encode(&mut out);
        for len in 0..out.len() {
            assert_eq!(Entry::decode(&mut &out[..len]), Err(EntryError::Cut), "{sample:?} cut to {len}");
        }
    }
}

#[test]
fn nonsense_is_told_by_name() {
    assert_eq!(Entry::decode(&mut [99].as_slice()), Err(EntryError::Kind(99)));
    assert_eq!(Entry::decode(&mut [kind::UNRETAIN, 1, 0xff].as_slice()), Err(EntryError::Value("text")));
    let too_long = [[kind::RETAIN].as_slice(), &[0xff; 10]].concat();
    assert_eq!(Entry::decode(&mut too_long.as_slice()), Err(EntryError::Value("number")));
}

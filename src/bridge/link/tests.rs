//! A link between two scripted brokers: what it sends, when it acknowledges, what it does not pass on.

use super::*;
use crate::packet::{ConnAck, encode_suback};

const REMOTE_FILTER: &str = "in/#";

/// A link with both handshakes done.
struct Bench {
    link: Link,
    status: Arc<Status>,
}

fn settings(remote: ProtocolVersion) -> LinkSettings {
    let account = |version, client_id: &str, route: &str| Account {
        version,
        client_id: client_id.into(),
        username: None,
        password: None,
        clean_start: false,
        routes: vec![BridgeRoute::parse(route).unwrap()],
    };
    LinkSettings {
        local: account(ProtocolVersion::V5, "$bridge:b", "out/# strip out/ prefix in/"),
        remote: account(remote, "b", REMOTE_FILTER),
        keep_alive_s: 60,
        inflight_max: 2,
        expiry_s: 60,
        packet_bytes_max: 1_000,
        mark: "me".into(),
    }
}

impl Bench {
    fn up(remote: ProtocolVersion) -> Self {
        let status = Arc::<Status>::default();
        let mut link = Link::new(Arc::new(settings(remote)), Arc::clone(&status), 0);
        for side in [Side::Local, Side::Remote] {
            let version = link.end(side).version;
            let mut answer = Vec::new();
            let mut mark = Vec::new();
            encode_user_property(MARK, "there", &mut mark);
            let user_properties = UserProperties::parse(&mark).unwrap();
            ConnAck { user_properties, ..ConnAck::new(false, ReasonCode::Success) }
                .encode(version, &mut answer);
            encode_suback(version, SUBSCRIBE_ID, [ReasonCode::GrantedQoS1], &mut answer);
            // Byte by byte: packets come in any pieces.
            for byte in answer {
                link.received(side, &[byte], 0).unwrap();
            }
        }
        assert!(link.is_up());
        let mut bench = Self { link, status };
        bench.take(Side::Local);
        bench.take(Side::Remote);
        bench
    }

    /// What a side was sent.
    fn take(&mut self, side: Side) -> Vec<u8> {
        let end = self.link.end_mut(side);
        std::mem::take(&mut end.output)
    }

    /// Topics and identifiers of the PUBLISHes that a side was sent.
    fn published(&mut self, side: Side) -> Vec<(String, u16, Vec<String>)> {
        let (bytes, version) = (self.take(side), self.link.end(side).version);
        let mut found = Vec::new();
        let mut rest = bytes.as_slice();
        while let Ok(Frame::Complete { header_len, body_len }) = packet::frame(rest, u32::MAX) {
            let (packet, after) = rest.split_at(header_len + body_len);
            let Ok(Packet::Publish(publish)) = packet::decode(version, packet, From::FromClient) else {
                panic!("no PUBLISH: {packet:?}");
            };
            let marks = publish.forwarded.user_properties();
            let marks = marks.iter().filter(|(name, _)| *name == MARK).map(|(_, mark)| mark.into()).collect();
            found.push((publish.topic.into(), publish.packet_id.map_or(0, PacketId::value), marks));
            rest = after;
        }
        found
    }

    fn publish(&mut self, side: Side, topic: &str, id: u16, marks: &[&str]) {
        let version = self.link.end(side).version;
        let mut forwarded = Vec::new();
        marks.iter().for_each(|mark| encode_user_property(MARK, mark, &mut forwarded));
        let head = PublishHead {
            version,
            dup: false,
            qos: if id > 0 { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            retain: false,
            topic,
            packet_id: PacketId::new(id),
            expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &forwarded,
            payload_len: 1,
        };
        let mut bytes = Vec::new();
        encode_publish_head(&head, &mut bytes).unwrap();
        bytes.push(b'x');
        self.link.received(side, &bytes, 0).unwrap();
    }

    fn puback(&mut self, side: Side, id: u16, reason: ReasonCode) {
        let mut bytes = Vec::new();
        encode_puback(self.link.end(side).version, PacketId::new(id).unwrap(), reason, &mut bytes);
        let now_ms = self.link.now_ms;
        self.link.received(side, &bytes, now_ms).unwrap();
    }
}

fn puback(version: ProtocolVersion, id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_puback(version, PacketId::new(id).unwrap(), ReasonCode::Success, &mut bytes);
    bytes
}

#[test]
fn a_message_is_acknowledged_here_when_it_is_acknowledged_there() {
    for (side, topic, mapped) in [(Side::Local, "out/a", "in/a"), (Side::Remote, "in/a", "in/a")] {
        let mut bench = Bench::up(ProtocolVersion::V5);
        bench.publish(side, topic, 7, &[]);
        assert!(bench.take(side).is_empty(), "not yet");
        let sent = bench.published(side.other());
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].0, mapped);
        bench.puback(side.other(), sent[0].1, ReasonCode::Success);
        assert_eq!(bench.take(side), puback(ProtocolVersion::V5, 7));
        // A second PUBACK says nothing new.
        bench.puback(side.other(), sent[0].1, ReasonCode::Success);
        assert!(bench.take(side).is_empty());
    }
}

#[test]
fn what_the_other_side_refuses_is_counted_and_does_not_come_again() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    bench.publish(Side::Local, "out/a", 7, &[]);
    let id = bench.published(Side::Remote)[0].1;
    bench.puback(Side::Remote, id, ReasonCode::NotAuthorized);
    assert_eq!(bench.take(Side::Local), puback(ProtocolVersion::V5, 7));
    assert_eq!((bench.status.dropped.load(), bench.status.messages_out.load()), (1, 0));
}

#[test]
fn no_more_is_under_way_than_the_other_side_takes() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    for id in 1..=4 {
        bench.publish(Side::Local, "out/a", id, &[]);
    }
    assert!(!bench.link.wants_input(Side::Local) && bench.link.wants_input(Side::Remote));
    let sent = bench.published(Side::Remote);
    assert_eq!(sent.len(), 2);
    bench.puback(Side::Remote, sent[1].1, ReasonCode::Success);
    assert_eq!(bench.published(Side::Remote).len(), 1);
    assert!(bench.link.wants_input(Side::Local));
    // QoS 0 takes no place of theirs, and keeps its own.
    bench.publish(Side::Local, "out/b", 0, &[]);
    assert!(bench.published(Side::Remote).is_empty());
}

#[test]
fn a_message_comes_to_a_node_once() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    bench.publish(Side::Local, "out/a", 1, &["other"]);
    assert_eq!(bench.published(Side::Remote)[0].2, ["other", "me"]);
    for (side, topic, mark) in [(Side::Local, "out/a", "there"), (Side::Remote, "in/a", "me")] {
        bench.publish(side, topic, 9, &["other", mark]);
        assert_eq!(bench.take(side), puback(ProtocolVersion::V5, 9));
        assert!(bench.take(side.other()).is_empty());
    }
    assert_eq!(bench.status.looped.load(), 2);
    // Where it has been and where it is now; and from here it may go on by another bridge.
    bench.publish(Side::Remote, "in/a", 3, &["other"]);
    assert_eq!(bench.published(Side::Local)[0].2, ["other", "there", "me"]);
    bench.publish(Side::Local, "out/a", 4, &["other", "me"]);
    assert_eq!(bench.published(Side::Remote)[0].2, ["other", "me"]);
}

#[test]
fn a_message_that_has_been_on_many_nodes_goes_no_further() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    let marks: Vec<String> = (0..MARKS_MAX).map(|number| number.to_string()).collect();
    let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
    bench.publish(Side::Remote, "in/a", 3, &marks);
    assert!(bench.take(Side::Local).is_empty());
    assert_eq!(bench.status.looped.load(), 1);
}

#[test]
fn an_older_broker_sends_back_what_it_got_and_that_is_known_again() {
    let mut bench = Bench::up(ProtocolVersion::V311);
    bench.publish(Side::Local, "out/a", 1, &[]);
    assert_eq!(bench.published(Side::Remote)[0].0, "in/a");
    bench.publish(Side::Remote, "in/a", 5, &[]);
    assert_eq!(bench.take(Side::Remote), puback(ProtocolVersion::V311, 5));
    assert!(bench.take(Side::Local).is_empty());
    // The same once more is somebody else's.
    bench.publish(Side::Remote, "in/a", 6, &[]);
    assert_eq!(bench.published(Side::Local).len(), 1);
}

#[test]
fn a_message_that_is_too_large_for_this_node_is_read_over_and_does_not_come_again() {
    let mut large = vec![0x32, 0xD0, 0x0F, 0, 4];
    large.extend_from_slice(b"in/a");
    large.extend_from_slice(&[0, 9]);
    // A Remaining Length of 2,000 bytes.
    large.resize(2_003, b'x');
    for piece in [1, 7, 999, 2_003] {
        let mut bench = Bench::up(ProtocolVersion::V311);
        for bytes in large.chunks(piece) {
            bench.link.received(Side::Remote, bytes, 0).unwrap();
        }
        assert_eq!(bench.take(Side::Remote), puback(ProtocolVersion::V311, 9), "{piece}");
        // The next one is whole.
        bench.publish(Side::Remote, "in/b", 10, &[]);
        assert_eq!(bench.published(Side::Local)[0].0, "in/b");
        assert_eq!(bench.status.dropped.load(), 1);
    }
    // 5.0 was told what is too large.
    let mut bench = Bench::up(ProtocolVersion::V5);
    assert!(bench.link.received(Side::Remote, &large, 0).is_err());
}

#[test]
fn what_has_no_route_or_no_room_is_let_go() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    bench.publish(Side::Local, "elsewhere", 1, &[]);
    assert_eq!(bench.take(Side::Local), puback(ProtocolVersion::V5, 1));
    bench.link.remote.packet_bytes_max = 5;
    bench.publish(Side::Local, "out/a", 2, &[]);
    assert_eq!(bench.take(Side::Local), puback(ProtocolVersion::V5, 2));
    assert!(bench.take(Side::Remote).is_empty());
    assert_eq!(bench.status.dropped.load(), 2);
}

#[test]
fn silence_and_refusals_end_the_link() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    bench.link.tick(31_000).unwrap();
    assert_eq!(bench.take(Side::Remote), [0xC0, 0]);
    bench.link.received(Side::Remote, &[0xD0, 0], 80_000).unwrap();
    assert_eq!(bench.link.tick(91_000), Err(LinkError::Silent("this node")));
    let mut link = Link::new(Arc::new(settings(ProtocolVersion::V5)), Arc::default(), 0);
    assert_eq!(link.tick(5_000), Ok(()));
    assert_eq!(link.tick(10_001), Err(LinkError::Silent("this node")));
    let mut refusal = Vec::new();
    ConnAck::new(false, ReasonCode::BadUserNameOrPassword).encode(ProtocolVersion::V5, &mut refusal);
    let error = link.received(Side::Remote, &refusal, 0).unwrap_err();
    assert_eq!(error.to_string(), "the other broker refused the bridge: BadUserNameOrPassword");
    // A Remaining Length of five bytes.
    assert!(link.received(Side::Local, &[0x20, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0).is_err());
}

/// Time goes by, a second at a time as in a real bridge; a side that answers answers each PINGREQ. How many each side was sent.
fn pass(bench: &mut Bench, seconds: std::ops::Range<u64>, answers: &[Side]) -> Result<[usize; 2], LinkError> {
    let mut pings = [0; 2];
    for second in seconds {
        bench.link.tick(second * 1000)?;
        for (side, pings) in [Side::Local, Side::Remote].into_iter().zip(&mut pings) {
            let sent = bench.take(side);
            bench.link.sent(
                side,
                0,
                if sent.is_empty() { bench.link.end(side).sent_ms } else { second * 1000 },
            );
            *pings += usize::from(!sent.is_empty());
            // What answers is heard only where somebody reads.
            if !sent.is_empty() && answers.contains(&side) && bench.link.wants_input(side) {
                let mut pong = Vec::new();
                crate::packet::encode_pingresp(&mut pong);
                bench.link.received(side, &pong, second * 1000)?;
            }
        }
    }
    Ok(pings)
}

#[test]
fn only_a_side_that_is_read_can_be_silent() {
    for slow in [Side::Local, Side::Remote] {
        let fast = slow.other();
        let topic = if fast == Side::Local { "out/a" } else { "in/a" };
        let mut bench = Bench::up(ProtocolVersion::V5);
        (1..=4).for_each(|id| bench.publish(fast, topic, id, &[]));
        let sent = bench.published(slow);
        assert!(!bench.link.wants_input(fast) && bench.link.wants_input(slow));
        // For ten minutes it acknowledges nothing; both are there, and are told that the bridge is.
        let pings = pass(&mut bench, 1..600, &[fast, slow]).unwrap();
        assert!(pings.iter().all(|pings| (15..=25).contains(pings)), "{pings:?}");
        bench.puback(slow, sent[0].1, ReasonCode::Success);
        bench.puback(slow, sent[1].1, ReasonCode::Success);
        assert!(bench.link.wants_input(fast));
        // From now on its silence counts, and not from before.
        assert!(pass(&mut bench, 600..680, &[slow]).is_ok());
        assert_eq!(pass(&mut bench, 680..700, &[slow]), Err(LinkError::Silent(fast.name())));
    }
}

/// Each side's acknowledgements would let the other one be read, and lie behind what is not read.
#[test]
fn a_link_whose_sides_wait_for_each_other_ends() {
    let mut bench = Bench::up(ProtocolVersion::V5);
    for (side, topic) in [(Side::Local, "out/a"), (Side::Remote, "in/a")] {
        (1..=4).for_each(|id| bench.publish(side, topic, id, &[]));
    }
    assert!(![Side::Local, Side::Remote].map(|side| bench.link.wants_input(side)).contains(&true));
    assert!(pass(&mut bench, 1..90, &[]).is_ok());
    assert!(matches!(pass(&mut bench, 90..100, &[]), Err(LinkError::Silent(_))));
}

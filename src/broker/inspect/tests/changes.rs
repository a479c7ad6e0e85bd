//! What operators change, and when they are told that it has come true.

use super::*;
use crate::packet::ReasonCode;

#[test]
fn who_is_kicked_is_told_and_its_session_stays() {
    let mut node = Node::new(Durability::Memory);
    let id = node.connect("c", 100);
    node.world.output.clear();
    assert_eq!(node.change(Question::Kick("c".into())), Changed::Done { is_new: true });
    let output = &node.world.output[&id];
    assert_eq!((output[0], output[2]), (0xe0, 0x98), "DISCONNECT, administrative action");
    assert!(node.connected.is_empty());
    let detail = node.detail("c").unwrap();
    assert!(!detail.session.is_connected && detail.connection.is_none());
    assert_eq!(detail.session.expires_at, Some(Timestamp(101_000)));
    assert_eq!(node.change(Question::Kick("c".into())), Changed::NotFound);
    assert_eq!(node.change(Question::Kick("nobody".into())), Changed::NotFound);
}

#[test]
fn a_discarded_session_is_gone_with_its_connection() {
    for expiry_s in [0, 100] {
        let mut node = Node::new(Durability::Memory);
        node.connect("c", expiry_s);
        node.subscribe("c", "t");
        assert_eq!(node.change(Question::Discard("c".into())), Changed::Done { is_new: true });
        assert!(node.connected.is_empty() && node.detail("c").is_none());
        assert_eq!(node.change(Question::Discard("c".into())), Changed::NotFound);
        let Answer::FilterCounts(counts) = node.ask(Question::FilterCounts(vec!["t".into()])) else {
            panic!()
        };
        assert_eq!(counts, [None]);
    }
}

#[test]
fn filters_mean_what_they_mean_in_a_subscribe_of_the_client() {
    let mut node = Node::new(Durability::Memory);
    node.connect("c", 100);
    node.subscribe("c", "$local/a");
    node.subscribe("c", "a");
    let counts = node.ask(Question::FilterCounts(vec!["a".into(), "$local/a".into()]));
    let Answer::FilterCounts(counts) = counts else { panic!() };
    assert!(counts[0].is_some() && counts[1].is_none(), "{counts:?}");
    node.change(Question::Subscribe(Box::new(subscribing("c", "$queue/b"))));
    for filter in ["$local/a", "$queue/b"] {
        let unsubscribe = || Question::Unsubscribe("c".into(), filter.into());
        assert_eq!(node.change(unsubscribe()), Changed::Done { is_new: true }, "{filter}");
        assert_eq!(node.change(unsubscribe()), Changed::NotFound, "{filter}");
    }
}

#[test]
fn a_change_of_a_durable_session_comes_true_with_the_disk() {
    let mut node = Node::new(Durability::Sync);
    node.connect("durable", 100);
    node.store();
    node.connect("passing", 0);
    let subscribe = |name| Question::Subscribe(Box::new(subscribing(name, "t")));
    assert_eq!(node.change(subscribe("passing")), Changed::Done { is_new: true });
    let changes = [
        subscribe("durable"),
        Question::Unsubscribe("durable".into(), "t".into()),
        Question::Discard("durable".into()),
    ];
    for change in changes {
        let Changed::Begun { receipt, is_new: true } = node.change(change) else {
            panic!("the disk has it already")
        };
        assert!(matches!(node.ask(Question::IsDone(receipt)), Answer::IsDone(false)));
        node.store();
        assert!(matches!(node.ask(Question::IsDone(receipt)), Answer::IsDone(true)));
    }
}

#[test]
fn while_the_disk_takes_nothing_what_it_has_to_keep_does_not_change() {
    let mut node = Node::new(Durability::Sync);
    node.connect("c", 100);
    node.store();
    node.handle(Input::StorageDown);
    let subscribe = Question::Subscribe(Box::new(subscribing("c", "t")));
    assert_eq!(node.change(subscribe), Changed::Unavailable);
    assert_eq!(node.change(Question::Discard("c".into())), Changed::Unavailable);
    assert!(node.detail("c").is_some_and(|detail| detail.subscriptions.is_empty()));
    assert_eq!(node.change(Question::Kick("c".into())), Changed::Done { is_new: true });
}

#[test]
fn rules_for_filters_hold_for_operators_too() {
    let mut node = Node::new(Durability::Memory);
    node.connect("c", 100);
    for (filter, reason) in [
        ("", ReasonCode::TopicFilterInvalid),
        ("a/#/b", ReasonCode::TopicFilterInvalid),
        ("$share//t", ReasonCode::TopicFilterInvalid),
    ] {
        let changed = node.change(Question::Subscribe(Box::new(subscribing("c", filter))));
        assert_eq!(changed, Changed::Refused(reason), "{filter}");
    }
    let mut shared = subscribing("c", "$share/g/t");
    shared.options.no_local = true;
    let changed = node.change(Question::Subscribe(Box::new(shared)));
    assert_eq!(changed, Changed::Refused(ReasonCode::ProtocolError));
    let unsubscribe = |filter: &str| Question::Unsubscribe("c".into(), filter.into());
    assert_eq!(node.change(unsubscribe("t")), Changed::NotFound);
    assert_eq!(node.change(unsubscribe("a/#/b")), Changed::Refused(ReasonCode::TopicFilterInvalid));
    node.subscribe("c", "$share/g/t");
    let again = node.change(Question::Subscribe(Box::new(subscribing("c", "$share/g/t"))));
    assert_eq!(again, Changed::Done { is_new: false });
    assert_eq!(node.change(unsubscribe("$share/g/t")), Changed::Done { is_new: true });
}

#[test]
fn retained_messages_follow_and_can_be_forgotten() {
    let mut node = Node::new(Durability::Memory);
    node.connect("p", 0);
    node.publish("p", "t/1", b"kept", true);
    let id = node.connect("c", 100);
    node.world.output.clear();
    node.subscribe("c", "t/+");
    node.turn();
    let output = &node.world.output[&id];
    assert!(output.ends_with(b"kept"), "{output:?}");
    assert_eq!(node.change(Question::DeleteRetained("t/1".into())), Changed::Done { is_new: true });
    assert_eq!(node.change(Question::DeleteRetained("t/1".into())), Changed::NotFound);
    let before = node.world.output[&id].len();
    node.turn();
    assert_eq!(node.world.output[&id].len(), before, "nobody is told");
}

#[test]
fn a_session_is_described_with_all_it_has() {
    let mut node = Node::new(Durability::Memory);
    node.connect("c", 100);
    node.subscribe("c", "t/#");
    let row = node.detail("c").unwrap();
    let connection = row.connection.unwrap();
    assert_eq!((connection.keep_alive_s, connection.clean_start), (30, false));
    assert_eq!((connection.connected_at, connection.version), (Timestamp(1000), ProtocolVersion::V5));
    assert_eq!((&*row.subscriptions[0].filter, row.subscriptions[0].qos), ("t/#", 1));
    node.now = Timestamp(5000);
    node.cut("c");
    node.connect("p", 0);
    for n in 0..150 {
        node.publish_qos("p", "t/1", b"12345", false, PacketId::new(n + 1));
    }
    let row = node.detail("c").unwrap();
    assert_eq!((row.session.queued, row.queue.len()), (150, 100));
    assert_eq!((&*row.queue[0].topic, row.queue[0].payload_bytes), ("t/1", 5));
    node.connect("c", 100);
    let row = node.detail("c").unwrap();
    assert!(row.session.inflight > 0 && row.inflight[0].packet_id == 1);
    assert!(row.inflight[0].message.as_ref().is_some_and(|message| &*message.topic == "t/1"));
    assert_eq!(row.connection.unwrap().connected_at, Timestamp(5000));
}

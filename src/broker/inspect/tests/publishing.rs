//! What operators publish goes on credit, as what clients publish does, and no more of it than has room.

use super::*;
use crate::broker::Reach;

/// Two shards; a client of the second one subscribes to `t`.
fn pair() -> (Node, Node) {
    let mut config = Config::default();
    config.storage.durability = Durability::Memory;
    config.limits.subscriptions_expected = 1000;
    let config = Arc::new(config);
    let shared = Shared::new(&config, 2, 7, 0);
    let [first, mut second] =
        [0, 1].map(|shard| Node::of(ShardId(shard), Arc::clone(&config), Arc::clone(&shared)));
    let is_there = |name: &String| shared.placement.home_of(name) == ShardId(1);
    let name = (0..).map(|number| format!("c{number}")).find(is_there).unwrap();
    second.connect(&name, 0);
    second.subscribe(&name, "t");
    (first, second)
}

fn publishing(qos: QoS, retain: bool, len: usize) -> Question {
    Question::Publish(Box::new(Publishing {
        topic: "t".into(),
        payload: vec![b'x'; len].into(),
        forwarded: Box::default(),
        qos,
        retain,
        expiry_s: None,
    }))
}

#[test]
fn an_operators_message_waits_for_credit() {
    let (mut node, _other) = pair();
    for (qos, retain) in [
        (QoS::AtMostOnce, false),
        (QoS::AtLeastOnce, false),
        (QoS::ExactlyOnce, false),
        (QoS::AtMostOnce, true),
    ] {
        node.world.has_no_credit = true;
        assert_eq!(node.change(publishing(qos, retain, 1)), Changed::Unavailable);
        assert!(node.world.sent.is_empty() && node.world.reserved == 0, "nothing was done");
        node.world.has_no_credit = false;
        assert!(matches!(node.change(publishing(qos, retain, 1)), Changed::Done { .. }));
        assert_eq!(std::mem::take(&mut node.world.reserved), 1);
        assert_eq!(node.world.sent.drain(..).count(), 1);
    }
}

#[test]
fn operators_messages_under_way_are_bounded_in_bytes() {
    let (mut node, _other) = pair();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let publish = |node: &mut Node| node.change(publishing(qos, false, 512 * 1024));
        let mut count = 0;
        while matches!(publish(&mut node), Changed::Done { .. }) {
            count += 1;
            assert!(count <= 32, "16 MiB are enough");
        }
        assert!(count >= 31, "{count}");
        assert_eq!(publish(&mut node), Changed::Unavailable);
        // The other shard has them all.
        for message in std::mem::take(&mut node.world.sent) {
            let operation = match message {
                ShardMessage::Publish { operation, .. } => operation,
                other => panic!("{other:?}"),
            };
            let message = ShardMessage::Accepted { operation: operation.unwrap(), reach: Reach::default() };
            node.handle(Input::Message { from: ShardId(1), message });
            node.turn();
        }
        assert!(matches!(publish(&mut node), Changed::Done { .. }), "there is room again");
        let last = node.world.sent.pop();
        if let Some(ShardMessage::Publish { operation: Some(operation), .. }) = last {
            let message = ShardMessage::Accepted { operation, reach: Reach::default() };
            node.handle(Input::Message { from: ShardId(1), message });
            node.turn();
        }
    }
}

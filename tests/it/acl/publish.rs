//! A denied PUBLISH: 5.0 is told by its acknowledgement, 3.x is acknowledged, nobody gets it; a denied Will is refused
//! with its CONNECT.

use super::each;
use crate::numbers::wait_for;
use crate::wire::{AckKind, Connect, Property, Publish, Version, Will};

const RULES: &str = r##"
    {allow, all, pubsub, ["open/#"]}.
    {allow, all, publish, ["own/%c/#"]}.
    {allow, {client, "boss"}, publish, ["closed/#"]}.
    {allow, all, subscribe, ["#", "$SYS/#"]}.
"##;

#[test]
fn mqtt5_3_4_2_1_a_denied_publish_is_answered_0x87_and_goes_nowhere() {
    each(RULES, |guarded| {
        let broker = &guarded.broker;
        let mut reader = broker.connect(Connect::v5("reader"));
        reader.subscribe("#", 2);
        let mut client = broker.connect(Connect::v5("c"));
        assert_eq!(client.publish_reason(Publish::new("closed/a", "x").qos(1)), 0x87);
        assert_eq!(client.publish_reason(Publish::new("closed/a", "x").qos(2)), 0x87);
        assert_eq!(client.publish_reason(Publish::new("own/d", "x").qos(1)), 0x87);
        client.publish(Publish::new("closed/a", "x"));
        client.publish(Publish::new("closed/a", "x").retain());
        client.publish(Publish::new("open/a", "1").qos(1));
        client.publish(Publish::new("own/c/t", "2").qos(2));
        reader.expect_message("open/a", "1");
        reader.expect_message("own/c/t", "2");
        reader.expect_nothing();
        let mut boss = broker.connect(Connect::v5("boss"));
        assert_eq!(boss.publish_reason(Publish::new("closed/a", "3").qos(1)), 0);
        reader.expect_message("closed/a", "3");
        assert_eq!(wait_for(broker, "metrics/acl/denied/publish", |n| n > 0), 5);
    });
}

#[test]
fn mqtt3_a_denied_publish_is_acknowledged_and_goes_nowhere() {
    each(RULES, |guarded| {
        let broker = &guarded.broker;
        let mut reader = broker.connect(Connect::v311("reader"));
        reader.subscribe("#", 2);
        for version in [Version::V31, Version::V311] {
            let mut client = broker.connect(Connect::new(version, "c"));
            for qos in 0..=2 {
                client.publish(Publish::new("closed/a", "x").qos(qos));
            }
            client.publish(Publish::new("open/a", "1").qos(1));
            reader.expect_message("open/a", "1");
            reader.expect_nothing();
        }
    });
}

#[test]
fn a_topic_alias_is_judged_by_what_it_stands_for() {
    each(RULES, |guarded| {
        let mut client = guarded.broker.connect(Connect::v5("c"));
        let named = Publish::new("closed/a", "x").qos(1).id(1).with(Property::TopicAlias(1));
        client.send(named);
        client.expect_ack(AckKind::Puback, 1, 0x87);
        client.send(Publish::new("", "x").qos(1).id(2).with(Property::TopicAlias(1)));
        client.expect_ack(AckKind::Puback, 2, 0x87);
    });
}

#[test]
fn more_topics_than_are_remembered_are_each_judged_right() {
    each(RULES, |guarded| {
        let mut client = guarded.broker.connect(Connect::v5("c"));
        for round in 0..3 {
            for number in 0..40 {
                let (top, reason) = if number % 3 == 0 { ("closed", 0x87) } else { ("open", 0x10) };
                let publish = Publish::new(&format!("{top}/{number}"), "x").qos(1);
                assert_eq!(client.publish_reason(publish), reason, "{round} {number}");
            }
        }
    });
}

#[test]
fn a_denied_will_is_refused_with_its_connect() {
    each(RULES, |guarded| {
        let broker = &guarded.broker;
        broker.expect_refused(Connect::v5("c").will(Will::new("closed/a", "gone")), 0x87);
        broker.expect_refused(Connect::v311("c").will(Will::new("closed/a", "gone")), 5);
        broker.expect_refused(Connect::v31("c").will(Will::new("closed/a", "gone")), 5);
        let mut reader = broker.connect(Connect::v5("reader"));
        reader.subscribe("#", 0);
        broker.connect(Connect::v5("c").will(Will::new("own/c/will", "gone"))).abort();
        reader.expect_message("own/c/will", "gone");
    });
}

#[test]
fn a_denied_will_does_not_disturb_the_session_of_its_client_identifier() {
    each(RULES, |guarded| {
        let broker = &guarded.broker;
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("open/#", 1);
        broker.expect_refused(Connect::v5("c").will(Will::new("closed/a", "gone")), 0x87);
        client.publish(Publish::new("open/a", "1").qos(1));
        client.expect_message("open/a", "1");
    });
}

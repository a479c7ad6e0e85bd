//! A denied filter: 0x87 in the SUBACK of 5.0, 0x80 in that of 3.x; the others of the same SUBSCRIBE are granted.

use super::each;
use crate::numbers::wait_for;
use crate::wire::{Connect, Publish, Subscribe, Version};

const RULES: &str = r##"
    {deny, all, subscribe, ["$SYS/metrics/#", {eq, "#"}]}.
    {allow, all, subscribe, ["open/+", "own/%c/#", "$SYS/#"]}.
    {allow, all, publish, ["#"]}.
"##;

#[test]
fn mqtt5_3_9_3_each_filter_is_judged_by_itself() {
    each(RULES, |guarded| {
        let broker = &guarded.broker;
        let mut client = broker.connect(Connect::v5("c"));
        let subscribe = Subscribe::new(7, "open/a", 1)
            .and("closed", 1)
            .and("own/c/#", 2)
            .and("own/d/#", 2)
            .and("#", 0)
            .and("open/#", 0)
            .and("$share/g/open/+", 1)
            .and("$share/g/closed/+", 1);
        let reasons = client.subscribe_with(subscribe);
        assert_eq!(reasons, [1, 0x87, 2, 0x87, 0x87, 0x87, 1, 0x87]);
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("closed", "x").qos(1));
        publisher.publish(Publish::new("own/d/x", "x").qos(1));
        publisher.publish(Publish::new("own/c/x", "1").qos(1));
        client.expect_message("own/c/x", "1");
        client.expect_nothing();
        assert_eq!(wait_for(broker, "metrics/acl/denied/subscribe", |n| n > 0), 5);
    });
}

#[test]
fn mqtt3_3_9_3_a_denied_filter_is_0x80() {
    each(RULES, |guarded| {
        for version in [Version::V31, Version::V311] {
            let mut client = guarded.broker.connect(Connect::new(version, "c"));
            let subscribe = Subscribe::new(7, "open/a", 1).and("closed", 1).and("own/c/#", 2);
            assert_eq!(client.subscribe_with(subscribe), [1, 0x80, 2]);
        }
    });
}

#[test]
fn a_client_whose_identifier_is_a_wildcard_gets_nothing_by_it() {
    each(RULES, |guarded| {
        let mut client = guarded.broker.connect(Connect::v5("+"));
        assert_eq!(client.subscribe_reason("own/+/#", 0), 0x87);
        assert_eq!(client.subscribe_reason("open/+", 0), 0);
    });
}

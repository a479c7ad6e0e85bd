//! `[[rewrite]]`: topics that mean other topics.

use super::configured;
use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir};
use crate::wire::{Connect, Publish, Will};

const RULES: &str = "[[rewrite]]\ntopic = 'x/#'\npattern = '^x/y/(.+)$'\nto = 'z/y/$1'\n\
                     [[rewrite]]\ntopic = 'in/#'\npattern = '^in/(.*)$'\nto = 'of/%c/$1'\non = ['publish']\n\
                     [[rewrite]]\ntopic = 'who/#'\npattern = '.*'\nto = 'of/%u'\n";

#[test]
fn rewritten_topics_meet_in_publish_subscribe_and_unsubscribe() {
    for shards in [1, 3] {
        let Some(broker) = configured(shards, RULES) else { return };
        let mut old = broker.connect(Connect::v311("old"));
        let mut new = broker.connect(Connect::v5("new"));
        old.subscribe("x/y/+", 1);
        new.subscribe("z/y/#", 1);
        old.publish(Publish::new("x/y/1", "a").qos(1));
        old.expect_message("z/y/1", "a");
        new.expect_message("z/y/1", "a");
        new.publish(Publish::new("z/y/2", "b").qos(2));
        old.expect_message("z/y/2", "b");
        new.expect_message("z/y/2", "b");
        old.unsubscribe(&["x/y/+"]);
        new.publish(Publish::new("z/y/3", "c").qos(1));
        new.expect_message("z/y/3", "c");
        old.expect_nothing();
        // The rest of x is nobody's.
        new.subscribe("x/z", 0);
        old.publish(Publish::new("x/z", "d"));
        new.expect_message("x/z", "d");
    }
}

#[test]
fn rewritten_shared_subscriptions_and_wills_and_names_of_clients() {
    let Some(broker) = configured(2, RULES) else { return };
    let mut listener = broker.connect(Connect::v5("listener"));
    listener.subscribe("$share/g/x/y/w", 1);
    listener.subscribe("of/#", 1);
    let will = Will::new("x/y/w", "gone").qos(1);
    broker.connect(Connect::v5("dies").will(will)).abort();
    listener.expect_message("z/y/w", "gone");
    let mut client = broker.connect(Connect::v5("c 7"));
    client.publish(Publish::new("in/t", "a").qos(1));
    listener.expect_message("of/c 7/t", "a");
    // It has no User Name: the topic stays.
    listener.subscribe("who/#", 1);
    client.publish(Publish::new("who/am/i", "b").qos(1));
    listener.expect_message("who/am/i", "b");
}

#[test]
fn rewritten_topics_are_what_the_acl_is_asked_about() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let acl = dir.join("acl.conf");
    std::fs::write(&acl, "{deny, all, pubsub, [\"z/y/secret\", {eq, \"z/y/#\"}]}.\n{allow, all}.\n").unwrap();
    let options = Options::shards(2).file(RULES).set(&format!("acl.file={}", acl.display()));
    let broker = Broker::start(&options).unwrap();
    let mut client = broker.connect(Connect::v5("c"));
    assert_eq!(client.subscribe_reason("x/y/#", 1), 0x87);
    assert_eq!(client.subscribe_reason("x/y/+", 1), 1);
    assert_eq!(client.publish_reason(Publish::new("x/y/secret", "a").qos(1)), 0x87);
    client.publish(Publish::new("x/y/open", "b").qos(1));
    client.expect_message("z/y/open", "b");
    let will = Will::new("x/y/secret", "gone");
    broker.expect_refused(Connect::v5("d").will(will), 0x87);
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn rewrite_rules_change_with_a_reload_and_a_bad_one_is_named() {
    let Some(broker) = configured(2, "[log]\nlevel = 'info'\n") else { return };
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("#", 1);
    client.publish(Publish::new("x/y/1", "a").qos(1));
    client.expect_message("x/y/1", "a");
    let file = broker.dir().join("myriad.toml");
    std::fs::write(&file, "[[rewrite]]\ntopic = 'x/#'\npattern = '(' \nto = 'a'\n").unwrap();
    broker.signal("HUP");
    crate::broker::wait_until("the bad rule is named", || {
        broker.output().contains("myriad.toml:3: rewrite.pattern")
    });
    std::fs::write(&file, RULES).unwrap();
    broker.signal("HUP");
    crate::broker::wait_until("the rules are read", || broker.output().contains("configuration reloaded"));
    client.publish(Publish::new("x/y/1", "b").qos(1));
    client.expect_message("z/y/1", "b");
}

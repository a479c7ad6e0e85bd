//! The model against histories that are wrong on purpose: every check must be able to fail.

use std::sync::Arc;

use myriad::config::Config;

use super::connection::{Life, Moment};
use super::message::payload;
use super::will::{LATE_MS, Verdict, Will};
use super::*;
use crate::socket::Ended;
use crate::trace::Check;
use crate::wire::Publish;

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

/// One publisher on socket 0, one subscriber on socket 1, session 0 for the subscriber.
fn model() -> Model {
    let mut model = Model {
        queue_len_max: 1000,
        watcher: 9,
        workers: vec![false; 10],
        settings: Settings::new(Arc::default()),
        ..Model::default()
    };
    for client in [PUBLISHER, SUBSCRIBER] {
        model.connection_opened(client);
        let connection = Connection { client, expiry_s: 60, ..Connection::default() };
        model.connect_sent(client, Moment { at: 0, stamp: 1 }, connection);
        model.connack(client, Moment { at: 1, stamp: 2 }, false).unwrap();
    }
    model.session(SUBSCRIBER);
    model.sessions[0].connections = 1;
    model
}

fn limit_queue(model: &mut Model, len_max: u32) {
    let mut config = Config::default();
    config.session.queue_len_max = len_max;
    model.settings = Settings::new(Arc::new(config));
    model.queue_len_max = len_max;
}

fn subscribe(model: &mut Model, filter: &str, qos: u8, retain_handling: u8, sent: u64) {
    let wish = Wish {
        filter: filter.into(),
        share: None,
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: Some(retain_handling),
        id: 0,
    };
    let place = model.subscribe_sent(0, sent, wish);
    model.subscribe_acked(0, place, sent + 1, qos);
}

fn message(model: &mut Model, topic: &str, qos: u8, retain: bool, sent: u64) -> MessageNumber {
    let number = model.messages.len();
    model.message(Message {
        publisher: PUBLISHER,
        session: None,
        socket: 0,
        topic: topic.into(),
        qos,
        retain,
        size: 20,
        key: number as u64 + 1,
        sent: vec![sent],
        passages: vec![message::Passage { from: sent, until: Some(sent) }],
        ..Message::default()
    })
}

fn accepted(model: &mut Model, topic: &str, qos: u8, retain: bool, sent: u64) -> MessageNumber {
    let number = message(model, topic, qos, retain, sent);
    model.message_accepted(number, sent + 1, sent + 1);
    number
}

fn hear(model: &mut Model, number: MessageNumber, change: impl FnOnce(&mut Publish)) -> Check {
    let sent = &model.messages[number];
    let mut publish = Publish {
        dup: false,
        qos: sent.qos,
        retain: false,
        topic: sent.topic.clone(),
        pid: 1,
        payload: payload(number, sent.size),
        alias: None,
        subscription_ids: Vec::new(),
        expiry_s: None,
    };
    change(&mut publish);
    let topic = publish.topic.clone();
    let reception = Reception {
        now: 100,
        written: 100,
        is_v5: true,
        session: 0,
        publish: &publish,
        topic: &topic,
        fresh: !publish.dup,
        retried: false,
    };
    model.received(&reception).map(|_| ())
}

#[track_caller]
fn breaks(invariant: &str, check: Check) {
    assert_eq!(check.unwrap_err().invariant, invariant);
}

#[test]
fn a_right_history_passes() {
    let mut model = model();
    subscribe(&mut model, "t/#", 2, 0, 10);
    let number = accepted(&mut model, "t/1", 2, false, 20);
    hear(&mut model, number, |_| ()).unwrap();
    model.finish(1000, 100).unwrap();
    assert_eq!((model.checked.owed, model.checked.receptions), (1, 1));
}

#[test]
fn a_lost_message_is_noticed_and_one_that_was_pushed_out_is_not() {
    let mut model = model();
    subscribe(&mut model, "t/#", 1, 0, 10);
    accepted(&mut model, "t/1", 1, false, 20);
    breaks("no-message-lost", model.finish(1000, 100));
    limit_queue(&mut model, 2);
    for n in 0..2 {
        let number = accepted(&mut model, "t/1", 1, false, 30 + n * 2);
        hear(&mut model, number, |_| ()).unwrap();
    }
    model.finish(1000, 100).unwrap();
}

#[test]
fn what_was_not_the_oldest_may_not_be_dropped() {
    let mut model = model();
    limit_queue(&mut model, 1);
    subscribe(&mut model, "t/#", 1, 0, 10);
    let numbers: Vec<_> = (0..3).map(|n| accepted(&mut model, "t/1", 1, false, 20 + n * 2)).collect();
    model.offline(0, 15, 200);
    hear(&mut model, numbers[0], |_| ()).unwrap();
    hear(&mut model, numbers[2], |_| ()).unwrap();
    breaks("drop-oldest", model.finish(1000, 100));
}

#[test]
fn a_message_before_suback_or_after_unsuback_is_not_owed_and_not_wanted() {
    let mut model = model();
    let early = accepted(&mut model, "t/1", 1, false, 5);
    subscribe(&mut model, "t/1", 1, 2, 10);
    breaks("unmatched-delivery", hear(&mut model, early, |_| ()));
    model.unsubscribe_sent(0, "t/1", None, 20);
    model.unsubscribe_acked(0, "t/1", None, 20, 21);
    let late = accepted(&mut model, "t/1", 1, false, 30);
    breaks("unmatched-delivery", hear(&mut model, late, |_| ()));
    model.finish(1000, 100).unwrap();
}

#[test]
fn order_and_number_of_copies_are_noticed() {
    let mut model = model();
    subscribe(&mut model, "t/#", 2, 0, 10);
    let first = accepted(&mut model, "t/1", 2, false, 20);
    let second = accepted(&mut model, "t/1", 2, false, 30);
    hear(&mut model, second, |_| ()).unwrap();
    breaks("exactly-once", hear(&mut model, second, |_| ()));
    breaks("order", hear(&mut model, first, |_| ()));
}

#[test]
fn qos_and_flags_of_a_delivery_are_noticed() {
    let mut model = model();
    subscribe(&mut model, "t/#", 1, 0, 10);
    let number = accepted(&mut model, "t/1", 2, false, 20);
    breaks("delivery-qos", hear(&mut model, number, |_| ()));
    breaks("retain-flag", hear(&mut model, number, |p| (p.qos, p.retain) = (1, true)));
    breaks("dup-only-repeated", hear(&mut model, number, |p| (p.qos, p.dup) = (1, true)));
    breaks(
        "subscription-identifiers",
        hear(&mut model, number, |p| (p.qos, p.subscription_ids) = (1, vec![3])),
    );
    breaks("payload-unaltered", hear(&mut model, number, |p| (p.qos, p.payload[9]) = (1, b'!')));
    breaks("topic-unaltered", hear(&mut model, number, |p| p.topic = "t/2".into()));
}

#[test]
fn stale_and_missed_retained_messages_are_noticed() {
    let mut model = model();
    let old = accepted(&mut model, "r/1", 1, true, 5);
    let new = accepted(&mut model, "r/1", 1, true, 7);
    subscribe(&mut model, "r/#", 1, 0, 10);
    breaks("retained-not-stale", hear(&mut model, old, |p| p.retain = true));
    breaks("retained-never-missed", model.finish(1000, 100));
    hear(&mut model, new, |p| p.retain = true).unwrap();
    model.finish(1000, 100).unwrap();
    let newest = accepted(&mut model, "r/1", 1, true, 20);
    hear(&mut model, newest, |_| ()).unwrap();
    breaks("retained-never-older-after-newer", hear(&mut model, new, |p| p.retain = true));
    breaks("retained-gauge", model.audit(0, Some(2), 100));
    accepted(&mut model, "r/1", 1, true, 30);
    breaks("retained-is-the-last", model.audit(0, Some(1), 100));
}

fn end(at: u64, by_broker: bool) -> Ended {
    Ended { at, stamp: 50, by_broker, all_fed: true, config: None }
}

fn reconnect(model: &mut Model, sent: u64, answered: u64, session_present: bool) -> Check {
    let socket = model.connections.len();
    model.connection_opened(SUBSCRIBER);
    let before = Life::Of(SUBSCRIBER);
    let connection = Connection { client: SUBSCRIBER, expiry_s: 60, before, ..Connection::default() };
    model.connect_sent(socket, Moment { at: sent, stamp: 60 }, connection);
    model.connack(socket, Moment { at: answered, stamp: 61 }, session_present)
}

#[test]
fn session_present_is_checked_on_both_sides_of_the_expiry() {
    let ended = |at| {
        let mut model = model();
        model.connections[SUBSCRIBER].cut = true;
        model.connection_ended(SUBSCRIBER, end(at, false)).unwrap();
        model
    };
    breaks("session-present", reconnect(&mut ended(1000), 2000, 2001, false));
    reconnect(&mut ended(1000), 2000, 2001, true).unwrap();
    breaks("session-present", reconnect(&mut ended(1000), 62_000 + LATE_MS, 62_001 + LATE_MS, true));
    reconnect(&mut ended(1000), 61_000, 61_500, true).unwrap();
    reconnect(&mut ended(1000), 61_000, 61_500, false).unwrap();
}

#[test]
fn a_close_needs_a_reason_and_keep_alive_its_time() {
    let mut model = model();
    breaks("unexpected-close", model.connection_ended(SUBSCRIBER, end(10, true)));
    model.connections[SUBSCRIBER].silent = true;
    model.connection_ended(SUBSCRIBER, end(10, true)).unwrap();
    model.connections[SUBSCRIBER].keep_alive_s = 2;
    breaks("keep-alive", model.keep_alive_closed(SUBSCRIBER, 0, 1_900));
    breaks("keep-alive", model.keep_alive_closed(SUBSCRIBER, 0, 3_001 + LATE_MS));
    model.keep_alive_closed(SUBSCRIBER, 0, 3_000).unwrap();
}

/// A Will of the subscriber's connection; the watcher's session is 0.
fn with_will(delay_s: u32) -> (Model, MessageNumber) {
    let mut model = model();
    model.watcher = SUBSCRIBER;
    subscribe(&mut model, "w/#", 2, 2, 10);
    let number = message(&mut model, "w/0", 2, false, 20);
    model.messages[number].will = true;
    model.messages[number].sent.clear();
    model.connections[PUBLISHER].will = Some(Will { message: number, delay_s, verdict: Verdict::Armed });
    (model, number)
}

#[test]
fn a_will_is_seen_when_due_and_only_then() {
    let (mut model, number) = with_will(0);
    breaks("will-only-when-due", hear(&mut model, number, |_| ()));
    model.connections[PUBLISHER].cut = true;
    model.connection_ended(PUBLISHER, end(30, false)).unwrap();
    breaks("will-exactly-when-due", model.finish(100_000, 100));
    hear(&mut model, number, |_| ()).unwrap();
    model.finish(100_000, 100).unwrap();

    let (mut model, number) = with_will(3);
    model.connection_ended(PUBLISHER, end(30, false)).unwrap();
    breaks("will-only-when-due", hear(&mut model, number, |_| ()));
    breaks("will-exactly-when-due", model.finish(100_000, 100));
}

#[test]
fn a_will_after_disconnect_is_noticed() {
    let (mut model, number) = with_will(0);
    model.connections[PUBLISHER].leave = Some(Leave::Normal);
    model.connection_ended(PUBLISHER, end(30, true)).unwrap();
    breaks("will-only-when-due", hear(&mut model, number, |_| ()));
    model.finish(100_000, 100).unwrap();
}

#[test]
fn a_shared_message_for_two_or_for_none_is_noticed() {
    let mut model = model();
    model.workers[SUBSCRIBER] = true;
    model.workers.push(true);
    let second = model.session(10);
    model.sessions[second].connections = 1;
    for session in [0, second] {
        let wish = Wish {
            filter: "s/#".into(),
            share: Some("g".into()),
            qos: 2,
            no_local: false,
            retain_as_published: false,
            retain_handling: Some(0),
            id: 0,
        };
        let place = model.subscribe_sent(session, 10, wish);
        model.subscribe_acked(session, place, 11, 2);
    }
    let number = accepted(&mut model, "s/1", 2, false, 20);
    breaks("shared-no-message-lost", model.finish(1000, 100));
    hear(&mut model, number, |_| ()).unwrap();
    model.finish(1000, 100).unwrap();
    model.sessions.swap(0, second);
    breaks("shared-one-member", hear(&mut model, number, |_| ()));
}

/// A message with an expiry of `expiry_s`, handled by the broker at `at` (ms).
fn expiring(model: &mut Model, expiry_s: u32, at: u64, sent: u64) -> MessageNumber {
    let number = accepted(model, "t/1", 1, false, sent);
    model.messages[number].expiry_s = Some(expiry_s);
    model.messages[number].passages.clear();
    model.uploaded(PUBLISHER, sent, number);
    model.fed(PUBLISHER, sent, at);
    model.handled(PUBLISHER, sent, at);
    number
}

#[test]
fn an_expiry_that_is_not_counted_down_or_is_over_is_noticed() {
    let mut model = model();
    subscribe(&mut model, "t/#", 1, 0, 10);
    // Seen at 100 ms: 4,901 ms before its end.
    let number = expiring(&mut model, 5, 1, 20);
    breaks("expiry-counted-down", hear(&mut model, number, |p| p.expiry_s = Some(4)));
    breaks("expiry-counted-down", hear(&mut model, number, |p| p.expiry_s = Some(6)));
    breaks("expiry-counted-down", hear(&mut model, number, |_| ()));
    hear(&mut model, number, |p| p.expiry_s = Some(5)).unwrap();
    let never = accepted(&mut model, "t/1", 1, false, 30);
    breaks("expiry-counted-down", hear(&mut model, never, |p| p.expiry_s = Some(1)));
    let over = expiring(&mut model, 0, 100, 40);
    breaks("not-after-its-expiry", hear(&mut model, over, |p| p.expiry_s = Some(1)));
}

#[test]
fn a_message_dropped_before_its_expiry_is_noticed() {
    let lost = |expiry_s, now| {
        let mut model = model();
        subscribe(&mut model, "t/#", 1, 0, 10);
        expiring(&mut model, expiry_s, 1, 20);
        let later = accepted(&mut model, "t/1", 1, false, 30);
        hear(&mut model, later, |_| ()).unwrap();
        model.finish(now, 100)
    };
    // At rest it must be there; and so it must if a later one went out of the same queue (at 100 ms) in its time.
    breaks("no-message-lost", lost(3600, 10_000));
    breaks("no-message-lost", lost(1, 10_000));
    let mut model = model();
    subscribe(&mut model, "t/#", 1, 0, 10);
    expiring(&mut model, 1, 1, 20);
    model.finish(10_000, 100).unwrap();
    assert_eq!(model.checked.expired_waiting, 1);
}

#[test]
fn a_sys_tree_at_the_wrong_time_is_noticed() {
    let tell = |model: &mut Model, second: u64| {
        let publish = Publish {
            dup: false,
            qos: 0,
            retain: false,
            topic: "$SYS/brokers/n/datetime".into(),
            pid: 0,
            payload: format!("1970-01-01 00:00:{second:02}").into_bytes(),
            alias: None,
            subscription_ids: Vec::new(),
            expiry_s: None,
        };
        let (now, topic) = (second * 1000, publish.topic.clone());
        model.received(&Reception {
            now,
            written: now,
            is_v5: true,
            session: 0,
            publish: &publish,
            topic: &topic,
            fresh: true,
            retried: false,
        })
    };
    let begin = || {
        let mut model = model();
        model.watcher = SUBSCRIBER;
        model.sys = Sys::new(10, true);
        subscribe(&mut model, sys::SYS_FILTER, 0, 2, 10);
        tell(&mut model, 1).unwrap();
        tell(&mut model, 11).unwrap();
        model
    };
    breaks("sys-in-time", tell(&mut begin(), 20).map(|_| ()));
    breaks("sys-in-time", tell(&mut begin(), 25).map(|_| ()));
    let mut reloaded = begin();
    reloaded.sys.paced(13_500, 0);
    breaks("sys-in-time", tell(&mut reloaded, 21).map(|_| ()));
    reloaded.finish(100_000, 100).unwrap();
    breaks("sys-in-time", begin().finish(100_000, 100));
}

#[test]
fn a_drain_without_a_word_and_one_that_forgets_are_noticed() {
    let mut model = model();
    model.connections[SUBSCRIBER].is_v5 = true;
    model.drain_from = Some(10);
    model.connection_ended(SUBSCRIBER, end(20, true)).unwrap();
    breaks("drain-says-why", model.drained_with_reason(SUBSCRIBER));
    model.connections[SUBSCRIBER].told = Some(0x8b);
    model.drained_with_reason(SUBSCRIBER).unwrap();
    subscribe(&mut model, "t/#", 1, 0, 10);
    accepted(&mut model, "t/1", 1, false, 20);
    breaks("drain-loses-nothing", model.drained(30, 1, 1));
    breaks("drain-loses-nothing", model.drained(30, 2, 0));
    model.drained(30, 2, 1).unwrap();
}

//! Alarms: raised once, cleared once, with a distance between both; in `$SYS`, in the log, over the API.

use serde_json::Value;

use super::observed;
use crate::broker::{Broker, Options, peer_is_mosquitto, wait_until};
use crate::wire::{Connect, Publish};

/// The alarm `id` of the API, the newest if there are several.
fn alarm(broker: &Broker, id: &str) -> Option<Value> {
    let alarms = broker.http().json("/api/v1/alarms");
    alarms["items"].as_array().unwrap().iter().find(|alarm| alarm["id"] == id).cloned()
}

fn is_active(broker: &Broker, id: &str) -> bool {
    alarm(broker, id).is_some_and(|alarm| alarm["active"] == true)
}

/// As long as an alarm may take: two looks of two seconds on a busy machine.
fn wait_for(broker: &Broker, id: &str, active: bool) {
    wait_until(&format!("{id} active={active}"), || {
        alarm(broker, id).is_some() && is_active(broker, id) == active
    });
}

#[test]
fn a_long_mqueue_is_an_alarm_that_names_the_worst_until_it_is_short() {
    for shards in [1, 3] {
        let Some(broker) = observed(shards, &["session.queue_len_max=20"]) else { return };
        let mut watcher = broker.connect(Connect::v5("watcher"));
        watcher.subscribe("$SYS/brokers/n1/alarms/#", 0);
        for name in ["away-1", "away-2", "away-3"] {
            let mut away = broker.connect(Connect::v5(name).persistent());
            away.subscribe(&format!("to/{name}"), 1);
            away.disconnect();
        }
        let mut publisher = broker.connect(Connect::v5("p"));
        let mut send = |to: &str, count: usize| {
            (0..count).for_each(|_| publisher.publish(Publish::new(&format!("to/{to}"), "x").qos(1)));
        };
        send("away-1", 12);
        send("away-2", 13);
        send("away-3", 18);
        wait_until("both long queues are counted", || {
            let message = alarm(&broker, "queue_high").map(|alarm| alarm["message"].to_string());
            message.is_some_and(|text| text.contains("2 mqueues") && text.contains("away-3"))
        });
        let alert = watcher.recv_message();
        assert_eq!(alert.topic, "$SYS/brokers/n1/alarms/queue_high/alert");
        let told: Value = serde_json::from_str(&alert.text()).unwrap();
        assert_eq!((&told["id"], &told["severity"]), (&"queue_high".into(), &"warning".into()), "{told}");
        assert!(broker.output().contains("id=\"queue_high\""), "{}", broker.output());
        let mut late = broker.connect(Connect::v5("late"));
        late.subscribe("$SYS/brokers/n1/alarms/+/alert", 0);
        assert!(late.recv_message().retain, "who comes later sees it too");
        // One queue empties, the other is still long: no alarm is over.
        let mut back = broker.connect(Connect::v5("away-3").resume().persistent());
        (0..18).for_each(|_| drop(back.expect_message("to/away-3", "x")));
        wait_until("the other one is the longest", || {
            alarm(&broker, "queue_high").is_some_and(|alarm| alarm["message"].to_string().contains("away-2"))
        });
        assert!(is_active(&broker, "queue_high"));
        let mut back = broker.connect(Connect::v5("away-2").resume().persistent());
        (0..13).for_each(|_| drop(back.expect_message("to/away-2", "x")));
        wait_for(&broker, "queue_high", false);
        let over = alarm(&broker, "queue_high").unwrap();
        assert!(over["cleared_at"].as_str().unwrap() >= over["raised_at"].as_str().unwrap(), "{over}");
        // Each has a shard that keeps what is retained of its topic, and comes from there.
        let mut told = [watcher.recv_message(), watcher.recv_message()];
        told.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert_eq!(told[0].topic, "$SYS/brokers/n1/alarms/queue_high/alert");
        assert_eq!(told[0].text(), "", "the retained alert goes");
        assert_eq!(told[1].topic, "$SYS/brokers/n1/alarms/queue_high/clear");
    }
}

#[test]
fn nearly_as_many_connections_as_there_may_be_are_an_alarm() {
    let Some(broker) = observed(2, &["limits.max_connections=20"]) else { return };
    let mut clients: Vec<_> =
        (0..17).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
    let settle = |broker: &Broker| {
        // What has to be looked at has been: the alarm of another condition comes and goes by the same looks.
        let before = broker.http().json("/api/v1/shards");
        assert!(before["items"].is_array());
    };
    settle(&broker);
    assert!(!is_active(&broker, "connections_high"));
    clients.push(broker.connect(Connect::v5("c-17")));
    wait_for(&broker, "connections_high", true);
    assert!(alarm(&broker, "connections_high").unwrap()["message"].to_string().contains("18 clients"));
    clients.truncate(15);
    wait_for(&broker, "connections_high", false);
}

#[test]
fn nothing_is_wrong_with_an_idle_broker() {
    let Some(broker) = observed(1, &[]) else { return };
    assert_eq!(broker.http().json("/api/v1/alarms")["items"], serde_json::json!([]));
}

/// What is retained of an alarm.
fn retained(broker: &Broker, id: &str) -> Vec<Value> {
    let list = broker.http().json("/api/v1/retained?match=$SYS/brokers/n1/alarms/%23");
    let is_of = |item: &&Value| item["topic"].as_str().unwrap().contains(id);
    list["items"].as_array().unwrap().iter().filter(is_of).cloned().collect()
}

/// Retained Messages that get an expiry here are written anew with it; those of the node itself are about one run of it.
#[test]
fn an_alarm_of_the_run_before_is_not_retained_after_a_restart() {
    if peer_is_mosquitto() {
        return;
    }
    for restarted in [1, 3] {
        let options = Options::durable(2).set("node.name=n1").set("retained.expiry_s=3600");
        let options = options.set("limits.max_connections=10").set("sys.interval_s=1");
        let mut broker = Broker::start(&options).unwrap();
        let clients: Vec<_> = (0..9).map(|n| broker.connect(Connect::v5(&format!("c-{n}")))).collect();
        wait_for(&broker, "connections_high", true);
        wait_until("it is retained", || retained(&broker, "connections_high").len() == 1);
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("kept", "x").qos(1).retain());
        broker.kill();
        drop(clients);
        broker.restart(&options.with_shards(restarted));
        assert_eq!(alarm(&broker, "connections_high"), None);
        assert_eq!(retained(&broker, "connections_high"), [] as [Value; 0]);
        let kept = broker.http().json("/api/v1/retained?match=kept");
        assert_eq!(kept["items"].as_array().unwrap().len(), 1, "what clients retain is kept: {kept}");
    }
}

/// The real measurement: a limit that the process is beyond, then one that it is not.
#[test]
fn memory_near_the_limit_is_an_alarm_until_the_limit_is_far() {
    if peer_is_mosquitto() {
        return;
    }
    let options = Options::shards(2).set("node.name=n1").file("[limits]\nmemory_max = \"64GB\"\n");
    let broker = Broker::start(&options).unwrap();
    let reload = |memory_max: &str| {
        let text = format!("[limits]\nmemory_max = \"{memory_max}\"\n");
        std::fs::write(broker.dir().join("myriad.toml"), text).unwrap();
        broker.signal("HUP");
    };
    let mut watcher = broker.connect(Connect::v5("watcher"));
    watcher.subscribe("$SYS/brokers/n1/alarms/memory_high/#", 0);
    reload("1MB");
    let alert = watcher.recv_message();
    assert_eq!(alert.topic, "$SYS/brokers/n1/alarms/memory_high/alert");
    let told: Value = serde_json::from_str(&alert.text()).unwrap();
    let summary = told["summary"].as_str().unwrap();
    assert!(summary.contains("MiB (limits.memory_max) are used: new connections are refused"), "{summary}");
    assert!(is_active(&broker, "memory_high"));
    reload("64GB");
    wait_for(&broker, "memory_high", false);
    let mut told = [watcher.recv_message(), watcher.recv_message()];
    told.sort_by(|a, b| a.topic.cmp(&b.topic));
    assert_eq!((told[0].topic.as_str(), told[0].text().as_str()), (alert.topic.as_str(), ""));
    assert_eq!(told[1].topic, "$SYS/brokers/n1/alarms/memory_high/clear");
}

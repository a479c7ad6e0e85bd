//! A backup of a broker that goes on: it is a data directory to start on, with all that was acknowledged before it was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;

use super::{Durable, has_no_journal};
use crate::broker::{Broker, command, temporary_dir, unused_address};
use crate::wire::{Connect, Publish, Version};

#[test]
fn a_backup_under_traffic_has_all_that_was_acknowledged_before_it() {
    if has_no_journal() {
        return;
    }
    let settings = ["storage.segment_bytes=65536", "session.queue_len_max=1000000"];
    let broker = Durable::start(&settings).unwrap();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let (acknowledged, ends) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let traffic = {
        let (acknowledged, ends) = (Arc::clone(&acknowledged), Arc::clone(&ends));
        let mut publisher = broker.connect(Connect::new(Version::V50, "p").persistent());
        std::thread::spawn(move || {
            let mut number = 0;
            while !ends.load(Ordering::SeqCst) {
                let text = format!("{number:06}{}", "-".repeat(500));
                publisher.publish(Publish::new("t", text).qos(1 + (number % 2) as u8));
                number += 1;
                acknowledged.store(number, Ordering::SeqCst);
            }
            number
        })
    };
    let mut backups = Vec::new();
    for _ in 0..3 {
        crate::broker::wait_until("some traffic", || {
            acknowledged.load(Ordering::SeqCst) > 40 * (backups.len() as u32 + 1)
        });
        let to = temporary_dir().join("backup");
        let before = acknowledged.load(Ordering::SeqCst);
        broker.http().post("/api/v1/store/backup", &json!({ "to": to })).json(200);
        backups.push((to, before, acknowledged.load(Ordering::SeqCst)));
    }
    ends.store(true, Ordering::SeqCst);
    let sent = traffic.join().unwrap();
    for (to, before, after) in backups {
        let address = unused_address();
        let options = broker.options.with_shards(5);
        let copy = Broker::spawn(&mut command(&options, address, &to).unwrap(), address, 5, to);
        let (mut client, connack) = copy.connect_with_ack(Connect::v5("c").persistent());
        assert!(connack.session_present);
        copy.connect(Connect::v5("end")).publish(Publish::new("t", "999999").qos(2));
        let mut numbers = Vec::new();
        while numbers.last() != Some(&999_999) {
            numbers.push(client.recv_message().text()[..6].parse::<u32>().unwrap());
        }
        numbers.pop();
        let count = numbers.len() as u32;
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        // One message may be under way while the answer is.
        assert!(count >= before && count <= (after + 1).min(sent), "{count} of {before} to {after}");
        // The journal of the backup is the copy's own from here on.
        assert!(copy.output().contains("myriad ready"));
    }
    // And the first broker has everything.
    let mut client = broker.resume(Connect::v5("c").persistent());
    for number in 0..sent {
        assert_eq!(client.recv_message().text()[..6], format!("{number:06}"));
    }
}

//! rumqttc, the Rust client of the field, in 3.1.1 and 5.0.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rumqttc::{Client, Event, LastWill, MqttOptions, Packet, QoS};

use crate::broker::Broker;
use crate::client::TIMEOUT;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn options(broker: &Broker, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, broker.address.ip().to_string(), broker.address.port());
    options.set_keep_alive(Duration::from_secs(30)).set_inflight(20);
    options
}

/// A client whose packets arrive in a channel.
fn connect(options: MqttOptions) -> (Client, mpsc::Receiver<Packet>) {
    let (client, mut connection) = Client::new(options, 2000);
    let (sender, packets) = mpsc::channel();
    thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(packet)) => {
                    if sender.send(packet).is_err() {
                        return;
                    }
                }
                Ok(Event::Outgoing(_)) => {}
                Err(_) => return,
            }
        }
    });
    wait_for(&packets, |packet| matches!(packet, Packet::ConnAck(_)));
    (client, packets)
}

fn wait_for(packets: &mpsc::Receiver<Packet>, wanted: impl Fn(&Packet) -> bool) -> Packet {
    loop {
        let packet = packets.recv_timeout(TIMEOUT).expect("a packet");
        if wanted(&packet) {
            return packet;
        }
    }
}

fn next_payload(packets: &mpsc::Receiver<Packet>) -> String {
    match wait_for(packets, |packet| matches!(packet, Packet::Publish(_))) {
        Packet::Publish(publish) => String::from_utf8(publish.payload.to_vec()).unwrap(),
        _ => unreachable!(),
    }
}

fn subscribe(client: &Client, packets: &mpsc::Receiver<Packet>, filter: &str, qos: QoS) {
    client.subscribe(filter, qos).unwrap();
    wait_for(packets, |packet| matches!(packet, Packet::SubAck(_)));
}

sharded!(rumqttc_publishes_and_receives_at_each_qos, |broker| {
    let (subscriber, packets) = connect(options(broker, "subscriber"));
    subscribe(&subscriber, &packets, "qos/#", QoS::ExactlyOnce);
    let (publisher, _publisher_packets) = connect(options(broker, "publisher"));
    for (index, qos) in QOS.into_iter().enumerate() {
        publisher.publish("qos/t", qos, false, index.to_string()).unwrap();
        assert_eq!(next_payload(&packets), index.to_string());
    }
});

sharded!(rumqttc_gets_1000_messages_in_order, |broker| {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (subscriber, packets) = connect(options(broker, "subscriber"));
        subscribe(&subscriber, &packets, "order", qos);
        let (publisher, _publisher_packets) = connect(options(broker, "publisher"));
        for number in 0..1000 {
            publisher.publish("order", qos, false, number.to_string()).unwrap();
        }
        for number in 0..1000 {
            assert_eq!(next_payload(&packets), number.to_string());
        }
        publisher.disconnect().unwrap();
        subscriber.disconnect().unwrap();
    }
});

sharded!(rumqttc_gets_retained_messages_and_wills, |broker| {
    let mut options_of_rude = options(broker, "rude");
    options_of_rude.set_last_will(LastWill::new("will", "gone", QoS::AtLeastOnce, true));
    let (rude, mut connection) = Client::new(options_of_rude, 10);
    assert!(connection.iter().take(1).all(|event| event.is_ok()));
    drop((rude, connection));
    let (publisher, packets) = connect(options(broker, "publisher"));
    publisher.publish("kept", QoS::AtLeastOnce, true, "yes").unwrap();
    wait_for(&packets, |packet| matches!(packet, Packet::PubAck(_)));
    let (subscriber, packets) = connect(options(broker, "subscriber"));
    subscribe(&subscriber, &packets, "kept", QoS::AtLeastOnce);
    assert_eq!(next_payload(&packets), "yes");
    subscriber.subscribe("will", QoS::AtLeastOnce).unwrap();
    assert_eq!(next_payload(&packets), "gone");
});

sharded!(rumqttc_resumes_a_session, |broker| {
    let persistent = || {
        let mut options = options(broker, "persistent");
        options.set_clean_session(false);
        options
    };
    let (client, packets) = connect(persistent());
    subscribe(&client, &packets, "resume", QoS::ExactlyOnce);
    client.disconnect().unwrap();
    while packets.recv_timeout(TIMEOUT).is_ok() {}
    let (publisher, acknowledgements) = connect(options(broker, "publisher"));
    for number in 0..50 {
        publisher.publish("resume", QoS::AtLeastOnce, false, number.to_string()).unwrap();
        wait_for(&acknowledgements, |packet| matches!(packet, Packet::PubAck(_)));
    }
    let (_client, packets) = connect(persistent());
    for number in 0..50 {
        assert_eq!(next_payload(&packets), number.to_string());
    }
});

sharded!(rumqttc_speaks_5_0_with_properties, |broker| {
    use rumqttc::v5::mqttbytes::QoS as QoS5;
    use rumqttc::v5::mqttbytes::v5::{Packet as Packet5, PublishProperties};
    use rumqttc::v5::{Client as Client5, Event as Event5, MqttOptions as MqttOptions5};

    let (host, port) = (broker.address.ip().to_string(), broker.address.port());
    let (client, mut connection) = Client5::new(MqttOptions5::new("five", host, port), 10);
    client.subscribe("five", QoS5::ExactlyOnce).unwrap();
    let properties = PublishProperties {
        user_properties: vec![("b".into(), "1".into()), ("a".into(), "2".into())],
        content_type: Some("text/plain".into()),
        ..Default::default()
    };
    client.publish_with_properties("five", QoS5::ExactlyOnce, false, "x", properties.clone()).unwrap();
    let publish = connection
        .iter()
        .find_map(|event| match event.unwrap() {
            Event5::Incoming(Packet5::Publish(publish)) => Some(publish),
            _ => None,
        })
        .unwrap();
    assert_eq!((&publish.payload[..], publish.properties), (&b"x"[..], Some(properties)));
});

//! PUBLISH and its acknowledgements in 3.1.1 and 3.1 (sections 3.3 to 3.7, 4.3).

use super::OLD;
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

sharded!(mqtt3_4_3_1_1_qos0_is_delivered, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("t", 0);
        client.publish(Publish::new("t", "x"));
        assert_eq!(client.recv_publish(), Publish::new("t", "x"));
    }
});

sharded!(mqtt3_4_3_2_2_qos1_gets_a_puback, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("t", 1);
        client.send(Publish::new("t", "x").qos(1).id(65_535));
        client.expect_ack(AckKind::Puback, 65_535, 0);
        let publish = client.recv_message();
        assert_eq!((publish.qos, publish.dup, publish.text()), (1, false, "x".into()));
    }
});

sharded!(mqtt3_4_3_3_2_qos2_gets_pubrec_and_pubcomp, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("t", 2);
        client.publish(Publish::new("t", "x").qos(2));
        let publish = client.recv_message();
        assert_eq!((publish.qos, publish.dup, publish.text()), (2, false, "x".into()));
    }
});

sharded!(mqtt3_4_3_3_qos2_duplicate_is_not_delivered_again, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("t", 0);
        client.send(Publish::new("t", "once").qos(2).id(9));
        client.expect_ack(AckKind::Pubrec, 9, 0);
        client.send(Publish::new("t", "once").qos(2).id(9).dup());
        client.expect_ack(AckKind::Pubrec, 9, 0);
        client.send(Ack::new(AckKind::Pubrel, 9));
        client.expect_ack(AckKind::Pubcomp, 9, 0);
        client.expect_payloads(["once"]);
        client.expect_nothing();
    }
});

sharded!(mqtt3_4_3_3_pubrel_for_an_unknown_id_gets_pubcomp, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Ack::new(AckKind::Pubrel, 4711));
        client.expect_ack(AckKind::Pubcomp, 4711, 0);
    }
});

sharded!(mqtt3_section_4_3_acknowledgements_of_unknown_ids_do_no_harm, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Ack::new(AckKind::Puback, 4711));
        client.send(Ack::new(AckKind::Pubcomp, 4711));
        client.ping();
    }
});

sharded!(mqtt3_3_3_1_3_dup_is_not_propagated, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe("t", 2);
    for qos in 1..3 {
        client.publish(Publish::new("t", "x").qos(qos).dup());
        assert!(!client.recv_message().dup);
    }
});

sharded!(mqtt3_3_8_4_6_delivery_has_the_lower_of_both_qos, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        for granted in 0..3 {
            client.subscribe("t", granted);
            for sent in 0..3 {
                client.publish(Publish::new("t", "x").qos(sent));
                assert_eq!(client.recv_message().qos, sent.min(granted));
            }
        }
    }
});

sharded!(mqtt3_4_6_0_2_acknowledgements_come_in_the_order_of_the_publishes, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        let mut bytes = Vec::new();
        for id in 1..=20_u16 {
            let publish = Publish::new(&format!("t/{}", id % 5), "x").qos(1 + (id % 2) as u8).id(id);
            bytes.extend(Packet::from(publish).encode(version));
        }
        client.send_bytes(&bytes);
        for id in 1..=20 {
            client.recv_ack(if id % 2 == 0 { AckKind::Puback } else { AckKind::Pubrec }, id);
        }
    }
});

sharded!(mqtt3_4_6_0_5_messages_keep_their_order, |broker| {
    for version in OLD {
        for qos in 0..3 {
            let mut subscriber = broker.connect(Connect::new(version, "s"));
            subscriber.subscribe("t", qos);
            let mut publisher = broker.connect(Connect::new(version, "p"));
            for number in 0..100_u32 {
                publisher.publish(Publish::new("t", number.to_string()).qos(qos));
            }
            subscriber.expect_payloads((0..100).map(|number: u32| number.to_string()));
        }
    }
});

sharded!(mqtt3_section_3_3_qos_above_the_maximum_closes, "mqtt.qos_max=1", |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    assert_eq!(client.subscribe_reason("t", 2), 1);
    client.send(Publish::new("t", "x").qos(2).id(1));
    client.expect_closed();
});

sharded!(mqtt3_section_2_2_3_a_packet_over_the_limit_closes, "limits.packet_bytes_max=1000", |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.publish(Publish::new("t", "x".repeat(900)).qos(1));
        client.send_bytes_or_closed(&Packet::from(Publish::new("t", "x".repeat(2000))).encode(version));
        client.expect_closed();
    }
});

sharded!(mqtt3_section_2_2_3_large_payloads_arrive_whole, |broker| {
    let mut subscriber = broker.connect(Connect::v311("s"));
    subscriber.subscribe("big", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for (qos, size) in [(0, 127), (1, 16_384), (2, 1_000_000)] {
        let payload: Vec<u8> = (0..size).map(|index: u32| (index % 251) as u8).collect();
        publisher.publish(Publish::new("big", payload.clone()).qos(qos));
        assert!(subscriber.recv_message().payload == payload, "{size} bytes");
    }
});

sharded!(mqtt3_section_3_3_versions_talk_to_each_other_at_every_qos, |broker| {
    for from in Version::ALL {
        for to in Version::ALL {
            let mut subscriber = broker.connect(Connect::new(to, "s"));
            subscriber.subscribe("t", 2);
            let mut publisher = broker.connect(Connect::new(from, "p"));
            for qos in 0..3 {
                publisher.publish(Publish::new("t", "x").qos(qos));
                assert_eq!(subscriber.expect_message("t", "x").qos, qos);
            }
        }
    }
});

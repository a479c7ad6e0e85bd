//! AUTH and Authentication Methods; the broker knows none (sections 3.15, 4.12).

use crate::wire::{Auth, Connect, Property};

sharded!(mqtt5_4_12_0_1_unknown_authentication_method_is_0x8c, |broker| {
    let connect = || Connect::v5("c").with(Property::AuthMethod("SCRAM-SHA-1".into()));
    broker.expect_refused(connect(), 0x8C);
    broker.expect_refused(connect().with(Property::AuthData(vec![1, 2, 3])), 0x8C);
});

sharded!(mqtt5_section_3_1_2_11_10_authentication_data_without_method_is_a_protocol_error, |broker| {
    broker.expect_refused(Connect::v5("c").with(Property::AuthData(vec![1])), 0x82);
});

sharded!(mqtt5_4_12_0_7_auth_without_a_method_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Auth { reason: 0x19, properties: vec![Property::AuthMethod("SCRAM-SHA-1".into())] });
    client.expect_disconnect(0x82);
    let mut client = broker.connect(Connect::v5("c"));
    client.send_bytes(&[0xF0, 0]);
    client.expect_disconnect(0x82);
});

sharded!(mqtt5_3_15_1_1_auth_with_reserved_bits_is_malformed, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send_bytes(&[0xF1, 0]);
    client.expect_disconnect(0x81);
});

//! Clients that others wrote, over WebSocket: the scenarios that they also pass over TCP.

use super::{SHARDS, listen};
use crate::clients::javascript::scenario_over;
use crate::clients::python::paho_over;

fn javascript(scenario: &str) {
    for shards in SHARDS {
        scenario_over(&listen(shards, "ws", ""), scenario, &["ws"]);
    }
}

fn paho(scenario: &str) {
    for shards in SHARDS {
        paho_over(&listen(shards, "ws", ""), scenario, &["ws"]);
    }
}

#[test]
fn mqttjs_over_websocket_publishes_and_receives_at_each_qos() {
    javascript("qos");
}

#[test]
fn mqttjs_over_websocket_leaves_a_will() {
    javascript("will");
}

#[test]
fn mqttjs_over_websocket_resumes_a_session() {
    javascript("resume");
}

#[test]
fn mqttjs_over_websocket_sends_and_gets_properties() {
    javascript("properties");
}

#[test]
fn mqttjs_over_websocket_gets_1000_messages_in_order() {
    javascript("order");
}

#[test]
fn mqttjs_over_websocket_reconnects_under_load() {
    javascript("reconnect");
}

#[test]
fn paho_over_websocket_publishes_and_receives_at_each_qos() {
    paho("qos");
}

#[test]
fn paho_over_websocket_leaves_a_will() {
    paho("will");
}

#[test]
fn paho_over_websocket_gets_1000_messages_in_order() {
    paho("order");
}

#[test]
fn paho_over_websocket_reconnects_under_load() {
    paho("reconnect");
}

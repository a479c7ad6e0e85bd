//! MQTT.js, by `tests/it/js/scenarios.js`; `npm ci` in that folder installs it.

use std::process::Command;

use super::{repository, run_scenario, runs, skip};
use crate::broker::Broker;

fn scenario(broker: &Broker, scenario: &str) {
    scenario_over(broker, scenario, &[]);
}

/// A scenario over another transport than TCP: `more` is its protocol in MQTT.js' words.
pub fn scenario_over(broker: &Broker, scenario: &str, more: &[&str]) {
    if !runs(Command::new("node").arg("--version")) {
        return skip("there is no node");
    }
    if !repository("tests/it/js/node_modules/mqtt").exists() {
        return skip("MQTT.js is not installed (npm ci in tests/it/js)");
    }
    let mut command = Command::new("node");
    command.arg(repository("tests/it/js/scenarios.js"));
    run_scenario(command, broker, scenario, more);
}

sharded!(mqttjs_publishes_and_receives_at_each_qos, |broker| { scenario(broker, "qos") });
sharded!(mqttjs_gets_retained_messages, |broker| { scenario(broker, "retained") });
sharded!(mqttjs_leaves_a_will, |broker| { scenario(broker, "will") });
sharded!(mqttjs_resumes_a_session, |broker| { scenario(broker, "resume") });
sharded!(mqttjs_shares_a_subscription, |broker| { scenario(broker, "shared") });
sharded!(mqttjs_sends_and_gets_properties, |broker| { scenario(broker, "properties") });
sharded!(mqttjs_gets_1000_messages_in_order, |broker| { scenario(broker, "order") });
sharded!(mqttjs_reconnects_under_load, |broker| { scenario(broker, "reconnect") });

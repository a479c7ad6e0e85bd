//! paho-mqtt and gmqtt, by the scripts in `tests/it/python`. `.venv/bin/python` of the repository is preferred.

use std::process::Command;

use super::{repository, run_scenario, runs, skip};
use crate::broker::Broker;

fn scenario(broker: &Broker, module: &str, script: &str, scenario: &str, more: &[&str]) {
    let own = repository(".venv/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    if !runs(Command::new(&python).args(["-c", &format!("import {module}")])) {
        return skip(&format!("{} can't import {module} (tests/it/requirements.txt)", python.display()));
    }
    let mut command = Command::new(python);
    command.arg(repository("tests/it/python").join(script));
    run_scenario(command, broker, scenario, more);
}

fn paho(broker: &Broker, name: &str) {
    paho_over(broker, name, &[]);
}

/// A scenario over another transport than TCP: `more` says which.
pub fn paho_over(broker: &Broker, name: &str, more: &[&str]) {
    scenario(broker, "paho.mqtt.client", "paho_scenarios.py", name, more);
}

fn gmqtt(broker: &Broker, name: &str) {
    scenario(broker, "gmqtt", "gmqtt_scenarios.py", name, &[]);
}

sharded!(paho_publishes_and_receives_at_each_qos, |broker| { paho(broker, "qos") });
sharded!(paho_gets_retained_messages, |broker| { paho(broker, "retained") });
sharded!(paho_leaves_a_will, |broker| { paho(broker, "will") });
sharded!(paho_resumes_a_session, |broker| { paho(broker, "resume") });
sharded!(paho_shares_a_subscription, |broker| { paho(broker, "shared") });
sharded!(paho_sends_and_gets_properties, |broker| { paho(broker, "properties") });
sharded!(paho_gets_1000_messages_in_order, |broker| { paho(broker, "order") });
sharded!(paho_reconnects_under_load, |broker| { paho(broker, "reconnect") });

sharded!(gmqtt_publishes_and_receives_at_each_qos, |broker| { gmqtt(broker, "qos") });
sharded!(gmqtt_gets_retained_messages, |broker| { gmqtt(broker, "retained") });
sharded!(gmqtt_leaves_a_will_with_delay, |broker| { gmqtt(broker, "will") });
sharded!(gmqtt_resumes_a_session, |broker| { gmqtt(broker, "resume") });
sharded!(gmqtt_shares_a_subscription, |broker| { gmqtt(broker, "shared") });
sharded!(gmqtt_sends_and_gets_properties, |broker| { gmqtt(broker, "properties") });
sharded!(gmqtt_gets_1000_messages_in_order, |broker| { gmqtt(broker, "order") });

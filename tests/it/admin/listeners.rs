//! Listeners: what they have, and that a stopped one lets nobody in.

use super::served;
use crate::broker::wait_until;
use crate::wire::{Connect, Version};

#[test]
fn admin_listeners_are_listed_stopped_and_started() {
    let more = "listener.max_connections=77";
    let Some(broker) = served(3, &[more]) else { return };
    let http = broker.http();
    let mut here = broker.connect(Connect::v5("here"));
    let listed = http.json("/api/v1/listeners");
    let listener = &listed["items"][0];
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listener["bound"], format!("mqtt://{}", broker.address));
    assert_eq!((&listener["index"], &listener["state"]), (&0.into(), &"running".into()));
    assert_eq!((&listener["connections"], &listener["max_connections"]), (&1.into(), &77.into()));
    assert_eq!((&listener["tls"], &listener["proxy_protocol"]), (&false.into(), &false.into()));
    let stopped = http.ask("POST", "/api/v1/listeners/0/stop", &[], b"").json(200);
    assert_eq!(stopped["state"], "stopped");
    for number in 0..6 {
        let mut late = broker.open(Version::V50);
        late.send(Connect::v5(&format!("late{number}")));
        late.expect_closed();
    }
    here.ping();
    let started = http.ask("POST", "/api/v1/listeners/0/start", &[], b"").json(200);
    assert_eq!(started["state"], "running");
    broker.connect(Connect::v5("next")).ping();
    http.ask("POST", "/api/v1/listeners/1/stop", &[], b"").problem(404, "not_found");
    http.ask("POST", "/api/v1/listeners/x/stop", &[], b"").problem(400, "bad_request");
    here.disconnect();
    wait_until("it is counted out", || http.json("/api/v1/listeners")["items"][0]["connections"] == 0);
}

//! Clients that others wrote, over TLS: Mosquitto's tools, openssl, paho, MQTT.js.

use std::process::{Child, Stdio};

use super::*;
use crate::broker::wait;
use crate::clients::{javascript, mosquitto, python, runs, skip};
use crate::wire::{Connect, Publish};

fn tool(name: &str, secured: &Secured, args: &[&str]) -> Child {
    let (host, port) = (secured.mqtts.ip().to_string(), secured.mqtts.port().to_string());
    let mut command = Command::new(name);
    command.args(["-h", &host, "-p", &port]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a tool: whether it was good, and what it printed.
fn output(mut child: Child) -> (bool, String) {
    let status = wait(&mut child);
    if status.is_none() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (status.is_some_and(|status| status.success()), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn mosquitto_clients_in_both_versions_of_tls() {
    if !mosquitto::installed() {
        return;
    }
    for shards in SHARDS {
        let secured = Options::shards(shards).start();
        let ca = secured.path("ca.pem");
        for tls in ["tlsv1.2", "tlsv1.3"] {
            for version in ["mqttv31", "mqttv311", "mqttv5"] {
                let common = ["--cafile", &ca, "--tls-version", tls, "-V", version, "--tls-alpn", "mqtt"];
                secured.broker.connect(Connect::v5("p")).publish(Publish::new("t", "kept").qos(1).retain());
                let (ok, text) = output(tool(
                    "mosquitto_sub",
                    &secured,
                    &[&common[..], &["-t", "t", "-C", "1", "-W", "20"]].concat(),
                ));
                assert!(ok && text == "kept\n", "{tls} {version}: {text}");
                let mut watcher = secured.broker.connect(Connect::v5("watcher"));
                watcher.subscribe("u", 2);
                let (ok, text) = output(tool(
                    "mosquitto_pub",
                    &secured,
                    &[&common[..], &["-t", "u", "-q", "2", "-m", "hello"]].concat(),
                ));
                assert!(ok, "{tls} {version}: {text}");
                watcher.expect_message("u", "hello");
            }
        }
    }
}

#[test]
fn mosquitto_pub_shows_a_certificate_or_is_refused() {
    if !mosquitto::installed() {
        return;
    }
    let secured = Options::shards(2).key("tls.ca = \"ca.pem\"").key("tls.require_client_cert = true").start();
    write_pair(secured.broker.dir(), "client", &secured.authority.client("car-7"));
    let (ca, cert, key) = (secured.path("ca.pem"), secured.path("client.pem"), secured.path("client.key"));
    for tls in ["tlsv1.2", "tlsv1.3"] {
        let without = ["--cafile", &ca, "--tls-version", tls, "-t", "t", "-m", "x", "-q", "1"];
        let (ok, text) = output(tool("mosquitto_pub", &secured, &without));
        assert!(!ok, "{tls}: {text}");
        let with = [&without[..], &["--cert", &cert, "--key", &key]].concat();
        let (ok, text) = output(tool("mosquitto_pub", &secured, &with));
        assert!(ok, "{tls}: {text}");
    }
}

#[test]
fn a_mosquitto_client_without_tls_is_turned_away() {
    if !mosquitto::installed() {
        return;
    }
    let secured = Options::shards(2).start();
    let (ok, text) = output(tool("mosquitto_pub", &secured, &["-t", "t", "-m", "x", "-q", "1"]));
    assert!(!ok, "{text}");
    wait_until("the log names it", || secured.broker.output().contains("plain MQTT on a TLS listener"));
}

#[test]
fn openssl_verifies_the_chain_and_resumes() {
    if !runs(Command::new("openssl").arg("version")) {
        return skip("there is no openssl");
    }
    let secured = Options::shards(4).start();
    let session = secured.path("session");
    let s_client = |more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &secured.mqtts.to_string(),
            "-CAfile",
            &secured.path("ca.pem"),
        ]);
        command.args(["-verify_return_error", "-alpn", "mqtt", "-servername", HOST]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        output(command.spawn().unwrap())
    };
    let (_, text) = s_client(&["-tls1_2", "-sess_out", &session]);
    assert!(text.contains("Verify return code: 0 (ok)") && text.contains("ALPN protocol: mqtt"), "{text}");
    let (_, text) = s_client(&["-tls1_2", "-sess_in", &session]);
    assert!(text.contains("Reused, TLSv1.2"), "{text}");
    let (_, text) = s_client(&["-tls1_1"]);
    assert!(!text.contains("Verify return code: 0 (ok)") || text.contains("alert"), "{text}");
}

#[test]
fn renegotiation_is_refused() {
    if !runs(Command::new("openssl").arg("version")) {
        return skip("there is no openssl");
    }
    let secured = Options::shards(1).start();
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &secured.mqtts.to_string(),
        "-CAfile",
        &secured.path("ca.pem"),
        "-tls1_2",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    wait_until("the handshake", || {
        secured.broker.connect(Connect::v5("")).disconnect();
        secured.broker.output().contains("TLS handshake")
    });
    // A line of this letter alone asks s_client for it.
    std::io::Write::write_all(&mut stdin, b"R\n").unwrap();
    let (_, text) = output(child);
    assert!(text.contains("RENEGOTIATING") && text.contains("no renegotiation"), "{text}");
    drop(stdin);
}

/// Runs a scenario at the TLS listeners of a broker with 1 and with 4 shards.
fn scenarios(run: impl Fn(&Broker, &str)) {
    for shards in SHARDS {
        let Secured { mut broker, mqtts, .. } = Options::shards(shards).start();
        broker.address = mqtts;
        let ca = broker.dir().join("ca.pem").to_str().unwrap().to_owned();
        run(&broker, &ca);
    }
}

fn scenarios_wss(run: impl Fn(&Broker, &str)) {
    for shards in SHARDS {
        let Secured { mut broker, wss, .. } = Options::shards(shards).start();
        broker.address = wss;
        let ca = broker.dir().join("ca.pem").to_str().unwrap().to_owned();
        run(&broker, &ca);
    }
}

#[test]
fn paho_over_tls_publishes_and_receives_at_each_qos() {
    scenarios(|broker, ca| python::paho_over(broker, "qos", &["tcp", ca]));
}

#[test]
fn paho_over_tls_leaves_a_will() {
    scenarios(|broker, ca| python::paho_over(broker, "will", &["tcp", ca]));
}

#[test]
fn paho_over_tls_gets_1000_messages_in_order() {
    scenarios(|broker, ca| python::paho_over(broker, "order", &["tcp", ca]));
}

#[test]
fn paho_over_tls_reconnects_under_load() {
    scenarios(|broker, ca| python::paho_over(broker, "reconnect", &["tcp", ca]));
}

#[test]
fn paho_over_wss_publishes_and_receives_at_each_qos() {
    scenarios_wss(|broker, ca| python::paho_over(broker, "qos", &["ws", ca]));
}

#[test]
fn mqttjs_over_tls_publishes_and_receives_at_each_qos() {
    scenarios(|broker, ca| javascript::scenario_over(broker, "qos", &["mqtts", ca]));
}

#[test]
fn mqttjs_over_tls_gets_1000_messages_in_order() {
    scenarios(|broker, ca| javascript::scenario_over(broker, "order", &["mqtts", ca]));
}

#[test]
fn mqttjs_over_wss_publishes_and_receives_at_each_qos() {
    scenarios_wss(|broker, ca| javascript::scenario_over(broker, "qos", &["wss", ca]));
}

#[test]
fn mqttjs_over_wss_gets_1000_messages_in_order() {
    scenarios_wss(|broker, ca| javascript::scenario_over(broker, "order", &["wss", ca]));
}

#[test]
fn mqttjs_over_wss_reconnects_under_load() {
    scenarios_wss(|broker, ca| javascript::scenario_over(broker, "reconnect", &["wss", ca]));
}

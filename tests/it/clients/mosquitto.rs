//! mosquitto_pub and mosquitto_sub from Debian's `mosquitto-clients`.

use std::process::{Child, Command, Stdio};

use super::{runs, skip};
use crate::broker::{Broker, wait};
use crate::wire::{Connect, Publish};

/// `mosquitto_pub` and `mosquitto_sub` answer `--help` with status 1.
pub fn installed() -> bool {
    let found = runs(Command::new("sh").args(["-c", "command -v mosquitto_pub && command -v mosquitto_sub"]));
    if !found {
        skip("there are no mosquitto_pub and mosquitto_sub");
    }
    found
}

fn tool(name: &str, broker: &Broker, args: &[&str]) -> Child {
    let mut command = Command::new(name);
    command
        .args(["-h", &broker.address.ip().to_string(), "-p", &broker.address.port().to_string()])
        .args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a tool, which has to be good, and returns what it printed.
fn output(mut child: Child) -> String {
    let status = wait(&mut child);
    if status.is_none() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(status.is_some_and(|status| status.success()), "{status:?} {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A `mosquitto_sub` that has its subscription. It tells so by getting a retained message first.
fn subscriber(broker: &Broker, args: &[&str], count: usize) -> Child {
    let count = count.to_string();
    let child = tool("mosquitto_sub", broker, &[args, &["-C", &count, "-W", "20"]].concat());
    wait_for_subscriptions(broker);
    child
}

/// `mosquitto_sub` prints nothing at SUBACK: probes until somebody is subscribed to `probe`.
fn wait_for_subscriptions(broker: &Broker) {
    let mut prober = broker.connect(Connect::v5("prober"));
    for _ in 0..500 {
        if prober.publish_reason(Publish::new("probe", "").qos(1)) == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("mosquitto_sub does not subscribe");
}

sharded!(mosquitto_clients_at_each_version_and_qos, |broker| {
    if !installed() {
        return;
    }
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let args = ["-V", version, "-q", qos, "-v", "-t", "a/+", "-t", "probe"];
            let probed = subscriber(broker, &args, 2);
            output(tool("mosquitto_pub", broker, &["-V", version, "-q", qos, "-t", "a/b", "-m", "hello"]));
            let lines = output(probed);
            assert!(lines.ends_with("a/b hello\n"), "{version} QoS {qos}: {lines:?}");
        }
    }
});

sharded!(mosquitto_clients_keep_retained_messages, |broker| {
    if !installed() {
        return;
    }
    output(tool("mosquitto_pub", broker, &["-q", "1", "-r", "-t", "kept", "-m", "yes"]));
    let args = ["-t", "kept", "-C", "1", "-W", "20", "-F", "%r %t %p"];
    assert_eq!(output(tool("mosquitto_sub", broker, &args)), "1 kept yes\n");
});

sharded!(mosquitto_clients_resume_a_session, |broker| {
    if !installed() {
        return;
    }
    for version in ["mqttv311", "mqttv5"] {
        let session = ["-V", version, "-i", "sub", "-c", "-q", "1", "-t", "away"];
        let args = [&session[..], &["-x", "100", "-E"]].concat();
        let args = if version == "mqttv5" { args } else { [&session[..], &["-E"]].concat() };
        output(tool("mosquitto_sub", broker, &args));
        for number in 0..5 {
            output(tool("mosquitto_pub", broker, &["-q", "1", "-t", "away", "-m", &number.to_string()]));
        }
        let expiry: &[&str] = if version == "mqttv5" { &["-x", "100"] } else { &[] };
        let args = [&session[..], expiry, &["-C", "5", "-W", "20"]].concat();
        assert_eq!(output(tool("mosquitto_sub", broker, &args)), "0\n1\n2\n3\n4\n");
    }
});

sharded!(mosquitto_clients_leave_a_will_and_send_properties, |broker| {
    if !installed() {
        return;
    }
    let mut watcher = broker.connect(Connect::v5("watcher"));
    watcher.subscribe_all(&["will", "rich"], 1);
    let args = [
        "-V",
        "mqttv5",
        "-t",
        "nothing",
        "--will-topic",
        "will",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
    ];
    let mut rude = tool("mosquitto_sub", broker, &[&args[..], &["-t", "probe"]].concat());
    wait_for_subscriptions(broker);
    rude.kill().unwrap();
    rude.wait().unwrap();
    watcher.expect_message("will", "gone");
    let properties =
        ["-D", "publish", "user-property", "k", "v", "-D", "publish", "content-type", "text/plain"];
    let args = [&["-V", "mqttv5", "-q", "1", "-t", "rich", "-m", "x"][..], &properties].concat();
    output(tool("mosquitto_pub", broker, &args));
    assert_eq!(watcher.expect_message("rich", "x").properties.len(), 2);
});

sharded!(mosquitto_pub_sends_1000_lines_in_order, |broker| {
    if !installed() {
        return;
    }
    let file = crate::broker::temporary_dir().join("lines");
    let lines: String = (0..1000).map(|number| format!("{number}\n")).collect();
    std::fs::write(&file, &lines).unwrap();
    for qos in ["1", "2"] {
        let mut subscriber = broker.connect(Connect::v311("subscriber"));
        subscriber.subscribe("lines", 2);
        let (host, port) = (broker.address.ip().to_string(), broker.address.port().to_string());
        let status = Command::new("mosquitto_pub")
            .args(["-h", &host, "-p", &port, "-q", qos, "-t", "lines", "-l"])
            .stdin(std::fs::File::open(&file).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        subscriber.expect_payloads((0..1000).map(|number: u32| number.to_string()));
    }
});

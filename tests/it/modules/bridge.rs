//! `[[bridge]]`: two brokers exchange messages, once each, and nothing that was acknowledged is lost between them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir, unused_address, wait_until};
use crate::client::Client;
use crate::wire::{Connect, Packet, Publish, Version};

/// `[[bridge]]` to a plain broker there, with further keys.
fn bridge(name: &str, to: SocketAddr, keys: &str) -> String {
    format!("[[bridge]]\nname = '{name}'\nurl = 'mqtt://{to}'\nkeep_alive_s = 5\n{keys}\n")
}

/// State, and the last trouble, of the first bridge.
fn state(broker: &Broker) -> (String, Option<String>) {
    let shown = broker.http().json("/api/v1/bridges");
    let first = &shown["items"][0];
    (first["state"].as_str().unwrap().into(), first["error"].as_str().map(str::to_owned))
}

fn wait_until_connected(broker: &Broker) {
    wait_until("the bridge is connected", || state(broker).0 == "connected");
}

fn number(broker: &Broker, name: &str) -> u64 {
    broker.http().json("/api/v1/bridges")["items"][0][name].as_u64().unwrap()
}

/// What comes until nothing comes for a while: how often each payload.
fn collect(client: &mut Client) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut silence = Duration::from_secs(3);
    while let Some(packet) = client.recv_within(silence) {
        let Packet::Publish(publish) = packet else { continue };
        client.acknowledge(&publish);
        *found.entry(publish.text()).or_default() += 1;
        silence = Duration::from_millis(700);
    }
    found
}

#[test]
fn bridge_carries_messages_both_ways_under_other_names() {
    if peer_is_mosquitto() {
        return;
    }
    for shards in [1, 3] {
        let there = Broker::start(&Options::shards(shards)).unwrap();
        let keys =
            "forward = ['up/# strip up/ prefix from-here/']\nsubscribe = ['down/+ qos 0 prefix from-there/']";
        let here = Broker::start(&Options::shards(shards).file(&bridge("b", there.address, keys))).unwrap();
        wait_until_connected(&here);
        let mut client = here.connect(Connect::v311("c"));
        let mut other = there.connect(Connect::v5("o"));
        client.subscribe("#", 1);
        other.subscribe("#", 1);
        for qos in 0..=2 {
            client.publish(Publish::new("up/a", format!("{qos}")).qos(qos));
            client.expect_message("up/a", &qos.to_string());
            assert_eq!(other.expect_message("from-here/a", &qos.to_string()).qos, qos.min(1));
        }
        other.publish(Publish::new("down/b", "x").qos(1));
        other.expect_message("down/b", "x");
        assert_eq!(client.expect_message("from-there/down/b", "x").qos, 0);
        other.publish(Publish::new("down/b/c", "y").qos(1));
        other.expect_message("down/b/c", "y");
        client.expect_nothing();
        wait_until("all are acknowledged", || number(&here, "messages_out") == 3);
        assert_eq!((number(&here, "messages_in"), number(&here, "dropped")), (1, 0));
    }
}

#[test]
fn bridge_has_its_own_lists_and_no_module_adds_to_them() {
    if peer_is_mosquitto() {
        return;
    }
    let there = Broker::start(&Options::shards(1)).unwrap();
    let keys = "forward = ['up/#']\nsubscribe = ['down/# strip down/']";
    let modules = "[[subscription]]\nfilter = 'news'\n[[rewrite]]\ntopic = 'x'\npattern = '^x$'\nto = 'y'\non = ['publish']\n";
    let file = bridge("b", there.address, keys) + modules;
    let here = Broker::start(&Options::shards(2).file(&file)).unwrap();
    wait_until_connected(&here);
    let mut other = there.connect(Connect::v5("o"));
    let mut client = here.connect(Connect::v5("c"));
    client.publish(Publish::new("news", "1").qos(1));
    client.expect_message("news", "1");
    for topic in ["x", "$delayed/600/t"] {
        client.subscribe(topic, 1);
        other.publish(Publish::new(&format!("down/{topic}"), "2").qos(1));
        client.expect_message(topic, "2");
    }
    assert_eq!((number(&here, "dropped"), number(&here, "messages_out")), (0, 0));
}

#[test]
fn bridges_of_two_nodes_to_each_other_do_not_send_messages_in_circles() {
    if peer_is_mosquitto() {
        return;
    }
    let keys = "forward = ['t/#']\nsubscribe = ['t/#']";
    // One of them has to know where the other one will be.
    let mut one = Broker::start(&Options::shards(2)).unwrap();
    let two = Broker::start(&Options::shards(2).file(&bridge("to-one", one.address, keys))).unwrap();
    assert!(one.terminate().success());
    one.restart(&Options::shards(2).file(&bridge("to-two", two.address, keys)));
    wait_until_connected(&one);
    wait_until_connected(&two);
    let mut at_one = one.connect(Connect::v5("c"));
    let mut at_two = two.connect(Connect::v5("c"));
    at_one.subscribe("t/#", 1);
    at_two.subscribe("t/#", 1);
    at_one.publish(Publish::new("t/1", "from one").qos(1));
    at_two.publish(Publish::new("t/2", "from two").qos(1));
    let (heard_one, heard_two) = (collect(&mut at_one), collect(&mut at_two));
    // Own messages once; those of the other one by both bridges, which is why one of the two directions is enough.
    assert_eq!(heard_one["from one"], 1, "{heard_one:?}");
    assert_eq!(heard_two["from two"], 1, "{heard_two:?}");
    assert!((1..=2).contains(&heard_one["from two"]), "{heard_one:?}");
    assert!((1..=2).contains(&heard_two["from one"]), "{heard_two:?}");
}

#[test]
fn bridge_loses_nothing_that_was_acknowledged_while_brokers_are_killed() {
    if peer_is_mosquitto() {
        return;
    }
    let there_options = Options::durable(2);
    let mut there = Broker::start(&there_options).unwrap();
    let options = Options::durable(2).file(&bridge("b", there.address, "forward = ['t']"));
    let mut here = Broker::start(&options).unwrap();
    wait_until_connected(&here);
    let mut subscriber = there.connect(Connect::v5("s").persistent());
    subscriber.subscribe("t", 1);
    let mut publisher = here.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "0").qos(1));
    subscriber.expect_message("t", "0");
    subscriber.disconnect();
    there.kill();
    for number in 1..=20 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1));
    }
    // All of it is on this side's disk.
    here.kill();
    here.restart(&options);
    wait_until("it has tried", || state(&here).1.is_some());
    there.restart(&there_options);
    let (mut subscriber, connack) = there.connect_with_ack(Connect::v5("s").persistent());
    assert!(connack.session_present);
    let mut found = BTreeMap::new();
    while found.keys().filter(|number| **number > 0).count() < 20 {
        let publish = subscriber.recv_message();
        *found.entry(publish.text().parse::<u32>().unwrap()).or_insert(0) += 1;
    }
    found.remove(&0);
    assert!(found.keys().copied().eq(1..=20), "{found:?}");
    wait_until_connected(&here);
}

/// Mosquitto, as the other broker.
struct Mosquitto {
    address: SocketAddr,
    child: Child,
}

impl Mosquitto {
    fn start() -> Self {
        let address = unused_address();
        let dir = temporary_dir();
        let conf = dir.join("mosquitto.conf");
        std::fs::write(
            &conf,
            format!("listener {} {}\nallow_anonymous true\n", address.port(), address.ip()),
        )
        .unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        wait_until("Mosquitto listens", || TcpStream::connect(address).is_ok());
        std::fs::remove_dir_all(dir).unwrap();
        Self { address, child }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn bridge_to_mosquitto_in_both_versions_without_echoes() {
    if peer_is_mosquitto() {
        return;
    }
    for version in ["5.0", "3.1.1"] {
        let there = Mosquitto::start();
        let keys = format!("version = '{version}'\nforward = ['t/#']\nsubscribe = ['t/#']");
        let here = Broker::start(&Options::shards(2).file(&bridge("b", there.address, &keys))).unwrap();
        wait_until_connected(&here);
        let mut client = here.connect(Connect::v5("c"));
        client.subscribe("t/#", 1);
        let mut other = Client::open(there.address, Version::V311);
        other.send(Connect::v311("o"));
        assert_eq!(other.recv_connack().reason, 0);
        other.subscribe("t/#", 1);
        client.publish(Publish::new("t/1", "from here").qos(1));
        client.expect_message("t/1", "from here");
        other.expect_message("t/1", "from here");
        other.publish(Publish::new("t/2", "from there").qos(1));
        client.expect_message("t/2", "from there");
        // Its own, which Mosquitto gives back.
        other.expect_message("t/2", "from there");
        assert!(collect(&mut client).is_empty(), "{version}");
        assert!(collect(&mut other).is_empty(), "{version}");
    }
}

#[test]
fn bridge_over_tls_with_a_password() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(file("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(file("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let hash = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";
    std::fs::write(file("users"), format!("bob:{hash}\n")).unwrap();
    std::fs::write(file("password"), "secret\n").unwrap();
    let there_options = Options::shards(2)
        .set(&format!("listener.tls.cert={}", file("cert.pem")))
        .set(&format!("listener.tls.key={}", file("key.pem")))
        .set("auth.order=['file']")
        .set(&format!("auth.file.path={}", file("users")));
    // The name in the certificate is that of 127.0.0.1.
    let port = unused_port();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let data = temporary_dir();
    // The harness names a plain listener: this one is secured.
    let plain = crate::broker::command(&there_options, address, &data).unwrap();
    let mut secured = Command::new(crate::broker::binary());
    secured.args(plain.get_args().map(|argument| argument.to_string_lossy().replace("mqtt://", "mqtts://")));
    let there = Broker::spawn(&mut secured, address, 2, data);
    let keys = |password: &str| {
        format!(
            "[[bridge]]\nname = 'b'\nurl = 'mqtts://localhost:{port}'\nusername = 'bob'\nsubscribe = ['t']\n\
             password_file = '{}'\ntls = {{ ca = '{}' }}\n",
            file(password),
            file("cert.pem"),
        )
    };
    std::fs::write(file("wrong"), "guessed\n").unwrap();
    let mut here = Broker::start(&Options::shards(2).file(&keys("wrong"))).unwrap();
    wait_until("the password is refused", || {
        state(&here).1.is_some_and(|trouble| trouble.contains("the other broker refused the bridge"))
    });
    assert!(!here.output().contains("guessed"));
    assert!(here.terminate().success());
    here.restart(&Options::shards(2).file(&keys("password")));
    wait_until_connected(&here);
    assert!(there.output().contains("mqtts://"));
    assert!(here.terminate().success());
    here.expect_no_restart(
        &Options::shards(2).file(&keys("no-such-file")),
        &["bridge \"b\"", "no-such-file"],
    );
    drop((here, there));
    std::fs::remove_dir_all(dir).unwrap();
}

/// A port of 127.0.0.1 that nobody listens on now.
fn unused_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn bridge_is_stopped_and_started_and_its_name_is_nobody_elses() {
    if peer_is_mosquitto() {
        return;
    }
    let there = Broker::start(&Options::shards(1)).unwrap();
    let here =
        Broker::start(&Options::shards(2).file(&bridge("b", there.address, "forward = ['t']"))).unwrap();
    wait_until_connected(&here);
    here.expect_refused(Connect::v5("$bridge:b"), 0x85);
    there.expect_refused(Connect::v5("$bridge:b"), 0x85);
    // The door is the broker's user's only.
    let door = std::fs::metadata(here.dir().join("bridge.sock")).unwrap();
    assert_eq!(door.permissions().mode() & 0o777, 0o600);
    assert!(!here.output().contains("bridge.sock"), "{}", here.output());

    let http = here.http();
    assert_eq!(http.post("/api/v1/bridges/b/stop", &serde_json::json!({})).status, 204);
    wait_until("it is stopped", || state(&here).0 == "stopped");
    http.post("/api/v1/bridges/x/stop", &serde_json::json!({})).problem(404, "not_found");
    let mut subscriber = there.connect(Connect::v5("s"));
    subscriber.subscribe("t", 1);
    here.connect(Connect::v5("p")).publish(Publish::new("t", "waits").qos(1));
    subscriber.expect_nothing();
    assert_eq!(http.post("/api/v1/bridges/b/start", &serde_json::json!({})).status, 204);
    subscriber.expect_message("t", "waits");
    // Clients are sent away, the bridge goes on.
    let mut client = here.connect(Connect::v5("c"));
    http.post("/api/v1/drain", &serde_json::json!({"rate": 1000})).json(202);
    client.expect_disconnect(0x8B);
    assert_eq!(state(&here).0, "connected");
}

//! `myriadctl` against the real broker: one broker a test, in a data directory of its own.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod fake;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use fake::{Ended, ended, myriadctl, temporary_dir};
use serde_json::Value;

/// Longest time that anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, ended with the test.
struct Broker {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

/// An address of this process's own with a port that is not in use yet.
fn unused_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(18_829);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, 64 | (high & 0x3F), middle, low], port))
}

impl Broker {
    /// `None`: this workspace's broker is not built (`cargo test -p myriadctl` alone).
    fn start(more: &[&str]) -> Option<Self> {
        let address = unused_address();
        let listen = format!("mqtt://{address}");
        Self::spawn(address, &[&["--listen", &listen], more].concat())
    }

    /// With listeners of its own.
    fn spawn(address: SocketAddr, arguments: &[&str]) -> Option<Self> {
        let beside = || PathBuf::from(env!("CARGO_BIN_EXE_myriadctl")).with_file_name("myriad");
        let binary = std::env::var_os("MYRIAD_BIN").map_or_else(beside, PathBuf::from);
        if !binary.exists() {
            println!("skipped: there is no {}", binary.display());
            return None;
        }
        let dir = temporary_dir();
        let mut child = Command::new(binary)
            .args(["--shards", "2", "--set", "admin.listen=", "--data-dir"])
            .arg(&dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().map_while(Result::ok).any(|line| line == "myriad ready"));
        Some(Self { child, address, dir })
    }

    /// Runs `myriadctl` beside it.
    fn ctl(&self, arguments: &[&str]) -> Ended {
        ended(myriadctl().arg("--data-dir").arg(&self.dir).args(arguments))
    }

    /// The same with --json, which has to go well.
    fn json(&self, arguments: &[&str]) -> Value {
        let run = self.ctl(&[arguments, &["--json"]].concat());
        assert_eq!(run.status, Some(0), "{arguments:?}: {run:?}");
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {run:?}"))
    }

    /// `publish` or `subscribe` as a client of it.
    fn client(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = myriadctl();
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.args([verb, "-h", &host, "-p", &port]).args(arguments);
        command
    }

    /// A client of 3.1.1 with this Client Identifier of one letter, and the broker's return code.
    fn connect(&self, client_id: u8) -> (TcpStream, u8) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01").unwrap();
        stream.write_all(&[client_id]).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack[..2], [0x20, 2]);
        (stream, connack[3])
    }

    fn code(&self, client_id: u8) -> u8 {
        self.connect(client_id).1
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn done(out: &str) -> Ended {
    Ended { status: Some(0), out: out.into(), err: String::new() }
}

#[test]
fn a_broker_bans_lists_and_lifts() {
    let Some(broker) = Broker::start(&[]) else { return };
    assert_eq!((broker.code(b'c'), broker.ctl(&["bans", "list"])), (0, done("")));
    assert_eq!(broker.ctl(&["bans", "add", "client", "c", "--seconds", "600"]), done("client c is banned\n"));
    assert_eq!(broker.ctl(&["bans", "add", "user", "mallory"]), done("user mallory is banned\n"));
    // Not authorized; others come in.
    assert_eq!((broker.code(b'c'), broker.code(b'd')), (5, 0));
    let bans = broker.json(&["bans", "list"]);
    assert_eq!(
        (&bans[0]["kind"], &bans[0]["name"], &bans[0]["cause"]),
        (&"client".into(), &"c".into(), &"operator".into())
    );
    assert!((500..=600).contains(&bans[0]["seconds_left"].as_u64().unwrap()), "{bans}");
    assert_eq!((&bans[1]["name"], &bans[1]["seconds_left"]), (&"mallory".into(), &Value::Null));
    assert_eq!(broker.ctl(&["bans", "lift", "client", "c"]).status, Some(0));
    assert_eq!(broker.code(b'c'), 0);
    let again = broker.ctl(&["bans", "lift", "client", "c"]);
    assert_eq!((again.status, again.err.as_str()), (Some(4), "myriadctl: client c was not banned\n"));
    let wrong = broker.ctl(&["bans", "add", "address", "10.0.0"]);
    assert!(wrong.status == Some(1) && wrong.err.contains("10.0.0"), "{wrong:?}");
}

#[test]
fn a_broker_tells_what_it_is_and_holds() {
    let Some(broker) = Broker::start(&[]) else { return };
    let run = broker.ctl(&["status"]);
    assert!(run.out.contains("Node myriad@localhost is started\nmyriad "), "{run:?}");
    assert!(run.status == Some(0) && run.out.ends_with("is running\nready for clients\n"), "{run:?}");
    let _client = broker.connect(b'c').0;
    wait_until("the client is counted", || broker.json(&["broker"])["connections"] == 1);
    let stats = broker.json(&["broker", "stats"]);
    assert_eq!((stats["items"].as_array().unwrap().len(), &stats["shards"]), (2, &2.into()));
    let stats = broker.ctl(&["broker", "stats"]).out;
    assert!(stats.contains("connections          1\n") && stats.contains("SHARD  CLIENTS"), "{stats}");
    let run = broker.ctl(&["top", "--once", "--interval", "0.2"]);
    assert!(run.status == Some(0) && run.out.contains("1 of 1.00 M connections"), "{run:?}");
    assert!(broker.json(&["store", "stats"])["segments"].as_u64().unwrap() >= 1);
    let to = broker.dir.join("copy");
    assert_eq!(broker.ctl(&["store", "backup", to.to_str().unwrap()]).status, Some(0));
    assert_eq!(broker.ctl(&["store", "check", to.to_str().unwrap()]).status, Some(0));
}

#[test]
fn messages_travel_in_every_version_and_quality() {
    let Some(broker) = Broker::start(&["--set", "storage.durability=memory"]) else { return };
    for (version, qos) in [("3.1", "0"), ("3.1.1", "1"), ("5", "2")] {
        let topic = format!("t/{qos}");
        let arguments = ["-t", &topic, "-V", version, "-q", qos, "-r"];
        let payload = format!("hello {version}");
        let run = ended(broker.client("publish", &arguments).args(["-m", &payload]));
        assert_eq!(run, done(""), "{version}");
        // It is retained: whoever subscribes later gets it.
        let wanted = ["-t", &topic, "-V", version, "-q", qos, "-v", "-W", "20", "-C", "1"];
        let run = ended(&mut broker.client("subscribe", &wanted));
        assert_eq!(run, done(&format!("{topic} {payload}\n")), "{version}");
    }
    let json = ended(&mut broker.client("subscribe", &["-t", "t/2", "-C", "1", "-W", "20", "--json"]));
    let message: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&message["topic"], &message["payload"], &message["retain"]),
        (&"t/2".into(), &"hello 5".into(), &true.into())
    );
    // A null payload deletes it.
    assert_eq!(ended(&mut broker.client("publish", &["-t", "t/2", "-r", "-n", "-q", "1"])), done(""));
    let run = ended(&mut broker.client("subscribe", &["-t", "t/2", "-C", "1", "-W", "1"]));
    assert_eq!((run.status, run.err.as_str()), (Some(1), "myriadctl: only 0 of 1 messages came in time\n"));
}

#[test]
fn lines_are_published_in_their_order() {
    let Some(broker) = Broker::start(&["--set", "storage.durability=memory"]) else { return };
    let mut subscriber =
        broker.client("subscribe", &["-t", "lines", "-q", "2", "-C", "500", "-W", "30", "-i", "s"]);
    let subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    wait_until("the subscription is there", || broker.json(&["broker"])["subscriptions"] == 1);
    let mut publisher = broker.client("publish", &["-t", "lines", "-q", "2", "-l"]);
    let mut publisher = publisher.stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
    publisher.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    let output = subscriber.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(fake::text(&output.stdout), lines);
}

#[test]
fn a_client_that_is_refused_or_finds_nobody_says_so() {
    let Some(broker) = Broker::start(&[]) else { return };
    assert_eq!(broker.ctl(&["bans", "add", "client", "banned"]).status, Some(0));
    let run = ended(&mut broker.client("publish", &["-t", "t", "-m", "x", "-i", "banned"]));
    assert_eq!(run.status, Some(5), "{run:?}");
    assert!(run.err.contains("the broker refuses this client: 0x8A Banned"), "{run:?}");
    let run = ended(&mut broker.client("publish", &["-t", "a/#", "-m", "x"]));
    assert_eq!(run.status, Some(2), "{run:?}");
    // TLS where there is none.
    let run =
        ended(&mut broker.client("publish", &["-t", "t", "-m", "x", "--tls", "--connect-timeout", "2"]));
    assert!(run.status == Some(1) && run.err.contains("no TLS"), "{run:?}");
    let run = ended(myriadctl().args(["subscribe", "-h", "127.0.0.1", "-p", "1", "-t", "t"]));
    assert!(run.status == Some(3) && run.err.contains("no broker answers at 127.0.0.1:1"), "{run:?}");
}

/// A persistent session of 5.0 without a connection, with a subscription.
fn leave_a_session(broker: &Broker, client_id: &str, filter: &str) {
    let arguments = ["-t", filter, "-i", client_id, "--keep-session", "600", "-q", "1", "-W", "1"];
    assert_eq!(ended(&mut broker.client("subscribe", &arguments)), done(""));
}

#[test]
fn clients_are_listed_shown_and_kicked() {
    let Some(broker) = Broker::start(&[]) else { return };
    let (mut stream, _) = broker.connect(b'c');
    let _other = broker.connect(b'd').0;
    let listed = broker.json(&["clients", "list", "--client-id", "c*"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["protocol"]), (1, &"3.1.1".into()), "{listed}");
    assert_eq!(broker.json(&["clients", "list", "--all"]).as_array().unwrap().len(), 2);
    let table = broker.ctl(&["clients", "list", "--address", "127.0.0.0/8"]).out;
    assert!(table.starts_with("CLIENT  USER  ADDRESS") && table.lines().count() == 3, "{table}");
    let shown = broker.ctl(&["clients", "show", "c"]).out;
    assert!(
        shown.contains("version                3.1.1\n") && shown.contains("keep alive             1 m\n"),
        "{shown}"
    );
    assert_eq!(broker.ctl(&["clients", "kick", "c"]), done("\"c\" is disconnected\n"));
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the connection is closed");
    // A name that climbs within URLs is a name.
    let (mut dot, _) = broker.connect(b'.');
    assert!(broker.ctl(&["clients", "show", "."]).out.contains("client                 .\n"));
    assert_eq!(broker.ctl(&["clients", "kick", "."]).status, Some(0));
    assert_eq!(dot.read(&mut [0; 8]).unwrap(), 0);
    for name in ["..", "~.."] {
        leave_a_session(&broker, name, "up");
        assert_eq!(broker.json(&["sessions", "show", name])["client_id"], name);
        assert_eq!(broker.ctl(&["sessions", "discard", name]).status, Some(0));
        assert_eq!(broker.ctl(&["sessions", "show", name]).status, Some(4));
    }
    let again = broker.ctl(&["clients", "kick", "c"]);
    assert!(again.status == Some(4) && again.err.contains("\"c\""), "{again:?}");
}

#[test]
fn sessions_and_subscriptions_are_looked_into_and_changed() {
    let Some(broker) = Broker::start(&[]) else { return };
    leave_a_session(&broker, "s/1", "in/#");
    let publish = ["-t", "in/a", "-q", "1", "-m", "12345"];
    assert_eq!(ended(&mut broker.client("publish", &publish)), done(""));
    let listed = broker.json(&["sessions", "list", "persistent", "--connected", "false"]);
    assert_eq!((&listed[0]["client_id"], &listed[0]["queued"]), (&"s/1".into(), &1.into()), "{listed}");
    let shown = broker.ctl(&["sessions", "show", "s/1"]).out;
    assert!(shown.contains("\nqueue:\n") && shown.contains("in/a") && shown.contains("5 bytes"), "{shown}");
    assert_eq!(broker.ctl(&["subscriptions", "add", "s/1", "more/+", "2"]).status, Some(0));
    let listed = broker.json(&["subscriptions", "show", "s/1"]);
    let filters: Vec<&str> =
        listed.as_array().unwrap().iter().map(|s| s["filter"].as_str().unwrap()).collect();
    assert!(filters.len() == 2 && filters.contains(&"more/+") && filters.contains(&"in/#"), "{listed}");
    assert_eq!(broker.json(&["subscriptions", "list", "--topic", "more/+"])[0]["qos"], 2);
    let topics = broker.json(&["topics", "list"]);
    assert!(topics.to_string().contains("more/+"), "{topics}");
    assert!(broker.ctl(&["topics", "show", "more/+"]).out.contains("\nsubscribers:\n  s/1\n"));
    assert_eq!(broker.ctl(&["subscriptions", "del", "s/1", "more/+"]).status, Some(0));
    assert_eq!(broker.ctl(&["subscriptions", "del", "s/1", "more/+"]).status, Some(4));
    assert_eq!(broker.ctl(&["sessions", "discard", "s/1"]).status, Some(0));
    assert_eq!(broker.ctl(&["sessions", "show", "s/1"]).status, Some(4));
}

#[test]
fn retained_messages_are_listed_printed_and_deleted() {
    let Some(broker) = Broker::start(&[]) else { return };
    for (topic, payload) in [("r/a", "one"), ("r/b", "two"), ("other", "three")] {
        let arguments = ["-t", topic, "-m", payload, "-r", "-q", "1"];
        assert_eq!(ended(&mut broker.client("publish", &arguments)), done(""));
    }
    assert_eq!(broker.json(&["retained", "list", "--match", "r/+"]).as_array().unwrap().len(), 2);
    assert_eq!(broker.ctl(&["retained", "get", "r/b"]), done("two"));
    assert_eq!(broker.json(&["retained", "get", "r/b"])["payload_text"], "two");
    assert_eq!(broker.ctl(&["retained", "del", "r/b"]).status, Some(0));
    let gone = broker.ctl(&["retained", "get", "r/b"]);
    assert!(gone.status == Some(4) && gone.err.contains("r/b"), "{gone:?}");
}

#[test]
fn a_client_is_traced_and_its_topic_counted() {
    let Some(broker) = Broker::start(&[]) else { return };
    assert_eq!(broker.ctl(&["topic-metrics", "add", "m/#"]).status, Some(0));
    let mut trace = myriadctl();
    trace.arg("--data-dir").arg(&broker.dir).args(["trace", "client", "traced", "--for", "30s"]);
    let mut trace = trace.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the trace has begun", || !broker.json(&["trace", "list"]).as_array().unwrap().is_empty());
    let publish = ["-t", "m/1", "-m", "x", "-q", "1", "-i", "traced"];
    assert_eq!(ended(&mut broker.client("publish", &publish)), done(""));
    let mut lines = BufReader::new(trace.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(" traced ") && line.contains("m/1")), "the PUBLISH is not told");
    // It is ended under its reader, who has nothing against that.
    assert_eq!(broker.ctl(&["trace", "off", "--all"]), done("1 traces are ended\n"));
    assert!(trace.wait().unwrap().success());
    assert_eq!(broker.json(&["topic-metrics", "list"])[0]["messages_in"], 1);
    assert_eq!(broker.ctl(&["topic-metrics", "del", "m/#"]).status, Some(0));
    assert_eq!(broker.ctl(&["slow"]), done(""));
    assert_eq!(broker.ctl(&["alarms"]).status, Some(0));
}

#[test]
fn a_drain_sends_everybody_away_and_ends() {
    let Some(broker) = Broker::start(&[]) else { return };
    let clients: Vec<TcpStream> = (b'a'..b'k').map(|id| broker.connect(id).0).collect();
    let run = broker.ctl(&["drain", "--rate", "100"]);
    assert_eq!(run, done("10 clients were sent away, 0 are left\n"));
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }
    assert_ne!(broker.code(b'x'), 0, "nobody comes in meanwhile");
    assert_eq!(broker.ctl(&["drain", "--stop"]).status, Some(0));
    assert_eq!(broker.code(b'x'), 0);
}

#[test]
fn automatic_subscriptions_are_stored_and_delayed_messages_listed() {
    let Some(broker) = Broker::start(&[]) else { return };
    assert_eq!(broker.ctl(&["auto-subscriptions", "add", "c", "in/%c", "1"]).status, Some(0));
    assert_eq!(broker.json(&["auto-subscriptions", "list", "--client-id", "c"])[0]["filter"], "in/%c");
    let _client = broker.connect(b'c').0;
    assert_eq!(broker.json(&["subscriptions", "show", "c"])[0]["filter"], "in/c");
    assert_eq!(broker.ctl(&["auto-subscriptions", "del", "c", "in/%c"]).status, Some(0));
    let later = ["-t", "$delayed/3600/later", "-m", "x", "-q", "1"];
    assert_eq!(ended(&mut broker.client("publish", &later)), done(""));
    assert_eq!(broker.json(&["delayed"])[0]["topic"], "later");
}

#[test]
fn listeners_users_rules_and_the_configuration_are_told_and_changed() {
    let dir = temporary_dir();
    let (file, rules) = (dir.join("m.toml"), dir.join("acl.conf"));
    std::fs::write(&rules, "{deny, all, publish, [\"secret/#\"]}.\n{allow, all}.\n").unwrap();
    let configuration =
        |len: u32| format!("[acl]\nfile = \"{}\"\n[session]\nqueue_len_max = {len}\n", rules.display());
    std::fs::write(&file, configuration(7)).unwrap();
    let Some(broker) = Broker::start(&["--config", file.to_str().unwrap()]) else { return };

    let listeners = broker.json(&["listeners", "list"]);
    assert_eq!(
        (&listeners[0]["state"], listeners[0]["tls"].as_bool()),
        (&"running".into(), Some(false)),
        "{listeners}"
    );

    let check = |topic: &str| broker.ctl(&["acl", "check", "publish", topic, "--client-id", "c"]);
    assert!(
        check("secret/a").status == Some(1) && check("secret/a").out.starts_with("denied: "),
        "{:?}",
        check("secret/a")
    );
    assert!(check("open/a").status == Some(0) && check("open/a").out.starts_with("allowed: "));
    // The rule holds for a client, who is told at 5.0.
    let run = ended(&mut broker.client("publish", &["-t", "secret/a", "-m", "x", "-q", "1"]));
    assert_eq!(run.status, Some(5), "{run:?}");
    assert!(run.err.contains("the broker does not take this message: 0x87 Not authorized"), "{run:?}");
    std::fs::write(&rules, "{allow, all}.\n").unwrap();
    assert_eq!(broker.ctl(&["acl", "reload"]), done("the rules were read again\n"));
    assert_eq!(check("secret/a").status, Some(0));

    let shown = broker.ctl(&["config", "show", "session.queue_len"]);
    assert_eq!(shown, done("session.queue_len_max = 7\n"));
    assert_eq!(broker.ctl(&["config", "show", "sesion"]).status, Some(4));
    std::fs::write(&file, configuration(8)).unwrap();
    assert_eq!(broker.ctl(&["config", "reload"]), done("changed: session.queue_len_max\n"));
    assert_eq!(broker.json(&["config", "show", "session.queue_len_max"])["session.queue_len_max"], 8);
    std::fs::write(&file, "[session]\nqueue_len = 1\n").unwrap();
    let refused = broker.ctl(&["config", "reload"]);
    assert!(refused.status == Some(1) && refused.err.contains("session.queue_len_max"), "{refused:?}");

    let metrics = broker.ctl(&["broker", "metrics"]).out;
    assert!(metrics.lines().count() > 50, "{metrics}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_user_of_the_admin_side_is_made_and_asks_over_tcp() {
    let address = unused_address();
    let Some(broker) = Broker::start(&["--set", &format!("admin.listen={address}")]) else { return };
    let mut add = myriadctl();
    add.arg("--data-dir").arg(&broker.dir).args(["users", "add", "olga", "--batch"]).stdin(Stdio::piped());
    let mut add = add.stdout(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"se:cret\n").unwrap();
    assert!(add.wait().unwrap().success());
    let users = broker.json(&["users", "list"]);
    assert!(users.to_string().contains("olga"), "{users}");
    let url = format!("http://{address}");
    let ask = |user: &str| ended(myriadctl().args(["bans", "list", "--url", &url, "--user", user]));
    assert_eq!(ask("olga:se:cret"), done(""));
    let wrong = ask("olga:guess");
    assert!(wrong.status == Some(5) && wrong.err.contains("(check --user)"), "{wrong:?}");
    assert!(!wrong.err.contains("guess"), "{wrong:?}");
    let nobody = ended(myriadctl().args(["bans", "list", "--url", &url]));
    assert!(nobody.status == Some(5) && nobody.err.contains("give --user"), "{nobody:?}");
    // What needs no user is told to everybody.
    assert_eq!(ended(myriadctl().args(["status", "--url", &url])).status, Some(0));
    assert_eq!(broker.ctl(&["users", "del", "olga"]).status, Some(0));
    assert_eq!(ask("olga:se:cret").status, Some(5));
}

#[test]
fn messages_travel_over_tls_to_whom_is_believed() {
    let (dir, address) = (temporary_dir(), unused_address());
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args(["-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-addext", &format!("subjectAltName=IP:{}", address.ip())]);
    openssl.arg("-out").arg(&cert).arg("-keyout").arg(&key);
    if !openssl.output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no openssl that makes a certificate");
    }
    let file = dir.join("m.toml");
    let listener = format!(
        "[[listener]]\nurl = \"mqtts://{address}\"\ntls.cert = [\"{}\"]\ntls.key = [\"{}\"]\n",
        cert.display(),
        key.display()
    );
    std::fs::write(&file, listener).unwrap();
    let Some(broker) = Broker::spawn(address, &["--config", file.to_str().unwrap()]) else { return };
    let cafile = ["--cafile", cert.to_str().unwrap()];
    let sent = ["-t", "t", "-m", "secret", "-r", "-q", "2"];
    assert_eq!(ended(broker.client("publish", &sent).args(cafile)), done(""));
    let wanted = ["-t", "t", "-C", "1", "-W", "20", "-q", "1"];
    assert_eq!(ended(broker.client("subscribe", &wanted).args(cafile)), done("secret\n"));
    // Nobody has heard of it otherwise.
    let stranger = ended(broker.client("publish", &sent).arg("--tls"));
    assert!(stranger.status == Some(1) && stranger.err.contains("certificate"), "{stranger:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_bridge_of_mosquitto_is_one_of_ours_and_can_be_stopped() {
    let (dir, there) = (temporary_dir(), unused_address());
    let (old, new) = (dir.join("mosquitto.conf"), dir.join("m.toml"));
    let conf = format!("connection up\naddress {there}\ntopic temp/# out 1 home/ site/7/\n");
    std::fs::write(&old, conf).unwrap();
    let import = ended(myriadctl().arg("import").arg(&old).arg("-o").arg(&new));
    assert_eq!(import.status, Some(0), "{import:?}");
    let Some(broker) = Broker::start(&["--config", new.to_str().unwrap()]) else { return };
    let bridges = broker.json(&["bridges", "list"]);
    assert_eq!((&bridges[0]["name"], &bridges[0]["url"]), (&"up".into(), &format!("mqtt://{there}").into()));
    assert_eq!(broker.ctl(&["bridges", "stop", "up"]), done("bridge up is stopped\n"));
    wait_until("it is stopped", || broker.json(&["bridges", "list"])[0]["state"] == "stopped");
    assert_eq!(broker.ctl(&["bridges", "start", "up"]), done("bridge up is started\n"));
    wait_until("it tries again", || broker.json(&["bridges", "list"])[0]["state"] != "stopped");
    assert_eq!(broker.ctl(&["bridges", "stop", "down"]).status, Some(4));
    std::fs::remove_dir_all(dir).unwrap();
}

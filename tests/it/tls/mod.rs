//! TLS through the real broker: clients that others wrote, certificates of clients, reload, hand-over between shards,
//! what is refused and what the client sees of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::{Broker, binary, temporary_dir, unused_address};
use crate::broker::{NO_HTTP, wait_until};
use crate::client::TIMEOUT;
use authority::{Authority, Leaf};
use peer::Peer;

mod authority;
mod certificates;
mod clients;
mod files;
mod handshakes;
mod idle;
mod limits;
mod peer;
mod reload;
mod storm;
mod tenants;

/// Shards that a test runs with: one, and so many that most clients have to move.
const SHARDS: [u16; 2] = [1, 4];

/// The host name of the servers.
const HOST: &str = "broker.example";

/// A broker with a plain, a TLS and a secure WebSocket listener, whose certificates are of `authority`.
struct Secured {
    broker: Broker,
    authority: Authority,
    mqtts: SocketAddr,
    wss: SocketAddr,
}

/// How to start one.
struct Options {
    shards: u16,
    authority: Authority,
    /// Further lines of the TLS listeners.
    keys: String,
    /// Other lines of the file.
    more: String,
    log: &'static str,
    dir: PathBuf,
}

impl Options {
    fn shards(shards: u16) -> Self {
        let authority = Authority::new("root");
        let dir = temporary_dir();
        let options = Self { shards, authority, keys: String::new(), more: String::new(), log: "debug", dir };
        options.write("ca.pem", &options.authority.pem);
        // Clients that go by the address find it in the certificate.
        let address = unused_address().ip().to_string();
        options.write_pair("server", &options.authority.server(&[HOST, &address]));
        options
    }

    /// With another level of the log.
    fn log(mut self, level: &'static str) -> Self {
        self.log = level;
        self
    }

    /// A line of the TLS listeners.
    fn key(mut self, line: &str) -> Self {
        self.keys.push_str(line);
        self.keys.push('\n');
        self
    }

    /// Lines of other sections.
    fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self.more.push('\n');
        self
    }

    /// Writes a file beside the configuration.
    fn write(&self, name: &str, text: &str) {
        write(&self.dir, name, text);
    }

    fn write_pair(&self, name: &str, leaf: &Leaf) {
        write_pair(&self.dir, name, leaf);
    }

    fn start(self) -> Secured {
        self.start_with_plain("")
    }

    /// The same with further lines of the plain listener.
    fn start_with_plain(self, plain_keys: &str) -> Secured {
        let [plain, mqtts, wss] = [unused_address(), unused_address(), unused_address()];
        let Self { shards, authority, keys, more, log, dir } = self;
        let mut text = format!("[[listener]]\nurl = \"mqtt://{plain}\"\n{plain_keys}\n");
        for url in [format!("mqtts://{mqtts}"), format!("wss://{wss}")] {
            let _ = write!(text, "[[listener]]\nurl = \"{url}\"\n{keys}");
            if !keys.contains("tls.cert") {
                text.push_str("tls.cert = \"server.pem\"\ntls.key = \"server.key\"\n");
            }
        }
        let _ = write!(text, "{more}\n[sys]\ninterval_s = 1\n");
        write(&dir, "myriad.toml", &text);
        let mut command = Command::new(binary());
        command.current_dir(&dir).args(["--config", "myriad.toml", "--data-dir", "data", "--log", log]);
        command.args(["--shards", &shards.to_string(), "--set", "node.cpu_pinning=false", "--set", NO_HTTP]);
        let broker = Broker::spawn(&mut command, plain, shards, dir);
        Secured { broker, authority, mqtts, wss }
    }
}

impl Secured {
    /// A client that trusts the broker's authority.
    fn peer(&self) -> Peer<'_> {
        Peer::new(&self.authority)
    }

    /// Writes a file beside the configuration.
    fn write(&self, name: &str, text: &str) {
        write(self.broker.dir(), name, text);
    }

    fn path(&self, name: &str) -> String {
        self.broker.dir().join(name).to_str().unwrap().to_owned()
    }

    /// A number of `$SYS`, by its place below the node, has to become this.
    fn expect_metric(&self, place: &str, expected: u64) {
        let mut client = self.broker.connect(crate::wire::Connect::v5(""));
        client.subscribe(&format!("$SYS/brokers/+/{place}"), 0);
        let mut last = None;
        let deadline = Instant::now() + TIMEOUT;
        while last != Some(expected) {
            assert!(Instant::now() < deadline, "{place} is {last:?}, not {expected}");
            last = client.recv_publish().text().parse().ok();
        }
    }
}

fn write(dir: &std::path::Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

fn write_pair(dir: &std::path::Path, name: &str, leaf: &Leaf) {
    use std::os::unix::fs::PermissionsExt;
    write(dir, &format!("{name}.key"), &leaf.key);
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(dir.join(format!("{name}.key")), owner_only).unwrap();
    write(dir, &format!("{name}.pem"), &leaf.cert);
}

//! Authentication: each method, what it lets in and what it refuses, in every version and over several shards; what it
//! costs; and that nobody who fails disturbs anyone.

mod certain;
mod client_id;
mod cost;
mod file;
mod http;
mod jwt;
mod reload;
mod scram;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir};
use crate::client::Client;
use crate::wire::{Connect, Version};

/// Numbers of shards that every test runs with.
const SHARDS: [u16; 2] = [1, 4];

/// A directory for the files of a test.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new() -> Self {
        Self { dir: temporary_dir() }
    }

    /// Writes a file; `--set key=path` for it.
    fn set(&self, key: &str, name: &str, content: impl AsRef<[u8]>) -> String {
        format!("{key}={}", self.write(name, content).display())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A broker with these settings. `None`: the peer in use is another program.
fn start(shards: u16, settings: &[&str]) -> Option<Broker> {
    if peer_is_mosquitto() {
        return None;
    }
    Broker::start(&settings.iter().fold(Options::shards(shards), |options, setting| options.set(setting)))
}

/// A line of a password file: argon2id, as cheap as it can be.
fn cheap_line(user: &str, password: &str) -> String {
    line_of_cost(user, password, 8, 1)
}

/// The same with a hash that no password has, at any cost.
fn line_of_nobody(user: &str, memory_kib: u32, passes: u32) -> String {
    let hash = STANDARD_NO_PAD.encode([0; 32]);
    format!("{user}:$argon2id$v=19$m={memory_kib},t={passes},p=1$c2FsdHNhbHQ${hash}\n")
}

fn line_of_cost(user: &str, password: &str, memory_kib: u32, passes: u32) -> String {
    let salt = b"saltsalt";
    let mut hash = [0; 32];
    let params = argon2::Params::new(memory_kib, passes, 1, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .unwrap();
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("{user}:$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${hash}\n")
}

/// CONNECT with credentials.
fn login(version: Version, client_id: &str, username: &str, password: &str) -> Connect {
    Connect::new(version, client_id).username(username).password(password)
}

/// What a version says for 0x86 Bad User Name or Password.
fn bad_credentials(version: Version) -> u8 {
    if version.is_v5() { 0x86 } else { 4 }
}

/// What a version says for 0x87 Not authorized.
fn not_authorized(version: Version) -> u8 {
    if version.is_v5() { 0x87 } else { 5 }
}

/// The value of a counter below `$SYS/brokers/…/metrics/`, of a tree that is published after this call. The broker
/// publishes one every second.
fn metric(broker: &Broker, connect: Connect, path: &str) -> u64 {
    let mut client: Client = broker.connect(connect);
    client.subscribe(&format!("$SYS/brokers/+/metrics/{path}"), 0);
    let mut value = 0;
    // The first may be the retained one.
    for _ in 0..2 {
        value = client.recv_publish().text().parse().unwrap();
    }
    client.disconnect();
    value
}

/// Waits until the broker has printed that.
fn wait_for_output(broker: &Broker, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !broker.output().contains(text) {
        assert!(Instant::now() < deadline, "{text:?} was to be printed:\n{}", broker.output());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs the broker with these settings until it ends by itself, which it has to do without success; what it printed.
fn fails_to_start(settings: &[&str], listen: &str) -> String {
    let mut command = std::process::Command::new(crate::broker::binary());
    command.args(["--listen", listen, "--shards", "1", "--data-dir"]).arg(Path::new("/nonexistent"));
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{text}");
    text
}

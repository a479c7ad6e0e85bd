//! Starts the real broker as a process of its own, on a loopback address that nothing else uses, and ends it with the test.
//! `MYRIAD_BIN` names another binary; `MYRIAD_IT_PEER=mosquitto` runs Mosquitto in its place, which checks the suite itself
//! against a broker that others wrote (a test whose settings Mosquitto lacks is then skipped and says so).

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, TIMEOUT};
use crate::wire::{Connack, Connect, Version};

/// Longest time that a broker may take to start or to end.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Dozens of brokers at a time can't have one port: HTTP is for the tests that say so.
pub const NO_HTTP: &str = "admin.listen=";

/// How to start a broker.
#[derive(Debug, Clone, Default)]
pub struct Options {
    shards: u16,
    settings: Vec<String>,
    /// What its configuration file says.
    file: String,
}

impl Options {
    /// With so many shards, and nothing written to disk.
    pub fn shards(shards: u16) -> Self {
        let durability = std::env::var("MYRIAD_IT_DURABILITY").unwrap_or_else(|_| "memory".into());
        Self {
            shards,
            settings: vec![format!("storage.durability={durability}"), NO_HTTP.into()],
            file: String::new(),
        }
    }

    /// With so many shards, and with all that it acknowledges on disk.
    pub fn durable(shards: u16) -> Self {
        Self { shards, settings: vec!["storage.durability=sync".into(), NO_HTTP.into()], file: String::new() }
    }

    /// The same with another number of shards.
    pub fn with_shards(&self, shards: u16) -> Self {
        Self { shards, settings: self.settings.clone(), file: self.file.clone() }
    }

    /// With this configuration file: for what `--set` can't say.
    pub fn file(mut self, text: &str) -> Self {
        self.file = text.into();
        self
    }

    /// `KEY=VALUE`, as for `--set`. The last one of a key counts.
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.into());
        self
    }
}

/// A running broker. Dropping it kills it; a broker that died by itself fails the test.
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    /// How many shards it has.
    pub shards: u16,
    child: Child,
    output: Arc<Mutex<String>>,
    dir: PathBuf,
    /// The test itself ended it without a chance to end well.
    is_killed: bool,
}

/// Whether the suite runs against Mosquitto.
pub fn peer_is_mosquitto() -> bool {
    std::env::var("MYRIAD_IT_PEER").is_ok_and(|peer| peer == "mosquitto")
}

/// The broker's binary.
pub fn binary() -> PathBuf {
    std::env::var_os("MYRIAD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_myriad").into(), PathBuf::from)
}

/// An address of 127.0.0.0/8 that belongs to this process, with a port that this process has not yet used: parallel tests
/// can't collide, and no port has to be probed.
pub fn unused_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(18_830);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 64 | (high & 0x3F), middle, low);
    SocketAddr::new(IpAddr::V4(address), PORT.fetch_add(1, Ordering::Relaxed))
}

/// A new empty directory. One of this name may be there: a test that was killed has left it, and process numbers come again.
pub fn temporary_dir() -> PathBuf {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("myriad-it-{}-{number}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return dir,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", dir.display()),
        }
    }
}

/// Waits for a condition that has to come true.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Broker {
    /// Starts a broker and waits until it is ready. `None`: the peer in use has no such setting, and the test is skipped.
    pub fn start(options: &Options) -> Option<Self> {
        let address = unused_address();
        let dir = temporary_dir();
        let mut command = command(options, address, &dir)?;
        Some(Self::spawn(&mut command, address, options.shards, dir))
    }

    /// Runs `command`, which listens on `address`, until it is ready.
    pub fn spawn(command: &mut Command, address: SocketAddr, shards: u16, dir: PathBuf) -> Self {
        let (child, output) = launch(command);
        let mut broker = Self { address, shards, child, output, dir, is_killed: false };
        broker.wait_until_ready();
        broker
    }

    /// Waits until it says that it is ready.
    pub fn wait_until_ready(&mut self) {
        let ready = if peer_is_mosquitto() { " running" } else { "myriad ready" };
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.output().contains(ready) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the broker ended with {status} before it was ready:\n{}", self.output());
            }
            assert!(Instant::now() < deadline, "not ready in {START_TIMEOUT:?}:\n{}", self.output());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it where it stands, by SIGKILL.
    pub fn kill(&mut self) {
        self.is_killed = true;
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after its end, on the same address and data directory, and waits until it is ready.
    pub fn restart(&mut self, options: &Options) {
        self.relaunch(options);
        self.wait_until_ready();
    }

    /// Starts it again without waiting for anything.
    pub fn relaunch(&mut self, options: &Options) {
        self.relaunch_as(&mut command(options, self.address, &self.dir).unwrap(), options.shards);
    }

    /// Starts `command` in its place without waiting for anything. `output` begins anew.
    pub fn relaunch_as(&mut self, command: &mut Command, shards: u16) {
        assert!(self.child.try_wait().unwrap().is_some(), "the broker still runs");
        // The kernel closes the rings of a process that was killed a moment after its end, and what they listen on with them.
        wait_until("nobody listens any more", || TcpStream::connect(self.address).is_err());
        (self.child, self.output) = launch(command);
        (self.shards, self.is_killed) = (shards, false);
    }

    /// Starts it again after its end, which has to fail with one line that has all of `words`; returns the line.
    pub fn expect_no_restart(&mut self, options: &Options, words: &[&str]) -> String {
        self.relaunch(options);
        let status = self.wait();
        self.forgive();
        wait_until("it says why", || !self.output().is_empty());
        let said = self.output();
        assert_eq!(status.code(), Some(1), "{said}");
        let line = said.lines().last().unwrap_or_default().to_owned();
        words.iter().for_each(|word| assert!(line.contains(word), "{word:?} is not named by {line:?}"));
        assert!(!said.contains("panicked") && !said.contains("myriad ready"), "{said}");
        line
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// A Network Connection that has sent nothing yet.
    pub fn open(&self, version: Version) -> Client {
        Client::open(self.address, version)
    }

    /// A client that the broker accepted.
    pub fn connect(&self, connect: Connect) -> Client {
        self.connect_with_ack(connect).0
    }

    /// A client that the broker accepted, and its CONNACK.
    pub fn connect_with_ack(&self, connect: Connect) -> (Client, Connack) {
        let mut client = self.open(connect.version);
        client.send(connect);
        let connack = client.recv_connack();
        assert_eq!(connack.reason, 0, "{connack:?}");
        (client, connack)
    }

    /// Sends a CONNECT that has to be refused: CONNACK with `reason`, then closed.
    pub fn expect_refused(&self, connect: Connect, reason: u8) {
        let mut client = self.open(connect.version);
        client.send(connect);
        client.expect_refusal(reason);
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap();
        assert!(status.success(), "kill -s {name} {pid}: {status}");
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
            .unwrap_or_else(|| panic!("still runs after {START_TIMEOUT:?}:\n{}", self.output()))
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// It had to end badly.
    pub fn forgive(&mut self) {
        self.is_killed = true;
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process identifier.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The command line of a broker; `None`: the peer in use has no such setting.
pub fn command(options: &Options, address: SocketAddr, dir: &Path) -> Option<Command> {
    if peer_is_mosquitto() {
        return mosquitto(options, address, dir);
    }
    let mut command = Command::new(binary());
    command.arg("--listen").arg(format!("mqtt://{address}"));
    command.arg("--shards").arg(options.shards.to_string()).arg("--data-dir").arg(dir);
    if !options.file.is_empty() {
        let file = dir.join("myriad.toml");
        std::fs::write(&file, &options.file).unwrap();
        command.arg("--config").arg(file);
    }
    command.args(options.settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    Some(command)
}

/// Starts a process whose output is collected.
fn launch(command: &mut Command) -> (Child, Arc<Mutex<String>>) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let output = Arc::new(Mutex::new(String::new()));
    collect(child.stdout.take().unwrap(), &output);
    collect(child.stderr.take().unwrap(), &output);
    (child, output)
}

/// Waits for a child to end; `None`: it still runs after the longest time allowed.
pub fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Drop for Broker {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
        if thread::panicking() {
            eprintln!("--- the broker ({} shards) printed:\n{}---", self.shards, self.output());
        } else if let Some(status) = ended.filter(|status| !status.success() && !self.is_killed) {
            panic!("the broker ended by itself with {status}:\n{}", self.output());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = writeln!(output.lock().unwrap(), "{line}");
        }
    });
}

/// Mosquitto with the same settings, as far as it has them.
fn mosquitto(options: &Options, address: SocketAddr, dir: &Path) -> Option<Command> {
    if !options.file.is_empty() {
        println!("skipped: Mosquitto has other configuration files");
        return None;
    }
    let mut conf = format!("listener {} {}\nallow_anonymous true\n", address.port(), address.ip());
    if !options.settings.iter().any(|setting| setting.starts_with("session.queue_qos0=")) {
        conf += "queue_qos0_messages true\n";
    }
    for setting in &options.settings {
        let (key, value) = setting.split_once('=').unwrap();
        let name = match key {
            "storage.durability" if value == "memory" => continue,
            // As near as Mosquitto comes: it writes its whole database after each change.
            "storage.durability" => {
                let dir = dir.display();
                let _ = write!(conf, "user root\npersistence true\npersistence_location {dir}/\n");
                conf += "autosave_on_changes true\nautosave_interval 1\n";
                continue;
            }
            "storage.segment_bytes" | "storage.will_grace_s" | "admin.listen" => continue,
            "limits.max_connections" => "max_connections",
            "limits.packet_bytes_max" => "max_packet_size",
            "limits.receive_max" | "session.inflight_max" => "max_inflight_messages",
            "limits.keep_alive_s_max" => "max_keepalive",
            "limits.topic_alias_max" => "max_topic_alias",
            "session.queue_len_max" => "max_queued_messages",
            "session.queue_qos0" => "queue_qos0_messages",
            "mqtt.qos_max" => "max_qos",
            "mqtt.retain_available" => "retain_available",
            "mqtt.upgrade_qos" => "upgrade_outgoing_qos",
            "sys.interval_s" => "sys_interval",
            _ => {
                println!("skipped: Mosquitto has no {key}");
                return None;
            }
        };
        let _ = writeln!(conf, "{name} {value}");
    }
    let file = dir.join("mosquitto.conf");
    std::fs::write(&file, conf).unwrap();
    let mut command = Command::new("mosquitto");
    command.arg("-v").arg("-c").arg(file);
    Some(command)
}

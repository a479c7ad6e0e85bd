//! The tests' vocabulary: an application of which a test writes only what it needs, and clients.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use shards::{Accepted, Application, Closed, Config, ConnectionId, Io, Listener, ShardId, Shards};

/// What the shards of a test send to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Exit,
    Number(u64),
    Text(String),
}

pub(crate) type Port<'a, S> = Io<'a, Run<S>>;

/// An application with nothing obligatory.
#[allow(unused_variables)]
pub(crate) trait Script: Sized + 'static {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted) {}
    fn connected(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, key: u64) {}
    fn connect_failed(&mut self, io: &mut Port<'_, Self>, key: u64, error: std::io::Error) {}
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {}
    fn peer_finished(&mut self, io: &mut Port<'_, Self>, id: ConnectionId) {}
    fn drained(&mut self, io: &mut Port<'_, Self>, id: ConnectionId) {}
    fn closed(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, cause: Closed) {}
    fn handed_over(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted, word: Vec<u8>) {}
    fn hand_over_failed(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, word: Vec<u8>) {}
    fn message(&mut self, io: &mut Port<'_, Self>, from: Option<ShardId>, word: Word) {}
    fn credits_available(&mut self, io: &mut Port<'_, Self>) {}
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {}
    fn turn_end(&mut self, io: &mut Port<'_, Self>) -> bool {
        false
    }
}

/// Runs a script; `Word::Exit` from outside ends the shard.
pub(crate) struct Run<S>(pub(crate) S);

impl<S: Script> Application for Run<S> {
    type Message = Word;
    type HandOver = Vec<u8>;

    fn accepted(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, accepted: Accepted) {
        self.0.accepted(io, id, accepted);
    }
    fn connected(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, key: u64) {
        self.0.connected(io, id, key);
    }
    fn connect_failed(&mut self, io: &mut Io<'_, Self>, key: u64, error: std::io::Error) {
        self.0.connect_failed(io, key, error);
    }
    fn received(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        self.0.received(io, id, bytes);
    }
    fn peer_finished(&mut self, io: &mut Io<'_, Self>, id: ConnectionId) {
        self.0.peer_finished(io, id);
    }
    fn drained(&mut self, io: &mut Io<'_, Self>, id: ConnectionId) {
        self.0.drained(io, id);
    }
    fn closed(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, cause: Closed) {
        self.0.closed(io, id, cause);
    }
    fn handed_over(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, accepted: Accepted, word: Vec<u8>) {
        self.0.handed_over(io, id, accepted, word);
    }
    fn hand_over_failed(&mut self, io: &mut Io<'_, Self>, id: ConnectionId, word: Vec<u8>) {
        self.0.hand_over_failed(io, id, word);
    }
    fn message(&mut self, io: &mut Io<'_, Self>, from: Option<ShardId>, word: Word) {
        match (from, word) {
            (None, Word::Exit) => io.exit(),
            (from, word) => self.0.message(io, from, word),
        }
    }
    fn credits_available(&mut self, io: &mut Io<'_, Self>) {
        self.0.credits_available(io);
    }
    fn timer(&mut self, io: &mut Io<'_, Self>, key: u64) {
        self.0.timer(io, key);
    }
    fn turn_end(&mut self, io: &mut Io<'_, Self>) -> bool {
        self.0.turn_end(io)
    }
}

/// A configuration with one listener on a free port.
pub(crate) fn config(shards: u16) -> Config {
    Config {
        shards,
        connections_max: 2000,
        listeners: vec![listener()],
        flush_timeout_ms: 2000,
        ..Config::default()
    }
}

pub(crate) fn listener() -> Listener {
    Listener::at("127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap())
}

/// Starts one script per shard.
pub(crate) fn start<S: Script>(
    config: Config,
    make: impl Fn(ShardId) -> S + Send + Clone + 'static,
) -> Shards<Run<S>> {
    Shards::start(config, move |shard, _io| Run(make(shard))).expect("start")
}

/// Ends all shards.
pub(crate) fn stop<S: Script>(shards: Shards<Run<S>>) {
    let handle = shards.handle();
    for shard in 0..handle.shards() {
        handle.send(ShardId(shard), Word::Exit);
    }
    shards.join().expect("join");
}

/// A client that gives up after ten seconds.
pub(crate) fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads exactly `len` bytes.
pub(crate) fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("read");
    bytes
}

/// Waits up to ten seconds for `what`.
pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! The smallest application: every byte goes back. Prints once a second what the shards did.
//!
//! `cargo run --release -p shards --example echo -- 2 127.0.0.1:7777`

use std::sync::atomic::Ordering;
use std::time::Duration;

use shards::{
    Accepted, Application, Closed, Config, ConnectionId, Io, Listener, ShardId, ShardStats, Shards,
};

struct Echo;

impl Application for Echo {
    type Message = ();
    type HandOver = ();

    fn accepted(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId, _accepted: Accepted) {}
    fn received(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, bytes: &[u8]) {
        io.output(connection).extend_from_slice(bytes);
    }
    fn drained(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId) {}
    fn closed(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId, _cause: Closed) {}
    fn handed_over(&mut self, _: &mut Io<'_, Self>, _: ConnectionId, _: Accepted, _hand_over: ()) {}
    fn hand_over_failed(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId, _hand_over: ()) {}
    fn message(&mut self, _io: &mut Io<'_, Self>, _from: Option<ShardId>, _message: ()) {}
    fn credits_available(&mut self, _io: &mut Io<'_, Self>) {}
    fn timer(&mut self, _io: &mut Io<'_, Self>, _key: u64) {}
    fn turn_end(&mut self, _io: &mut Io<'_, Self>) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let shards = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let address =
        arguments.next().unwrap_or_else(|| "127.0.0.1:7777".into()).parse::<std::net::SocketAddr>()?;
    let listeners = vec![Listener::at(address)];
    let config = Config { shards, connections_max: 20_000, listeners, ..Config::default() };
    let running = Shards::start(config, |_, _: &mut Io<'_, Echo>| Echo)?;
    println!("listening on {}", running.addresses()[0]);
    let sum = |of: fn(&ShardStats) -> &std::sync::atomic::AtomicU64| -> u64 {
        running.stats().iter().map(|stats| of(stats).load(Ordering::Relaxed)).sum()
    };
    loop {
        std::thread::sleep(Duration::from_secs(1));
        println!(
            "connections {} in {} B out {} B turns {} wakes {} idle waits {} cpu {} us",
            sum(|s| &s.connections),
            sum(|s| &s.bytes_in),
            sum(|s| &s.bytes_out),
            sum(|s| &s.turns),
            sum(|s| &s.wakes),
            sum(|s| &s.idle_waits),
            sum(|s| &s.thread_cpu_us),
        );
    }
}

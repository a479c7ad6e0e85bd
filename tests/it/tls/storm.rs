//! Many new TLS clients at once, and what those that are connected notice of it. A measurement, for a release build with a
//! CPU of its own:
//! `MYRIAD_BIN=target/release/myriad MYRIAD_IT_CPU=0 taskset -c 1 cargo test --release --test it tls::storm -- --ignored --nocapture`.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::peer::{TlsStream, shake};
use super::*;
use crate::client::Client;
use crate::wire::Connect;

/// Clients that are connected before.
const CONNECTED: usize = 20;

/// Round trips of PINGREQ in microseconds, until told to stop.
fn ping(address: SocketAddr, number: usize, stop: Arc<AtomicBool>) -> JoinHandle<Vec<u64>> {
    std::thread::spawn(move || {
        let connect = Connect::v5(&format!("connected-{number}"));
        let mut client = Client::open(address, connect.version);
        client.send(connect);
        assert_eq!(client.recv_connack().reason, 0);
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            client.ping();
            times.push(start.elapsed().as_micros() as u64);
            std::thread::sleep(Duration::from_millis(10));
        }
        times
    })
}

/// Round trips of all connected clients while `f` runs, sorted, and what `f` gives.
fn while_pinging<T>(secured: &Secured, f: impl FnOnce() -> T) -> (Vec<u64>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let pingers: Vec<_> =
        (0..CONNECTED).map(|number| ping(secured.broker.address, number, Arc::clone(&stop))).collect();
    std::thread::sleep(Duration::from_millis(200));
    let result = f();
    stop.store(true, Ordering::Relaxed);
    let mut times: Vec<_> = pingers.into_iter().flat_map(|pinger| pinger.join().unwrap()).collect();
    times.sort_unstable();
    (times, result)
}

/// User and system time of a process, in microseconds (clock ticks of 10 ms).
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

/// `count` clients connect and go through their handshakes at once. What each says first is made before.
fn storm(secured: &Secured, count: usize) -> Vec<TlsStream> {
    let config = secured.peer().config();
    let client = |_| {
        let mut connection =
            ClientConnection::new(Arc::clone(&config), ServerName::try_from(HOST).unwrap()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        (connection, hello)
    };
    let clients: Vec<_> = (0..count).map(client).collect();
    let start = Instant::now();
    let mut streams: Vec<_> = clients
        .into_iter()
        .map(|(connection, hello)| {
            let mut socket = TcpStream::connect(secured.mqtts).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            std::io::Write::write_all(&mut socket, &hello).unwrap();
            StreamOwned::new(connection, socket)
        })
        .collect();
    let said = start.elapsed();
    streams.iter_mut().for_each(|stream| shake(stream).unwrap());
    println!("{count} handshakes: all said hello after {said:?}, all done after {:?}", start.elapsed());
    streams
}

fn measure(secured: &Secured, key: &str, count: usize) -> u64 {
    let (calm, ()) = while_pinging(secured, || std::thread::sleep(Duration::from_secs(2)));
    let before_us = cpu_us(secured.broker.pid());
    let (stormy, streams) = while_pinging(secured, || storm(secured, count));
    let cpu_us = cpu_us(secured.broker.pid()) - before_us;
    let of = |times: &[u64], per_mille: usize| times[(times.len() * per_mille / 1000).min(times.len() - 1)];
    for (name, times) in [("calm", &calm), ("storm", &stormy)] {
        println!(
            "{key}, {name}: PINGREQ p50 {} us, p99 {} us, p99.9 {} us, longest {} us, of {}",
            of(times, 500),
            of(times, 990),
            of(times, 999),
            of(times, 1000),
            times.len()
        );
    }
    println!("{key}: {} us of CPU a new client, PINGREQs of the others included", cpu_us / count as u64);
    // Who goes before the broker has read the last of the handshake was never there.
    secured.expect_metric("metrics/tls/handshakes", count as u64);
    drop(streams);
    of(&stormy, 990)
}

/// The broker's threads stay on the CPU that `MYRIAD_IT_CPU` names.
fn pin(secured: &Secured) {
    let Ok(cpu) = std::env::var("MYRIAD_IT_CPU") else { return };
    let pid = secured.broker.pid().to_string();
    let status = Command::new("taskset").args(["-a", "-p", "-c", &cpu, &pid]).output().unwrap().status;
    assert!(status.success());
}

fn storm_of_p256(count: usize) -> u64 {
    let secured = Options::shards(1).log("info").start();
    pin(&secured);
    measure(&secured, "P-256", count)
}

fn storm_of_rsa(count: usize) -> Option<u64> {
    let (pkcs8, _) = super::files::rsa_keys()?;
    let options = Options::shards(1).log("info");
    let key = rcgen::KeyPair::from_pem(&pkcs8).unwrap();
    options.write_pair("server", &options.authority.sign_for(authority::server(&[HOST]), &key, pkcs8));
    let secured = options.start();
    pin(&secured);
    Some(measure(&secured, "RSA-2048", count))
}

#[test]
fn a_small_storm_is_served_and_counted() {
    // Times are of the measurement below: this machine may be busy with other tests.
    storm_of_p256(200);
}

#[test]
#[ignore = "a measurement"]
fn a_storm_of_5000_handshakes_with_p256() {
    assert!(storm_of_p256(5000) < 50_000);
}

#[test]
#[ignore = "a measurement"]
fn a_storm_of_5000_handshakes_with_rsa_2048() {
    assert!(storm_of_rsa(5000).unwrap() < 50_000);
}

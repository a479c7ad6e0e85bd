//! Who is let in, and by which doors: filters, Unix sockets, IPv6 with and without IPv4.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shards::{Accepted, Address, Close, Config, ConnectionId, Filter, Listener, ShardId, ShardStats, Shards};

use crate::script::*;

/// Sends the peer's address, then what comes.
struct Tell;

impl Script for Tell {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, accepted: Accepted) {
        let over = if accepted.over_capacity { "!" } else { "" };
        io.output(id).extend_from_slice(format!("{over}{}\n", accepted.remote).as_bytes());
    }
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        io.output(id).extend_from_slice(bytes);
    }
}

fn sum(shards: &Shards<Run<Tell>>, of: impl Fn(&ShardStats) -> &AtomicU64) -> u64 {
    shards.stats().iter().map(|stats| of(stats).load(Ordering::Relaxed)).sum()
}

fn filtered(filter: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Listener {
    Listener { filter: Some(Filter(Arc::new(filter))), ..listener() }
}

/// Closed, and nothing was sent.
fn is_closed(stream: &mut impl Read) -> bool {
    loop {
        match stream.read(&mut [0; 1]) {
            Ok(len) => return len == 0,
            // The timers of the shards in this process.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn line(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while text.last() != Some(&b'\n') {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

#[test]
fn who_is_filtered_takes_no_place_and_no_callback() {
    let open = Arc::new(AtomicBool::new(false));
    let listeners = vec![
        Listener {
            connections_max: 2,
            ..filtered({
                let open = Arc::clone(&open);
                move |ip| ip.is_loopback() && open.load(Ordering::Relaxed)
            })
        },
        listener(),
    ];
    let shards = start(Config { listeners, ..config(2) }, |_| Tell);
    // More than there are slots for accepts, with bytes and without.
    for round in 0..300 {
        let mut stream = client(shards.addresses()[0]);
        if round % 2 == 0 {
            let _ = stream.write_all(b"hello");
        }
        assert!(is_closed(&mut stream));
    }
    eventually("all are counted", || sum(&shards, |stats| &stats.filtered) == 300);
    eventually("all are gone", || sum(&shards, |stats| &stats.connections) == 0);
    assert_eq!((sum(&shards, |stats| &stats.accepted), sum(&shards, |stats| &stats.closed)), (0, 0));
    open.store(true, Ordering::Relaxed);
    let mut inside: Vec<_> = (0..2).map(|_| client(shards.addresses()[0])).collect();
    inside.iter_mut().for_each(|stream| assert!(line(stream).starts_with("127.0.0.1:")));
    assert!(
        line(&mut client(shards.addresses()[0])).starts_with('!'),
        "the places are two, all of them free before"
    );
    assert!(line(&mut client(shards.addresses()[1])).starts_with("127.0.0.1:"), "the other has no filter");
    stop(shards);
}

/// A path that nothing else uses; removed by the listener.
fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shards-it-{}-{name}.sock", std::process::id()))
}

fn unix(path: &PathBuf) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads nothing of its connection; says goodbye and closes when it is told to.
#[derive(Default)]
struct Deaf(Option<ConnectionId>);

impl Script for Deaf {
    fn accepted(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, _accepted: Accepted) {
        self.0 = Some(id);
        io.pause(id);
        io.output(id).extend_from_slice(b"hello\n");
    }
    fn message(&mut self, io: &mut Port<'_, Self>, _from: Option<ShardId>, _word: Word) {
        if let Some(id) = self.0.take() {
            io.output(id).extend_from_slice(b"goodbye");
            io.close(id, Close::Flush);
        }
    }
}

#[test]
fn unread_bytes_of_a_unix_socket_do_not_spoil_its_end() {
    let path = socket_path("unread");
    let address = Address::Unix { path: path.clone(), mode: 0o600 };
    let shards = start(Config { listeners: vec![Listener::at(address)], ..config(1) }, |_| Deaf::default());
    for len in [1, 5_000, 150_000, 1_000_000] {
        let mut stream = unix(&path);
        socket2::SockRef::from(&stream).set_send_buffer_size(4 << 20).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(line(&mut stream), "hello");
        stream.write_all(&vec![7; len]).unwrap();
        shards.handle().send(ShardId(0), Word::Number(0));
        let mut end = Vec::new();
        // An end, not ECONNRESET.
        stream.read_to_end(&mut end).unwrap();
        assert_eq!(end, b"goodbye");
    }
    stop(shards);
}

/// Pauses its connection when the first bytes have come, and says goodbye when it hears that its peer has closed.
#[derive(Default)]
struct Patient;

impl Script for Patient {
    fn received(&mut self, io: &mut Port<'_, Self>, id: ConnectionId, bytes: &[u8]) {
        io.pause(id);
        io.output(id).extend_from_slice(format!("{} bytes\n", bytes.len()).as_bytes());
    }
    fn peer_finished(&mut self, io: &mut Port<'_, Self>, id: ConnectionId) {
        io.output(id).extend_from_slice(b"goodbye");
        io.close(id, Close::Flush);
    }
}

#[test]
fn a_peer_that_closes_while_it_is_paused_is_told_where_it_left_nothing_unread() {
    let path = socket_path("finished");
    let address = Address::Unix { path: path.clone(), mode: 0o600 };
    let tcp = Listener::at("127.0.0.1:0".parse::<SocketAddr>().unwrap());
    let shards = start(Config { listeners: vec![tcp, Listener::at(address)], ..config(1) }, |_| Patient);
    for unread in [&b""[..], b"more"] {
        let mut tcp = client(shards.addresses()[0]);
        let mut unix = unix(&path);
        if !unread.is_empty() {
            tcp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            unix.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        tcp.write_all(b"first").unwrap();
        unix.write_all(b"first").unwrap();
        assert_eq!((line(&mut tcp).as_str(), line(&mut unix).as_str()), ("5 bytes", "5 bytes"));
        tcp.write_all(unread).unwrap();
        unix.write_all(unread).unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        unix.shutdown(Shutdown::Write).unwrap();
        for stream in [&mut tcp as &mut dyn Read, &mut unix] {
            let mut end = Vec::new();
            if unread.is_empty() {
                stream.read_to_end(&mut end).unwrap();
                assert_eq!(end, b"goodbye");
            } else {
                assert!(stream.read_to_end(&mut end).is_err(), "it stays open: {end:?}");
            }
        }
    }
    stop(shards);
}

#[test]
fn all_shards_accept_from_one_unix_socket() {
    let path = socket_path("echo");
    let address = Address::Unix { path: path.clone(), mode: 0o600 };
    let shards = start(Config { listeners: vec![Listener::at(address)], ..config(4) }, |_| Tell);
    let mut streams: Vec<_> = (0..100).map(|_| unix(&path)).collect();
    let large: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    for stream in &mut streams {
        assert_eq!(line(stream), "127.0.0.1:0");
    }
    for stream in &mut streams[..10] {
        let mut writer = stream.try_clone().unwrap();
        let bytes = large.clone();
        let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut back = vec![0; large.len()];
        stream.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == large);
    }
    drop(streams);
    eventually("all are gone", || sum(&shards, |stats| &stats.connections) == 0);
    assert!(path.exists());
    stop(shards);
    assert!(!path.exists());
}

#[test]
fn an_ipv6_address_takes_ipv4_unless_it_is_told_not_to() {
    let any: SocketAddr = "[::]:0".parse().unwrap();
    let listeners =
        [false, true].map(|only_v6| Listener::at(Address::Tcp { address: any, only_v6 })).to_vec();
    let shards = start(Config { listeners, ..config(2) }, |_| Tell);
    let ports: Vec<u16> = shards.addresses().iter().map(SocketAddr::port).collect();
    for port in &ports {
        assert!(line(&mut client(format!("[::1]:{port}").parse().unwrap())).starts_with("[::1]:"));
    }
    assert!(line(&mut client(format!("127.0.0.1:{}", ports[0]).parse().unwrap())).starts_with("127.0.0.1:"));
    let refused = TcpStream::connect(("127.0.0.1", ports[1])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    stop(shards);
}

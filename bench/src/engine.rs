//! One thread's connections over one edge-triggered epoll set, and the buffers that they share.
//!
//! The engine knows bytes and packet boundaries; a [`Handler`] knows what packets mean. Each wake-up reads a
//! connection until it is empty, hands its packets to the handler, and sends all answers in one write.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::carrier::Carriers;
use crate::connection::{Connection, State, Taken};
use crate::scanner::{self, Frame, Split};
use crate::schedule::Alarm;
use crate::wire::ProtocolVersion;

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;
/// Room of one read.
const INPUT_LEN: usize = 256 * 1024;
/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 8;
/// A PUBLISH longer than this is not collected: its payload is dropped as it arrives.
const COLLECTED_LEN_MAX: usize = 64 * 1024;

/// What packets and changes of a connection mean.
pub(crate) trait Handler {
    /// The connection is established; `out` is sent.
    fn opened(&mut self, _index: usize, _out: &mut Vec<u8>) {}
    /// `bytes` were read; their packets follow.
    fn received(&mut self, _bytes: usize) {}
    /// A packet arrived; what is appended to `out` is sent after the last packet of this read.
    fn frame(&mut self, index: usize, frame: Frame<'_>, out: &mut Vec<u8>);
    /// Everything composed earlier has reached the kernel: there is room again.
    fn drained(&mut self, _index: usize) {}
    /// The connection is gone, not by our wish.
    fn closed(&mut self, index: usize, why: &io::Error);
}

/// The connections of one thread.
#[derive(Debug)]
pub(crate) struct Engine {
    version: ProtocolVersion,
    carriers: Carriers,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    alarm: Alarm,
    connections: Vec<Connection>,
    input: Vec<u8>,
    /// Bytes composed for the connection at hand.
    pub(crate) output: Vec<u8>,
    /// Connections that had more to read than their turn allowed; true where the peer has closed.
    unfinished: Vec<(usize, bool)>,
}

impl Engine {
    /// An engine without connections.
    pub(crate) fn new(version: ProtocolVersion, carriers: Carriers) -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            version,
            carriers,
            waker: Arc::new(Waker::new(poll.registry(), WAKER)?),
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            connections: Vec::new(),
            input: vec![0; INPUT_LEN],
            output: Vec::with_capacity(INPUT_LEN),
            unfinished: Vec::new(),
        })
    }

    /// Ends a wait of this engine from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Connections, closed ones included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Starts a connection; indices are given in order from 0.
    pub(crate) fn dial(&mut self, to: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
        let mut connection = Connection::dial(to, source, &self.carriers)?;
        if let Some(stream) = &mut connection.stream {
            let token = Token(self.connections.len());
            self.poll.registry().register(stream, token, Interest::READABLE | Interest::WRITABLE)?;
        }
        self.connections.push(connection);
        Ok(())
    }

    /// True while nothing more should be composed for a connection.
    #[inline]
    pub(crate) fn is_blocked(&self, index: usize) -> bool {
        self.connections.get(index).is_none_or(|c| c.state != State::Open || c.is_blocked())
    }

    /// Sends what was composed in [`Self::output`].
    #[inline]
    pub(crate) fn send(&mut self, index: usize) -> io::Result<()> {
        let Self { connections, output, .. } = self;
        let result = match connections.get_mut(index) {
            Some(c) if c.state == State::Open => c.write(output),
            _ => Ok(()),
        };
        output.clear();
        result
    }

    /// Closes a connection after a last packet, as far as the kernel takes it.
    pub(crate) fn close(&mut self, index: usize, last: &[u8]) {
        if let Some(c) = self.connections.get_mut(index)
            && c.state != State::Closed
        {
            // The run is over for this client: a reset at this moment is no finding.
            let _ = c.write(last);
            c.close();
        }
    }

    /// Wakes [`Self::turn`] at `due_ns` of the clock.
    pub(crate) fn arm(&mut self, due_ns: u64) -> io::Result<()> {
        self.alarm.arm(due_ns)
    }

    /// Waits for events, at most `timeout`, and handles them.
    pub(crate) fn turn<H: Handler>(&mut self, timeout: Duration, handler: &mut H) -> io::Result<()> {
        let timeout = if self.unfinished.is_empty() { timeout } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != WAKER && event.token() != ALARM {
                self.event(event, handler);
            }
        }
        self.events = events;
        for (index, to_the_end) in std::mem::take(&mut self.unfinished) {
            self.read(index, to_the_end, handler);
        }
        Ok(())
    }

    fn event<H: Handler>(&mut self, event: &Event, handler: &mut H) {
        let index = event.token().0;
        let Some(connection) = self.connections.get_mut(index) else { return };
        match connection.state {
            State::Closed => return,
            State::Dialing => {
                if !event.is_writable() && !event.is_error() {
                    return;
                }
                let failure = connection.stream.as_ref().and_then(|s| s.take_error().unwrap_or_else(Some));
                if let Some(e) = failure {
                    return self.fail(index, &e, handler);
                }
                connection.state = State::Open;
                handler.opened(index, &mut self.output);
                if let Err(e) = self.send(index) {
                    return self.fail(index, &e, handler);
                }
            }
            State::Open => {}
        }
        if event.is_writable() && self.connections.get(index).is_some_and(Connection::is_blocked) {
            match self.connections.get_mut(index).map(Connection::write_unsent) {
                Some(Ok(true)) => handler.drained(index),
                Some(Err(e)) => return self.fail(index, &e, handler),
                _ => {}
            }
        }
        if event.is_readable() || event.is_error() {
            self.read(index, event.is_read_closed() || event.is_error(), handler);
        }
    }

    /// Reads a connection until it is empty; to its end where the peer has closed it.
    #[inline]
    fn read<H: Handler>(&mut self, index: usize, to_the_end: bool, handler: &mut H) {
        for _ in 0..READS_PER_TURN {
            let Self { connections, input, .. } = self;
            let Some(connection) = connections.get_mut(index) else { return };
            let kept = if connection.skip > 0 { 0 } else { connection.partial.len() };
            if input.len() < kept + INPUT_LEN / 2 {
                input.resize(kept + INPUT_LEN, 0);
            }
            let Some(room) = input.get_mut(kept..) else { return };
            match connection.read(room) {
                Ok(Taken { bytes, more }) => {
                    if bytes > 0 {
                        handler.received(bytes);
                        if let Err(e) = self.packets(index, kept, kept + bytes, handler) {
                            return self.fail(index, &e, handler);
                        }
                    }
                    if !more && !to_the_end {
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.fail(index, &e, handler),
            }
        }
        self.unfinished.push((index, to_the_end));
    }

    /// Handles the packets in `input[..end]`, of which the first `kept` bytes go where the partial packet is
    /// copied to, and sends the answers.
    #[inline]
    fn packets<H: Handler>(
        &mut self,
        index: usize,
        kept: usize,
        end: usize,
        handler: &mut H,
    ) -> io::Result<()> {
        let Self { connections, input, output, version, .. } = self;
        let (Some(connection), Some(data)) = (connections.get_mut(index), input.get_mut(..end)) else {
            return Ok(());
        };
        let mut at = 0;
        if connection.skip > 0 {
            at = connection.skip.min(end);
            connection.skip -= at;
            if connection.skip > 0 {
                return Ok(());
            }
            let head = std::mem::take(&mut connection.partial);
            if let Some(frame) = scanner::head(&head) {
                handler.frame(index, frame, output);
            }
        } else if let Some(front) = data.get_mut(..kept) {
            front.copy_from_slice(&connection.partial);
        }
        let mut tail = data.get(at..).unwrap_or_default();
        loop {
            match scanner::split(tail) {
                Split::Frame(frame, used) => {
                    handler.frame(index, frame, output);
                    tail = tail.get(used..).unwrap_or_default();
                }
                Split::Incomplete(Some(len)) if len > COLLECTED_LEN_MAX => {
                    match scanner::publish_head_len(*version, tail) {
                        Some(head) => {
                            connection.skip = len - tail.len();
                            connection.keep(tail.get(..head).unwrap_or_default());
                        }
                        None => connection.keep(tail),
                    }
                    break;
                }
                Split::Incomplete(_) => {
                    connection.keep(tail);
                    break;
                }
                Split::Malformed => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the broker sent a malformed packet",
                    ));
                }
            }
        }
        if output.is_empty() { Ok(()) } else { self.send(index) }
    }

    fn fail<H: Handler>(&mut self, index: usize, why: &io::Error, handler: &mut H) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.close();
            handler.closed(index, why);
        }
        self.output.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::scanner::PayloadHeader;
    use crate::wire::PublishTemplate;

    const V: ProtocolVersion = ProtocolVersion::V5;
    const TURN: Duration = Duration::from_millis(100);

    /// Collects what arrives, and answers each packet with one byte.
    #[derive(Default)]
    struct Collector {
        opened: bool,
        sequences: Vec<u32>,
        drained: usize,
        closed: Option<String>,
    }

    impl Handler for Collector {
        fn opened(&mut self, _index: usize, _out: &mut Vec<u8>) {
            self.opened = true;
        }

        fn frame(&mut self, _index: usize, frame: Frame<'_>, out: &mut Vec<u8>) {
            let publish = scanner::publish(V, &frame).unwrap();
            self.sequences.push(publish.header.unwrap().sequence);
            out.push(b'a');
        }

        fn drained(&mut self, _index: usize) {
            self.drained += 1;
        }

        fn closed(&mut self, _index: usize, why: &io::Error) {
            self.closed = Some(why.to_string());
        }
    }

    fn messages(payload_lens: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (n, len) in payload_lens.iter().enumerate() {
            let header = PayloadHeader { stamp_ns: 0, publisher: 0, sequence: n as u32 };
            PublishTemplate::new(V, "a/topic", 1, *len, 2).unwrap().write(&mut bytes, 1, header);
        }
        bytes
    }

    fn turn_until(engine: &mut Engine, collector: &mut Collector, done: impl Fn(&Collector) -> bool) {
        let start = std::time::Instant::now();
        while !done(collector) {
            engine.turn(TURN, collector).unwrap();
            assert!(start.elapsed() < Duration::from_secs(20), "stuck after {:?}", collector.sequences);
        }
    }

    #[test]
    fn packets_are_whole_however_the_bytes_are_cut() {
        let lens = [16, 100_000, 20, 70_000, 300_000, 17, 65_000];
        let bytes = messages(&lens);
        for step in [1_003, 65_536, 200_000, usize::MAX] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut engine = Engine::new(V, Carriers::default()).unwrap();
            engine.dial(listener.local_addr().unwrap(), None).unwrap();
            let bytes = bytes.clone();
            let peer = thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                socket.set_nodelay(true).unwrap();
                for piece in bytes.chunks(step.min(bytes.len())) {
                    socket.write_all(piece).unwrap();
                    thread::yield_now();
                }
                let mut answers = [0; 7];
                socket.read_exact(&mut answers).unwrap();
                assert_eq!(&answers, b"aaaaaaa");
            });
            let mut collector = Collector::default();
            turn_until(&mut engine, &mut collector, |c| c.closed.is_some());
            peer.join().unwrap();
            assert_eq!(collector.sequences, [0, 1, 2, 3, 4, 5, 6], "pieces of {step}");
            assert_eq!(collector.closed.as_deref(), Some("closed by the broker"));
        }
    }

    #[test]
    fn bytes_that_a_slow_peer_leaves_are_sent_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut engine = Engine::new(V, Carriers::default()).unwrap();
        engine.dial(listener.local_addr().unwrap(), None).unwrap();
        let mut collector = Collector::default();
        turn_until(&mut engine, &mut collector, |c| c.opened);
        let sent: Vec<u8> = (0..16_000_000_u32).map(|n| (n / 7) as u8).collect();
        engine.output.extend_from_slice(&sent);
        engine.send(0).unwrap();
        assert!(engine.is_blocked(0));
        let len = sent.len();
        let peer = thread::spawn(move || {
            let mut received = vec![0; len];
            listener.accept().unwrap().0.read_exact(&mut received).unwrap();
            received
        });
        turn_until(&mut engine, &mut collector, |c| c.drained > 0);
        assert!(!engine.is_blocked(0));
        assert!(peer.join().unwrap() == sent);
    }

    #[test]
    fn a_refused_connection_is_reported() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut engine = Engine::new(V, Carriers::default()).unwrap();
        engine.dial(address, Some("127.0.0.9".parse().unwrap())).unwrap();
        let mut collector = Collector::default();
        turn_until(&mut engine, &mut collector, |c| c.closed.is_some());
        assert!(collector.closed.unwrap().contains("refused"));
        assert!(!collector.opened && engine.is_blocked(0));
    }

    #[test]
    fn the_source_address_is_the_one_that_was_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut engine = Engine::new(V, Carriers::default()).unwrap();
        engine.dial(listener.local_addr().unwrap(), Some("127.0.0.7".parse().unwrap())).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.0.0.7");
    }
}

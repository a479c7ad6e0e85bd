//! A client that does what a test says and nothing by itself: exact packets or bytes out, exact packets in, with timeouts.
//! The few methods that answer for the test (`subscribe`, `publish`, `expect_message`) say so.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::{
    Ack, AckKind, Connack, Decoded, Disconnect, Filter, Packet, Publish, Subscribe, Unsubscribe, Version,
    decode,
};

/// Longest wait for anything that has to come.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come, where nothing has to come.
const SILENCE: Duration = Duration::from_millis(150);

/// What carries MQTT to the broker.
pub trait Stream: Read + Write + Send {
    /// How long a read may take.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    /// Ends this side's direction only.
    fn shutdown_write(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// One Network Connection.
pub struct Client {
    version: Version,
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// Packets that came while another one was waited for.
    waiting: VecDeque<Packet>,
    next_id: u16,
}

/// What a read brought.
enum Event {
    Packet(Packet),
    Closed,
    Silence,
}

impl Client {
    /// Opens a Network Connection and sends nothing.
    pub fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Self::over(stream, version)
    }

    /// A Network Connection over `stream`.
    pub fn over(stream: impl Stream + 'static, version: Version) -> Self {
        let stream = Box::new(stream);
        Self { version, stream, received: vec![], waiting: VecDeque::new(), next_id: 0 }
    }

    /// A Packet Identifier that this client has not used yet.
    pub fn next_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends one packet.
    pub fn send(&mut self, packet: impl Into<Packet>) {
        let bytes = packet.into().encode(self.version);
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes that the broker may refuse halfway.
    pub fn send_bytes_or_closed(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next packet, whatever it is.
    pub fn recv(&mut self) -> Packet {
        match self.event(TIMEOUT) {
            Event::Packet(packet) => packet,
            Event::Closed => panic!("the broker closed the connection; a packet was to come"),
            Event::Silence => panic!("nothing came in {TIMEOUT:?}; a packet was to come"),
        }
    }

    /// The next packet within `timeout`, if the connection stays open.
    pub fn recv_within(&mut self, timeout: Duration) -> Option<Packet> {
        match self.event(timeout) {
            Event::Packet(packet) => Some(packet),
            Event::Closed => panic!("the broker closed the connection"),
            Event::Silence => None,
        }
    }

    /// The next packet within `timeout`; `None`: none came, whether the connection stays open or not.
    pub fn recv_within_or_closed(&mut self, timeout: Duration) -> Option<Packet> {
        match self.event(timeout) {
            Event::Packet(packet) => Some(packet),
            Event::Closed | Event::Silence => None,
        }
    }

    /// The next packet; `None` when the broker closes instead.
    pub fn try_recv(&mut self) -> Option<Packet> {
        match self.event(TIMEOUT) {
            Event::Packet(packet) => Some(packet),
            Event::Closed => None,
            Event::Silence => panic!("neither a packet nor a close in {TIMEOUT:?}"),
        }
    }

    /// The next packet that `wanted` accepts; others before it stay for later.
    pub fn recv_where(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let mut passed = VecDeque::new();
        loop {
            let packet = self.recv();
            if wanted(&packet) {
                passed.append(&mut self.waiting);
                self.waiting = passed;
                return packet;
            }
            passed.push_back(packet);
        }
    }

    /// The CONNACK, which has to be the next packet.
    pub fn recv_connack(&mut self) -> Connack {
        match self.recv() {
            Packet::Connack(connack) => connack,
            other => panic!("CONNACK was to come, not {other:?}"),
        }
    }

    /// A PUBLISH, which has to be the next packet. It is not acknowledged.
    pub fn recv_publish(&mut self) -> Publish {
        match self.recv() {
            Packet::Publish(publish) => publish,
            other => panic!("PUBLISH was to come, not {other:?}"),
        }
    }

    /// The next PUBLISH, acknowledged as its QoS demands.
    pub fn recv_message(&mut self) -> Publish {
        let publish = self.recv_publish();
        self.acknowledge(&publish);
        publish
    }

    /// Acknowledges a PUBLISH as its QoS demands.
    pub fn acknowledge(&mut self, publish: &Publish) {
        match publish.qos {
            1 => self.send(Ack::new(AckKind::Puback, publish.id)),
            2 => {
                self.send(Ack::new(AckKind::Pubrec, publish.id));
                self.recv_ack(AckKind::Pubrel, publish.id);
                self.send(Ack::new(AckKind::Pubcomp, publish.id));
            }
            _ => {}
        }
    }

    /// A message with this topic and payload has to be next; it is acknowledged.
    pub fn expect_message(&mut self, topic: &str, payload: &str) -> Publish {
        let publish = self.recv_message();
        assert_eq!((publish.topic.as_str(), publish.text().as_str()), (topic, payload), "{publish:?}");
        publish
    }

    /// Messages with these payloads, in this order; acknowledged.
    pub fn expect_payloads<T: AsRef<str>>(&mut self, payloads: impl IntoIterator<Item = T>) {
        for payload in payloads {
            let publish = self.recv_message();
            assert_eq!(publish.text(), payload.as_ref(), "{publish:?}");
        }
    }

    /// The acknowledgement of `kind` for `id`; PUBLISHes that come before it stay for later.
    pub fn recv_ack(&mut self, kind: AckKind, id: u16) -> Ack {
        let packet = self.recv_where(|packet| !matches!(packet, Packet::Publish(_)));
        match packet {
            Packet::Ack(ack) if ack.kind == kind && ack.id == id => ack,
            other => panic!("{kind:?} for {id} was to come, not {other:?}"),
        }
    }

    /// The acknowledgement of `kind` for `id` with this Reason Code.
    pub fn expect_ack(&mut self, kind: AckKind, id: u16, reason: u8) -> Ack {
        let ack = self.recv_ack(kind, id);
        assert_eq!(ack.reasons, [reason], "{ack:?}");
        ack
    }

    /// Sends SUBSCRIBE and returns the Reason Codes of its SUBACK.
    pub fn subscribe_with(&mut self, subscribe: Subscribe) -> Vec<u8> {
        let id = subscribe.id;
        self.send(subscribe);
        self.recv_ack(AckKind::Suback, id).reasons
    }

    /// Subscribes to one filter; `options` is the QoS, which has to be granted, and in 5.0 the other bits.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let id = self.next_id();
        let granted = self.subscribe_with(Subscribe::new(id, filter, options));
        assert_eq!(granted, [options & 3], "SUBACK for {filter:?}");
    }

    /// Subscribes to one filter and returns the Reason Code.
    pub fn subscribe_reason(&mut self, filter: &str, options: u8) -> u8 {
        let id = self.next_id();
        let reasons = self.subscribe_with(Subscribe::new(id, filter, options));
        assert_eq!(reasons.len(), 1, "SUBACK for {filter:?}: {reasons:?}");
        reasons[0]
    }

    /// Subscribes to several filters at one QoS.
    pub fn subscribe_all(&mut self, filters: &[&str], qos: u8) {
        let id = self.next_id();
        let filters: Vec<_> =
            filters.iter().map(|filter| Filter { filter: filter.to_string(), options: qos }).collect();
        let count = filters.len();
        let granted = self.subscribe_with(Subscribe { id, filters, properties: vec![] });
        assert_eq!(granted, vec![qos; count]);
    }

    /// Unsubscribes and returns the Reason Codes (none in 3.x).
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let id = self.next_id();
        self.send(Unsubscribe::new(id, filters));
        self.recv_ack(AckKind::Unsuback, id).reasons
    }

    /// Publishes and goes through the whole handshake of its QoS; the Reason Code has to be a success.
    pub fn publish(&mut self, publish: Publish) {
        let reason = self.publish_reason(publish);
        assert!(matches!(reason, 0x00 | 0x10), "Reason Code {reason:#04x}");
    }

    /// Publishes and returns the Reason Code of PUBACK or PUBREC; 0 at QoS 0.
    pub fn publish_reason(&mut self, mut publish: Publish) -> u8 {
        if publish.qos > 0 && publish.id == 0 {
            publish.id = self.next_id();
        }
        let (id, qos) = (publish.id, publish.qos);
        self.send(publish);
        match qos {
            0 => 0,
            1 => self.recv_ack(AckKind::Puback, id).reasons[0],
            _ => {
                let reason = self.recv_ack(AckKind::Pubrec, id).reasons[0];
                if reason < 0x80 {
                    self.send(Ack::new(AckKind::Pubrel, id));
                    self.expect_ack(AckKind::Pubcomp, id, 0);
                }
                reason
            }
        }
    }

    /// PINGREQ and PINGRESP: the broker has handled all that was sent before.
    pub fn ping(&mut self) {
        self.send(Packet::Pingreq);
        let packet = self.recv_where(|packet| !matches!(packet, Packet::Publish(_)));
        assert_eq!(packet, Packet::Pingresp);
    }

    /// Nothing comes, and the connection stays open.
    pub fn expect_nothing(&mut self) {
        self.ping();
        match self.event(SILENCE) {
            Event::Silence => {}
            Event::Packet(packet) => panic!("nothing was to come, not {packet:?}"),
            Event::Closed => panic!("the broker closed the connection"),
        }
    }

    /// The broker closes the connection and sends nothing before.
    pub fn expect_closed(&mut self) {
        self.expect_closed_within(TIMEOUT);
    }

    /// The broker closes the connection within `timeout` and sends nothing before.
    pub fn expect_closed_within(&mut self, timeout: Duration) {
        match self.event(timeout) {
            Event::Closed => {}
            Event::Packet(packet) => panic!("the connection was to close, not to bring {packet:?}"),
            Event::Silence => panic!("the connection is still open after {timeout:?}"),
        }
    }

    /// The Reason Code of a DISCONNECT that is already there or comes at once; `None`: the connection stays open.
    pub fn recv_disconnect_or_nothing(&mut self) -> Option<u8> {
        match self.event(SILENCE) {
            Event::Packet(Packet::Disconnect(disconnect)) => Some(disconnect.reason),
            Event::Silence => None,
            Event::Packet(packet) => panic!("DISCONNECT or nothing was to come, not {packet:?}"),
            Event::Closed => panic!("closed without DISCONNECT"),
        }
    }

    /// The broker ends the connection because of an error: DISCONNECT with `reason` in 5.0, only closed in 3.x.
    pub fn expect_disconnect(&mut self, reason: u8) {
        self.expect_disconnect_one_of(&[reason]);
    }

    /// The same, where the specification leaves the choice between Reason Codes.
    pub fn expect_disconnect_one_of(&mut self, reasons: &[u8]) {
        if self.version.is_v5() {
            match self.recv() {
                Packet::Disconnect(Disconnect { reason, .. }) if reasons.contains(&reason) => {}
                other => panic!("DISCONNECT with one of {reasons:#04x?} was to come, not {other:?}"),
            }
        }
        self.expect_closed();
    }

    /// The broker refuses the CONNECT with `reason` and closes.
    pub fn expect_refusal(&mut self, reason: u8) -> Connack {
        let connack = self.recv_connack();
        assert_eq!(connack.reason, reason, "{connack:?}");
        self.expect_closed();
        connack
    }

    /// The broker answers a CONNECT that is no good with CONNACK and `reason`, or it only closes: both are allowed.
    pub fn expect_refusal_or_closed(&mut self, reason: u8) {
        match self.event(TIMEOUT) {
            Event::Closed => {}
            Event::Packet(Packet::Connack(connack)) if connack.reason == reason => self.expect_closed(),
            Event::Packet(packet) => panic!("a refusal with {reason:#04x} was to come, not {packet:?}"),
            Event::Silence => panic!("the connection is still open after {TIMEOUT:?}"),
        }
    }

    /// The broker refuses a protocol version that it does not know: CONNACK in the form of 3.x with 0x01, or in that of 5.0
    /// with 0x84, or it only closes; the specifications allow all three.
    pub fn expect_version_refused(&mut self) {
        let mut answer = Vec::new();
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        if let Err(error) = self.stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{answer:02x?}");
        }
        match answer[..] {
            [] | [0x20, 2, 0, 1] | [0x20, _, 0, 0x84, ..] => {}
            _ => panic!("a refusal of the version was to come, not {answer:02x?}"),
        }
    }

    /// DISCONNECT as it should be, then closes. Returns when the broker has closed too, so the session is offline.
    pub fn disconnect(self) {
        self.disconnect_with(Disconnect::default());
    }

    /// DISCONNECT with a Reason Code and properties, then closes.
    pub fn disconnect_with(mut self, disconnect: Disconnect) {
        self.send(disconnect);
        let deadline = Instant::now() + TIMEOUT;
        while !matches!(self.event(TIMEOUT), Event::Closed) {
            assert!(Instant::now() < deadline, "the broker does not close after DISCONNECT");
        }
    }

    /// Closes without DISCONNECT and gives the broker a moment to notice.
    pub fn abort(self) {
        drop(self);
        thread::sleep(Duration::from_millis(50));
    }

    /// Shuts down this side's direction only.
    pub fn half_close(&self) {
        self.stream.shutdown_write().unwrap();
    }

    fn event(&mut self, timeout: Duration) -> Event {
        if let Some(packet) = self.waiting.pop_front() {
            return Event::Packet(packet);
        }
        let deadline = Instant::now() + timeout;
        loop {
            match decode(&self.received, self.version) {
                Ok(Decoded::Packet(packet, length)) => {
                    self.received.drain(..length);
                    return Event::Packet(packet);
                }
                Ok(Decoded::Incomplete) => {}
                Err(error) => panic!("the broker sent {error}: {:02x?}", self.received),
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.received.is_empty(), "closed in a packet: {:02x?}", self.received);
                    return Event::Closed;
                }
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() >= deadline => {
                        return Event::Silence;
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Event::Closed,
                    _ => panic!("read: {error}"),
                },
            }
        }
    }
}

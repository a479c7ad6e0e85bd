//! A blocking MQTT client: CONNECT and its answer, packets one after the other, PINGREQ while it waits. What the packets mean is
//! for its callers.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use myriad::packet::{
    Connect, Forwarded, Frame, Packet, PacketId, ProtocolVersion, REMAINING_LENGTH_MAX, ReasonCode, Side,
    Will, decode, encode_disconnect, encode_pingreq, frame,
};

use super::Options;
use super::link::Link;
use crate::failure::{Failure, Status};

/// A client that the broker accepted.
pub(super) struct Client {
    link: Link,
    pub(super) version: ProtocolVersion,
    /// Bytes that came and are no whole packet yet.
    received: Vec<u8>,
    /// Between two PINGREQs; `None`: never.
    ping_every: Option<Duration>,
    ping_at: Instant,
    /// PUBLISHes of QoS 1 and 2 that the broker takes at a time.
    pub(super) receive_max: u16,
    /// The session was there before.
    pub(super) session_present: bool,
    last_id: PacketId,
}

/// What a session is to be.
pub(super) struct Wanted {
    pub(super) clean_start: bool,
    pub(super) session_expiry_s: Option<u32>,
}

impl Client {
    /// Connects and waits for the broker's word.
    pub(super) fn connect(options: &Options, wanted: &Wanted) -> Result<Self> {
        let environment = std::env::var("MYRIAD_MQTT_PASSWORD").ok();
        let password = options.password.as_deref().or(environment.as_deref());
        let version = options.mqtt_version;
        // 3.1 knows no empty Client Identifier.
        let own_id = format!("myriadctl-{}", std::process::id());
        let default = if version == ProtocolVersion::V31 { own_id.as_str() } else { "" };
        let mut connect = Connect::new(version, options.client_id.as_deref().unwrap_or(default));
        connect.clean_start = wanted.clean_start;
        connect.keep_alive = options.keep_alive;
        connect.username = options.username.as_deref();
        // Before 5.0 a password without a User Name can't be sent [MQTT-3.1.2-22].
        connect.password =
            password.filter(|_| version.is_v5() || options.username.is_some()).map(str::as_bytes);
        connect.session_expiry_s = wanted.session_expiry_s.filter(|_| version.is_v5());
        connect.will = options.will_topic.as_deref().map(|topic| Will {
            qos: options.will_qos,
            retain: options.will_retain,
            topic,
            payload: options.will_payload.as_bytes(),
            delay_s: 0,
            expiry_s: None,
            forwarded: Forwarded::EMPTY,
        });
        let mut packet = Vec::new();
        connect.encode(&mut packet);
        let mut client = Self {
            link: Link::open(options)?,
            version,
            received: Vec::new(),
            ping_every: None,
            ping_at: Instant::now(),
            receive_max: u16::MAX,
            session_present: false,
            last_id: PacketId::FIRST,
        };
        client.send(&packet)?;
        let deadline = Instant::now() + Duration::from_secs(options.patience);
        let Some(answer) = client.receive(Some(deadline))? else {
            let line = "the broker took the connection and does not answer CONNECT: is that port MQTT, and without TLS?";
            return Err(Failure::new(Status::Unreachable, line).into());
        };
        client.accept(&answer, options.keep_alive)?;
        Ok(client)
    }

    fn accept(&mut self, answer: &[u8], keep_alive: u16) -> Result<()> {
        let Packet::ConnAck(connack) = self.read(answer)? else {
            bail!("the broker answered CONNECT with something else than CONNACK");
        };
        if connack.reason != ReasonCode::Success {
            let status = match connack.reason {
                ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized | ReasonCode::Banned => {
                    Status::Refused
                }
                _ => Status::Failed,
            };
            let more = connack.reason_string.map(|text| format!(": {text}")).unwrap_or_default();
            let line = format!("the broker refuses this client: {}{more}", connack.reason);
            return Err(Failure::new(status, line).into());
        }
        self.receive_max = connack.receive_max.unwrap_or(u16::MAX);
        self.session_present = connack.session_present;
        let keep_alive = connack.server_keep_alive.unwrap_or(keep_alive);
        self.ping_every = (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 900));
        self.touch();
        Ok(())
    }

    fn touch(&mut self) {
        self.ping_at = Instant::now() + self.ping_every.unwrap_or_default();
    }

    /// An identifier that is in no use, as long as fewer than 65,535 are.
    pub(super) fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id.next();
        self.last_id
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.link.write_all(bytes).and_then(|()| self.link.flush()).context("the connection broke off")?;
        self.touch();
        Ok(())
    }

    /// What a packet of the broker says.
    pub(super) fn read<'p>(&self, packet: &'p [u8]) -> Result<Packet<'p>> {
        let packet =
            decode(self.version, packet, Side::FromServer).context("the broker sent a malformed packet")?;
        if let Packet::Disconnect(disconnect) = &packet {
            let more = disconnect.reason_string.map(|text| format!(": {text}")).unwrap_or_default();
            let status = match disconnect.reason {
                ReasonCode::NotAuthorized | ReasonCode::Banned => Status::Refused,
                _ => Status::Failed,
            };
            let line = format!("the broker ended the connection: {}{more}", disconnect.reason);
            return Err(Failure::new(status, line).into());
        }
        Ok(packet)
    }

    /// The next whole packet; `None`: none came until the deadline. PINGREQs are sent meanwhile, and their answers left out.
    pub(super) fn receive(&mut self, deadline: Option<Instant>) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(packet) = self.whole()? {
                if packet.first() != Some(&0xD0) {
                    return Ok(Some(packet));
                }
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(None);
            }
            if self.ping_every.is_some() && now >= self.ping_at {
                let mut ping = Vec::new();
                encode_pingreq(&mut ping);
                self.send(&ping)?;
            }
            let until = [deadline, self.ping_every.map(|_| self.ping_at)].into_iter().flatten().min();
            self.link.set_read_timeout(until.map(|until| until.saturating_duration_since(now)))?;
            let mut bytes = [0; 16 * 1024];
            match self.link.read(&mut bytes) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(n) => self.received.extend_from_slice(bytes.get(..n).unwrap_or_default()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("the connection broke off"),
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Vec<u8>>> {
        let max = REMAINING_LENGTH_MAX + 5;
        match frame(&self.received, max).context("the broker sent a malformed packet")? {
            Frame::Incomplete => Ok(None),
            Frame::Complete { header_len, body_len } => {
                let rest = self.received.split_off(header_len + body_len);
                Ok(Some(std::mem::replace(&mut self.received, rest)))
            }
        }
    }

    /// Says goodbye, so that no Will is published.
    pub(super) fn disconnect(mut self) -> Result<()> {
        let mut bytes = Vec::new();
        encode_disconnect(self.version, ReasonCode::Success, &mut bytes);
        self.send(&bytes)
    }
}

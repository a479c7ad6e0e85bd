//! TLS 1.2 and 1.3 of a server over rustls' unbuffered API: bytes in, plaintext and bytes out, as a function of them. An
//! idle connection keeps the keys of its session and no buffer; a record that has not wholly come is kept until it
//! has. The crate brings the random numbers and the clock that certificates are checked with.

mod acceptor;
mod certificate;
mod pem;
mod resolver;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};

use crate::auth::PeerCertificate;

pub use acceptor::{Acceptor, FileError, NamedFile, TlsFiles};
use certificate::Parsed;

/// Bytes that may be kept until they are whole. In traffic that is one record (RFC 8446, 5.2: 16 KiB, 256 and a header);
/// in a handshake one message, which may span records: a certificate chain is the longest.
const PARTIAL_BYTES_MAX: usize = 32 * 1024;

/// The largest plaintext of a record (RFC 8446, 5.1).
const FRAGMENT_LEN: usize = 16 * 1024;

/// More than a record's header, nonce, type and tag are together.
const RECORD_OVERHEAD: usize = 64;

/// States that one call of rustls may go through without taking a byte: what it has queued, and closing.
const STEPS_MAX: usize = 64;

/// CONNECT, the first byte of every MQTT connection (2.2.1). No record type of TLS has this value.
const MQTT_CONNECT: u8 = 0x10;

/// Why a TLS connection has to end. What the client is told (an alert) is among the bytes to send.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The client speaks MQTT without TLS.
    #[error("plain MQTT on a TLS listener")]
    PlainMqtt,
    /// The client speaks HTTP without TLS.
    #[error("plain HTTP on a TLS listener")]
    PlainHttp,
    /// A message that is too long to wait for its end.
    #[error("a TLS handshake message of more than {PARTIAL_BYTES_MAX} bytes")]
    TooLong,
    /// The client's certificate is not good enough.
    #[error("the client's certificate was refused: {0}")]
    ClientCertificate(Box<str>),
    /// None of the client's protocols (ALPN) is offered here.
    #[error("none of the client's ALPN protocols is offered by this listener")]
    NoProtocol,
    /// The client gave up, with this alert.
    #[error("the client ended the TLS connection with the alert {0:?}")]
    Alert(AlertDescription),
    /// Anything else: garbage, no common version or cipher suite, a record that was tampered with.
    #[error("TLS: {0}")]
    Protocol(rustls::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => {
                Self::ClientCertificate(rustls::Error::InvalidCertificate(error).to_string().into())
            }
            rustls::Error::InvalidCertRevocationList(_) | rustls::Error::NoCertificatesPresented => {
                Self::ClientCertificate(error.to_string().into())
            }
            rustls::Error::NoApplicationProtocol => Self::NoProtocol,
            rustls::Error::AlertReceived(alert) => Self::Alert(alert),
            error => Self::Protocol(error),
        }
    }
}

/// What a completed handshake tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    /// A session was resumed: no signature was made.
    pub resumed: bool,
    /// TLS 1.3, not 1.2.
    pub is_tls13: bool,
    /// What the client's certificate says; `None`: it showed none.
    pub peer: Option<Box<PeerCertificate>>,
}

/// One connection's TLS. Call [`Tls::receive`] with what came, then send what is in `down`; [`Tls::send`] once the
/// handshake is over; [`Tls::close`] before the last bytes leave. After an error only what is in `down` is sent.
pub struct Tls {
    /// From the first byte on: who connects and says nothing costs no handshake's state.
    connection: Option<Box<UnbufferedServerConnection>>,
    /// Bytes of a record or message that has not wholly come.
    partial: Vec<u8>,
    /// Until the handshake is over.
    acceptor: Option<Arc<Acceptor>>,
    /// Waits for [`Tls::take_established`].
    established: Option<Box<Established>>,
    has_received: bool,
    has_failed: bool,
    peer_has_closed: bool,
}

impl Tls {
    fn new(acceptor: Arc<Acceptor>) -> Self {
        Self {
            connection: None,
            partial: Vec::new(),
            acceptor: Some(acceptor),
            established: None,
            has_received: false,
            has_failed: false,
            peer_has_closed: false,
        }
    }

    /// The handshake is not over: what comes may cost a signature.
    pub fn is_handshaking(&self) -> bool {
        self.acceptor.is_some()
    }

    /// The client has closed its side in order (close_notify): nothing more comes.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// What the handshake told, once it is over; the first call after that has it.
    pub fn take_established(&mut self) -> Option<Box<Established>> {
        self.established.take()
    }

    /// Takes the bytes `from_below` (decrypted in place; empty afterwards), appends plaintext to `up` and what is to be
    /// sent to `down`.
    ///
    /// # Errors
    /// The connection has to end after what is in `down`. `up` may have what came before the fault, but nothing unless
    /// [`Tls::take_established`] has told who the client is.
    pub fn receive(
        &mut self,
        from_below: &mut Vec<u8>,
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if self.has_failed || from_below.is_empty() {
            from_below.clear();
            return Ok(());
        }
        let (was_handshaking, up_len) = (self.is_handshaking(), up.len());
        if !self.has_received {
            self.has_received = true;
            self.recognize_plain(from_below)?;
            self.begin()?;
        }
        let result = if self.partial.is_empty() {
            let result = self.process(from_below, up, down);
            if let Ok(consumed) = &result {
                self.partial = from_below.get(*consumed..).map(<[u8]>::to_vec).unwrap_or_default();
            }
            result
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.append(from_below);
            let result = self.process(&mut partial, up, down);
            if let Ok(consumed) = &result {
                partial.drain(..(*consumed).min(partial.len()));
                self.partial = if partial.is_empty() { Vec::new() } else { partial };
            }
            result
        };
        from_below.clear();
        let checked = result.and_then(|_| self.after_receive(down));
        if checked.is_err() {
            self.has_failed = true;
            self.partial = Vec::new();
        }
        if was_handshaking && self.established.is_none() {
            // What came right behind the handshake is a stranger's until it is known who the client is.
            up.truncate(up_len);
        }
        checked
    }

    /// Appends the records of the plaintext `from_above` to `down`. Nothing, before the handshake is over and after the end.
    ///
    /// # Errors
    /// The keys are used up (TLS 1.2 with AES-GCM, after 2^24 records; 1.3 takes new ones), or the connection is broken.
    pub fn send(&mut self, from_above: &[u8], down: &mut Vec<u8>) -> Result<(), TlsError> {
        self.write(down, |mut traffic, down| {
            for plaintext in from_above.chunks(FRAGMENT_LEN) {
                with_room(down, plaintext.len() + RECORD_OVERHEAD, |room| traffic.encrypt(plaintext, room))?;
            }
            Ok(())
        })
    }

    /// Appends the notice that nothing more is sent (RFC 8446, 6.1) to `down`. Before the handshake is over there is none.
    pub fn close(&mut self, down: &mut Vec<u8>) {
        let notice = |mut traffic: WriteTraffic<'_, _>, down: &mut Vec<u8>| {
            with_room(down, RECORD_OVERHEAD, |room| traffic.queue_close_notify(room))
        };
        // Who can't be told does not need to be.
        let _ = self.write(down, |traffic, down| notice(traffic, down));
    }

    /// A client that does not speak TLS at all is told apart by its first byte, for the log.
    fn recognize_plain(&mut self, first: &[u8]) -> Result<(), TlsError> {
        let error = match first {
            [MQTT_CONNECT, ..] => TlsError::PlainMqtt,
            [b'G', b'E', b'T', ..] | [b'P', b'O', b'S', ..] => TlsError::PlainHttp,
            _ => return Ok(()),
        };
        self.has_failed = true;
        Err(error)
    }

    /// Makes the state of the handshake.
    fn begin(&mut self) -> Result<(), TlsError> {
        let connection = self.acceptor.as_ref().map(|acceptor| acceptor.connection()).transpose();
        self.has_failed = connection.is_err();
        self.connection = connection?.map(Box::new);
        Ok(())
    }

    /// Lets rustls take from `bytes` all that is whole. Returns how many bytes it is done with.
    fn process(&mut self, bytes: &mut [u8], up: &mut Vec<u8>, down: &mut Vec<u8>) -> Result<usize, TlsError> {
        let Some(connection) = &mut self.connection else { return Ok(0) };
        let mut consumed = 0;
        // Each step takes a record of at least 5 bytes, or sends what an earlier one has queued.
        for _ in 0..bytes.len() + STEPS_MAX {
            let rest = bytes.get_mut(consumed..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = connection.process_tls_records(rest);
            let mut is_over = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        up.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(down, |room| data.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_has_closed = true,
                Ok(_) => is_over = true,
                Err(error) => {
                    consumed += discard;
                    tell(connection, bytes.get_mut(consumed..).unwrap_or_default(), down);
                    return Err(error.into());
                }
            }
            consumed += discard;
            if is_over {
                return Ok(consumed);
            }
        }
        Ok(consumed)
    }

    /// Calls `f` with what can encrypt, if there is such a thing now.
    fn write(
        &mut self,
        down: &mut Vec<u8>,
        f: impl FnOnce(
            WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut Vec<u8>,
        ) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        if self.has_failed || self.is_handshaking() {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        // rustls has to see what it was not done with: it keeps places in it.
        let mut partial = std::mem::take(&mut self.partial);
        let mut result = Ok(());
        let mut f = Some(f);
        for _ in 0..STEPS_MAX {
            let status = connection.process_tls_records(&mut partial);
            match status.state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    result = encode(down, |room| data.encode(room))
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_has_closed = true,
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    result = f.take().map_or(Ok(()), |f| f(traffic, down));
                }
                Ok(_) => break,
                Err(error) => result = Err(error.into()),
            }
            if result.is_err() || f.is_none() {
                break;
            }
        }
        if result.is_err() {
            // TLS 1.2 whose keys are used up says so in order.
            tell(connection, &mut partial, down);
            self.has_failed = true;
        }
        self.partial = partial;
        result
    }

    /// Looks at the bounds, and whether the handshake is over now.
    fn after_receive(&mut self, down: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.partial.len() > PARTIAL_BYTES_MAX {
            return Err(TlsError::TooLong);
        }
        let Some(connection) = self.connection.as_deref().filter(|it| !it.is_handshaking()) else {
            return Ok(());
        };
        let Some(acceptor) = self.acceptor.take() else { return Ok(()) };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let is_tls13 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let peer = peer(connection, &acceptor, resumed).inspect_err(|_| self.close(down))?;
        self.established = Some(Box::new(Established { resumed, is_tls13, peer }));
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_handshaking", &self.is_handshaking())
            .field("partial_len", &self.partial.len())
            .finish_non_exhaustive()
    }
}

/// Who the client is by its certificate. A resumed session's was checked when the session began; its time may have run
/// out since.
fn peer(
    connection: &UnbufferedServerConnection,
    acceptor: &Acceptor,
    resumed: bool,
) -> Result<Option<Box<PeerCertificate>>, TlsError> {
    let Some(leaf) = connection.peer_certificates().and_then(|chain| chain.first()) else {
        return Ok(None);
    };
    let refused = |problem: &str| TlsError::ClientCertificate(problem.into());
    let parsed = Parsed::new(leaf).map_err(refused)?;
    if resumed && acceptor.now_s().is_none_or(|now_s| now_s > parsed.validity().until_s) {
        return Err(refused("it has expired since the session began"));
    }
    Ok(Some(Box::new(parsed.peer(acceptor.wanted()))))
}

/// Appends the alert that rustls has queued with an error to `down`. `rest` is what it has not taken.
fn tell(connection: &mut UnbufferedServerConnection, rest: &mut [u8], down: &mut Vec<u8>) {
    // Never beyond what is queued: after a fault rustls must not look at bytes again (it asserts so).
    while connection.wants_write() {
        let status = connection.process_tls_records(rest);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
        if encode(down, |room| data.encode(room)).is_err() {
            return;
        }
    }
}

/// Gives `f` room of `len` bytes at the end of `down`, or as many as it then says that it needs.
fn with_room(
    down: &mut Vec<u8>,
    len: usize,
    mut f: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    let start = down.len();
    let mut result = fill(down, start, len, &mut f);
    if let Err(EncryptError::InsufficientSize(size)) = result {
        result = fill(down, start, size.required_size, &mut f);
    }
    result.map(drop).map_err(|error| {
        down.truncate(start);
        TlsError::Protocol(rustls::Error::General(error.to_string()))
    })
}

/// Gives `f` exactly the room that it needs.
fn encode(
    down: &mut Vec<u8>,
    mut f: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), TlsError> {
    let start = down.len();
    let mut result = f(&mut []);
    if let Err(EncodeError::InsufficientSize(size)) = result {
        result = fill(down, start, size.required_size, &mut f);
    }
    result.map(drop).map_err(|error| {
        down.truncate(start);
        TlsError::Protocol(rustls::Error::General(error.to_string()))
    })
}

fn fill<E>(
    down: &mut Vec<u8>,
    start: usize,
    len: usize,
    f: &mut impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, E> {
    down.resize(start + len, 0);
    let written = f(down.get_mut(start..).unwrap_or_default())?;
    down.truncate(start + written);
    Ok(written)
}

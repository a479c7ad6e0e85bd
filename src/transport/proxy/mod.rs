//! The PROXY protocol, versions 1 (text) and 2 (binary): what a load balancer says of the client before the client's
//! own bytes. Reads the one header that comes first, strictly, and is gone after it.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, its line end included (section 2.1).
const V1_LEN_MAX: usize = 107;
/// The first bytes of version 2 (section 2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before its addresses.
const V2_FIXED_LEN: usize = 16;
/// Most bytes after those: addresses and TLVs. The largest addresses have 216; load balancers add a few TLVs.
const V2_LEN_MAX: usize = 512;

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else came: perhaps a client that reached the listener without its load balancer.
    #[error("the first bytes are no PROXY header")]
    Missing,
    /// Version 1 without an end of its line.
    #[error("a line of more than {V1_LEN_MAX} bytes")]
    LineTooLong,
    /// A line of version 1 that says something else than the protocol has.
    #[error("a line that can't be read: {0:?}")]
    Line(String),
    /// Version 2 with more behind its fixed part than anyone sends.
    #[error("{0} bytes of addresses and TLVs; at most {V2_LEN_MAX} are accepted")]
    TooLong(usize),
    /// A byte of version 2 that has no meaning.
    #[error("the {what} {value:#04x}")]
    Value {
        /// Which.
        what: &'static str,
        /// Its value.
        value: u8,
    },
    /// Version 2 whose length is too small for its addresses.
    #[error("{0} bytes, too few for the addresses of its family")]
    TooShort(usize),
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The client's address; `None`: the connection is the proxy's own (LOCAL, for its health checks) or the proxy does not
    /// know (UNKNOWN, a Unix socket). An IPv4 address in IPv6's form is given as IPv4.
    pub source: Option<SocketAddr>,
}

/// Waits for the header of one connection. Keeps at most the longest header.
#[derive(Debug, Default)]
pub struct Proxy {
    have: Vec<u8>,
}

impl Proxy {
    /// Takes bytes; `Some` once the header is whole: `bytes` are then what comes after it. Empty otherwise.
    ///
    /// # Errors
    /// It is no header, or not one that can be believed. Told as soon as the bytes show it.
    pub fn receive(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Header>, Error> {
        // Never the buffer itself, which is a shard's and large.
        self.have.append(bytes);
        let Some((header, len)) = read(&self.have)? else { return Ok(None) };
        bytes.extend_from_slice(self.have.get(len..).unwrap_or_default());
        Ok(Some(header))
    }
}

/// A header and its length, or `None` if more has to come.
fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    if starts_alike(bytes, &V2_SIGNATURE) {
        return read_v2(bytes);
    }
    if !starts_alike(bytes, b"PROXY ") {
        return Err(Error::Missing);
    }
    let line = bytes.get(..V1_LEN_MAX).unwrap_or(bytes);
    match line.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some((read_line(line.get(..end).unwrap_or_default())?, end + 2))),
        None if bytes.len() >= V1_LEN_MAX => Err(Error::LineTooLong),
        None => Ok(None),
    }
}

/// The shorter of the two is the beginning of the other.
fn starts_alike(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Section 2.1: `PROXY TCP4 source destination source-port destination-port`, one space between.
fn read_line(line: &[u8]) -> Result<Header, Error> {
    let wrong = || Error::Line(String::from_utf8_lossy(line).into_owned());
    let text = std::str::from_utf8(line).map_err(|_| wrong())?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // What follows is to be ignored.
        return Ok(Header { source: None });
    }
    let words: Vec<&str> = words.collect();
    let &[source, destination, source_port, destination_port] = words.as_slice() else { return Err(wrong()) };
    let ip = |text: &str| match family {
        Some("TCP4") => text.parse().map(IpAddr::V4).map_err(|_| wrong()),
        Some("TCP6") => text.parse().map(IpAddr::V6).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| wrong()),
        false => Err(wrong()),
    };
    // Of no use here, but a line in which they are wrong is not one to believe.
    ip(destination)?;
    port(destination_port)?;
    Ok(Header { source: Some(SocketAddr::new(ip(source)?.to_canonical(), port(source_port)?)) })
}

/// Section 2.2. What can be told from the first bytes is.
fn read_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let Some(&version_command) = bytes.get(12) else { return Ok(None) };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        value => return Err(Error::Value { what: "version and command", value }),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // Low half: the transport. MQTT comes over streams; "unspecified" goes with families that are ignored.
    // Of LOCAL the receiver ignores them.
    if !is_local && (family >> 4 > 3 || family & 0x0F > 2 || matches!(family, 0x12 | 0x22)) {
        return Err(Error::Value { what: "address family", value: family });
    }
    let &[a, b] = bytes.get(14..V2_FIXED_LEN).unwrap_or_default() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([a, b]));
    if len > V2_LEN_MAX {
        return Err(Error::TooLong(len));
    }
    let Some(body) = bytes.get(V2_FIXED_LEN..V2_FIXED_LEN + len) else { return Ok(None) };
    let source = match family {
        _ if is_local => None,
        0x11 => Some(source_v4(body).ok_or(Error::TooShort(len))?),
        0x21 => Some(source_v6(body).ok_or(Error::TooShort(len))?),
        _ => None,
    };
    Ok(Some((Header { source }, V2_FIXED_LEN + len)))
}

/// Source, destination, their ports.
fn source_v4(body: &[u8]) -> Option<SocketAddr> {
    let &[a, b, c, d, _, _, _, _, high, low, _, _] = body.get(..12)? else { return None };
    Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

fn source_v6(body: &[u8]) -> Option<SocketAddr> {
    let body = body.get(..36)?;
    let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
    let &[high, low] = body.get(32..34)? else { return None };
    Some(SocketAddr::new(Ipv6Addr::from(address).to_canonical(), u16::from_be_bytes([high, low])))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

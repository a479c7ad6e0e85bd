//! Both versions, in any pieces; everything that is not a header is refused at the first byte that shows it.

use super::*;

/// What a stream says when it comes in pieces of `piece`: the header and what follows it.
fn receive(stream: &[u8], piece: usize) -> Result<(Option<Header>, Vec<u8>), Error> {
    let (mut proxy, mut header, mut rest) = (Proxy::default(), None, Vec::new());
    for piece in stream.chunks(piece) {
        let mut bytes = piece.to_vec();
        if header.is_none() {
            header = proxy.receive(&mut bytes)?;
        }
        rest.extend(bytes);
    }
    Ok((header, rest))
}

fn source(stream: &[u8]) -> Result<Option<String>, Error> {
    let whole = [stream, b"\x10rest"].concat();
    let first = receive(&whole, usize::MAX);
    for piece in [1, 2, 3, 7, 16, 17, 50] {
        assert_eq!(receive(&whole, piece), first, "pieces of {piece}");
    }
    let (header, rest) = first?;
    assert_eq!(rest, b"\x10rest");
    Ok(header.unwrap().source.map(|source| source.to_string()))
}

fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&V2_SIGNATURE[..], &[version_command, family], &len, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x07, 0x5b];

fn v6(address: &str) -> Vec<u8> {
    let address: Ipv6Addr = address.parse().unwrap();
    [&address.octets()[..], &[0; 16], &[0xFF, 0xFE, 0, 1]].concat()
}

#[test]
fn version_1_gives_the_source() {
    let line = "PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883\r\n";
    assert_eq!(source(line.as_bytes()), Ok(Some("192.0.2.7:56324".into())));
    let line = "PROXY TCP6 2001:db8::7 ::1 1 1883\r\n";
    assert_eq!(source(line.as_bytes()), Ok(Some("[2001:db8::7]:1".into())));
    let line = "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 1883\r\n";
    assert_eq!(source(line.as_bytes()), Ok(Some("192.0.2.7:1".into())));
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   65535 65535\r\n";
    assert_eq!(longest.len(), V1_LEN_MAX);
    assert_eq!(source(longest.as_bytes()), Ok(None));
    assert_eq!(source(b"PROXY UNKNOWN\r\n"), Ok(None));
}

#[test]
fn version_2_gives_the_source_and_skips_tlvs() {
    assert_eq!(source(&v2(0x21, 0x11, &V4)), Ok(Some("192.0.2.7:4660".into())));
    let tlvs = [&V4[..], &[0x04; 500]].concat();
    assert_eq!(source(&v2(0x21, 0x11, &tlvs)), Ok(Some("192.0.2.7:4660".into())));
    assert_eq!(source(&v2(0x21, 0x21, &v6("2001:db8::7"))), Ok(Some("[2001:db8::7]:65534".into())));
    assert_eq!(source(&v2(0x21, 0x21, &v6("::ffff:192.0.2.7"))), Ok(Some("192.0.2.7:65534".into())));
    assert_eq!(source(&v2(0x21, 0x31, &[7; 216])), Ok(None), "the proxy's client has a Unix socket");
    assert_eq!(source(&v2(0x21, 0x00, &[])), Ok(None), "the proxy does not know");
    assert_eq!(source(&v2(0x20, 0x00, &[])), Ok(None), "a health check");
    assert_eq!(source(&v2(0x20, 0x11, &V4)), Ok(None), "of LOCAL the addresses are ignored");
    assert_eq!(source(&v2(0x20, 0xFF, &V4)), Ok(None), "and their family too");
}

#[test]
fn anything_else_is_refused() {
    assert_eq!(source(b"\x10\x0c\0\x04MQTT"), Err(Error::Missing));
    assert_eq!(source(b"GET / HTTP/1.1\r\n"), Err(Error::Missing));
    assert_eq!(source(b"PROXX TCP4 "), Err(Error::Missing));
    assert_eq!(source(b"\r\n\r\n\0\r\nQUIP\n"), Err(Error::Missing));
    assert_eq!(source(&[&b"PROXY TCP4 "[..], &[b'1'; 100]].concat()), Err(Error::LineTooLong));
    for line in [
        "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 2",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2",
        "PROXY TCP4 192.0.2.7 10.0.0.1  2",
        "PROXY TCP4 192.0.2.700 10.0.0.1 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 2",
        "PROXY tcp4 192.0.2.7 10.0.0.1 1 2",
        "PROXY UDP4 192.0.2.7 10.0.0.1 1 2",
        "PROXY \u{fffd}",
    ] {
        let stream = format!("{line}\r\n");
        assert_eq!(source(stream.as_bytes()), Err(Error::Line(line.into())), "{line}");
    }
    let value = |what, value| Err(Error::Value { what, value });
    assert_eq!(source(&v2(0x11, 0x11, &V4)), value("version and command", 0x11));
    assert_eq!(source(&v2(0x22, 0x11, &V4)), value("version and command", 0x22));
    assert_eq!(source(&v2(0x21, 0x41, &V4)), value("address family", 0x41));
    assert_eq!(source(&v2(0x21, 0x13, &V4)), value("address family", 0x13));
    assert_eq!(source(&v2(0x21, 0x12, &V4)), value("address family", 0x12), "datagrams");
    assert_eq!(source(&v2(0x21, 0x11, &V4[..11])), Err(Error::TooShort(11)));
    assert_eq!(source(&v2(0x21, 0x21, &[0; 35])), Err(Error::TooShort(35)));
    assert_eq!(source(&v2(0x21, 0x11, &[0; 513])), Err(Error::TooLong(513)));
}

#[test]
fn an_incomplete_header_waits() {
    for stream in [&b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r"[..], b"PROX", b"\r", &v2(0x21, 0x11, &V4)[..27]] {
        assert_eq!(receive(stream, 1), Ok((None, Vec::new())), "{stream:?}");
    }
}

#[test]
fn what_waits_takes_no_more_memory_than_a_header() {
    let (mut proxy, mut bytes) = (Proxy::default(), Vec::with_capacity(64 * 1024));
    for piece in [&b"PROXY TCP4 "[..], b"192.0.2.7 "] {
        bytes.extend_from_slice(piece);
        assert_eq!(proxy.receive(&mut bytes), Ok(None));
        assert!(bytes.is_empty() && bytes.capacity() >= 64 * 1024, "the buffer stays with who lent it");
        assert!(proxy.have.capacity() <= V2_FIXED_LEN + V2_LEN_MAX);
    }
}

//! What is no TLS, what is too long, what was tampered with: an error and an alert, never a panic, never much memory.

use super::super::PARTIAL_BYTES_MAX;
use super::*;
use crate::transport::{Buffers, Layers};

fn server() -> Tls {
    let authority = Authority::new("root");
    acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])])).open()
}

/// Gives `bytes` to a new connection; what it answers and says.
fn give(server: &mut Tls, bytes: &[u8]) -> (Vec<u8>, Result<(), TlsError>) {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let result = server.receive(&mut bytes.to_vec(), &mut up, &mut down);
    assert!(up.is_empty());
    (down, result)
}

/// A small generator: the tests are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn a_client_without_tls_is_named_and_gets_no_byte() {
    for (first, expected) in [
        (&b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"[..], "plain MQTT on a TLS listener"),
        (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP on a TLS listener"),
    ] {
        let mut server = server();
        let (down, result) = give(&mut server, first);
        assert_eq!(result.unwrap_err().to_string(), expected);
        assert!(down.is_empty());
        give(&mut server, b"more").1.unwrap();
    }
}

#[test]
fn behind_a_proxy_header_nothing_is_answered_before_the_address_is_known() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let mut transport = Layers { proxy: true, tls: Some(acceptor), websocket: None }.begin();
    let mut hello = Vec::new();
    Peer::new(&authority).connect().write_tls(&mut hello).unwrap();
    let mut buffers = Buffers::default();
    let both = [b"PROXY TCP4 192.0.2.66 10.0.0.1 1 2\r\n", hello.as_slice()].concat();
    transport.receive(&both, false, &mut buffers).unwrap();
    assert!(buffers.facts.proxy.is_some());
    assert!(buffers.down.is_empty(), "no signature was made");
    assert!(transport.has_costly_step(), "which is next");
    let rest = std::mem::take(&mut buffers.rest);
    assert_eq!(rest, hello);
    transport.receive(&rest, false, &mut buffers).unwrap();
    assert!(!buffers.down.is_empty() && buffers.rest.is_empty());
}

#[test]
fn garbage_gets_an_alert() {
    let (down, result) = give(&mut server(), &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
    assert!(matches!(result, Err(TlsError::Protocol(_))));
    assert_eq!(down[..3], [0x15, 3, 3], "an alert: {down:02x?}");
}

#[test]
fn a_record_longer_than_allowed_is_refused_at_its_header() {
    assert!(give(&mut server(), &[0x16, 3, 1, 0xff, 0xff]).1.is_err());
}

#[test]
fn a_handshake_message_that_never_ends_is_cut() {
    let mut server = server();
    // A ClientHello that claims 60,000 bytes, in records of 16 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    let mut message = vec![1, 0, 0xea, 0x60];
    message.resize(0x4000, 0);
    record.extend(message);
    let mut given = 0;
    let error = loop {
        let (_, result) = give(&mut server, &record);
        given += record.len();
        assert!(given < 3 * PARTIAL_BYTES_MAX, "it ends");
        if let Err(error) = result {
            break error;
        }
        record[5..9].fill(0);
    };
    assert!(matches!(error, TlsError::TooLong), "{error}");
    assert_eq!(server.partial.capacity(), 0);
}

#[test]
fn noise_never_panics() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    for seed in 0..300 {
        let mut bytes = noise(seed, 1 + (seed as usize * 7) % 600);
        if seed % 2 == 0 {
            // A plausible record header, so that more is read.
            bytes.splice(0..0, [0x16, 3, 1, 0, (seed % 200) as u8]);
        }
        let mut server = acceptor.open();
        for piece in bytes.chunks(1 + seed as usize % 50) {
            if give(&mut server, piece).1.is_err() {
                break;
            }
        }
        let mut down = Vec::new();
        server.close(&mut down);
    }
}

#[test]
fn every_byte_of_a_handshake_may_be_wrong_and_the_stream_may_end_anywhere() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    for versions in [V12, V13] {
        let mut client = Peer { versions, ..Peer::new(&authority) }.connect();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        for at in 0..hello.len() {
            let mut bytes = hello.clone();
            bytes[at] ^= 0x55;
            let _ = give(&mut acceptor.open(), &bytes);
            let (down, result) = give(&mut acceptor.open(), &hello[..at]);
            assert!(result.is_ok() && down.is_empty(), "{at}");
        }
    }
}

#[test]
fn a_record_that_was_tampered_with_ends_the_connection_with_an_alert() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    for versions in [V12, V13] {
        let mut pair = Pair::new(Peer { versions, ..Peer::new(&authority) }.connect(), &acceptor);
        pair.shake();
        pair.client.writer().write_all(b"PUBLISH").unwrap();
        let mut bytes = Vec::new();
        pair.client.write_tls(&mut bytes).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        pair.deliver(&bytes);
        assert!(matches!(pair.error, Some(TlsError::Protocol(rustls::Error::DecryptError))));
        let told = pair.client_error.unwrap();
        assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
        assert!(pair.up.is_empty());
        let mut down = Vec::new();
        pair.server.send(b"PUBACK", &mut down).unwrap();
        pair.server.close(&mut down);
        assert!(down.is_empty(), "nothing more is said");
    }
}

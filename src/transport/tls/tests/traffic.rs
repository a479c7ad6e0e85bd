//! After the handshake: long messages, closing, new keys.

use super::*;

fn pairs() -> Vec<Pair> {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let pair = |versions| {
        let mut pair = Pair::new(Peer { versions, ..Peer::new(&authority) }.connect(), &acceptor);
        pair.shake();
        pair
    };
    vec![pair(V12), pair(V13)]
}

#[test]
fn long_messages_both_ways_in_small_pieces() {
    let message: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    for mut pair in pairs() {
        pair.piece = 1000;
        pair.client_sends(&message);
        assert!(pair.up == message);
        for part in message.chunks(50_000) {
            pair.send(part);
            assert!(pair.client_received() == part);
        }
        assert!(pair.server.partial.capacity() == 0, "nothing is kept once all records are whole");
    }
}

#[test]
fn part_of_a_record_is_kept_and_sending_goes_on() {
    for mut pair in pairs() {
        pair.client.writer().write_all(&[7; 5000]).unwrap();
        let mut bytes = Vec::new();
        pair.client.write_tls(&mut bytes).unwrap();
        for (at, byte) in bytes.iter().enumerate() {
            pair.deliver(&[*byte]);
            if at % 500 == 0 {
                pair.send(b"meanwhile");
                assert_eq!(pair.client_received(), b"meanwhile");
            }
        }
        assert_eq!(pair.up, [7; 5000]);
    }
}

#[test]
fn closing_in_order_is_told_both_ways() {
    for mut pair in pairs() {
        let mut down = Vec::new();
        pair.server.send(b"DISCONNECT", &mut down).unwrap();
        pair.server.close(&mut down);
        pair.give_client(&down);
        assert_eq!(pair.client_received(), b"DISCONNECT");
        let mut buffer = [0; 1];
        assert_eq!(pair.client.reader().read(&mut buffer).unwrap(), 0, "an end in order, not a cut");
        let len = down.len();
        pair.server.close(&mut down);
        assert_eq!(down.len(), len, "told once");
    }
    for mut pair in pairs() {
        pair.client.writer().write_all(b"DISCONNECT").unwrap();
        pair.client.send_close_notify();
        pair.run();
        assert_eq!(pair.up, b"DISCONNECT");
        assert!(pair.server.peer_has_closed() && pair.error.is_none());
        pair.deliver(b"what follows an end is not looked at");
        assert!(pair.error.is_none());
        assert_eq!(pair.up, b"DISCONNECT");
        pair.send(b"late");
        assert_eq!(pair.client_received(), b"late", "the other way is still open");
    }
}

#[test]
fn before_the_handshake_is_over_nothing_is_sent() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let mut server = acceptor.open();
    let mut down = Vec::new();
    server.send(b"secret", &mut down).unwrap();
    server.close(&mut down);
    assert!(down.is_empty());
}

#[test]
fn new_keys_at_any_time() {
    let mut pair = pairs().remove(1);
    for round in 0..5 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client_sends(b"after");
        pair.send(b"answer");
        assert_eq!(pair.client_received(), b"answer", "round {round}");
    }
    assert_eq!(pair.up, b"after".repeat(5));
}

/// An acceptor whose keys of AES-128-GCM are good for a few records.
fn short_lived(authority: &Authority) -> Arc<Acceptor> {
    use rustls::crypto::ring::cipher_suite;
    use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
    let mut provider = default_provider();
    let SupportedCipherSuite::Tls12(old) = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 else {
        unreachable!()
    };
    let SupportedCipherSuite::Tls13(new) = cipher_suite::TLS13_AES_128_GCM_SHA256 else { unreachable!() };
    let few = |common: &rustls::CipherSuiteCommon| rustls::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: 8,
    };
    let old: &'static Tls12CipherSuite = Box::leak(Box::new(Tls12CipherSuite {
        common: few(&old.common),
        prf_provider: old.prf_provider,
        kx: old.kx,
        sign: old.sign,
        aead_alg: old.aead_alg,
    }));
    let new: &'static Tls13CipherSuite = Box::leak(Box::new(Tls13CipherSuite {
        common: few(&new.common),
        hkdf_provider: new.hkdf_provider,
        aead_alg: new.aead_alg,
        quic: None,
    }));
    provider.cipher_suites = vec![SupportedCipherSuite::Tls13(new), SupportedCipherSuite::Tls12(old)];
    let files = files(&[&authority.server(&[HOST])]);
    Arc::new(Acceptor::with_provider(&ListenerTls::default(), &[], &files, None, provider).unwrap().0)
}

#[test]
fn tls13_takes_new_keys_before_the_old_are_used_up() {
    let authority = Authority::new("root");
    let mut pair =
        Pair::new(Peer { versions: V13, ..Peer::new(&authority) }.connect(), &short_lived(&authority));
    pair.shake();
    for _ in 0..50 {
        pair.send(b"x");
    }
    assert_eq!(pair.client_received(), b"x".repeat(50));
}

#[test]
fn tls12_ends_in_order_when_its_keys_are_used_up() {
    let authority = Authority::new("root");
    let mut pair =
        Pair::new(Peer { versions: V12, ..Peer::new(&authority) }.connect(), &short_lived(&authority));
    pair.shake();
    let mut sent = 0;
    let down = loop {
        let mut down = Vec::new();
        match pair.server.send(b"x", &mut down) {
            Ok(()) => sent += 1,
            Err(_) => break down,
        }
        pair.give_client(&down);
        assert!(sent < 50);
    };
    pair.give_client(&down);
    assert_eq!(pair.client_received(), b"x".repeat(sent));
    assert_eq!(pair.client.reader().read(&mut [0; 1]).unwrap(), 0, "the client is told that this is the end");
}

//! Versions, protocols, names, resumption.

use rustls::{AlertDescription, HandshakeKind};

use super::*;
use crate::config::TlsVersion;
use crate::transport::tls::tests::authority::server;

#[test]
fn both_versions_at_every_split_of_the_stream() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    for versions in [V12, V13] {
        for piece in [1, 2, 3, 5, 7, 64, 1000, usize::MAX] {
            let mut pair = Pair::new(Peer { versions, ..Peer::new(&authority) }.connect(), &acceptor);
            pair.piece = piece;
            let established = pair.shake();
            assert_eq!(established.is_tls13, versions == V13);
            assert!(!established.resumed && established.peer.is_none());
            pair.client_sends(b"CONNECT");
            assert_eq!(pair.up, b"CONNECT");
            pair.send(b"CONNACK");
            assert_eq!(pair.client_received(), b"CONNACK");
        }
    }
}

#[test]
fn the_last_flight_may_have_plaintext_in_the_same_bytes() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let mut pair = Pair::new(Peer { versions: V13, ..Peer::new(&authority) }.connect(), &acceptor);
    pair.client.writer().write_all(b"early").unwrap();
    pair.shake();
    assert_eq!(pair.up, b"early");
}

#[test]
fn an_old_client_is_refused_where_1_3_is_the_oldest() {
    let authority = Authority::new("root");
    let tls = ListenerTls { min_version: TlsVersion::V13, ..ListenerTls::default() };
    let acceptor = acceptor(&tls, &files(&[&authority.server(&[HOST])]));
    let mut pair = Pair::new(Peer { versions: V12, ..Peer::new(&authority) }.connect(), &acceptor);
    let (error, told) = pair.refuse();
    assert!(matches!(error, TlsError::Protocol(rustls::Error::PeerIncompatible(_))), "{error}");
    assert_eq!(told, Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)));
    Pair::new(Peer { versions: V13, ..Peer::new(&authority) }.connect(), &acceptor).shake();
}

#[test]
fn rfc_7301_a_protocol_is_agreed_on_or_the_client_is_refused() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let connect = |alpn| Pair::new(Peer { alpn, ..Peer::new(&authority) }.connect(), &acceptor);
    let mut pair = connect(&[b"x-amzn-mqtt-ca", b"mqtt"]);
    pair.shake();
    assert_eq!(pair.client.alpn_protocol(), Some(&b"mqtt"[..]));
    let mut pair = connect(&[]);
    pair.shake();
    assert_eq!(pair.client.alpn_protocol(), None, "a client that asks for none is admitted");
    let (error, told) = connect(&[b"h2", b"http/1.1"]).refuse();
    assert!(matches!(error, TlsError::NoProtocol), "{error}");
    assert_eq!(told, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[test]
fn the_name_that_a_client_asks_for_picks_the_certificate() {
    let authority = Authority::new("root");
    let leaves = [
        authority.server(&["first.example"]),
        authority.server(&["*.wild.example"]),
        authority.server(&["Exact.Wild.example", "second.example"]),
    ];
    let acceptor = acceptor(&ListenerTls::default(), &files(&leaves.each_ref()));
    for (host, expected) in [
        ("first.example", 0),
        ("any.wild.example", 1),
        ("exact.wild.example", 2),
        ("second.example", 2),
        ("SECOND.example", 2),
    ] {
        let mut pair = Pair::new(connect(&Peer::new(&authority).config(), host), &acceptor);
        pair.shake();
        let shown = pair.client.peer_certificates().unwrap()[0].clone();
        assert_eq!(
            shown,
            CertificateDer::from_pem_slice(leaves[expected].cert.as_bytes()).unwrap(),
            "{host}"
        );
    }
    for host in ["unknown.example", "deep.below.wild.example", "wild.example"] {
        let mut pair = Pair::new(connect(&Peer::new(&authority).config(), host), &acceptor);
        pair.run();
        let error = pair.client_error.as_ref().map(ToString::to_string);
        assert!(error.is_some_and(|error| error.contains("first.example")), "{host} gets the first");
        assert!(
            matches!(pair.error, Some(TlsError::Alert(AlertDescription::BadCertificate))),
            "{:?}",
            pair.error
        );
    }
}

#[test]
fn of_two_certificates_for_one_name_the_client_gets_one_that_it_can_verify() {
    let authority = Authority::new("root");
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let edwards = authority.sign_for(server(&[HOST]), &edwards, edwards.serialize_pem());
    let plain = authority.server(&[HOST]);
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&edwards, &plain]));
    let mut provider = default_provider();
    let known = provider.signature_verification_algorithms.mapping.iter();
    let mut known = known.filter(|(scheme, _)| *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256);
    provider.signature_verification_algorithms.mapping = Box::leak(Box::new([*known.next().unwrap()]));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut pair = Pair::new(connect(&Arc::new(config), HOST), &acceptor);
    pair.shake();
    let shown = pair.client.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_slice(plain.cert.as_bytes()).unwrap());
    let mut pair = Pair::new(Peer::new(&authority).connect(), &acceptor);
    pair.shake();
    let shown = pair.client.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_slice(edwards.cert.as_bytes()).unwrap());
}

#[test]
fn a_session_is_resumed_in_both_versions_and_by_the_next_acceptor_of_the_same_trust() {
    let authority = Authority::new("root");
    let files = files(&[&authority.server(&[HOST])]);
    let tls = ListenerTls::default();
    let first = acceptor(&tls, &files);
    let heir = Arc::new(Acceptor::new(&tls, &[b"mqtt"], &files, Some(&first)).unwrap().0);
    let stranger = acceptor(&tls, &files);
    for versions in [V12, V13] {
        let config = Peer { versions, ..Peer::new(&authority) }.config();
        let shake = |acceptor| {
            let mut pair = Pair::new(connect(&config, HOST), acceptor);
            let established = pair.shake();
            let kind = pair.client.handshake_kind();
            assert_eq!(established.resumed, kind == Some(HandshakeKind::Resumed));
            pair.client_sends(b"x");
            assert_eq!(pair.up, b"x");
            established.resumed
        };
        assert!(!shake(&first), "the first time there is no ticket");
        assert!(shake(&first));
        assert!(shake(&heir), "its tickets stay good");
        assert!(!shake(&stranger), "tickets of another listener are not taken");
    }
}

//! Clients' certificates: required, optional, revoked, expired, of another authority; who they are.

use rcgen::{CertificateParams, DnType, SanType};

use super::*;
use crate::auth::PeerCertificate;
use crate::config::CertificateField;
use crate::transport::tls::tests::authority::named;

/// A listener that asks clients for certificates of `authority`.
struct Listener {
    authority: Authority,
    files: TlsFiles,
    tls: ListenerTls,
}

impl Listener {
    fn new() -> Self {
        let authority = Authority::new("root");
        let mut files = files(&[&authority.server(&[HOST])]);
        files.authorities.push(file("ca.pem", &authority.pem));
        let tls = ListenerTls {
            require_client_cert: true,
            username_from: CertificateField::CommonName,
            ..ListenerTls::default()
        };
        Self { authority, files, tls }
    }

    fn pair(
        &self,
        shows: Option<(&[&str], &str)>,
        versions: &'static [&'static SupportedProtocolVersion],
    ) -> Pair {
        let peer = Peer { shows, versions, ..Peer::new(&self.authority) };
        Pair::new(peer.connect(), &acceptor(&self.tls, &self.files))
    }

    fn expect_refusal(&self, shows: Option<(&[&str], &str)>, alert: &str) {
        for versions in [V12, V13] {
            let mut pair = self.pair(shows, versions);
            let (error, told) = pair.refuse();
            assert!(matches!(error, TlsError::ClientCertificate(_)), "{error}");
            let told = told.expect("the client is told").to_string();
            assert!(told.contains(alert), "{told}");
        }
    }

    fn peer_of(&self, leaf: &Leaf) -> PeerCertificate {
        let mut pair = self.pair(Some((&[&leaf.cert], &leaf.key)), V13);
        *pair.shake().peer.unwrap()
    }
}

#[test]
fn a_required_certificate_is_required() {
    let listener = Listener::new();
    listener.expect_refusal(None, "ertificate");
    let leaf = listener.authority.client("car-7");
    for versions in [V12, V13] {
        let mut pair = listener.pair(Some((&[&leaf.cert], &leaf.key)), versions);
        let peer = pair.shake().peer.unwrap();
        assert_eq!(peer.username.as_deref(), Some("car-7"));
        assert_eq!(peer.client_id, None, "only what is asked for is kept");
        assert_eq!(&*peer.subject, "CN=car-7");
    }
}

#[test]
fn an_optional_certificate_may_lack_but_not_be_bad() {
    let mut listener = Listener::new();
    listener.tls.require_client_cert = false;
    for versions in [V12, V13] {
        assert_eq!(listener.pair(None, versions).shake().peer, None);
    }
    let stranger = Authority::new("other").client("car-7");
    listener.expect_refusal(Some((&[&stranger.cert], &stranger.key)), "UnknownC");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let stranger = Authority::new("other").client("car-7");
    Listener::new().expect_refusal(Some((&[&stranger.cert], &stranger.key)), "UnknownC");
}

#[test]
fn an_expired_certificate_is_refused() {
    let listener = Listener::new();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = named("old");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let leaf = listener.authority.sign(params);
    listener.expect_refusal(Some((&[&leaf.cert], &leaf.key)), "CertificateExpired");
}

#[test]
fn a_revoked_certificate_is_refused_and_others_are_not() {
    let mut listener = Listener::new();
    let (bad, good) = (listener.authority.client("bad"), listener.authority.client("good"));
    listener.files.revocations.push(file("ca.crl", &listener.authority.revoke(&[&bad])));
    listener.expect_refusal(Some((&[&bad.cert], &bad.key)), "CertificateRevoked");
    assert_eq!(listener.peer_of(&good).username.as_deref(), Some("good"));
}

#[test]
fn with_revocation_lists_every_authority_of_the_chain_needs_one() {
    let mut listener = Listener::new();
    let intermediate = listener.authority.intermediate("below");
    let leaf = intermediate.client("deep");
    let chain = [leaf.cert.as_str(), intermediate.pem.as_str()];
    listener.pair(Some((&chain, &leaf.key)), V13).shake();
    listener.files.revocations.push(file("ca.crl", &listener.authority.revoke(&[])));
    listener.expect_refusal(Some((&chain, &leaf.key)), "");
    listener.files.revocations.push(file("below.crl", &intermediate.revoke(&[])));
    listener.pair(Some((&chain, &leaf.key)), V13).shake();
    listener.files.revocations[1] = file("below.crl", &intermediate.revoke(&[&leaf]));
    listener.expect_refusal(Some((&chain, &leaf.key)), "CertificateRevoked");
}

#[test]
fn a_session_with_a_certificate_resumes_as_the_same_client() {
    let listener = Listener::new();
    let leaf = listener.authority.client("car-7");
    let acceptor = acceptor(&listener.tls, &listener.files);
    for versions in [V12, V13] {
        let shows = Some((&[leaf.cert.as_str()][..], leaf.key.as_str()));
        let config = Peer { shows, versions, ..Peer::new(&listener.authority) }.config();
        Pair::new(connect(&config, HOST), &acceptor).shake();
        let again = Pair::new(connect(&config, HOST), &acceptor).shake();
        assert!(again.resumed);
        assert_eq!(again.peer.unwrap().username.as_deref(), Some("car-7"));
    }
}

/// The clock of an acceptor, in seconds since 1970.
#[derive(Debug)]
struct Clock(u64);

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0)))
    }
}

#[test]
fn a_client_whose_certificate_expired_since_its_session_began_gets_nothing_through() {
    let listener = Listener::new();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = named("car-7");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let leaf = listener.authority.sign(params);
    let today = acceptor(&listener.tls, &listener.files);
    let in_2019 = Arc::new(today.with_clock(Arc::new(Clock(1_560_000_000))));
    for versions in [V12, V13] {
        let shows = Some((&[leaf.cert.as_str()][..], leaf.key.as_str()));
        let config = Peer { shows, versions, ..Peer::new(&listener.authority) }.config();
        Pair::new(connect(&config, HOST), &in_2019).shake();
        // What is written before the handshake is over leaves together with Finished.
        let resume = |acceptor| {
            let mut pair = Pair::new(connect(&config, HOST), acceptor);
            pair.client.writer().write_all(b"CONNECT").unwrap();
            pair.run();
            assert_eq!(pair.client.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
            pair
        };
        assert_eq!(resume(&in_2019).up, b"CONNECT", "while the certificate was good");
        let mut pair = resume(&today);
        let error = pair.error.take().unwrap();
        assert!(error.to_string().contains("expired since the session began"), "{error}");
        assert_eq!((pair.up.as_slice(), pair.established.as_ref()), (&b""[..], None));
        pair.client_sends(b"CONNECT");
        assert_eq!(pair.up, b"");
    }
}

#[test]
fn a_fault_right_behind_the_handshake_lets_nothing_through_without_the_certificate() {
    let listener = Listener::new();
    let leaf = listener.authority.client("car-7");
    let mut pair = listener.pair(Some((&[&leaf.cert], &leaf.key)), V13);
    let mut bytes = Vec::new();
    pair.client.write_tls(&mut bytes).unwrap();
    pair.deliver(&bytes);
    pair.client.writer().write_all(b"CONNECT").unwrap();
    let mut bytes = Vec::new();
    while pair.client.wants_write() {
        pair.client.write_tls(&mut bytes).unwrap();
    }
    bytes.extend([0x17, 3, 3, 0, 20]);
    bytes.extend([7; 20]);
    pair.deliver(&bytes);
    assert!(matches!(pair.error, Some(TlsError::Protocol(rustls::Error::DecryptError))), "{:?}", pair.error);
    assert_eq!((pair.up.as_slice(), pair.established.as_ref()), (&b""[..], None));
}

#[test]
fn who_a_client_is() {
    let mut listener = Listener::new();
    listener.tls.username_from = CertificateField::DistinguishedName;
    listener.tls.client_id_from = CertificateField::AlternativeName;
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = named("a, \"b\" + 百万 ");
    params.distinguished_name.push(DnType::OrganizationName, "#Example");
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), "007");
    params.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]), "own");
    params.subject_alt_names = vec![
        SanType::IpAddress("10.0.0.7".parse().unwrap()),
        SanType::Rfc822Name("car-7@example.org".try_into().unwrap()),
        SanType::DnsName("car-7.example.org".try_into().unwrap()),
    ];
    let peer = listener.peer_of(&listener.authority.sign(params));
    let expected = "1.3.6.1.4.1.99999.1=own,serialNumber=007,C=DE,O=\\#Example,CN=a\\, \\\"b\\\" \\+ 百万\\ ";
    assert_eq!(peer.username.as_deref(), Some(expected));
    assert_eq!(peer.client_id.as_deref(), Some("car-7@example.org"));
}

#[test]
fn names_in_older_kinds_of_strings_are_read() {
    let listener = Listener::new();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    let name = rcgen::string::BmpString::try_from("Zürich").unwrap();
    params.distinguished_name.push(DnType::CommonName, rcgen::DnValue::BmpString(name));
    assert_eq!(listener.peer_of(&listener.authority.sign(params)).username.as_deref(), Some("Zürich"));
}

#[test]
fn a_name_with_a_null_character_is_nobody() {
    let listener = Listener::new();
    let leaf = listener.authority.client("admin\0.example");
    assert_eq!(listener.peer_of(&leaf).username, None);
}

//! Files that can't serve, and what is said of them.

use rcgen::CertificateParams;

use super::*;
use crate::transport::tls::tests::authority::named;

fn problem(files: &TlsFiles) -> String {
    Acceptor::new(&ListenerTls::default(), &[b"mqtt"], files, None).unwrap_err().to_string()
}

/// The problem with a listener of this certificate and key.
fn problem_of(cert: &str, key: &str) -> String {
    let pair = (file("server.pem", cert), file("server.key", key));
    problem(&TlsFiles { pairs: vec![pair], authorities: vec![], revocations: vec![] })
}

#[test]
fn what_is_wrong_names_the_file() {
    let authority = Authority::new("root");
    let (leaf, other) = (authority.server(&[HOST]), authority.server(&[HOST]));
    let half = leaf.cert.split_at(leaf.cert.len() / 2).0;
    for (cert, key, expected) in [
        ("", &*leaf.key, "server.pem: there is no certificate in it; expected PEM"),
        ("not PEM", &leaf.key, "server.pem: there is no certificate in it; expected PEM"),
        (&leaf.key, &leaf.key, "server.pem: there is no certificate in it, only other PEM blocks"),
        (&leaf.cert, &leaf.cert, "server.key: there is no private key in it, only other PEM blocks"),
        (&leaf.cert, "", "server.key: there is no private key in it; expected PEM"),
        (half, &leaf.key, "server.pem: a PEM block in it has no end"),
        (&leaf.cert, &other.key, "server.key: its private key is not that of the certificate in server.pem"),
        (
            "-----BEGIN CERTIFICATE-----\nMAMBAf8=\n-----END CERTIFICATE-----\n",
            &leaf.key,
            "server.pem: its certificate is not X.509 in DER",
        ),
        (
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            &leaf.key,
            "server.pem: a PEM block in it is not base64",
        ),
        (
            &leaf.cert,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAMBAf8=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "server.key: its private key is encrypted; decrypt it",
        ),
        (
            &leaf.cert,
            "-----BEGIN PRIVATE KEY-----\nMAMBAf8=\n-----END PRIVATE KEY-----\n",
            "server.key: its private key is of a kind that can't serve",
        ),
    ] {
        let problem = problem_of(cert, key);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn authorities_and_lists_are_checked_too() {
    let authority = Authority::new("root");
    let with = |ca: &str, crl: &str| {
        let mut files = files(&[&authority.server(&[HOST])]);
        files.authorities.push(file("ca.pem", ca));
        files.revocations.push(file("ca.crl", crl));
        problem(&files)
    };
    let list = authority.revoke(&[]);
    assert!(with("", &list).starts_with("ca.pem: there is no certificate"));
    assert!(with(&authority.pem, "").starts_with("ca.crl: there is no certificate revocation list"));
    assert!(with(&authority.pem, &authority.pem).starts_with("ca.crl: there is no certificate revocation"));
    let garbage = "-----BEGIN X509 CRL-----\nMAMBAf8=\n-----END X509 CRL-----\n";
    assert!(with(&authority.pem, garbage).starts_with("ca.crl: a certificate revocation list in it"));
}

#[test]
fn a_list_may_be_der() {
    let authority = Authority::new("root");
    let mut files = files(&[&authority.server(&[HOST])]);
    files.authorities.push(file("ca.pem", &authority.pem));
    let list =
        rustls::pki_types::CertificateRevocationListDer::from_pem_slice(authority.revoke(&[]).as_bytes());
    let bytes = Zeroizing::new(list.unwrap().to_vec());
    files.revocations.push(NamedFile { name: "ca.crl".into(), bytes });
    Acceptor::new(&ListenerTls::default(), &[], &files, None).unwrap();
}

#[test]
fn what_has_expired_is_said_with_the_date_and_served() {
    let authority = Authority::new("root");
    let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
    params.distinguished_name = named("old");
    params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    let old = authority.sign(params.clone());
    params.not_before = rcgen::date_time_ymd(2090, 2, 3);
    params.not_after = rcgen::date_time_ymd(2091, 2, 3);
    let early = authority.sign(params);
    let (_, warnings) = Acceptor::new(&ListenerTls::default(), &[], &files(&[&old, &early]), None).unwrap();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("expired on 2020-02-03 00:00:00 UTC"), "{warnings:?}");
    assert!(warnings[1].contains("valid only from 2090-02-03 00:00:00 UTC"), "{warnings:?}");
}

#[test]
fn no_key_is_in_debug_output() {
    let authority = Authority::new("root");
    let leaf = authority.server(&[HOST]);
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&leaf]));
    let text = format!("{acceptor:?} {:?}", acceptor.open());
    assert!(text.len() < 200, "{text}");
}

//! New files without a restart: connections go on, new ones get what is in the files now.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::wire::{Connect, Publish};

/// Whether a new connection is shown this certificate.
fn shows(secured: &Secured, leaf: &Leaf) -> bool {
    let stream = secured.peer().shake(secured.mqtts).unwrap();
    let shown = &stream.conn.peer_certificates().unwrap()[0];
    *shown == CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()
}

fn replace(secured: &Secured, leaf: &Leaf, trigger: impl Fn(&Secured)) {
    let mut old = secured.peer().connect(secured.mqtts, Connect::v5("old"));
    old.subscribe("t", 1);
    write_pair(secured.broker.dir(), "server", leaf);
    trigger(secured);
    wait_until("new connections get the new certificate", || shows(secured, leaf));
    for _ in 0..20 {
        // Whichever shard accepts.
        wait_until("all shards have it", || shows(secured, leaf));
    }
    old.publish(Publish::new("t", "still here").qos(1));
    old.expect_message("t", "still here");
    old.ping();
}

#[test]
fn sighup_reads_the_certificates_again() {
    for shards in SHARDS {
        let secured = Options::shards(shards).key("tls.reload_s = 0").start();
        let leaf = secured.authority.server(&[HOST, "localhost"]);
        replace(&secured, &leaf, |secured| secured.broker.signal("HUP"));
    }
}

#[test]
fn changed_files_are_noticed() {
    for shards in SHARDS {
        let secured = Options::shards(shards).key("tls.reload_s = 1").start();
        let leaf = secured.authority.server(&[HOST]);
        replace(&secured, &leaf, |_| {});
    }
}

#[test]
fn a_pair_that_does_not_fit_leaves_the_old_one_in_effect() {
    let secured = Options::shards(2).key("tls.reload_s = 0").start();
    let before = secured.peer().shake(secured.mqtts).unwrap();
    let before = before.conn.peer_certificates().unwrap()[0].clone();
    let leaf = secured.authority.server(&[HOST]);
    secured.write("server.pem", &leaf.cert);
    secured.broker.signal("HUP");
    let complaint = "server.key: its private key is not that of the certificate in server.pem; the certificates that \
                     were read before stay in effect";
    wait_until("the log says so", || secured.broker.output().contains(complaint));
    let after = secured.peer().shake(secured.mqtts).unwrap();
    assert_eq!(after.conn.peer_certificates().unwrap()[0], before);
    secured.write("server.key", &leaf.key);
    secured.broker.signal("HUP");
    wait_until("the whole pair is in effect", || shows(&secured, &leaf));
    assert!(!secured.broker.output().contains("BEGIN"), "no key is in the log");
}

#[test]
fn a_file_that_is_gone_leaves_the_old_one_in_effect_and_is_complained_of_once() {
    let secured = Options::shards(1).key("tls.reload_s = 1").start();
    std::fs::remove_file(secured.path("server.pem")).unwrap();
    let complaints = || secured.broker.output().matches("server.pem: can't be read").count();
    // One for each of the two listeners.
    wait_until("the log says so", || complaints() == 2);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(complaints(), 2, "a file that is still missing is no news");
    secured.peer().connect(secured.mqtts, Connect::v5("late")).disconnect();
    let leaf = secured.authority.server(&[HOST]);
    write_pair(secured.broker.dir(), "server", &leaf);
    wait_until("it is back", || shows(&secured, &leaf));
}

#[test]
fn a_certificate_that_expires_soon_is_an_alarm_until_there_is_another_one() {
    let options = Options::shards(2).key("tls.reload_s = 0");
    let mut params = authority::server(&[HOST, "localhost"]);
    params.not_after = (SystemTime::now() + Duration::from_secs(5 * 86_400)).into();
    let leaf = options.authority.sign(params);
    options.write_pair("server", &leaf);
    let secured = options.start();
    let has = |text: &str| {
        let output = secured.broker.output();
        output.lines().any(|line| line.contains("certificate_expiry") && line.contains(text))
    };
    wait_until("it is told", || has("server.pem: a certificate of mqtts://"));
    write_pair(secured.broker.dir(), "server", &secured.authority.server(&[HOST, "localhost"]));
    secured.broker.signal("HUP");
    wait_until("it is over", || has("this is over"));
}

//! Tenants by the certificates of their clients.

use rcgen::{CertificateParams, DistinguishedName, DnType};

use super::*;
use crate::client::Client;
use crate::wire::{Connect, Publish};

/// A certificate of these names; an empty one is left out.
fn leaf(authority: &Authority, organization: &str, unit: &str, common_name: &str) -> Leaf {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let names = [
        (DnType::OrganizationName, organization),
        (DnType::OrganizationalUnitName, unit),
        (DnType::CommonName, common_name),
    ];
    for (kind, name) in names.into_iter().filter(|(_, name)| !name.is_empty()) {
        params.distinguished_name.push(kind, name);
    }
    authority.sign(params)
}

/// A broker whose clients over TLS live where their certificates say.
fn start(shards: u16, mountpoint: &str, more: &str) -> Secured {
    Options::shards(shards)
        .key("tls.ca = \"ca.pem\"")
        .key(&format!("mountpoint = \"{mountpoint}\""))
        .key("allow_anonymous = true")
        .key(more)
        .start()
}

#[test]
fn a_certificate_chooses_the_tenant_by_itself() {
    for shards in SHARDS {
        let secured = start(shards, "tenants/%O/%OU/", "tls.require_client_cert = true");
        let mut operator = secured.broker.connect(Connect::v5("operator"));
        operator.subscribe("tenants/#", 1);
        let acme = leaf(&secured.authority, "acme", "plant 1", "car-7");
        let other = leaf(&secured.authority, "other", "plant 1", "car-7");
        for round in 0..4 {
            // The same Client Identifier in both, wherever its home is.
            let id = format!("c{round}");
            let mut a = secured.peer().shows(&acme).connect(secured.mqtts, Connect::v5(&id));
            let mut b = secured.peer().shows(&other).connect(secured.mqtts, Connect::v311(&id));
            a.subscribe("#", 1);
            b.subscribe("#", 1);
            a.publish(Publish::new("t", "of a").qos(1));
            a.expect_message("t", "of a");
            operator.expect_message("tenants/acme/plant 1/t", "of a");
            operator.publish(Publish::new("tenants/other/plant 1/u", "to b").qos(1));
            b.expect_message("u", "to b");
            operator.expect_message("tenants/other/plant 1/u", "to b");
            a.ping();
            a.expect_nothing();
            b.expect_nothing();
        }
    }
}

#[test]
fn a_certificate_that_names_no_tenant_is_refused() {
    for shards in SHARDS {
        let secured = start(shards, "tenants/%O/", "tls.require_client_cert = false");
        let bad = ["", "a/b", "+", "#", "a\0b"].map(|name| leaf(&secured.authority, name, "x", "car-7"));
        let mut peers: Vec<_> = bad.iter().map(|leaf| secured.peer().shows(leaf)).collect();
        peers.push(secured.peer());
        for peer in peers {
            for (connect, reason) in [(Connect::v5("c"), 0x87), (Connect::v311("c"), 5)] {
                let mut client = Client::over(peer.open(secured.mqtts), connect.version);
                client.send(connect);
                client.expect_refusal(reason);
            }
        }
        let good = leaf(&secured.authority, "acme", "", "");
        secured.peer().shows(&good).connect(secured.mqtts, Connect::v5("c")).ping();
    }
}

#[test]
fn the_name_of_a_certificate_fills_the_user_name_of_a_mountpoint() {
    for shards in SHARDS {
        let secured = Options::shards(shards)
            .key("tls.ca = \"ca.pem\"")
            .key("mountpoint = \"tenants/%u/\"")
            .key("tls.username_from = \"cn\"")
            .more("[auth]\norder = [\"certificate\"]")
            .start_with_plain("allow_anonymous = true");
        let mut operator = secured.broker.connect(Connect::v5("operator"));
        operator.subscribe("tenants/#", 1);
        let car = secured.authority.client("car-7");
        let mut client = secured.peer().shows(&car).connect(secured.mqtts, Connect::v5("c"));
        client.publish(Publish::new("t", "x").qos(1));
        operator.expect_message("tenants/car-7/t", "x");
        let slash = secured.authority.client("car/7");
        let mut refused =
            Client::over(secured.peer().shows(&slash).open(secured.mqtts), Connect::v5("").version);
        refused.send(Connect::v5("d"));
        refused.expect_refusal(0x87);
    }
}

#[test]
fn a_mountpoint_of_certificates_where_none_is_asked_for_is_refused_at_start() {
    let dir = temporary_dir();
    write(&dir, "myriad.toml", "[[listener]]\nurl = \"mqtt://127.0.0.1:1883\"\nmountpoint = \"%CN\"\n");
    let output =
        Command::new(binary()).current_dir(&dir).args(["check", "--config", "myriad.toml"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("myriad.toml:3: listener.mountpoint") && error.contains("tls.ca"), "{error}");
}

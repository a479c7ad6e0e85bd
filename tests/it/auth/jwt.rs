//! JSON Web Tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::{hmac, signature};
use serde_json::{Value, json};

use super::{Files, SHARDS, cheap_line, login, not_authorized, start};
use crate::wire::{Connect, Packet, Version};

const SECRET: &[u8] = b"a secret that is long enough";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn with_signature(text: &str, signature: &[u8]) -> String {
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs(algorithm: hmac::Algorithm, name: &str, secret: &[u8], claims: &Value) -> String {
    let text = unsigned(&json!({"alg": name, "typ": "JWT"}), claims);
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), text.as_bytes());
    with_signature(&text, tag.as_ref())
}

fn hs256(claims: &Value) -> String {
    hs(hmac::HMAC_SHA256, "HS256", SECRET, claims)
}

/// CONNECT with a token as its password.
fn bearer(version: Version, client_id: &str, token: &str) -> Connect {
    login(version, client_id, "anyone", token)
}

#[test]
fn tokens_with_a_shared_secret() {
    for shards in SHARDS {
        let files = Files::new();
        let secret = files.set("auth.jwt.secret_file", "secret", [SECRET, b"\n"].concat());
        let Some(broker) = start(shards, &["auth.order=jwt", &secret]) else { return };
        let claims = json!({"sub": "alice", "exp": now_s() + 600});
        for version in Version::ALL {
            let refused = not_authorized(version);
            for number in 0..4 {
                let id = format!("c{number}");
                broker.connect(bearer(version, &id, &hs256(&claims))).ping();
                for (algorithm, name) in [(hmac::HMAC_SHA384, "HS384"), (hmac::HMAC_SHA512, "HS512")] {
                    broker.connect(bearer(version, &id, &hs(algorithm, name, SECRET, &claims))).ping();
                }
                let forged = hs(hmac::HMAC_SHA256, "HS256", b"another secret, long enough", &claims);
                broker.expect_refused(bearer(version, &id, &forged), refused);
                let expired = hs256(&json!({"sub": "alice", "exp": now_s() - 60}));
                broker.expect_refused(bearer(version, &id, &expired), refused);
                let early = hs256(&json!({"exp": now_s() + 600, "nbf": now_s() + 60}));
                broker.expect_refused(bearer(version, &id, &early), refused);
                broker.expect_refused(bearer(version, &id, &hs256(&json!({"sub": "alice"}))), refused);
            }
            let none = unsigned(&json!({"alg": "none"}), &claims);
            broker.expect_refused(bearer(version, "c", &format!("{none}.")), refused);
            let mut altered = hs256(&claims).into_bytes();
            altered[30] ^= 1;
            let altered = String::from_utf8_lossy(&altered).into_owned();
            broker.expect_refused(bearer(version, "c", &altered), refused);
        }
    }
}

#[test]
fn tokens_with_public_keys() {
    for shards in SHARDS {
        let files = Files::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let pem = key.public_key_pem();
        let public = files.set("auth.jwt.public_key", "key.pem", &pem);
        let Some(broker) = start(shards, &["auth.order=jwt", &public]) else { return };
        let claims = json!({"sub": "alice", "exp": now_s() + 600});
        for version in Version::ALL {
            let refused = not_authorized(version);
            broker.connect(bearer(version, "c", &es256(&key, json!({"alg": "ES256"}), &claims))).ping();
            broker.expect_refused(
                bearer(version, "c", &es256(&other, json!({"alg": "ES256"}), &claims)),
                refused,
            );
            // The public key as a shared secret, in each of its forms.
            for secret in [pem.as_bytes(), pem.trim().as_bytes(), key.public_key_raw()] {
                let confused = hs(hmac::HMAC_SHA256, "HS256", secret, &claims);
                broker.expect_refused(bearer(version, "c", &confused), refused);
            }
            let text = unsigned(&json!({"alg": "RS256"}), &claims);
            broker.expect_refused(bearer(version, "c", &with_signature(&text, &[1; 256])), refused);
        }
    }
}

fn es256(key: &rcgen::KeyPair, header: Value, claims: &Value) -> String {
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der(), &random).unwrap();
    let text = unsigned(&header, claims);
    let signature = pair.sign(&random, text.as_bytes()).unwrap();
    with_signature(&text, signature.as_ref())
}

#[test]
fn tokens_name_their_key_in_a_key_set() {
    let files = Files::new();
    let keys = [rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap()];
    let web_key = |id: &str, key: &rcgen::KeyPair| {
        let point = key.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": part(1..33), "y": part(33..65)})
    };
    let set =
        json!({"keys": [web_key("a", &keys[0]), web_key("b", &keys[1]), {"kty": "OKP", "crv": "Ed25519"}]});
    let jwks = files.set("auth.jwt.jwks", "jwks.json", set.to_string());
    let Some(broker) = start(2, &["auth.order=jwt", &jwks]) else { return };
    let claims = json!({"sub": "alice", "exp": now_s() + 600});
    let token = |key: usize, id: &str| es256(&keys[key], json!({"alg": "ES256", "kid": id}), &claims);
    for version in Version::ALL {
        broker.connect(bearer(version, "c", &token(0, "a"))).ping();
        broker.connect(bearer(version, "c", &token(1, "b"))).ping();
        broker.expect_refused(bearer(version, "c", &token(0, "b")), not_authorized(version));
        broker.expect_refused(bearer(version, "c", &token(0, "c")), not_authorized(version));
        broker.connect(bearer(version, "c", &es256(&keys[1], json!({"alg": "ES256"}), &claims))).ping();
    }
}

/// RSA keys come from openssl: the libraries of the tests make none.
#[test]
fn tokens_with_rsa() {
    let files = Files::new();
    let (private, public) = (files.path("private.pem"), files.path("public.pem"));
    let openssl = |arguments: &[&str]| std::process::Command::new("openssl").args(arguments).output();
    let bits = "rsa_keygen_bits:2048";
    match openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", bits, "-out", private.to_str().unwrap()]) {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => return println!("skipped: openssl: {error}"),
    }
    let (from, to) = (private.to_str().unwrap(), public.to_str().unwrap());
    assert!(openssl(&["pkey", "-in", from, "-pubout", "-out", to]).unwrap().status.success());
    let der = files.path("private.der");
    let to_der =
        ["pkcs8", "-topk8", "-nocrypt", "-in", from, "-outform", "DER", "-out", der.to_str().unwrap()];
    assert!(openssl(&to_der).unwrap().status.success());
    let pair = signature::RsaKeyPair::from_pkcs8(&std::fs::read(der).unwrap()).unwrap();
    let setting = format!("auth.jwt.public_key={}", public.display());
    let Some(broker) = start(2, &["auth.order=jwt", &setting]) else { return };
    let claims = json!({"sub": "alice", "exp": now_s() + 600});
    let sign = |name: &str, padding: &'static dyn signature::RsaEncoding| {
        let text = unsigned(&json!({"alg": name}), &claims);
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        with_signature(&text, &signature)
    };
    for version in Version::ALL {
        for (name, padding) in [
            ("RS256", &signature::RSA_PKCS1_SHA256 as &'static dyn signature::RsaEncoding),
            ("RS384", &signature::RSA_PKCS1_SHA384),
            ("RS512", &signature::RSA_PKCS1_SHA512),
            ("PS256", &signature::RSA_PSS_SHA256),
            ("PS384", &signature::RSA_PSS_SHA384),
            ("PS512", &signature::RSA_PSS_SHA512),
        ] {
            broker.connect(bearer(version, "c", &sign(name, padding))).ping();
        }
        let refused = not_authorized(version);
        broker.expect_refused(bearer(version, "c", &sign("RS256", &signature::RSA_PSS_SHA256)), refused);
        let confused = hs(hmac::HMAC_SHA256, "HS256", &std::fs::read(&public).unwrap(), &claims);
        broker.expect_refused(bearer(version, "c", &confused), refused);
    }
}

#[test]
fn a_token_ends_and_its_client_with_it() {
    for shards in SHARDS {
        let files = Files::new();
        let secret = files.set("auth.jwt.secret_file", "secret", SECRET);
        let settings = ["auth.order=jwt", &secret, "auth.jwt.leeway_s=0"];
        let Some(broker) = start(shards, &settings) else { return };
        for version in [Version::V311, Version::V50] {
            let short = hs256(&json!({"sub": "alice", "exp": now_s() + 3}));
            let long = hs256(&json!({"sub": "alice", "exp": now_s() + 600}));
            let mut short = broker.connect(bearer(version, "short", &short));
            let mut long = broker.connect(bearer(version, "long", &long));
            if version.is_v5() {
                match short.recv_within(Duration::from_secs(15)) {
                    Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, 0xA0),
                    other => panic!("DISCONNECT was to come, not {other:?}"),
                }
            }
            short.expect_closed_within(Duration::from_secs(15));
            long.ping();
        }
    }
}

#[test]
fn claims_bind_a_token_to_issuer_audience_and_client() {
    for shards in SHARDS {
        let files = Files::new();
        let secret = files.set("auth.jwt.secret_file", "secret", SECRET);
        let settings = [
            "auth.order=jwt",
            &secret,
            "auth.jwt.issuer=us",
            "auth.jwt.audience=mqtt",
            "auth.jwt.client_id_claim=cid",
            "auth.jwt.from=username",
        ];
        let Some(broker) = start(shards, &settings) else { return };
        let token = |iss: &str, aud: &str, cid: &str| {
            hs256(&json!({"iss": iss, "aud": aud, "cid": cid, "exp": now_s() + 600}))
        };
        for version in Version::ALL {
            let connect = |id: &str, token: &str| Connect::new(version, id).username(token);
            let refused = not_authorized(version);
            broker.connect(connect("c1", &token("us", "mqtt", "c1"))).ping();
            broker.expect_refused(connect("c1", &token("them", "mqtt", "c1")), refused);
            broker.expect_refused(connect("c1", &token("us", "http", "c1")), refused);
            let other = if version.is_v5() { 0x85 } else { 2 };
            broker.expect_refused(connect("c2", &token("us", "mqtt", "c1")), other);
        }
        // Only a bridge of this node has such a name, whoever signs it.
        broker.expect_refused(Connect::v5("").username(&token("us", "mqtt", "$bridge:up")), 0x85);
        // An empty Client Identifier becomes that of the token, wherever its home is.
        for number in 0..8 {
            let id = format!("own-{number}");
            let connect = Connect::v5("").username(&token("us", "mqtt", &id));
            let (mut client, connack) = broker.connect_with_ack(connect);
            assert!(format!("{connack:?}").contains(&format!("{id:?}")), "{connack:?}");
            client.ping();
            let mut second = broker.connect(Connect::v5(&id).username(&token("us", "mqtt", &id)));
            client.expect_disconnect(0x8E);
            second.ping();
        }
    }
}

/// A password that is no token is for the other methods.
#[test]
fn methods_are_asked_one_after_the_other() {
    let files = Files::new();
    let secret = files.set("auth.jwt.secret_file", "secret", SECRET);
    let users = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
    let Some(broker) = start(2, &["auth.order=[\"jwt\", \"file\"]", &secret, &users]) else { return };
    broker.connect(login(Version::V50, "c", "alice", "p1")).ping();
    broker.connect(bearer(Version::V50, "c", &hs256(&json!({"exp": now_s() + 600})))).ping();
    broker.expect_refused(login(Version::V50, "c", "alice", "p2"), 0x86);
}

#[test]
fn a_token_as_user_name_is_never_logged() {
    let files = Files::new();
    let secret = files.set("auth.jwt.secret_file", "secret", [SECRET, b"\n"].concat());
    let settings = ["auth.order=jwt", "auth.jwt.from=username", "log.level=debug", &secret];
    let Some(broker) = start(2, &settings) else { return };
    let token = hs256(&json!({"sub": "alice", "exp": now_s() - 60}));
    broker.expect_refused(login(Version::V50, "c", &token, ""), 0x87);
    super::wait_for_output(&broker, "authentication failed");
    assert!(!broker.output().contains(&token[..20]), "{}", broker.output());
}

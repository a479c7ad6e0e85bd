//! The order of the methods: who is asked when, what ends the asking, what a verdict depends on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::auth::PeerCertificate;
use crate::config::ClientIds;
use crate::packet::ReasonCode;

/// User `u` with the password `secret`, in the cheapest form that there is.
const PASSWORDS: &str = "u:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==\n";
const SECRET: &[u8] = b"a secret that is long enough";
const NOW: Moment = Moment { at: Timestamp(5_000), unix_s: 1_000 };

/// The files of the tests, by name.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    match path.to_str() {
        Some("users") => Ok(PASSWORDS.into()),
        Some("rules") => Ok("user u\nsuperuser\n".into()),
        Some("ids") => Ok("listed 10.0.0.1\n".into()),
        Some("secret") => Ok(SECRET.into()),
        Some("latin1") => Ok(b"# one\nb\xE9b:x\n".to_vec()),
        _ => Err("can't be read: gone".into()),
    }
}

fn config(order: &[&str]) -> Auth {
    let mut config = Auth { order: order.iter().map(|&name| name.into()).collect(), ..Auth::default() };
    config.file.path = "users".into();
    config.file.rules = "rules".into();
    config.client_id.path = "ids".into();
    config.jwt.secret_file = "secret".into();
    config.http.auth_req.url = "http://127.0.0.1/auth".into();
    config
}

fn chain(order: &[&str]) -> Chain {
    Chain::load(&config(order), &read).unwrap()
}

fn client<'c>(client_id: &'c str, username: Option<&'c str>, password: Option<&'c str>) -> Credentials<'c> {
    let password = password.map(str::as_bytes);
    let remote = "10.0.0.1:1883".parse().unwrap();
    Credentials { client_id, username, password, remote, listener: 0, certificate: None }
}

/// All methods are asked, those that are much work too; HTTP servers say nothing.
fn asked(chain: &Chain, client: &Credentials<'_>) -> Verdict {
    let mut from = 0;
    loop {
        match chain.quick(client, from, NOW) {
            Progress::Verdict(verdict) => return verdict,
            Progress::Work(at) => match chain.work(client, at, NOW) {
                Verdict::Ignore => from = at + 1,
                verdict => return verdict,
            },
        }
    }
}

fn method_of(verdict: &Verdict) -> Option<Method> {
    match verdict {
        Verdict::Allow(identity) => Some(identity.method),
        _ => None,
    }
}

fn reason_of(verdict: &Verdict) -> Option<ReasonCode> {
    match verdict {
        Verdict::Deny(refusal) => Some(refusal.reason),
        _ => None,
    }
}

fn token(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[test]
fn the_first_method_that_knows_a_client_decides() {
    let listed_first = chain(&["client_id", "file"]);
    let file_first = chain(&["file", "client_id"]);
    let both = client("listed", Some("u"), Some("secret"));
    assert_eq!(method_of(&asked(&listed_first, &both)), Some(Method::ClientId));
    assert_eq!(method_of(&asked(&file_first, &both)), Some(Method::File));
    // A no ends it as a yes does; whom one does not know the next is asked about.
    let wrong = client("listed", Some("u"), Some("guess"));
    assert_eq!(reason_of(&asked(&file_first, &wrong)), Some(ReasonCode::BadUserNameOrPassword));
    assert_eq!(method_of(&asked(&listed_first, &wrong)), Some(Method::ClientId));
    let stranger = client("listed", Some("stranger"), Some("secret"));
    assert_eq!(method_of(&asked(&file_first, &stranger)), Some(Method::ClientId));
    assert_eq!(asked(&file_first, &client("c", Some("stranger"), Some("x"))), Verdict::Ignore);
    assert_eq!(asked(&chain(&[]), &both), Verdict::Ignore);
}

#[test]
fn only_what_is_much_work_is_put_off() {
    let chain = chain(&["certificate", "jwt", "file", "http"]);
    let quick = |client: &Credentials<'_>, from| chain.quick(client, from, NOW);
    let with_password = client("c", Some("u"), Some("secret"));
    assert_eq!(quick(&with_password, 0), Progress::Work(2));
    assert_eq!(quick(&with_password, 3), Progress::Work(3));
    assert_eq!(quick(&with_password, 4), Progress::Verdict(Verdict::Ignore));
    assert!(chain.requests(3).is_some() && chain.requests(2).is_none());
    assert_eq!(chain.work(&with_password, 3, NOW), Verdict::Ignore, "a server is asked by others");
    // Nothing to hold against a hash, and nothing to ask a server about.
    assert_eq!(quick(&client("c", None, None), 0), Progress::Verdict(Verdict::Ignore));
    let Progress::Verdict(no_password) = quick(&client("c", Some("u"), None), 0) else { panic!("put off") };
    assert_eq!(reason_of(&no_password), Some(ReasonCode::BadUserNameOrPassword));
    let certificate = PeerCertificate { username: Some("car-7".into()), ..PeerCertificate::default() };
    let shown = Credentials { certificate: Some(&certificate), ..with_password };
    let Progress::Verdict(verdict) = quick(&shown, 0) else { panic!("put off") };
    assert_eq!(method_of(&verdict), Some(Method::Certificate));
    // One of which nothing is asked for says nothing.
    let nameless = PeerCertificate::default();
    assert_eq!(quick(&Credentials { certificate: Some(&nameless), ..with_password }, 0), Progress::Work(2));
}

#[test]
fn a_token_by_a_shared_secret_is_judged_at_once_and_ends_by_the_brokers_clock() {
    let chain = chain(&["jwt"]);
    let good = token(r#"{"sub":"alice","exp":1060}"#);
    let Progress::Verdict(Verdict::Allow(identity)) = chain.quick(&client("c", None, Some(&good)), 0, NOW)
    else {
        panic!("put off, or not let in")
    };
    assert_eq!(identity.username.as_deref(), Some("alice"));
    // 60 s and the leeway of 5 s from now.
    assert_eq!(identity.expires_at, Some(Timestamp(70_000)));
    for (bad, reason) in [
        (token(r#"{"sub":"alice","exp":900}"#), ReasonCode::NotAuthorized),
        (good.replace('.', ".A"), ReasonCode::NotAuthorized),
    ] {
        let verdict = asked(&chain, &client("c", None, Some(&bad)));
        assert_eq!(reason_of(&verdict), Some(reason), "{bad}: {verdict:?}");
    }
    // What is no token is for the others.
    assert_eq!(asked(&chain, &client("c", Some("u"), Some("secret"))), Verdict::Ignore);
}

#[test]
fn a_list_of_client_identifiers_may_be_a_condition_that_comes_first() {
    let mut config = config(&["file", "client_id"]);
    config.client_id = ClientIds { path: "ids".into(), password_required: true };
    let chain = Chain::load(&config, &read).unwrap();
    assert_eq!(method_of(&asked(&chain, &client("listed", Some("u"), Some("secret")))), Some(Method::File));
    assert_eq!(asked(&chain, &client("listed", None, None)), Verdict::Ignore);
    let unlisted = client("c", Some("u"), Some("secret"));
    assert_eq!(reason_of(&asked(&chain, &unlisted)), Some(ReasonCode::NotAuthorized));
    let elsewhere = Credentials {
        remote: "10.0.0.2:1883".parse().unwrap(),
        ..client("listed", Some("u"), Some("secret"))
    };
    assert_eq!(reason_of(&asked(&chain, &elsewhere)), Some(ReasonCode::NotAuthorized));
    // SCRAM too; and it is asked only where it is named.
    let salt_key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
    for (client, reason) in [
        (unlisted, ReasonCode::NotAuthorized),
        (client("listed", None, None), ReasonCode::BadAuthenticationMethod),
    ] {
        let refused = chain.scram_first(&client, b"n,,n=u,r=nonce", "nonce", &salt_key);
        assert_eq!(refused.err().map(|refusal| refusal.reason), Some(reason));
    }
}

#[test]
fn rules_of_a_file_are_those_of_its_users() {
    let Verdict::Allow(identity) = asked(&chain(&["file"]), &client("c", Some("u"), Some("secret"))) else {
        panic!("not let in")
    };
    assert!(identity.is_superuser);
    let mut config = config(&["file"]);
    config.file.rules = "".into();
    let chain = Chain::load(&config, &read).unwrap();
    let Verdict::Allow(identity) = asked(&chain, &client("c", Some("u"), Some("secret"))) else {
        panic!("not let in")
    };
    assert_eq!(*identity, Identity::new(Method::File).named("u"));
}

#[test]
fn a_digest_is_of_all_that_a_verdict_depends_on_and_of_nothing_else() {
    let chain = chain(&["file", "http"]);
    let (key, other_key) = (hmac::Key::new(hmac::HMAC_SHA256, b"a"), hmac::Key::new(hmac::HMAC_SHA256, b"b"));
    let digest = |client: &Credentials<'_>, at| chain.digest(client, at, &key);
    let base = client("c", Some("ab"), Some("c"));
    let elsewhere = Credentials { remote: "10.0.0.2:1".parse().unwrap(), ..base };
    let another_port = Credentials { remote: "10.0.0.1:2".parse().unwrap(), ..base };
    // A password is good for any client, from anywhere; a server is told both.
    assert_eq!(digest(&base, 0), digest(&client("d", Some("ab"), Some("c")), 0));
    assert_eq!(digest(&base, 0), digest(&elsewhere, 0));
    assert_ne!(digest(&base, 1), digest(&client("d", Some("ab"), Some("c")), 1));
    assert_ne!(digest(&base, 1), digest(&elsewhere, 1));
    assert_eq!(digest(&base, 1), digest(&another_port, 1));
    let distinct = [
        digest(&base, 0),
        digest(&base, 1),
        digest(&client("c", Some("a"), Some("bc")), 0),
        digest(&client("c", Some("abc"), Some("")), 0),
        digest(&client("c", Some("abc"), None), 0),
        digest(&client("c", None, Some("abc")), 0),
        digest(&client("c", Some(""), Some("abc")), 0),
        chain.digest(&base, 0, &other_key),
    ];
    for (number, one) in distinct.iter().enumerate() {
        assert!(distinct.iter().skip(number + 1).all(|other| other != one), "{number}");
    }
}

#[test]
fn what_can_not_be_loaded_is_told_with_its_file_and_line() {
    let error = |change: fn(&mut Auth), order: &[&str]| {
        let mut config = config(order);
        change(&mut config);
        Chain::load(&config, &read).unwrap_err().to_string()
    };
    assert_eq!(error(|c| c.file.path = "no".into(), &["file"]), "no: can't be read: gone");
    assert!(error(|c| c.file.path = "latin1".into(), &["file"]).starts_with("latin1 line 2: not UTF-8"));
    assert!(error(|c| c.file.rules = "ids".into(), &["file"]).starts_with("ids line 1: expected user"));
    assert!(error(|_| {}, &["fiel"]).contains("unknown method \"fiel\""));
    let url = error(|c| c.http.auth_req.url = "ftp://u:s3cret@h/".into(), &["http"]);
    assert!(
        url.contains("auth.http.auth_req") && url.contains("ftp://***@h/") && !url.contains("s3cret"),
        "{url}"
    );
    let params = error(|c| c.http.auth_req.params = "u=%u,s3cret".into(), &["http"]);
    assert!(params.contains("params: number 2") && !params.contains("s3cret"), "{params}");
}

//! Files and tokens of authentication: any text is refused in one line that names a line of it, or read.

use std::net::IpAddr;

use myriad::auth::{
    ClientIdFile, Credentials, FileError, Listed, PasswordFile, ScramFile, UserRules, http, jwt,
};
use myriad::config::Jwt;

/// The first byte says what the rest is.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 6 == 4 {
        return token(rest);
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind % 6 {
        0 => read(text, PasswordFile::parse(text).map(|file| assert_eq!(file.is_empty(), file.len() == 0))),
        1 => client_ids(text),
        2 => read(text, UserRules::parse(text)),
        3 => read(text, ScramFile::parse(text).map(|file| assert!(file.iterations() >= 4096))),
        _ => params(text),
    }
}

fn read<T>(text: &str, outcome: Result<T, FileError>) {
    let Err(error) = outcome else { return };
    assert!(error.line >= 1 && error.line <= text.lines().count(), "{error}");
    let printed = error.of("file").to_string();
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

fn client_ids(text: &str) {
    let file = ClientIdFile::parse(text);
    if let Ok(file) = &file {
        let nowhere = IpAddr::from([0, 0, 0, 0]);
        let lines =
            text.strip_prefix('\u{feff}').unwrap_or(text).lines().filter(|line| !line.starts_with('#'));
        for client_id in lines.filter_map(|line| line.split_whitespace().next()) {
            assert_ne!(file.check(client_id, nowhere), Listed::No, "{client_id:?}");
        }
    }
    read(text, file);
}

fn token(text: &[u8]) {
    let Ok(token) = jwt::Token::parse(text) else { return };
    assert!(text.starts_with(token.signed));
    let config = Jwt { client_id_claim: "cid".into(), mountpoint_claim: "tenant".into(), ..Jwt::default() };
    if let Ok((identity, ends)) = jwt::identity(&token, &config, 1_000) {
        assert!(ends.is_some_and(|ends| ends > 1_000), "a token has to have an end that is to come");
        assert!(identity.client_id.is_some_and(|id| !id.is_empty()));
    }
}

fn params(text: &str) {
    let Ok(params) = http::Params::parse(text) else { return };
    let client = Credentials {
        client_id: text,
        username: Some(text),
        password: Some(text.as_bytes()),
        remote: ([127, 0, 0, 1], 1).into(),
        listener: 0,
        certificate: None,
    };
    let encoded = params.encode(&client);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%&=".contains(&byte);
    assert!(encoded.bytes().all(is_plain), "{}", *encoded);
    let names = text.split(',').filter(|param| !param.trim().is_empty()).count();
    assert_eq!(encoded.split('&').filter(|param| !param.is_empty()).count(), names, "{}", *encoded);
}

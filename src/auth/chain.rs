//! The methods in the order of `auth.order`, with the files that they need: asked one after the other until one knows
//! the client. A method that is much work says so and is asked by another thread. With feature `server` only.

use std::path::Path;
use std::sync::Arc;

use ring::hmac;

use super::http::Params;
use super::{
    ClientIdFile, Credentials, Exchange, FileError, Identity, Listed, Method, PasswordFile, Refusal,
    ScramFile, UserRules, Verdict, jwt,
};
use crate::clock::Timestamp;
use crate::config::{Auth, HttpRequest, Jwt, OnError, TokenFrom, shown_url};

/// Now, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The broker's.
    pub at: Timestamp,
    /// Seconds of Unix time.
    pub unix_s: u64,
}

impl Moment {
    /// The broker's time at that second of Unix time.
    fn when(self, unix_s: u64) -> Timestamp {
        self.at.plus_s(unix_s.saturating_sub(self.unix_s))
    }
}

/// One request to an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How and where.
    pub to: HttpRequest,
    /// With what.
    pub params: Params,
}

/// Requests of the method `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    /// Whether the client may come in.
    pub auth: Request,
    /// Whether it is a superuser.
    pub superuser: Option<Request>,
    /// What it means that there is no answer.
    pub on_error: OnError,
}

/// A method with what it needs.
#[derive(Debug)]
enum Asked {
    ClientId { file: ClientIdFile, password_required: bool },
    Certificate,
    File { file: PasswordFile, rules: UserRules },
    Jwt { keys: jwt::Keys, config: Box<Jwt> },
    Http(Box<Requests>),
    Scram { file: ScramFile, rules: UserRules },
}

/// How far asking has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// To its end.
    Verdict(Verdict),
    /// To a method that is much work; that one has to be asked by `work` or over HTTP, then those behind it.
    Work(usize),
}

/// All methods in their order.
#[derive(Debug)]
pub struct Chain {
    methods: Vec<Asked>,
}

/// Reads a file, for `Chain::load`: its bytes, or what is wrong.
pub type Read<'a> = &'a dyn Fn(&Path) -> Result<Vec<u8>, String>;

impl Chain {
    /// The methods of a configuration, with the files that `read` gives.
    ///
    /// # Errors
    /// The first file that can't be read, with the line.
    pub fn load(config: &Auth, read: Read<'_>) -> Result<Self, FileError> {
        let mut methods = Vec::new();
        for name in &config.order {
            methods.push(match name.as_str() {
                "client_id" => Asked::ClientId {
                    file: parse(&config.client_id.path, read, ClientIdFile::parse)?,
                    password_required: config.client_id.password_required,
                },
                "certificate" => Asked::Certificate,
                "file" => Asked::File {
                    file: parse(&config.file.path, read, PasswordFile::parse)?,
                    rules: rules(&config.file.rules, read)?,
                },
                "jwt" => Asked::Jwt { keys: keys(&config.jwt, read)?, config: Box::new(config.jwt.clone()) },
                "http" => Asked::Http(Box::new(requests(config)?)),
                "scram" => Asked::Scram {
                    file: parse(&config.scram.path, read, ScramFile::parse)?,
                    rules: rules(&config.scram.rules, read)?,
                },
                other => {
                    let problem = format!("unknown method {other:?} in auth.order");
                    return Err(FileError::at(0, problem).of("configuration"));
                }
            });
        }
        // A condition for all the others comes before them, wherever it stands.
        methods.sort_by_key(|method| !matches!(method, Asked::ClientId { password_required: true, .. }));
        Ok(Self { methods })
    }

    /// Asks the methods from `from` on, up to one that is much work.
    pub fn quick(&self, client: &Credentials<'_>, from: usize, now: Moment) -> Progress {
        for (at, method) in self.methods.iter().enumerate().skip(from) {
            let verdict = match method {
                Asked::ClientId { file, password_required } => listed(file, *password_required, client),
                Asked::Certificate => certified(client),
                Asked::File { file, .. } => match (client.username, client.password) {
                    (Some(_), Some(_)) => return Progress::Work(at),
                    (Some(name), None) if file.find(name).is_some() => {
                        Verdict::Deny(Refusal::bad_credentials("password file: no password"))
                    }
                    _ => Verdict::Ignore,
                },
                Asked::Jwt { keys, config } => match token_of(client, config) {
                    None => Verdict::Ignore,
                    Some(text) => match jwt::Token::parse(text) {
                        Err(why) => Verdict::Deny(Refusal::not_authorized(why)),
                        Ok(token) if token.algorithm.is_hmac() => judge(&token, keys, config, now),
                        Ok(_) => return Progress::Work(at),
                    },
                },
                Asked::Http(_) if client.username.is_some() || client.password.is_some() => {
                    return Progress::Work(at);
                }
                Asked::Http(_) | Asked::Scram { .. } => Verdict::Ignore,
            };
            if verdict != Verdict::Ignore {
                return Progress::Verdict(verdict);
            }
        }
        Progress::Verdict(Verdict::Ignore)
    }

    /// Asks the method at `at`, which is much work. Not for a shard's thread.
    pub fn work(&self, client: &Credentials<'_>, at: usize, now: Moment) -> Verdict {
        match self.methods.get(at) {
            Some(Asked::File { file, rules }) => verify(file, rules, client),
            Some(Asked::Jwt { keys, config }) => match token_of(client, config).map(jwt::Token::parse) {
                Some(Ok(token)) => judge(&token, keys, config, now),
                Some(Err(why)) => Verdict::Deny(Refusal::not_authorized(why)),
                None => Verdict::Ignore,
            },
            _ => Verdict::Ignore,
        }
    }

    /// What is to be asked of an HTTP server, where the method at `at` is that.
    pub fn requests(&self, at: usize) -> Option<&Requests> {
        match self.methods.get(at) {
            Some(Asked::Http(requests)) => Some(requests),
            _ => None,
        }
    }

    /// All on which the verdict of the method at `at` depends, and nothing of it readable.
    pub fn digest(&self, client: &Credentials<'_>, at: usize, key: &hmac::Key) -> [u8; 16] {
        let mut context = hmac::Context::with_key(key);
        let mut field = |bytes: &[u8]| {
            // With its length, so that no two clients run together.
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        field(&at.to_le_bytes());
        // There is no User Name with U+0000 in it.
        field(client.username.unwrap_or("\0").as_bytes());
        field(&[u8::from(client.password.is_some())]);
        field(client.password.unwrap_or_default());
        if matches!(self.methods.get(at), Some(Asked::Http(_))) {
            field(client.client_id.as_bytes());
            field(client.remote.ip().to_canonical().to_string().as_bytes());
        }
        let tag = context.sign();
        let mut digest = [0; 16];
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    /// The first step of SCRAM-SHA-256: what is kept, and the server's message.
    ///
    /// # Errors
    /// The method is not asked here, the client may not come, or the message is none.
    pub fn scram_first(
        &self,
        client: &Credentials<'_>,
        message: &[u8],
        nonce: &str,
        salt_key: &hmac::Key,
    ) -> Result<(Exchange, Vec<u8>), Refusal> {
        for method in &self.methods {
            if let Asked::ClientId { file, password_required: true } = method
                && let Verdict::Deny(refusal) = listed(file, true, client)
            {
                return Err(refusal);
            }
        }
        let Some((file, _)) = self.scram() else {
            return Err(Refusal::bad_method("SCRAM-SHA-256 is not among auth.order"));
        };
        Exchange::first(file, message, nonce, salt_key)
    }

    /// The last step: who it is, and the server's message.
    ///
    /// # Errors
    /// The message proves nothing.
    pub fn scram_last(
        &self,
        exchange: &Exchange,
        message: &[u8],
    ) -> Result<(Arc<Identity>, Vec<u8>), Refusal> {
        let Some((file, rules)) = self.scram() else {
            return Err(Refusal::bad_method("SCRAM-SHA-256 is no longer among auth.order"));
        };
        if !exchange.is_of(file) {
            return Err(Refusal::not_authorized("SCRAM: the user's credentials changed meanwhile"));
        }
        let (username, answer) = exchange.last(message)?;
        let mut identity = Identity::new(Method::Scram).named(username);
        rules.apply(&mut identity);
        Ok((Arc::new(identity), answer))
    }

    fn scram(&self) -> Option<(&ScramFile, &UserRules)> {
        self.methods.iter().find_map(|method| match method {
            Asked::Scram { file, rules } => Some((file, rules)),
            _ => None,
        })
    }
}

fn listed(file: &ClientIdFile, password_required: bool, client: &Credentials<'_>) -> Verdict {
    match file.check(client.client_id, client.remote.ip()) {
        Listed::Yes if password_required => Verdict::Ignore,
        Listed::Yes => {
            let mut identity = Identity::new(Method::ClientId);
            identity.client_id = Some(client.client_id.into());
            Verdict::Allow(Arc::new(identity))
        }
        Listed::Elsewhere => {
            Verdict::Deny(Refusal::not_authorized("file of Client Identifiers: not from that address"))
        }
        Listed::No if password_required => {
            Verdict::Deny(Refusal::not_authorized("file of Client Identifiers: not in it"))
        }
        Listed::No => Verdict::Ignore,
    }
}

fn certified(client: &Credentials<'_>) -> Verdict {
    let Some(certificate) = client.certificate else { return Verdict::Ignore };
    if certificate.username.is_none() && certificate.client_id.is_none() {
        return Verdict::Ignore;
    }
    let mut identity = Identity::new(Method::Certificate);
    identity.username.clone_from(&certificate.username);
    identity.client_id.clone_from(&certificate.client_id);
    Verdict::Allow(Arc::new(identity))
}

/// An unknown user costs what a wrong password costs.
fn verify(file: &PasswordFile, rules: &UserRules, client: &Credentials<'_>) -> Verdict {
    let (Some(name), Some(password)) = (client.username, client.password) else { return Verdict::Ignore };
    let Some(hash) = file.find(name) else {
        let _ = file.nobody().verify(password);
        return Verdict::Ignore;
    };
    if !hash.verify(password) {
        return Verdict::Deny(Refusal::bad_credentials("password file: a wrong password"));
    }
    let mut identity = Identity::new(Method::File).named(name);
    rules.apply(&mut identity);
    Verdict::Allow(Arc::new(identity))
}

/// What looks like a token where tokens are shown.
fn token_of<'a>(client: &Credentials<'a>, config: &Jwt) -> Option<&'a [u8]> {
    let text = match config.from {
        TokenFrom::Password => client.password,
        TokenFrom::Username => client.username.map(str::as_bytes),
    };
    text.filter(|text| jwt::looks_like_token(text))
}

fn judge(token: &jwt::Token<'_>, keys: &jwt::Keys, config: &Jwt, now: Moment) -> Verdict {
    if !keys.verify(token) {
        return Verdict::Deny(Refusal::not_authorized("the token's signature is of no key here"));
    }
    match jwt::identity(token, config, now.unix_s) {
        Err(refusal) => Verdict::Deny(refusal),
        Ok((mut identity, ends)) => {
            identity.expires_at = ends.map(|unix_s| now.when(unix_s));
            Verdict::Allow(Arc::new(identity))
        }
    }
}

fn bytes(path: &Path, read: Read<'_>) -> Result<Vec<u8>, FileError> {
    read(path).map_err(|problem| FileError::at(0, problem).of(&path.to_string_lossy()))
}

fn parse<T>(path: &Path, read: Read<'_>, parse: fn(&str) -> Result<T, FileError>) -> Result<T, FileError> {
    let bytes = bytes(path, read)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        FileError::at(line, "not UTF-8")
    });
    text.and_then(parse).map_err(|error| error.of(&path.to_string_lossy()))
}

/// An empty path: nothing is said.
fn rules(path: &Path, read: Read<'_>) -> Result<UserRules, FileError> {
    if path.as_os_str().is_empty() { Ok(UserRules::default()) } else { parse(path, read, UserRules::parse) }
}

fn keys(config: &Jwt, read: Read<'_>) -> Result<jwt::Keys, FileError> {
    let mut keys = jwt::Keys::default();
    if !config.secret_file.as_os_str().is_empty() {
        let secret = zeroize::Zeroizing::new(bytes(&config.secret_file, read)?);
        keys.add_secret(&secret).map_err(|error| error.of(&config.secret_file.to_string_lossy()))?;
    }
    if !config.public_key.as_os_str().is_empty() {
        let pem = bytes(&config.public_key, read)?;
        keys.add_pem(&pem).map_err(|error| error.of(&config.public_key.to_string_lossy()))?;
    }
    if !config.jwks.as_os_str().is_empty() {
        let set = zeroize::Zeroizing::new(bytes(&config.jwks, read)?);
        let text = String::from_utf8_lossy(&set);
        keys.add_key_set(&text).map_err(|error| error.of(&config.jwks.to_string_lossy()))?;
    }
    Ok(keys)
}

fn requests(config: &Auth) -> Result<Requests, FileError> {
    let request = |to: &HttpRequest, name: &str| {
        let error = |problem: String| FileError::at(0, problem).of(&format!("auth.http.{name}"));
        if !(to.url.starts_with("http://") || to.url.starts_with("https://")) {
            return Err(error(format!("url: expected http:// or https://, not {:?}", shown_url(&to.url))));
        }
        let params = Params::parse(&to.params).map_err(|problem| error(format!("params: {problem}")))?;
        Ok(Request { to: to.clone(), params })
    };
    let superuser = &config.http.super_req;
    Ok(Requests {
        auth: request(&config.http.auth_req, "auth_req")?,
        superuser: (!superuser.url.is_empty()).then(|| request(superuser, "super_req")).transpose()?,
        on_error: config.http.on_error,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

//! What a client shows, and what authentication says to it: the words between the broker, the methods and the threads
//! that do the work.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use zeroize::Zeroizing;

use super::{Exchange, Identity, PeerCertificate};
use crate::packet::ReasonCode;

/// What a client shows in its CONNECT, and where it comes from.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// User Name: a claim until it is verified.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// Address of the client.
    pub remote: SocketAddr,
    /// Index of its listener.
    pub listener: u16,
    /// What the TLS layer has verified.
    pub certificate: Option<&'a PeerCertificate>,
}

impl std::fmt::Debug for Credentials<'_> {
    /// Without the password, and without what might be a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("has_username", &self.username.is_some())
            .field("has_password", &self.password.is_some())
            .field("remote", &self.remote)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Credentials<'_> {
    /// The same, to be kept: secrets are overwritten when it goes.
    pub fn to_owned(&self) -> OwnedCredentials {
        OwnedCredentials {
            client_id: self.client_id.into(),
            username: self.username.map(|username| Zeroizing::new(username.to_owned())),
            password: self.password.map(|password| Zeroizing::new(password.to_vec())),
            remote: self.remote,
            listener: self.listener,
            certificate: self.certificate.cloned(),
        }
    }
}

/// `Credentials` that outlive their CONNECT, for another thread.
pub struct OwnedCredentials {
    client_id: Box<str>,
    username: Option<Zeroizing<String>>,
    password: Option<Zeroizing<Vec<u8>>>,
    remote: SocketAddr,
    listener: u16,
    certificate: Option<PeerCertificate>,
}

impl OwnedCredentials {
    /// What it was made of.
    pub fn borrow(&self) -> Credentials<'_> {
        Credentials {
            client_id: &self.client_id,
            username: self.username.as_ref().map(|username| username.as_str()),
            password: self.password.as_ref().map(|password| password.as_slice()),
            remote: self.remote,
            listener: self.listener,
            certificate: self.certificate.as_ref(),
        }
    }

    /// Bytes of memory that the client's words take.
    pub fn bytes(&self) -> usize {
        let username = self.username.as_ref().map_or(0, |username| username.len());
        let password = self.password.as_ref().map_or(0, |password| password.len());
        size_of::<Self>() + self.client_id.len() + username + password
    }
}

impl std::fmt::Debug for OwnedCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.borrow().fmt(f)
    }
}

/// Why a client is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Reason Code of the CONNACK (5.0); 3.x has the return code nearest to it.
    pub reason: ReasonCode,
    /// For the log and the audit log, never for the client: it would help who guesses.
    pub why: Cow<'static, str>,
}

impl Refusal {
    /// 0x86, return code 4.
    pub fn bad_credentials(why: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: ReasonCode::BadUserNameOrPassword, why: why.into() }
    }

    /// 0x87, return code 5.
    pub fn not_authorized(why: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: ReasonCode::NotAuthorized, why: why.into() }
    }

    /// 0x89, return code 3: the work that stands before it is too much.
    pub const fn busy(why: &'static str) -> Self {
        Self { reason: ReasonCode::ServerBusy, why: Cow::Borrowed(why) }
    }

    /// 0x88, return code 3: who should know can't be asked.
    pub fn unavailable(why: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: ReasonCode::ServerUnavailable, why: why.into() }
    }

    /// 0x8C, return code 5.
    pub const fn bad_method(why: &'static str) -> Self {
        Self { reason: ReasonCode::BadAuthenticationMethod, why: Cow::Borrowed(why) }
    }
}

/// What one method, or all of them together, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is known, and may come in.
    Allow(Arc<Identity>),
    /// It may not.
    Deny(Refusal),
    /// It is not known: the next method is asked; after the last one it is anonymous.
    Ignore,
}

/// A question whose answer is to come. It is kept with the connection and goes with it: from then on nobody works for it.
#[derive(Debug, Default)]
pub struct Question(Arc<()>);

/// What those who work for an answer see of its question.
#[derive(Debug, Clone)]
pub struct QuestionWatch(Weak<()>);

impl Question {
    /// For those who work for it.
    pub fn watch(&self) -> QuestionWatch {
        QuestionWatch(Arc::downgrade(&self.0))
    }
}

impl QuestionWatch {
    /// Whether somebody still waits for the answer.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// What `Effects::authenticate` says.
#[derive(Debug)]
pub enum Answer {
    /// At once.
    Now(Verdict),
    /// Later, by `Input::Authenticated`, exactly once for a connection that is still there and keeps the question.
    Later(Question),
}

/// A message of the client in an exchange of enhanced authentication (MQTT 5.0 section 4.12).
#[derive(Debug)]
pub enum ExchangeStep<'a> {
    /// Its first.
    First(&'a [u8]),
    /// Its last, with what was kept since the first.
    Last(Box<Exchange>, &'a [u8]),
}

/// What the server says to it.
#[derive(Debug)]
pub enum Step {
    /// The client has to say more.
    Continue {
        /// To be kept until then.
        exchange: Box<Exchange>,
        /// Authentication Data of the AUTH that asks for it.
        data: Vec<u8>,
    },
    /// It is known.
    Done {
        /// Who it is.
        identity: Arc<Identity>,
        /// Authentication Data of the CONNACK, or of the AUTH that ends it.
        data: Vec<u8>,
    },
    /// It is not.
    Refused(Refusal),
}

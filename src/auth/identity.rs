//! Who a client was found to be, once, when it connected: what authorization, quotas, the mountpoint and the audit log
//! rely on. A User Name that nobody verified is no identity: anonymous clients have none.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::limits::OwnQuota;

/// How a client was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Its Client Identifier and its address are in the file of Client Identifiers.
    ClientId,
    /// By the certificate of its TLS connection.
    Certificate,
    /// By the password file.
    File,
    /// By a JSON Web Token.
    Jwt,
    /// An HTTP server said so.
    Http,
    /// By SCRAM-SHA-256.
    Scram,
    /// It is a bridge of this node: it came by a door that nobody else can open.
    Bridge,
}

impl Method {
    /// All of them, as `auth.order` names them.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("client_id", Self::ClientId),
        ("certificate", Self::Certificate),
        ("file", Self::File),
        ("jwt", Self::Jwt),
        ("http", Self::Http),
        ("scram", Self::Scram),
    ];

    /// Its name in `auth.order`, in logs and in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientId => "client_id",
            Self::Certificate => "certificate",
            Self::File => "file",
            Self::Jwt => "jwt",
            Self::Http => "http",
            Self::Scram => "scram",
            Self::Bridge => "bridge",
        }
    }
}

/// Which of the two a rule of an identity is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// PUBLISH.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
    /// Both.
    Both,
}

/// A rule that came with the credentials. They are looked at from first to last and before those of the ACL file; the
/// first that fits decides, and where none does the file has the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRule {
    /// About what.
    pub access: Access,
    /// The client may, or may not.
    pub allow: bool,
    /// Topic Filter; `%u` and `%c` as whole levels stand for User Name and Client Identifier.
    pub filter: Box<str>,
}

/// An authenticated client. Shared by its connections as far as the credentials are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Verified User Name; `None` where the method knows none (a list of Client Identifiers).
    pub username: Option<Box<str>>,
    /// The Client Identifier that belongs to the credentials: CONNECT's must be the same, or empty and is then assigned.
    pub client_id: Option<Box<str>>,
    /// How it was found out.
    pub method: Method,
    /// Rules do not bind it.
    pub is_superuser: bool,
    /// Rules of its own; `None`: none.
    pub rules: Option<Arc<[IdentityRule]>>,
    /// When its credentials end, and its connection with them.
    pub expires_at: Option<Timestamp>,
    /// Prefix of every topic of its; `%u` and `%c` stand for User Name and Client Identifier.
    pub mountpoint: Option<Box<str>>,
    /// What its user may have apart from `[quota]`.
    pub quota: OwnQuota,
}

impl Identity {
    /// Someone whom `method` knows, without any privilege.
    pub const fn new(method: Method) -> Self {
        Self {
            username: None,
            client_id: None,
            method,
            is_superuser: false,
            rules: None,
            expires_at: None,
            mountpoint: None,
            quota: OwnQuota::NONE,
        }
    }

    /// The same with that User Name.
    #[must_use]
    pub fn named(mut self, username: &str) -> Self {
        self.username = Some(username.into());
        self
    }
}

//! What a TLS connection's client certificate says about its client. The transport fills it once, after the handshake.

/// Names in a certificate's subject; of several of a kind the first. `None`: there is none, or it is no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectNames {
    /// Common name (CN).
    pub common_name: Option<Box<str>>,
    /// Organization (O).
    pub organization: Option<Box<str>>,
    /// Organizational unit (OU).
    pub unit: Option<Box<str>>,
}

/// Facts of a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerCertificate {
    /// What `username_from` selects (CN, DN or the first Subject Alternative Name); `None`: it is not asked for, or the
    /// certificate has none.
    pub username: Option<Box<str>>,
    /// What `client_id_from` selects, likewise.
    pub client_id: Option<Box<str>>,
    /// Distinguished Name as RFC 4514 writes it, for people.
    pub subject: Box<str>,
    /// For the listener's mountpoint.
    pub names: SubjectNames,
}

//! What a TLS connection's client certificate says about its client. The transport fills it once, after the handshake.

/// Facts of a verified client certificate: only what the listener's `tls` table asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerCertificate {
    /// What `username_from` selects (CN, DN or the first Subject Alternative Name); `None`: it is not asked for, or the
    /// certificate has none.
    pub username: Option<Box<str>>,
    /// What `client_id_from` selects, likewise.
    pub client_id: Option<Box<str>>,
    /// Distinguished Name as RFC 4514 writes it, for people.
    pub subject: Box<str>,
}

//! The table `tls` of a listener: files, who has to show a certificate, and what its certificate makes of a client.

use super::value::{Field, Value};

/// A field of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateField {
    /// None: what CONNECT says counts.
    #[default]
    None,
    /// The first common name of the subject.
    CommonName,
    /// The subject as an RFC 4514 string.
    DistinguishedName,
    /// The first alternative name that is a DNS name, an email address or a URI.
    AlternativeName,
}

impl CertificateField {
    /// The names in the file, in the order of `ALL`.
    pub(super) const NAMES: [&str; 4] = ["", "cn", "dn", "san"];
    const ALL: [Self; 4] = [Self::None, Self::CommonName, Self::DistinguishedName, Self::AlternativeName];
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

impl TlsVersion {
    /// The names in the file, in the order of `ALL`.
    pub(super) const NAMES: [&str; 2] = ["1.2", "1.3"];
    const ALL: [Self; 2] = [Self::V12, Self::V13];
}

macro_rules! named_field {
    ($type:ty) => {
        impl Field for $type {
            fn to_value(&self) -> Value {
                let named = Self::ALL.iter().zip(Self::NAMES).find(|(value, _)| *value == self);
                named.map_or(Value::Other("unnamed"), |(_, name)| Value::Text(name.into()))
            }
            fn from_value(value: Value) -> Option<Self> {
                let text = String::from_value(value)?;
                Self::ALL.into_iter().zip(Self::NAMES).find(|(_, name)| *name == text).map(|(value, _)| value)
            }
        }
    };
}

named_field!(CertificateField);
named_field!(TlsVersion);

/// `tls` of a `[[listener]]`. Paths are as in the file; they are read when the broker starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM files of certificate chains, the server's own first. Several: the client's server name (SNI) picks one, the first
    /// is for the rest.
    pub cert: Vec<String>,
    /// PEM files of the private keys, in the order of `cert`.
    pub key: Vec<String>,
    /// PEM files of the authorities whose clients are believed. None: clients are not asked for a certificate.
    pub ca: Vec<String>,
    /// Files of the authorities' revocation lists.
    pub crl: Vec<String>,
    /// Refuse clients without a certificate of `ca`; otherwise one is checked where it is shown.
    pub require_client_cert: bool,
    /// What of the certificate is the client's User Name.
    pub username_from: CertificateField,
    /// What of the certificate is the Client Identifier.
    pub client_id_from: CertificateField,
    /// The oldest version admitted.
    pub min_version: TlsVersion,
    /// Seconds between two looks at whether the files have changed; 0: only SIGHUP reads them again.
    pub reload_s: u32,
}

impl Default for ListenerTls {
    fn default() -> Self {
        Self {
            cert: Vec::new(),
            key: Vec::new(),
            ca: Vec::new(),
            crl: Vec::new(),
            require_client_cert: false,
            username_from: CertificateField::None,
            client_id_from: CertificateField::None,
            min_version: TlsVersion::V12,
            reload_s: 60,
        }
    }
}

impl ListenerTls {
    /// The key to blame and what contradicts in this table; `is_needed`: the listener's URL is one of TLS; `is_asked`: clients
    /// are authenticated by their certificates.
    pub(super) fn check(&self, is_needed: bool, is_asked: bool) -> Result<(), (&'static str, String)> {
        if !is_needed {
            return if *self == Self::default() {
                Ok(())
            } else {
                Err(("url", "it has a tls table and its URL no TLS; write mqtts:// or wss://".into()))
            };
        }
        if self.cert.is_empty() {
            let mend = "write tls = { cert = \"server.pem\", key = \"server.key\" } under it";
            return Err(("url", format!("it needs a certificate and its key; {mend}")));
        }
        if self.cert.len() != self.key.len() {
            let (certs, keys) = (self.cert.len(), self.key.len());
            return Err((
                "tls.key",
                format!(
                    "tls.cert names {certs} files and tls.key {keys}: each certificate needs its key, in the same order"
                ),
            ));
        }
        let identities = [
            ("tls.username_from", self.username_from != CertificateField::None),
            ("tls.client_id_from", self.client_id_from != CertificateField::None),
        ];
        let of_clients =
            [("tls.require_client_cert", self.require_client_cert), ("tls.crl", !self.crl.is_empty())];
        let first =
            |keys: &[(&'static str, bool)]| keys.iter().find(|(_, is_set)| *is_set).map(|(key, _)| *key);
        if let Some(key) = first(&of_clients).or(first(&identities)).filter(|_| self.ca.is_empty()) {
            return Err((key, format!("{key} needs tls.ca, the authorities whose clients are believed")));
        }
        if let Some(key) = first(&identities).filter(|_| !is_asked) {
            return Err((
                key,
                format!("{key} has no effect before auth.order names \"certificate\"; add it there"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table() -> ListenerTls {
        ListenerTls { cert: vec!["a.pem".into()], key: vec!["a.key".into()], ..ListenerTls::default() }
    }

    #[test]
    fn every_name_is_its_value() {
        for (value, name) in CertificateField::ALL.into_iter().zip(CertificateField::NAMES) {
            assert_eq!(value.to_value(), Value::Text(name.into()));
            assert_eq!(CertificateField::from_value(value.to_value()), Some(value));
        }
        for (value, name) in TlsVersion::ALL.into_iter().zip(TlsVersion::NAMES) {
            assert_eq!(value.to_value(), Value::Text(name.into()));
            assert_eq!(TlsVersion::from_value(value.to_value()), Some(value));
        }
    }

    #[test]
    fn a_table_that_fits_passes() {
        table().check(true, true).unwrap();
        let full = ListenerTls {
            ca: vec!["ca.pem".into()],
            crl: vec!["ca.crl".into()],
            require_client_cert: true,
            username_from: CertificateField::CommonName,
            ..table()
        };
        full.check(true, true).unwrap();
        ListenerTls::default().check(false, true).unwrap();
        assert_eq!(full.check(true, false).unwrap_err().0, "tls.username_from", "nobody asks for it");
    }

    #[test]
    fn contradictions_name_the_key() {
        let blamed = |table: ListenerTls, is_needed| table.check(is_needed, true).unwrap_err().0;
        assert_eq!(blamed(table(), false), "url");
        assert_eq!(blamed(ListenerTls::default(), true), "url");
        assert_eq!(blamed(ListenerTls { key: vec![], ..table() }, true), "tls.key");
        assert_eq!(
            blamed(ListenerTls { require_client_cert: true, ..table() }, true),
            "tls.require_client_cert"
        );
        assert_eq!(blamed(ListenerTls { crl: vec!["c".into()], ..table() }, true), "tls.crl");
        let named = ListenerTls { username_from: CertificateField::AlternativeName, ..table() };
        assert_eq!(blamed(named, true), "tls.username_from");
        let identified = ListenerTls { client_id_from: CertificateField::CommonName, ..table() };
        assert_eq!(blamed(identified, true), "tls.client_id_from");
    }
}

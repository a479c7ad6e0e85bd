//! Which certificate a client is shown: by the name that it asks for (SNI, RFC 6066, 3) and by what it can verify.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a listener and the names they are for.
pub(super) struct Resolver {
    /// In the order of the configuration; the first is for who asks for no name or an unknown one.
    certificates: Vec<Arc<CertifiedKey>>,
    /// Lower-case names to places in `certificates`; a wildcard `*.example.org` is under `.example.org`.
    names: HashMap<Box<str>, Vec<usize>>,
}

impl Resolver {
    /// A resolver of `certificates`, each with the DNS names that it is for.
    pub(super) fn new(certificates: Vec<(CertifiedKey, Vec<String>)>) -> Self {
        let mut resolver = Self { certificates: Vec::new(), names: HashMap::new() };
        for (place, (certificate, names)) in certificates.into_iter().enumerate() {
            resolver.certificates.push(Arc::new(certificate));
            for name in names {
                let name = name.to_ascii_lowercase();
                let name = name.strip_prefix('*').unwrap_or(&name);
                resolver.names.entry(name.into()).or_default().push(place);
            }
        }
        resolver
    }

    /// The places of the certificates for `name`: exactly it, else a wildcard for its first label (RFC 6125, 6.4.3).
    fn places(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.names.get(name.get(name.find('.')?..)?);
        self.names.get(name.as_str()).or_else(wildcard).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |name| self.places(name));
        let of_name = named.iter().filter_map(|place| self.certificates.get(*place));
        let can_verify = |certificate: &&Arc<CertifiedKey>| {
            certificate.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        // An RSA and an EC certificate may be for one name: the client's algorithms decide.
        let of_name = of_name.clone().find(can_verify).or_else(|| of_name.clone().next());
        let of_any = || self.certificates.iter().find(can_verify).or(self.certificates.first());
        of_name.or_else(of_any).cloned()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("names", &self.names.keys()).finish_non_exhaustive()
    }
}

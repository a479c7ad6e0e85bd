//! What all TLS connections of a listener share: its certificates, who may show one, versions and protocols, the key of
//! the session tickets. Made of the bytes of files, so that whoever reads the files decides when.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, UnbufferedServerConnection};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{Parsed, Validity, Wanted};
use super::resolver::Resolver;
use super::{Tls, TlsError, pem};
use crate::config::{ListenerTls, TlsVersion};

/// A file, read: its name for messages, and its bytes, which are overwritten when it goes.
pub struct NamedFile {
    /// As the configuration has it.
    pub name: String,
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The files of one listener's `tls` table, read.
pub struct TlsFiles {
    /// `cert` and `key` in their order: certificate chain and private key.
    pub pairs: Vec<(NamedFile, NamedFile)>,
    /// `ca`
    pub authorities: Vec<NamedFile>,
    /// `crl`
    pub revocations: Vec<NamedFile>,
}

/// Why files can't serve. The text names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// The file to blame.
    pub file: String,
    /// What is wrong with it, and the mend where there is one.
    pub problem: String,
}

impl FileError {
    fn new(file: &NamedFile, problem: impl Into<String>) -> Self {
        Self { file: file.name.clone(), problem: problem.into() }
    }
}

/// What makes TLS connections of one listener. Shared by all shards; a reload makes a new one.
pub struct Acceptor {
    config: Arc<ServerConfig>,
    /// The fields of a client's certificate to keep.
    wanted: Wanted,
    /// The key of the session tickets, for the next one that trusts the same authorities.
    ticketer: Arc<dyn ProducesTickets>,
    /// The certificate that expires first, by the name of its file, and when.
    soonest: Option<(String, i64)>,
}

impl Acceptor {
    /// An acceptor of `files` with the settings of `tls`; `alpn` are the protocols offered (RFC 7301), none: any.
    /// `before` is the acceptor that this one replaces, if both trust the same authorities and revocation lists: its
    /// tickets stay good. Tickets never pass from one trust to another, for a resumed session shows no certificate again.
    /// Also returns what is to be said as a warning.
    ///
    /// # Errors
    /// The first file that can't serve, and why.
    pub fn new(
        tls: &ListenerTls,
        alpn: &[&[u8]],
        files: &TlsFiles,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<String>), FileError> {
        Self::with_provider(tls, alpn, files, before, default_provider())
    }

    /// The same with other cryptography.
    pub(super) fn with_provider(
        tls: &ListenerTls,
        alpn: &[&[u8]],
        files: &TlsFiles,
        before: Option<&Self>,
        provider: CryptoProvider,
    ) -> Result<(Self, Vec<String>), FileError> {
        let provider = Arc::new(provider);
        let now_s = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        let mut warnings = Vec::new();
        let certificates = files
            .pairs
            .iter()
            .map(|(cert, key)| certified_key(cert, key, now_s, &mut warnings))
            .collect::<Result<Vec<_>, _>>()?;
        let first = files.pairs.first().map_or_else(String::new, |(cert, _)| cert.name.clone());
        let whole = |problem: String| FileError { file: first.clone(), problem };
        let versions = match tls.min_version {
            TlsVersion::V12 => &[&TLS13, &TLS12][..],
            TlsVersion::V13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| whole(error.to_string()))?;
        let builder = match client_verifier(tls, files, &provider, now_s, &mut warnings)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(certificates)));
        let ticketer = match before {
            Some(before) => Arc::clone(&before.ticketer),
            None => Ticketer::new().map_err(|error| whole(error.to_string()))?,
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&ticketer);
        // A device reconnects with the last ticket; a second one only costs its bytes.
        config.send_tls13_tickets = 1;
        let wanted = Wanted { username: tls.username_from, client_id: tls.client_id_from };
        let soonest =
            files.pairs.iter().filter_map(|(cert, _)| expiry_of(cert)).min_by_key(|(_, at_s)| *at_s);
        Ok((Self { config: Arc::new(config), wanted, ticketer, soonest }, warnings))
    }

    /// The same at another time.
    #[cfg(test)]
    pub(super) fn with_clock(&self, clock: Arc<dyn TimeProvider>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.time_provider = clock;
        Self {
            config: Arc::new(config),
            wanted: self.wanted,
            ticketer: Arc::clone(&self.ticketer),
            soonest: self.soonest.clone(),
        }
    }

    /// A connection of the listener that has sent nothing yet.
    pub fn open(self: &Arc<Self>) -> Tls {
        Tls::new(Arc::clone(self))
    }

    /// The state of a handshake that begins.
    ///
    /// # Errors
    /// The configuration does not fit together; [`Acceptor::new`] made it so that it does.
    pub(super) fn connection(&self) -> Result<UnbufferedServerConnection, TlsError> {
        Ok(UnbufferedServerConnection::new(Arc::clone(&self.config))?)
    }

    /// The file of the server's certificate that expires first, and when, in seconds since 1970.
    pub fn soonest_expiry(&self) -> Option<(&str, i64)> {
        self.soonest.as_ref().map(|(file, at_s)| (file.as_str(), *at_s))
    }

    /// The fields of a client's certificate to keep.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Seconds since 1970, by the clock that certificates are checked with.
    pub(super) fn now_s(&self) -> Option<i64> {
        let clock: &dyn TimeProvider = self.config.time_provider.as_ref();
        clock.current_time().and_then(|time| i64::try_from(time.as_secs()).ok())
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// A certificate chain with its key, and the names that it is for.
fn certified_key(
    cert: &NamedFile,
    key: &NamedFile,
    now_s: i64,
    warnings: &mut Vec<String>,
) -> Result<(CertifiedKey, Vec<String>), FileError> {
    let chain = pem::certificates(&cert.bytes).map_err(|problem| FileError::new(cert, problem))?;
    let leaf = chain.first().ok_or_else(|| FileError::new(cert, "there is no certificate in it"))?;
    let parsed = Parsed::new(leaf).map_err(|problem| FileError::new(cert, problem))?;
    let (validity, names) = (parsed.validity(), parsed.dns_names());
    let mut private = pem::private_key(&key.bytes).map_err(|problem| FileError::new(key, problem))?;
    // By reference, so that what was decoded can be overwritten.
    let signing = any_supported_type(&private);
    private.zeroize();
    let signing = signing.map_err(|_| {
        FileError::new(key, "its private key is of a kind that can't serve: RSA, ECDSA or Ed25519 is needed")
    })?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let problem = format!("its private key is not that of the certificate in {}", cert.name);
            return Err(FileError::new(key, problem));
        }
        Err(_) => return Err(FileError::new(cert, "its first certificate can't be read")),
    }
    if let Some(warning) = out_of_time(validity, now_s) {
        warnings.push(format!("{}: the certificate {warning}", cert.name));
    }
    Ok((pair, names))
}

/// When the first of the chain's certificates ends, that is the server's own or one that it hangs on.
fn expiry_of(cert: &NamedFile) -> Option<(String, i64)> {
    let chain = pem::certificates(&cert.bytes).ok()?;
    let ends = chain.iter().filter_map(|one| Some(Parsed::new(one).ok()?.validity().until_s));
    ends.min().map(|at_s| (cert.name.clone(), at_s))
}

/// Whether a certificate has expired or is for a later time, with the date.
fn out_of_time(validity: Validity, now_s: i64) -> Option<String> {
    let date = |s: i64| format!("{} UTC", crate::metrics::datetime_utc(u64::try_from(s).unwrap_or(0)));
    if now_s > validity.until_s {
        return Some(format!("expired on {}: clients will refuse it", date(validity.until_s)));
    }
    (now_s < validity.from_s)
        .then(|| format!("is valid only from {}: clients will refuse it", date(validity.from_s)))
}

/// The check of clients' certificates; `None`: they are not asked for any.
fn client_verifier(
    tls: &ListenerTls,
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
    now_s: i64,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, FileError> {
    let Some(first) = files.authorities.first() else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for file in &files.authorities {
        for authority in pem::certificates(&file.bytes).map_err(|problem| FileError::new(file, problem))? {
            roots
                .add(authority)
                .map_err(|_| FileError::new(file, "a certificate in it is no authority's"))?;
        }
    }
    let mut lists = Vec::new();
    for file in &files.revocations {
        for list in pem::revocation_lists(&file.bytes).map_err(|problem| FileError::new(file, problem))? {
            let (_, parsed) = CertificateRevocationList::from_der(&list)
                .map_err(|_| FileError::new(file, "a certificate revocation list in it can't be read"))?;
            if parsed.next_update().is_some_and(|next| next.timestamp() < now_s) {
                warnings.push(format!("{}: a newer certificate revocation list is overdue", file.name));
            }
            lists.push(list);
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = builder.with_crls(lists);
    let builder = if tls.require_client_cert { builder } else { builder.allow_unauthenticated() };
    let blamed = files.revocations.first().unwrap_or(first);
    let verifier = builder.build().map_err(|error| match error {
        VerifierBuilderError::NoRootAnchors => FileError::new(first, "there is no certificate in it"),
        _ => FileError::new(blamed, "a certificate revocation list in it can't be used"),
    })?;
    Ok(Some(verifier))
}

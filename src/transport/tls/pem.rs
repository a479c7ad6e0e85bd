//! What PEM files hold: certificates, one private key, revocation lists. Each problem is worded for the line that names
//! the file.

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file, without its name.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| broken(&e))?;
    if found.is_empty() {
        return Err(lacking("certificate", "-----BEGIN CERTIFICATE-----", pem));
    }
    Ok(found)
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 (RSA) or SEC1 (EC), not encrypted.
///
/// # Errors
/// What is wrong with the file, without its name.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if contains(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            Err("its private key is encrypted; decrypt it, as with openssl pkey -in KEY -out PLAIN".into())
        }
        Err(PemError::NoItemsFound) => Err(lacking("private key", "-----BEGIN PRIVATE KEY-----", pem)),
        Err(error) => Err(broken(&error)),
    }
}

/// The revocation lists of a file, at least one: PEM, or a single one in DER, which is how authorities publish them.
///
/// # Errors
/// What is wrong with the file, without its name.
pub(super) fn revocation_lists(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if bytes.first() == Some(&0x30) && !contains(bytes, b"-----BEGIN") {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(&error))?;
    if found.is_empty() {
        return Err(lacking("certificate revocation list", "-----BEGIN X509 CRL-----", bytes));
    }
    Ok(found)
}

fn lacking(what: &str, mark: &str, bytes: &[u8]) -> String {
    if contains(bytes, b"-----BEGIN") {
        return format!("there is no {what} in it, only other PEM blocks; expected {mark}");
    }
    format!("there is no {what} in it; expected PEM, which begins with {mark}")
}

fn broken(error: &PemError) -> String {
    // Not the error's Debug form: it may hold bytes of the file.
    match error {
        PemError::MissingSectionEnd { .. } => "a PEM block in it has no end".into(),
        PemError::IllegalSectionStart { .. } => "a PEM block in it has a malformed first line".into(),
        PemError::Base64Decode(_) => "a PEM block in it is not base64".into(),
        _ => "it can't be read as PEM".into(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

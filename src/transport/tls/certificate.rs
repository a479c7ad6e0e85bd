//! What certificates say: the names and the time that a server's is for, and who a client is by its own.

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{ToDer, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::auth::{PeerCertificate, SubjectNames};
use crate::config::CertificateField;

/// Bytes of the longest fact that is kept: what a User Name or Client Identifier may have.
const FACT_LEN_MAX: usize = 65_535;

/// What of a client's certificate is kept: the listener's `username_from` and `client_id_from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) username: CertificateField,
    pub(super) client_id: CertificateField,
}

/// When a certificate is valid, in seconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// A certificate, parsed.
pub(super) struct Parsed<'a>(X509Certificate<'a>);

impl<'a> Parsed<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is no X.509 certificate.
    pub(super) fn new(certificate: &'a CertificateDer<'_>) -> Result<Self, &'static str> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| "its certificate is not X.509 in DER")?;
        Ok(Self(parsed))
    }

    /// When it is valid.
    pub(super) fn validity(&self) -> Validity {
        let validity = self.0.validity();
        Validity { from_s: validity.not_before.timestamp(), until_s: validity.not_after.timestamp() }
    }

    /// DNS names of a server: its alternative names, or where it has none its common name.
    pub(super) fn dns_names(&self) -> Vec<String> {
        let names = self.alternative_names().iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() { self.common_name().into_iter().collect() } else { names }
    }

    /// Who the client is that shows it.
    pub(super) fn peer(&self, wanted: Wanted) -> PeerCertificate {
        PeerCertificate {
            username: self.fact(wanted.username),
            client_id: self.fact(wanted.client_id),
            subject: distinguished_name(self.0.subject()).into_boxed_str(),
            names: self.names(),
        }
    }

    fn names(&self) -> SubjectNames {
        let subject = self.0.subject();
        SubjectNames {
            common_name: self.common_name().map(String::into_boxed_str),
            organization: subject.iter_organization().find_map(text).map(String::into_boxed_str),
            unit: subject.iter_organizational_unit().find_map(text).map(String::into_boxed_str),
        }
    }

    /// A field, if it is one that MQTT can have as User Name or Client Identifier (1.5.4).
    fn fact(&self, field: CertificateField) -> Option<Box<str>> {
        let fact = match field {
            CertificateField::None => None,
            CertificateField::CommonName => self.common_name(),
            CertificateField::DistinguishedName => Some(distinguished_name(self.0.subject())),
            CertificateField::AlternativeName => self.alternative_name(),
        };
        let fact = fact.filter(|fact| (1..=FACT_LEN_MAX).contains(&fact.len()) && !fact.contains('\0'));
        fact.map(String::into_boxed_str)
    }

    fn common_name(&self) -> Option<String> {
        self.0.subject().iter_common_name().find_map(text)
    }

    fn alternative_names(&self) -> &[GeneralName<'_>] {
        let extension = self.0.subject_alternative_name().ok().flatten();
        extension.map_or(&[], |extension| extension.value.general_names.as_slice())
    }

    fn alternative_name(&self) -> Option<String> {
        self.alternative_names().iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        })
    }
}

/// The text of an attribute, if it is of a kind of string: UTF-8, printable, IA5, and the older BMP and Latin 1 forms.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    if let Ok(text) = attribute.as_str() {
        return Some(text.to_owned());
    }
    match value.tag().0 {
        30 => char::decode_utf16(value.data.chunks_exact(2).map(|pair| match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        }))
        .collect::<Result<String, _>>()
        .ok(),
        20 => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        _ => None,
    }
}

/// A name as RFC 4514 writes it: the last relative name first, commas between, `+` within.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut relative: Vec<_> = name
        .iter_rdn()
        .map(|relative| relative.iter().map(attribute_text).collect::<Vec<_>>().join("+"))
        .collect();
    relative.reverse();
    relative.join(",")
}

fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let name = short_name(kind).map_or_else(|| kind.to_id_string(), str::to_owned);
    let value = text(attribute).map_or_else(|| hexadecimal(attribute), |text| escaped(&text));
    format!("{name}={value}")
}

/// RFC 4514, 2.4: a value that is no string is `#` and the hexadecimal form of its BER.
fn hexadecimal(attribute: &AttributeTypeAndValue<'_>) -> String {
    let ber = attribute.attr_value().to_der_vec().unwrap_or_default();
    ber.iter().fold(String::from("#"), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The names that RFC 4514, 3 lists, and email, which certificates of devices often have.
fn short_name(kind: &Oid<'_>) -> Option<&'static str> {
    let known = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.11), "OU"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.9), "STREET"),
        (oid!(0.9.2342.19200300.100.1.25), "DC"),
        (oid!(0.9.2342.19200300.100.1.1), "UID"),
        (oid!(2.5.4.5), "serialNumber"),
        (oid!(1.2.840.113549.1.9.1), "emailAddress"),
    ];
    known.into_iter().find(|(oid, _)| oid == kind).map(|(_, name)| name)
}

/// RFC 4514, 2.4: what has a meaning in the string is escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\');
        if special || (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ') {
            out.push('\\');
        }
        if c == '\0' { out.push_str("\\00") } else { out.push(c) }
    }
    out
}

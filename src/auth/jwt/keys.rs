//! Keys by which tokens are verified, from a secret, a PEM file or a JSON Web Key Set (RFC 7517). A key serves the
//! algorithms of its own kind only: a token can't make a public key a shared secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde_json::Value;
use x509_parser::prelude::{FromDer, Pem, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Algorithm, Token};
use crate::auth::FileError;

/// Keys of one broker; a token without `kid` is held against all of its kind.
const KEYS_MAX: usize = 64;
/// Shorter secrets are guessed.
const SECRET_LEN_MIN: usize = 16;

/// The keys by which tokens are verified.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    kind: Kind,
}

enum Kind {
    /// The same secret for the three hashes.
    Hmac(Box<[hmac::Key; 3]>),
    /// Modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// Uncompressed point.
    P256(Vec<u8>),
    /// Likewise.
    P384(Vec<u8>),
}

impl std::fmt::Debug for Keys {
    /// How many there are: a secret is no word for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("len", &self.keys.len()).finish()
    }
}

impl Keys {
    /// Adds a shared secret: the bytes of its file without the end of the last line.
    ///
    /// # Errors
    /// It is too short, or a public key that was put into the wrong place.
    pub fn add_secret(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.starts_with(b"-----BEGIN") {
            let problem =
                "that is a PEM file, no shared secret: auth.jwt.public_key is the place for public keys";
            return Err(FileError::at(0, problem));
        }
        self.push(None, hmac_kind(bytes)?)
    }

    /// Adds the public key of a PEM file, or that of the certificate in it.
    ///
    /// # Errors
    /// There is none in it, or of a kind that no algorithm here uses.
    pub fn add_pem(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let mut is_there = false;
        for pem in Pem::iter_from_buffer(bytes) {
            let pem = pem.map_err(|_| FileError::at(0, "not in PEM form"))?;
            let unreadable = |_| FileError::at(0, format!("the {} in it can't be read", pem.label));
            let kind = match pem.label.as_str() {
                "PUBLIC KEY" => {
                    public_kind(&SubjectPublicKeyInfo::from_der(&pem.contents).map_err(unreadable)?.1)
                }
                "CERTIFICATE" => {
                    let certificate = X509Certificate::from_der(&pem.contents).map_err(unreadable)?.1;
                    public_kind(certificate.public_key())
                }
                label if label.contains("PRIVATE KEY") => {
                    let problem =
                        "that is a private key: the broker needs, and should have, the public one only";
                    return Err(FileError::at(0, problem));
                }
                _ => continue,
            };
            self.push(None, kind.map_err(|problem| FileError::at(0, problem))?)?;
            is_there = true;
        }
        if is_there {
            Ok(())
        } else {
            Err(FileError::at(0, "no PUBLIC KEY or CERTIFICATE in PEM form in it"))
        }
    }

    /// Adds the keys of a JSON Web Key Set. Keys of other kinds, or for encryption, are passed over.
    ///
    /// # Errors
    /// It is no key set, or a key of a known kind can't be read, or there is none.
    pub fn add_key_set(&mut self, text: &str) -> Result<(), FileError> {
        let set: Value = serde_json::from_str(text)
            .map_err(|error| FileError::at(error.line(), format!("not JSON (column {})", error.column())))?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err(FileError::at(0, "a JSON Web Key Set has a list \"keys\""));
        };
        let before = self.keys.len();
        for (index, key) in keys.iter().enumerate() {
            if key.get("use").and_then(Value::as_str).is_some_and(|purpose| purpose != "sig") {
                continue;
            }
            let kind = web_key(key).map_err(|p| FileError::at(0, format!("key {}: {p}", index + 1)))?;
            if let Some(kind) = kind {
                self.push(key.get("kid").and_then(Value::as_str).map(str::to_owned), kind)?;
            }
        }
        if self.keys.len() == before {
            return Err(FileError::at(0, "no key in it that HS, RS, PS or ES uses"));
        }
        Ok(())
    }

    fn push(&mut self, id: Option<String>, kind: Kind) -> Result<(), FileError> {
        if self.keys.len() == KEYS_MAX {
            return Err(FileError::at(0, format!("more than {KEYS_MAX} keys")));
        }
        self.keys.push(Key { id, kind });
        Ok(())
    }

    /// Whether one of the keys made the token's signature. A token that names its key is held against that one, and
    /// against those without a name.
    pub fn verify(&self, token: &Token<'_>) -> bool {
        self.keys
            .iter()
            .filter(|key| match (&key.id, &token.key_id) {
                (Some(id), Some(wanted)) => id == wanted,
                _ => true,
            })
            .any(|key| key.kind.verify(token))
    }
}

impl Kind {
    fn verify(&self, token: &Token<'_>) -> bool {
        match self {
            Self::Hmac(keys) => {
                let [sha256, sha384, sha512] = &**keys;
                let key = match token.algorithm {
                    Algorithm::Hs256 => sha256,
                    Algorithm::Hs384 => sha384,
                    Algorithm::Hs512 => sha512,
                    _ => return false,
                };
                hmac::verify(key, token.signed, &token.signature).is_ok()
            }
            Self::Rsa { n, e } => {
                let parameters = match token.algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(parameters, token.signed, &token.signature).is_ok()
            }
            Self::P256(point) if token.algorithm == Algorithm::Es256 => {
                verify_ecdsa(&signature::ECDSA_P256_SHA256_FIXED, point, token)
            }
            Self::P384(point) if token.algorithm == Algorithm::Es384 => {
                verify_ecdsa(&signature::ECDSA_P384_SHA384_FIXED, point, token)
            }
            Self::P256(_) | Self::P384(_) => false,
        }
    }
}

fn verify_ecdsa(
    algorithm: &'static signature::EcdsaVerificationAlgorithm,
    point: &[u8],
    token: &Token<'_>,
) -> bool {
    signature::UnparsedPublicKey::new(algorithm, point).verify(token.signed, &token.signature).is_ok()
}

fn hmac_kind(secret: &[u8]) -> Result<Kind, FileError> {
    if secret.len() < SECRET_LEN_MIN {
        let problem =
            format!("a secret of {} bytes is guessed: take {SECRET_LEN_MIN} at least", secret.len());
        return Err(FileError::at(0, problem));
    }
    let key = |algorithm| hmac::Key::new(algorithm, secret);
    Ok(Kind::Hmac(Box::new([key(hmac::HMAC_SHA256), key(hmac::HMAC_SHA384), key(hmac::HMAC_SHA512)])))
}

fn public_kind(key: &SubjectPublicKeyInfo<'_>) -> Result<Kind, &'static str> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => rsa_kind(rsa.modulus.to_vec(), rsa.exponent.to_vec()),
        Ok(PublicKey::EC(point)) => point_kind(point.data().to_vec()),
        _ => Err("its public key is neither RSA nor of P-256 or P-384"),
    }
}

/// Leading zeros say nothing, and `ring` takes none.
fn rsa_kind(n: Vec<u8>, e: Vec<u8>) -> Result<Kind, &'static str> {
    let trim = |bytes: Vec<u8>| bytes.into_iter().skip_while(|&byte| byte == 0).collect::<Vec<u8>>();
    let (n, e) = (trim(n), trim(e));
    if !(256..=1024).contains(&n.len()) || e.is_empty() {
        return Err("an RSA key has to have 2,048 to 8,192 bits");
    }
    Ok(Kind::Rsa { n, e })
}

fn point_kind(point: Vec<u8>) -> Result<Kind, &'static str> {
    match (point.len(), point.first()) {
        (65, Some(4)) => Ok(Kind::P256(point)),
        (97, Some(4)) => Ok(Kind::P384(point)),
        _ => Err("its public key is no point of P-256 or P-384"),
    }
}

/// One JSON Web Key; `None` for a kind that is not used here.
fn web_key(key: &Value) -> Result<Option<Kind>, String> {
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = |name: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(text(name)).ok().filter(|bytes| !bytes.is_empty());
        decoded.ok_or_else(|| format!("{name:?} is missing or no base64url"))
    };
    let kind = match (text("kty"), text("crv")) {
        ("oct", _) => hmac_kind(&bytes("k")?).map_err(|error| error.problem)?,
        ("RSA", _) => rsa_kind(bytes("n")?, bytes("e")?)?,
        ("EC", "P-256" | "P-384") => {
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            point_kind(point)?
        }
        _ => return Ok(None),
    };
    Ok(Some(kind))
}

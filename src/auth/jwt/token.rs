//! A JSON Web Token (RFC 7519) in its compact form (RFC 7515): three parts with dots between. Reading one says nothing
//! about whether it is genuine.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The signature algorithms that are understood (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 7518")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

impl Algorithm {
    /// By its name in `alg`. `none` is none of them.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            _ => return None,
        })
    }

    /// Whether its signature is a hash with a shared secret: some microseconds instead of some tens.
    pub const fn is_hmac(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A token as it reads, not verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Token<'a> {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`: which key.
    pub key_id: Option<String>,
    /// What the signature is over.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Whether a text has the form of a token: three parts, of which the first begins like every JSON object in base64.
pub fn looks_like_token(text: &[u8]) -> bool {
    text.starts_with(b"ey") && text.iter().filter(|&&byte| byte == b'.').count() == 2
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// What is wrong with it; nothing of it is quoted.
    pub fn parse(text: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "the token is no text")?;
        let (signed, signature) = text.rsplit_once('.').ok_or("the token has no signature")?;
        let (header, payload) = signed.split_once('.').ok_or("the token has no payload")?;
        if payload.contains('.') {
            return Err("the token has more than three parts");
        }
        let header = object(header).ok_or("the token's header is no JSON object in base64url")?;
        if header.contains_key("crit") {
            return Err("the token's header demands extensions (crit)");
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or("the token names no algorithm")?;
        let algorithm = Algorithm::from_name(name).ok_or("the token's algorithm is not accepted")?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let claims = object(payload).ok_or("the token's payload is no JSON object in base64url")?;
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the token's signature is no base64url")?;
        Ok(Self { algorithm, key_id, signed: signed.as_bytes(), signature, claims })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_token_is_read() {
        let text = token(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, r#"{"sub":"alice","exp":7}"#);
        assert!(looks_like_token(text.as_bytes()));
        let token = Token::parse(text.as_bytes()).unwrap();
        assert_eq!((token.algorithm, token.key_id.as_deref()), (Algorithm::Es256, Some("k1")));
        assert_eq!((token.signature.as_slice(), token.claims["exp"].as_i64()), (&b"sig"[..], Some(7)));
        assert_eq!(token.signed, &text.as_bytes()[..text.len() - 5]);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let refused = |text: &str| Token::parse(text.as_bytes()).unwrap_err();
        for name in ["none", "None", "NONE", "nOnE", "", "HS1", "ES512", "hs256"] {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}");
            assert_eq!(refused(&text), "the token's algorithm is not accepted", "{name}");
        }
        assert_eq!(refused(&token("{}", "{}")), "the token names no algorithm");
        assert_eq!(refused(&token(r#"{"alg":7}"#, "{}")), "the token names no algorithm");
        assert!(refused(&token(r#"{"alg":"HS256","crit":["b64"]}"#, "{}")).contains("crit"));
        assert!(refused(&token(r#"{"alg":"HS256"}"#, "[]")).contains("payload"));
        assert!(refused("a.b").contains("payload"));
        assert!(refused("").contains("signature"));
        assert!(refused("a.b.c.d").contains("three parts"));
        assert!(!looks_like_token(b"secret") && !looks_like_token(b"a.b.c") && !looks_like_token(b"ey.a"));
    }
}

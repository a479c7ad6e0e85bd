//! JSON Web Tokens: read, verified, and what they say about a client. The keys are there with feature `server` only.

mod claims;
#[cfg(feature = "server")]
mod keys;
mod token;

#[cfg(feature = "server")]
pub use keys::Keys;
pub use token::{Algorithm, Token, looks_like_token};

use super::{Identity, Refusal};
use crate::config::Jwt;

/// What the claims of a genuine token say: the client's identity, and the second of Unix time with which it ends.
///
/// # Errors
/// Why the token does not hold, now or for this broker.
pub fn identity(
    token: &Token<'_>,
    config: &Jwt,
    now_unix_s: u64,
) -> Result<(Identity, Option<u64>), Refusal> {
    claims::identity(&token.claims, config, now_unix_s)
}

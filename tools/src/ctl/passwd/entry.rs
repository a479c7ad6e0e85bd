//! What stands behind a user's name: an argon2id hash in PHC form, or PostgreSQL's form of SCRAM-SHA-256 credentials.

use std::num::NonZeroU32;

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

/// OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Work of a SCRAM client: four times the least of RFC 7677, for small devices have to do it.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(16_384).unwrap();

fn salt() -> Result<[u8; 16]> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(salt)
}

/// `$argon2id$v=19$m=…,t=…,p=1$salt$hash`.
pub(super) fn argon2id(password: &[u8]) -> Result<String> {
    let salt = salt()?;
    let mut hash = [0; 32];
    let error = |error| anyhow!("argon2: {error}");
    let params = argon2::Params::new(MEMORY_KIB, PASSES, 1, Some(hash.len())).map_err(error)?;
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password, &salt, &mut hash)
        .map_err(error)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}"))
}

/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
pub(super) fn scram_sha_256(password: &[u8]) -> Result<String> {
    Ok(scram_with(password, &salt()?, ITERATIONS))
}

/// RFC 5802 section 3. A password that is not ASCII is taken as it is, without SASLprep.
fn scram_with(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> String {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = STANDARD.encode(digest::digest(&digest::SHA256, client_key.as_ref()));
    let server_key = STANDARD.encode(hmac::sign(&key, b"Server Key"));
    format!("SCRAM-SHA-256${iterations}:{}${stored_key}:{server_key}", STANDARD.encode(salt))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        assert_eq!(
            scram_with(b"pencil", &salt, NonZeroU32::new(4096).unwrap()),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn no_two_hashes_are_the_same() {
        assert_ne!(argon2id(b"x").unwrap(), argon2id(b"x").unwrap());
        assert_ne!(scram_sha_256(b"x").unwrap(), scram_sha_256(b"x").unwrap());
    }
}

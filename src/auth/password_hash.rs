//! Hashes of passwords as they stand in a password file: argon2 in its PHC form, Mosquitto's `$7$` (PBKDF2 of
//! HMAC-SHA-512) and `$6$` (salted SHA-512). Reading them needs no cryptography; `verify` is there with feature `server`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Which of the argon2 functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argon2Variant {
    /// Argon2d.
    D,
    /// Argon2i.
    I,
    /// Argon2id.
    Id,
}

/// How much work a hash is, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// argon2 (RFC 9106).
    Argon2 {
        /// Which function.
        variant: Argon2Variant,
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// Mosquitto's `$7$`: PBKDF2 of HMAC-SHA-512.
    Pbkdf2Sha512 {
        /// Iterations.
        iterations: u32,
    },
    /// Mosquitto's `$6$`: one SHA-512 over password and salt.
    Sha512,
}

impl Cost {
    /// What `myriadctl passwd` writes: 19 MiB, 2 passes, the second choice of RFC 9106's users with little memory, and
    /// OWASP's first.
    pub const DEFAULT: Self =
        Self::Argon2 { variant: Argon2Variant::Id, memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// A rough measure of the work, to find the costliest.
    pub const fn weight(self) -> u64 {
        match self {
            Self::Argon2 { memory_kib, passes, .. } => memory_kib as u64 * passes as u64,
            Self::Pbkdf2Sha512 { iterations } => iterations as u64 / 16,
            Self::Sha512 => 0,
        }
    }
}

/// The most memory that one argon2 hash may ask for, in KiB: a file can't make a thread of the broker take more.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_LEN_MAX: usize = 64;
const HASH_LEN: std::ops::RangeInclusive<usize> = 16..=64;

/// A hash, its salt and its cost.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

impl std::fmt::Debug for PasswordHash {
    /// Only its cost: neither salt nor hash belongs into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHash").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl PasswordHash {
    /// Reads what stands behind the colon.
    ///
    /// # Errors
    /// What was expected; the text itself is not in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = text.split('$');
        if fields.next() != Some("") {
            return Err("expected a hash as `myriadctl passwd` writes it, not a password in the clear".into());
        }
        match fields.next() {
            Some("argon2id") => Self::argon2(Argon2Variant::Id, fields),
            Some("argon2i") => Self::argon2(Argon2Variant::I, fields),
            Some("argon2d") => Self::argon2(Argon2Variant::D, fields),
            Some("7") => {
                let iterations = number(fields.next(), "iterations", 1, ITERATIONS_MAX)?;
                Self::mosquitto(Cost::Pbkdf2Sha512 { iterations }, fields)
            }
            Some("6") => Self::mosquitto(Cost::Sha512, fields),
            Some(kind) => Err(format!(
                "unknown kind of hash {:?}; expected $argon2id$ of `myriadctl passwd`, or $7$ or $6$ of mosquitto_passwd",
                kind.chars().take(16).collect::<String>()
            )),
            None => Err("the hash is cut short".into()),
        }
    }

    fn argon2<'a>(variant: Argon2Variant, mut fields: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        if fields.next() != Some("v=19") {
            return Err("expected version 19 of argon2 (v=19)".into());
        }
        let parameters = fields.next().unwrap_or_default();
        let (mut memory_kib, mut passes, mut lanes) = (None, None, None);
        for parameter in parameters.split(',') {
            match parameter.split_once('=') {
                Some(("m", value)) => memory_kib = Some(number(Some(value), "m", 8, MEMORY_KIB_MAX)?),
                Some(("t", value)) => passes = Some(number(Some(value), "t", 1, PASSES_MAX)?),
                Some(("p", value)) => lanes = Some(number(Some(value), "p", 1, LANES_MAX)?),
                _ => return Err("expected argon2's parameters as m=19456,t=2,p=1".into()),
            }
        }
        let (Some(memory_kib), Some(passes), Some(lanes)) = (memory_kib, passes, lanes) else {
            return Err("expected argon2's parameters as m=19456,t=2,p=1".into());
        };
        if memory_kib < 8 * lanes {
            return Err("argon2 needs at least 8 KiB of memory (m) for each lane (p)".into());
        }
        let cost = Cost::Argon2 { variant, memory_kib, passes, lanes };
        Self::with_salt_and_hash(cost, fields, |text| STANDARD_NO_PAD.decode(text).ok())
    }

    fn mosquitto<'a>(cost: Cost, fields: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let read = Self::with_salt_and_hash(cost, fields, |text| STANDARD.decode(text).ok())?;
        if read.hash.len() != 64 {
            return Err(format!("a SHA-512 has 64 bytes, not {}", read.hash.len()));
        }
        Ok(read)
    }

    fn with_salt_and_hash<'a>(
        cost: Cost,
        mut fields: impl Iterator<Item = &'a str>,
        decode: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, String> {
        let (Some(salt), Some(hash), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err("expected a salt and a hash, and nothing behind them".into());
        };
        let salt = decode(salt).filter(|salt| (8..=SALT_LEN_MAX).contains(&salt.len()));
        let hash = decode(hash).filter(|hash| HASH_LEN.contains(&hash.len()));
        match (salt, hash) {
            (Some(salt), Some(hash)) => Ok(Self { cost, salt: salt.into(), hash: hash.into() }),
            (None, _) => Err("the salt is no base64 of 8 to 64 bytes".into()),
            (_, None) => Err("the hash is no base64 of 16 to 64 bytes".into()),
        }
    }

    /// How much work `verify` is.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// A hash of that cost that no password has: holding one against it takes as long as against a real one.
    pub fn of_nobody(cost: Cost) -> Self {
        let len = if matches!(cost, Cost::Argon2 { .. }) { 32 } else { 64 };
        Self { cost, salt: Box::new([0x5A; 16]), hash: vec![0; len].into() }
    }
}

fn number(text: Option<&str>, name: &str, min: u32, max: u32) -> Result<u32, String> {
    let parsed = text.and_then(|text| text.parse().ok()).filter(|n| (min..=max).contains(n));
    parsed.ok_or_else(|| format!("{name} has to be a whole number from {min} to {max}"))
}

/// Whether two secrets of one length are the same, in a time that does not tell where they differ.
#[cfg(feature = "server")]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (x, y)| std::hint::black_box(all | (x ^ y)));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

#[cfg(feature = "server")]
impl PasswordHash {
    /// Whether that is the password. Costs what `cost` says, right or wrong; the comparison takes the same time wherever
    /// the hashes differ. Not for a shard's thread.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut found = vec![0; self.hash.len()];
        if self.derive(password, &mut found).is_none() {
            return false;
        }
        is_same(&found, &self.hash)
    }

    /// The hash of `password` with this salt and cost.
    fn derive(&self, password: &[u8], out: &mut [u8]) -> Option<()> {
        match self.cost {
            Cost::Argon2 { variant, memory_kib, passes, lanes } => {
                let algorithm = match variant {
                    Argon2Variant::D => argon2::Algorithm::Argon2d,
                    Argon2Variant::I => argon2::Algorithm::Argon2i,
                    Argon2Variant::Id => argon2::Algorithm::Argon2id,
                };
                let params = argon2::Params::new(memory_kib, passes, lanes, Some(out.len())).ok()?;
                argon2::Argon2::new(algorithm, argon2::Version::V0x13, params)
                    .hash_password_into(password, &self.salt, out)
                    .ok()
            }
            Cost::Pbkdf2Sha512 { iterations } => {
                let iterations = std::num::NonZeroU32::new(iterations)?;
                ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA512, iterations, &self.salt, password, out);
                Some(())
            }
            Cost::Sha512 => {
                let mut context = ring::digest::Context::new(&ring::digest::SHA512);
                context.update(password);
                context.update(&self.salt);
                out.copy_from_slice(context.finish().as_ref());
                Some(())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `argon2 somesalt` of the reference implementation, with m = 64 KiB, t = 2, p = 1.
    const ARGON2ID: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn what_is_no_hash_is_told_without_being_quoted() {
        for text in [
            "",
            "secret",
            "$",
            "$7$",
            "$7$0$c2FsdHNhbHQ=$aGFzaA==",
            "$7$x$a$b",
            "$6$c2FsdHNhbHQ=$aGFzaA==",
            "$9$a$b",
            "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=8,t=2,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$more",
        ] {
            let problem = PasswordHash::parse(text).unwrap_err();
            assert!(!problem.contains("secret") && !problem.contains("CTFh"), "{text}: {problem}");
        }
        let debug = format!("{:?}", PasswordHash::parse(ARGON2ID).unwrap());
        assert!(
            debug.contains("65536") && !debug.contains("somesalt") && !debug.contains("hash:"),
            "{debug}"
        );
    }

    #[cfg(feature = "server")]
    #[test]
    fn passwords_are_held_against_hashes_of_other_programs() {
        // Of the reference implementation of argon2; of mosquitto_passwd 2.0 (`-H sha512-pbkdf2`, `-H sha512`).
        let pbkdf2 = "$7$101$rAJyXzAzlCCPiRug$eqNs22k+sJ4FSIun6eSxH0kvJngJAm2wylHOj+an1izyuh3qBgJj6d73P+h3ELtWrJk6qiIEb3eo\
                      r9IQXP9Wjg==";
        let sha512 = "$6$14hmPBYGxf3fgXqz$wszWaRasOfNVINKW6QDOvtODSrq2QUIZ9hhvHm4xPWrYzqygpOa/kYLoscbSqbmIit+WBOzGlOGknqMS\
                      DQgQ7w==";
        for (text, password) in [(ARGON2ID, "password"), (pbkdf2, "s3cret"), (sha512, "s3cret")] {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()), "{text}");
            assert!(!hash.verify(b"S3cret") && !hash.verify(b"") && !hash.verify(b"passwordd"), "{text}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn nobody_has_a_password() {
        for cost in [
            Cost::Argon2 { variant: Argon2Variant::Id, memory_kib: 64, passes: 1, lanes: 1 },
            Cost::Pbkdf2Sha512 { iterations: 2 },
            Cost::Sha512,
        ] {
            let nobody = PasswordHash::of_nobody(cost);
            assert!(!nobody.verify(b"") && !nobody.verify(b"password"));
        }
    }
}

//! Credentials for SCRAM-SHA-256 in PostgreSQL's form: `user:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. What
//! stands there verifies a client; it does not suffice to log in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;

use super::FileError;
use super::file_error::lines;

/// What the server knows of a user (RFC 5802 section 3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// Iterations of PBKDF2, done by the client.
    pub iterations: u32,
    /// Salt.
    pub salt: Box<[u8]>,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// ServerKey.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Fewer are guessed too fast (RFC 7677 section 4).
const ITERATIONS_MIN: u32 = 4096;
const ITERATIONS_MAX: u32 = 10_000_000;

/// Users and their secrets.
#[derive(Debug, Clone)]
pub struct ScramFile {
    users: HashMap<Box<str>, ScramSecret, ahash::RandomState>,
    iterations: u32,
    salt_len: usize,
}

impl ScramFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut users = HashMap::with_hasher(ahash::RandomState::new());
        let (mut iterations, mut salt_len) = (ITERATIONS_MIN, 16);
        for (number, line) in lines(text) {
            let error = |problem: String| FileError::at(number, problem);
            let Some((name, secret)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
                return Err(error(
                    "expected NAME:SCRAM-SHA-256$…, as `myriadctl passwd --scram` writes it".into(),
                ));
            };
            let secret = secret_of(secret).map_err(|problem| error(problem.into()))?;
            (iterations, salt_len) = (secret.iterations, secret.salt.len());
            if users.insert(name.into(), secret).is_some() {
                return Err(error(format!("a second line for user {name:?}")));
            }
        }
        Ok(Self { users, iterations, salt_len })
    }

    /// The secret of a user.
    pub fn find(&self, username: &str) -> Option<&ScramSecret> {
        self.users.get(username)
    }

    /// Iterations that the salt of a user who is not there comes with: those of the others.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Bytes of such a salt.
    pub const fn salt_len(&self) -> usize {
        self.salt_len
    }

    /// Users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

fn secret_of(text: &str) -> Result<ScramSecret, &'static str> {
    const FORM: &str = "expected SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey";
    let mut fields = text.split('$');
    let (Some("SCRAM-SHA-256"), Some(first), Some(keys), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(FORM);
    };
    let (iterations, salt) = first.split_once(':').ok_or(FORM)?;
    let (stored_key, server_key) = keys.split_once(':').ok_or(FORM)?;
    let iterations = iterations.parse().ok().filter(|n| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(n));
    let key = |text: &str| STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let salt = STANDARD.decode(salt).ok().filter(|salt| (8..=32).contains(&salt.len()));
    Ok(ScramSecret {
        iterations: iterations.ok_or("expected 4096 to 10000000 iterations")?,
        salt: salt.ok_or("the salt is no base64 of 8 to 32 bytes")?.into(),
        stored_key: key(stored_key).ok_or("StoredKey is no base64 of 32 bytes")?,
        server_key: key(server_key).ok_or("ServerKey is no base64 of 32 bytes")?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_and_errors_name_the_line() {
        let key = STANDARD.encode([7; 32]);
        let line = format!("user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${key}:{key}");
        let file = ScramFile::parse(&format!("# x\n{line}\n")).unwrap();
        assert_eq!((file.len(), file.iterations(), file.salt_len()), (1, 4096, 16));
        assert_eq!(file.find("user").unwrap().stored_key, [7; 32]);
        let error = |text: &str| ScramFile::parse(text).unwrap_err().of("scram").to_string();
        assert!(error("user").starts_with("scram line 1: expected NAME:SCRAM"));
        assert!(error("user:secret").contains("line 1: expected SCRAM-SHA-256$"));
        assert!(error(&line.replace("4096", "1")).contains("iterations"));
        assert!(error(&line.replace("W22Z", "!!!!")).contains("salt"));
        assert!(error(&line.replace(&key, "AAAA")).contains("StoredKey"));
        assert!(error(&format!("{line}\n{line}")).contains("line 2: a second line"));
    }
}

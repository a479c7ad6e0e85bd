//! The password file: a line a user, `name:hash`. What `mosquitto_passwd` writes is read as it is.

use hashbrown::HashMap;

use super::file_error::lines;
use super::{Cost, FileError, PasswordHash};

/// Users and the hashes of their passwords.
#[derive(Debug, Clone)]
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash, ahash::RandomState>,
    nobody: PasswordHash,
}

impl PasswordFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut users = HashMap::with_hasher(ahash::RandomState::new());
        let mut costliest: Option<Cost> = None;
        for (number, line) in lines(text) {
            let Some((name, hash)) = line.split_once(':') else {
                return Err(FileError::at(number, "expected NAME:HASH, as `myriadctl passwd` writes it"));
            };
            if name.is_empty() {
                return Err(FileError::at(number, "the user has no name"));
            }
            let hash = PasswordHash::parse(hash).map_err(|problem| FileError::at(number, problem))?;
            let cost = hash.cost();
            if costliest.is_none_or(|most| most.weight() < cost.weight()) {
                costliest = Some(cost);
            }
            if users.insert(name.into(), hash).is_some() {
                return Err(FileError::at(number, format!("a second line for user {name:?}")));
            }
        }
        let nobody = PasswordHash::of_nobody(costliest.unwrap_or(Cost::DEFAULT));
        Ok(Self { users, nobody })
    }

    /// The hash of a user.
    pub fn find(&self, username: &str) -> Option<&PasswordHash> {
        self.users.get(username)
    }

    /// What the password of a user who is not in the file is held against, so that asking takes as long.
    pub const fn nobody(&self) -> &PasswordHash {
        &self.nobody
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn users_are_found_and_comments_are_not() {
        let file = PasswordFile::parse(&format!("\u{feff}# users\n\nalice:{HASH}\r\nb ob:{HASH}\n")).unwrap();
        assert_eq!(file.len(), 2);
        assert!(file.find("alice").is_some() && file.find("b ob").is_some() && file.find("bob").is_none());
        assert_eq!(file.nobody().cost(), file.find("alice").unwrap().cost());
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| PasswordFile::parse(text).unwrap_err().of("users").to_string();
        assert!(error("# x\nalice").starts_with("users line 2: expected NAME:HASH"));
        assert!(error("alice:secret").contains("line 1: expected a hash"));
        assert!(error(&format!("a:{HASH}\na:{HASH}")).contains("line 2: a second line for user \"a\""));
        assert!(error(&format!(":{HASH}")).contains("no name"));
    }
}

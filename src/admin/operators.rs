//! The operators and their passwords: a password file as MQTT users have one, read again when it has changed, written by the API
//! and by `myriadctl passwd`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use crate::auth::{Cost, PasswordFile, PasswordHash};

/// The operator that the first start makes.
const FIRST: &str = "admin";
/// Bytes of the longest name and of the longest password.
pub(in crate::admin) const LEN_MAX: usize = 1024;
/// Operators at most: more are a mistake.
const OPERATORS_MAX: usize = 1000;

/// Why something can't be done with the file.
#[derive(Debug, thiserror::Error)]
pub enum OperatorsError {
    /// It can't be read or written.
    #[error("{}: {error}", .file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    File(#[from] crate::auth::FileError),
    /// A name or a password that can't be.
    #[error("{0}")]
    Unfit(&'static str),
    /// The last one stays: who deletes it could not come in again.
    #[error("{0:?} is the only operator; make another one first")]
    Last(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes (getrandom(2))")]
    Random,
}

/// What the file was when it was read.
type Stamp = (u64, u64, i64, i64);

#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// What stands behind each name.
    secrets: BTreeMap<String, String>,
}

/// The file of operators.
#[derive(Debug)]
pub(super) struct Operators {
    file: PathBuf,
    known: Mutex<Known>,
}

/// The hash of a name's password, and whether there is such a name.
pub(super) struct Secret {
    /// What is compared: for a name that is not there, a hash that no password has.
    pub(super) hash: PasswordHash,
    /// The text of the hash; empty: no such name.
    pub(super) text: String,
}

impl Operators {
    /// Those of `file`; it is read when somebody asks.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, known: Mutex::default() }
    }

    /// Where they are.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the first operator if there is none, and gives his password.
    ///
    /// # Errors
    /// The file can't be read, or not be written.
    pub(super) fn make_first(&self) -> Result<Option<String>, OperatorsError> {
        if !self.known()?.secrets.is_empty() {
            return Ok(None);
        }
        let mut bytes = [0; 15];
        SystemRandom::new().fill(&mut bytes).map_err(|_| OperatorsError::Random)?;
        let password = URL_SAFE_NO_PAD.encode(bytes);
        self.put(FIRST, &password)?;
        Ok(Some(password))
    }

    /// The names, in order.
    ///
    /// # Errors
    /// The file can't be used.
    pub(super) fn names(&self) -> Result<Vec<String>, OperatorsError> {
        Ok(self.known()?.secrets.keys().cloned().collect())
    }

    /// What to hold the password of `name` against.
    ///
    /// # Errors
    /// The file can't be used.
    pub(super) fn secret(&self, name: &str) -> Result<Secret, OperatorsError> {
        let known = self.known()?;
        let text = known.secrets.get(name).cloned().unwrap_or_default();
        let hash = match text.as_str() {
            "" => PasswordHash::of_nobody(Cost::DEFAULT),
            text => PasswordHash::parse(text).unwrap_or_else(|_| PasswordHash::of_nobody(Cost::DEFAULT)),
        };
        Ok(Secret { hash, text })
    }

    /// Adds an operator, or gives him a new password; whether he is new. Takes as long as a hash takes.
    ///
    /// # Errors
    /// The name or the password can't be, or the file can't be written.
    pub(super) fn put(&self, name: &str, password: &str) -> Result<bool, OperatorsError> {
        check_name(name)?;
        if password.is_empty() || password.len() > LEN_MAX {
            return Err(OperatorsError::Unfit("password: expected 1 to 1024 bytes"));
        }
        let secret = argon2id(password.as_bytes()).ok_or(OperatorsError::Random)?;
        let mut known = self.known()?;
        let is_new = !known.secrets.contains_key(name);
        if is_new && known.secrets.len() >= OPERATORS_MAX {
            return Err(OperatorsError::Unfit("there are 1000 operators already; delete one"));
        }
        self.rewrite(&mut known, name, Some(&secret))?;
        Ok(is_new)
    }

    /// Deletes an operator; whether there was one.
    ///
    /// # Errors
    /// He is the last one, or the file can't be written.
    pub(super) fn delete(&self, name: &str) -> Result<bool, OperatorsError> {
        let mut known = self.known()?;
        if !known.secrets.contains_key(name) {
            return Ok(false);
        }
        if known.secrets.len() == 1 {
            return Err(OperatorsError::Last(name.to_owned()));
        }
        self.rewrite(&mut known, name, None)?;
        Ok(true)
    }

    /// What the file says now.
    fn known(&self) -> Result<MutexGuard<'_, Known>, OperatorsError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match fs::metadata(&self.file) {
            Ok(file) => Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(self.io(error)),
        };
        if stamp.is_none() || stamp != known.stamp {
            known.secrets = self.read()?;
            known.stamp = stamp;
        }
        Ok(known)
    }

    fn read(&self) -> Result<BTreeMap<String, String>, OperatorsError> {
        let text = self.text()?;
        PasswordFile::parse(&text).map_err(|error| error.of(&self.file.to_string_lossy()))?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_end);
        let lines = lines.filter(|line| !line.starts_with('#'));
        Ok(lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, hash)| (name.into(), hash.into()))
            .collect())
    }

    fn text(&self) -> Result<String, OperatorsError> {
        match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|error| self.io(error)),
        }
    }

    /// Replaces the line of `name`, appends it, or takes it away. The new file takes the old one's place at once.
    fn rewrite(&self, known: &mut Known, name: &str, secret: Option<&str>) -> Result<(), OperatorsError> {
        let old = self.text()?;
        let is_his = |line: &str| line.split_once(':').is_some_and(|(other, _)| other == name);
        let mut new = String::with_capacity(old.len() + 256);
        for line in old.lines().filter(|line| !is_his(line)) {
            new.push_str(line);
            new.push('\n');
        }
        if let Some(secret) = secret {
            new.push_str(&format!("{name}:{secret}\n"));
        }
        replace(&self.file, &new).map_err(|error| self.io(error))?;
        // Read it again: what is in effect is what the file says.
        known.stamp = None;
        known.secrets = self.read()?;
        Ok(())
    }

    fn io(&self, error: io::Error) -> OperatorsError {
        OperatorsError::Io { file: self.file.clone(), error }
    }
}

/// Names that fit into a line of the file.
fn check_name(name: &str) -> Result<(), OperatorsError> {
    let is_fit = !name.is_empty()
        && name.len() <= LEN_MAX
        && !name.starts_with(['#', '\u{feff}'])
        && !name.contains(':')
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    let rule = "username: expected 1 to 1024 bytes without ':' and control characters, without spaces around it and no '#' first";
    is_fit.then_some(()).ok_or(OperatorsError::Unfit(rule))
}

/// `$argon2id$v=19$m=…,t=…,p=1$salt$hash`, as `myriadctl passwd` writes it.
fn argon2id(password: &[u8]) -> Option<String> {
    let Cost::Argon2 { memory_kib, passes, lanes, .. } = Cost::DEFAULT else { return None };
    let (mut salt, mut hash) = ([0; 16], [0; 32]);
    SystemRandom::new().fill(&mut salt).ok()?;
    let params = argon2::Params::new(memory_kib, passes, lanes, Some(hash.len())).ok()?;
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password, &salt, &mut hash)
        .ok()?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Some(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Through a symbolic link, not in its place.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = target.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let done = written.and_then(|()| fs::rename(&temporary, &target));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_counts_and_the_last_operator_stays() {
        let dir = std::env::temp_dir().join(format!("myriad-operators-{}", std::process::id()));
        let operators = Operators::new(dir.join("users"));
        let password = operators.make_first().unwrap().unwrap();
        assert!(password.len() >= 16);
        assert_eq!(operators.make_first().unwrap(), None);
        let secret = operators.secret("admin").unwrap();
        assert!(secret.hash.verify(password.as_bytes()) && !secret.hash.verify(b"x"));
        assert!(operators.secret("nobody").unwrap().text.is_empty());
        assert!(matches!(operators.delete("admin"), Err(OperatorsError::Last(_))));
        let mut text = fs::read_to_string(operators.file()).unwrap();
        text.insert_str(0, "# by hand\n");
        fs::write(operators.file(), &text).unwrap();
        assert!(operators.put("eve", "pw").unwrap() && !operators.put("eve", "other").unwrap());
        assert_eq!(operators.names().unwrap(), ["admin", "eve"]);
        assert!(operators.delete("admin").unwrap() && !operators.delete("admin").unwrap());
        assert!(fs::read_to_string(operators.file()).unwrap().starts_with("# by hand\neve:$argon2id$"));
        let mode = fs::metadata(operators.file()).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        for name in ["", "a:b", "#a", "a\nb", " a"] {
            assert!(matches!(operators.put(name, "pw"), Err(OperatorsError::Unfit(_))), "{name:?}");
        }
        fs::write(operators.file(), "eve:secret\n").unwrap();
        let error = operators.names().unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}

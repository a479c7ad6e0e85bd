//! Where the broker is and who asks: the global arguments, and the environment where they are not given.

use std::path::PathBuf;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::failure::{Failure, Status};
use crate::passwd::prompt;

/// Which broker is asked, for every command that asks one.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which broker")]
pub(crate) struct Reach {
    /// Its node.data_dir: on the same machine it is asked over control.sock there, without a password [default: ./data].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Its admin.listen, as http://127.0.0.1:18083; or the environment's MYRIAD_API_URL.
    #[arg(long, value_name = "URL", global = true, conflicts_with = "data_dir")]
    pub(crate) url: Option<String>,
    /// An admin user for --url; without a password it is asked for. Or MYRIAD_API_USER and MYRIAD_API_PASSWORD.
    #[arg(long = "user", value_name = "NAME[:PASSWORD]", global = true)]
    pub(crate) credentials: Option<String>,
    /// PEM file of the authorities of an https broker, in place of the public ones.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Seconds that an answer may take; 0: any.
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = 30)]
    pub(crate) timeout: u64,
}

/// Where a broker is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Socket(PathBuf),
    /// Without a `/` at its end.
    Url(String),
}

/// An admin user.
pub(super) struct Credentials {
    user: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// The value of the header Authorization (RFC 7617).
    pub(super) fn basic(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{}:{}", self.user, self.password.as_str()));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

impl Reach {
    /// The data directory on this machine.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| "./data".into())
    }

    /// Whether a broker elsewhere was named.
    pub(crate) fn is_remote(&self) -> bool {
        self.url.is_some() || (self.data_dir.is_none() && environment("MYRIAD_API_URL").is_some())
    }

    pub(super) fn place(&self) -> Result<Place> {
        let of_environment = || environment("MYRIAD_API_URL").filter(|_| self.data_dir.is_none());
        let Some(url) = self.url.clone().or_else(of_environment) else {
            return Ok(Place::Socket(self.data_dir().join("control.sock")));
        };
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Place::Socket(path.into()));
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let usage = |line: String| Err(Failure::new(Status::Usage, line).into());
        match rest {
            None => usage(format!("--url {url:?}: expected http://HOST:PORT or https://HOST:PORT")),
            // It would stand in the lists of processes and in logs.
            Some(rest) if rest.split('/').next().is_some_and(|authority| authority.contains('@')) => {
                usage("--url: a user does not belong into the URL; give --user".into())
            }
            Some(rest) if rest.trim_end_matches('/').is_empty() => usage(format!("--url {url:?}: no host")),
            Some(_) => Ok(Place::Url(url.trim_end_matches('/').into())),
        }
    }

    /// Who asks; `None`: nobody was named.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>> {
        let Some(given) = self.credentials.clone().or_else(|| environment("MYRIAD_API_USER")) else {
            return Ok(None);
        };
        let given = Zeroizing::new(given);
        let (user, password) = match given.split_once(':') {
            Some((user, password)) => (user, Zeroizing::new(password.to_owned())),
            None => match environment("MYRIAD_API_PASSWORD") {
                Some(password) => (given.as_str(), Zeroizing::new(password)),
                None => (given.as_str(), asked(&given)?),
            },
        };
        Ok(Some(Credentials { user: user.to_owned(), password }))
    }
}

fn asked(user: &str) -> Result<Zeroizing<String>> {
    let password = prompt::existing(user)?;
    match std::str::from_utf8(&password) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => bail!("the password is not UTF-8"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reach(url: Option<&str>, data_dir: Option<&str>) -> Reach {
        Reach {
            data_dir: data_dir.map(Into::into),
            url: url.map(Into::into),
            credentials: None,
            ca: None,
            timeout: 1,
        }
    }

    #[test]
    fn a_broker_is_a_socket_or_a_url() {
        let place = |url, dir| reach(url, dir).place();
        assert_eq!(place(None, Some("/d")).unwrap(), Place::Socket("/d/control.sock".into()));
        assert_eq!(place(Some("unix:/s"), None).unwrap(), Place::Socket("/s".into()));
        assert_eq!(place(Some("http://h:1/"), None).unwrap(), Place::Url("http://h:1".into()));
        for wrong in ["h:1", "ftp://h", "http://", "http://u:p@h"] {
            let error = place(Some(wrong), None).unwrap_err();
            assert_eq!(crate::failure::status_of(&error), Status::Usage, "{wrong}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }

    #[test]
    fn credentials_are_those_of_rfc_7617() {
        let who = Credentials { user: "Aladdin".into(), password: Zeroizing::new("open sesame".into()) };
        assert_eq!(who.basic().as_str(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}

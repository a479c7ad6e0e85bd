//! Authentication: who a client is. The files and tokens that say so, and how credentials are held against them.
//! Functions of their arguments: no clock, thread, file or socket. What needs a cryptographic library is there with
//! feature `server` only; the formats are always there.

mod certificate;
#[cfg(feature = "server")]
mod chain;
mod client_id_file;
mod file_error;
pub mod http;
mod identity;
pub mod jwt;
mod password_file;
mod password_hash;
mod scram;
mod scram_file;
mod user_rules;
mod verdict;

pub use certificate::{PeerCertificate, SubjectNames};
#[cfg(feature = "server")]
pub use chain::{Chain, Moment, Progress, Read, Request, Requests};
pub use client_id_file::{ClientIdFile, Listed};
pub use file_error::FileError;
pub use identity::{Access, Identity, IdentityRule, Method};
pub use password_file::PasswordFile;
pub use password_hash::{Argon2Variant, Cost, PasswordHash};
pub use scram::{Exchange, SCRAM_SHA_256};
pub use scram_file::{ScramFile, ScramSecret};
pub use user_rules::UserRules;
pub use verdict::{
    Answer, Credentials, ExchangeStep, OwnedCredentials, Question, QuestionWatch, Refusal, Step, Verdict,
};

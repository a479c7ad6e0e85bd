//! Authentication: who a client is. The files and tokens that say so, and how credentials are held against them.
//! Functions of their arguments: no clock, thread, file or socket. What needs a cryptographic library is there with
//! feature `server` only; the formats are always there.

mod certificate;
mod identity;

pub use certificate::PeerCertificate;
pub use identity::{Access, Identity, IdentityRule, Method};

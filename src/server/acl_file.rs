//! The ACL file: read at the start and on SIGHUP. What it means is in `acl`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::acl::{Acl, AclError, Permission, Policy};
use crate::config::{Config, NoMatch};

/// Bytes of the largest file that is read: a million rules fit.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why the rules can't be used; `file:line:column` where the text is at fault.
#[derive(Debug, thiserror::Error)]
pub enum AclFileError {
    /// The file can't be read.
    #[error("acl.file {}: {error}", .file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too long to be what was meant.
    #[error("acl.file {}: {bytes} bytes, at most {FILE_BYTES_MAX} are read", .file.display())]
    TooLong {
        /// Which.
        file: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Its text is no ACL.
    #[error("{}:{error}", .file.display())]
    Text {
        /// Which.
        file: PathBuf,
        /// Where in it, and what.
        error: AclError,
    },
}

/// The rules that the configuration asks for.
///
/// # Errors
/// The file can't be read, or its text is no ACL.
pub fn load_policy(config: &Config) -> Result<Arc<Policy>, AclFileError> {
    let no_match = match config.acl.no_match {
        NoMatch::Allow => Permission::Allow,
        NoMatch::Deny => Permission::Deny,
    };
    let asks_http = !config.auth.http.acl_req.url.is_empty();
    let Some(file) = &config.acl.file else {
        // Where nobody may do anything, or a server says who may, it is not for us to allow or deny.
        let is_open = no_match == Permission::Allow && !asks_http;
        let rules = if is_open { Acl::hiding(&config.sys.prefix) } else { Acl::default() };
        return Ok(Arc::new(Policy { file: rules, no_match, asks_http }));
    };
    let read = |error| AclFileError::Read { file: file.clone(), error };
    let bytes = std::fs::metadata(file).map_err(read)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(AclFileError::TooLong { file: file.clone(), bytes });
    }
    let text = std::fs::read_to_string(file).map_err(read)?;
    let rules = Acl::parse(&text).map_err(|error| AclFileError::Text { file: file.clone(), error })?;
    Ok(Arc::new(Policy { file: rules, no_match, asks_http }))
}

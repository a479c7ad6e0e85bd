//! What one client may do beyond what the protocol allows everyone, and what is remembered of it: made only for those
//! whom some rule or rate concerns, so that others do not pay for it.

use crate::acl::Decisions;

/// The part of a connection that most do not have.
#[derive(Debug, Default)]
pub struct Allowance {
    /// What the ACL said last.
    pub decisions: Option<Box<Decisions>>,
}

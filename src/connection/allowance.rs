//! What one client may do beyond what the protocol allows everyone, and what is remembered of it: made only for those
//! whom some rule or rate concerns, so that others do not pay for it. Goes with the connection to its home shard.

use std::net::IpAddr;
use std::sync::Arc;

use crate::acl::Decisions;
use crate::auth::{Question, SubjectNames};
use crate::clock::Timestamp;
use crate::limits::{Bucket, Counted, Usage};

/// What a server said on a question about the client.
#[derive(Debug, Clone, Copy)]
pub struct AclAnswer {
    /// Which question.
    pub key: u64,
    /// How long it holds.
    pub until: Timestamp,
    /// Yes or no.
    pub is_allowed: bool,
}

/// The part of a connection that most do not have.
#[derive(Debug, Default)]
pub struct Allowance {
    /// What the ACL said last.
    pub decisions: Option<Box<Decisions>>,
    /// What a server said, oldest first; bounded by whoever adds to it.
    pub answers: Vec<AclAnswer>,
    /// The question whose answer is to come.
    pub asked: Option<(u64, Question)>,
    /// The packet that is to be handled has asked: what it was told holds until it is handled.
    pub is_resolving: bool,
    /// PUBLISHes, by `limits.publish_rate`.
    pub messages: Bucket,
    /// Bytes, by `limits.bytes_rate` or that of its listener.
    pub bytes: Bucket,
    /// When the timer fires that lets it go on.
    pub resume_at: Option<Timestamp>,
    /// What its user has, where there are quotas.
    pub usage: Option<Arc<Usage>>,
    /// When its turn is to publish by its user's rate; it is paid for. `None`: it does not wait for one.
    pub turn: Option<Timestamp>,
    /// When it was connected, for the audit log.
    pub connected_at: Option<Timestamp>,
    /// The names in its certificate, where its listener's mountpoint is made of them.
    pub subject: Option<Box<SubjectNames>>,
    /// Bytes of its mountpoint, which stands before all its topics; 0: it has none.
    pub mount_len: u16,
    /// Its place among the connections of its address, or among those that are refused; given back with the allowance, also where a hand-over is lost.
    pub counted: Option<Counted<IpAddr>>,
}

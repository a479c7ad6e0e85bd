//! How routes name a client or a session: by its Client Identifier, and its mountpoint if it has one; and what a change of it came to.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::failure::Failure;
use super::listing::unexpected;
use crate::admin::desk::Desk;
use crate::broker::inspect::{Changed, SessionDetail};
use crate::broker::{Answer, Question, session_name};
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::metrics::rfc3339;
use crate::packet::ReasonCode;

/// How long the disk and other shards have to confirm a change.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether they have, at most.
const LOOK_MS_MAX: u64 = 32;

/// Whose client it is.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Within {
    /// The mountpoint within which the client lives; left out: none.
    mountpoint: Option<String>,
}

/// A client or session and its home.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// As the broker has it.
    pub(super) name: Box<str>,
    /// Where its session is, if there is one.
    pub(super) home: ShardId,
    client_id: String,
}

impl Named {
    /// The client of this identifier.
    pub(super) fn new(desk: &Desk, client_id: String, within: &Within) -> Self {
        let name = session_name(within.mountpoint.as_deref().unwrap_or_default(), &client_id);
        Self { home: desk.shared.placement.home_of(&name), name: name.into(), client_id }
    }

    /// All about its session.
    ///
    /// # Errors
    /// Its home does not answer.
    pub(super) async fn describe(&self, desk: &Desk) -> Result<Option<Box<SessionDetail>>, Failure> {
        match desk.ask(self.home, Question::Session(self.name.clone())).await? {
            Answer::Session(detail) => Ok(detail),
            _ => Err(unexpected()),
        }
    }

    /// 404.
    pub(super) fn no_client(&self) -> Failure {
        Failure::not_found(format!(
            "no client {:?} is connected; /api/v1/sessions has sessions without a connection too",
            self.client_id
        ))
    }

    /// 404.
    pub(super) fn no_session(&self) -> Failure {
        Failure::not_found(format!(
            "there is no session {:?}; a client within a mountpoint needs the parameter `mountpoint`",
            self.client_id
        ))
    }
}

/// Has a shard change something, and waits until it is so on the disk and on other shards too. `None`: there is nothing to be
/// changed.
///
/// # Errors
/// It may not be, or not now.
pub(super) async fn change(desk: &Desk, shard: ShardId, question: Question) -> Result<Option<bool>, Failure> {
    let Answer::Changed(changed) = desk.ask(shard, question).await? else { return Err(unexpected()) };
    match changed {
        Changed::NotFound => Ok(None),
        Changed::Refused(ReasonCode::QuotaExceeded) => Err(Failure::conflict(
            "the session has all the subscriptions that limits.subscriptions_per_session_max or its user's quota allow",
        )),
        Changed::Refused(reason) => Err(Failure::bad_request(format!("the filter can't be used: {reason}"))),
        Changed::Unavailable => Err(Failure::unavailable(
            "the disk takes nothing now, or too many changes wait for it; /api/v1/store tells",
        )),
        Changed::Done { is_new } => Ok(Some(is_new)),
        Changed::Begun { receipt, is_new } => {
            let until = Instant::now() + PATIENCE;
            let mut look_ms = 1;
            while Instant::now() < until {
                match desk.ask(shard, Question::IsDone(receipt)).await? {
                    Answer::IsDone(true) => return Ok(Some(is_new)),
                    Answer::IsDone(false) => {}
                    _ => return Err(unexpected()),
                }
                tokio::time::sleep(Duration::from_millis(look_ms)).await;
                look_ms = (look_ms * 2).min(LOOK_MS_MAX);
            }
            Err(Failure::unavailable(format!(
                "it is done in memory, and the disk has not confirmed it within {} s; /api/v1/store tells",
                PATIENCE.as_secs()
            )))
        }
    }
}

/// A moment of the shards' clock for people: RFC 3339.
pub(super) fn moment(desk: &Desk, at: Timestamp) -> String {
    rfc3339(desk.shared.started_unix_ms.saturating_add(at.0))
}

/// A mountpoint, if there is one.
pub(super) fn mountpoint(text: Box<str>) -> Option<Box<str>> {
    (!text.is_empty()).then_some(text)
}

//! Who knows the clients, under a script: a client's User Name is its Client Identifier, and the password says what is
//! to happen. Some verdicts come at once, some take their time; the connection may be gone by then.

use std::sync::Arc;

use myriad::auth::{Answer, Credentials, Identity, Method, Question, Refusal, Verdict};
use myriad::session::ConnectionId;

use crate::effects::{Delays, Port};
use crate::trace::Violation;

/// The password that lets in.
pub const RIGHT: &str = "right";
/// The one that is wrong.
pub const WRONG: &str = "wrong";
/// The one of somebody whom nobody knows.
pub const UNKNOWN: &str = "unknown";

/// Longest that a verdict takes, in ms.
const VERDICT_MS: u64 = 400;

impl Port<'_> {
    /// What the broker is told about a client.
    pub fn judge(&mut self, connection: ConnectionId, client: &Credentials<'_>) -> Answer {
        if self.state.verdicts.iter().any(|pending| pending.1 == connection) {
            let detail = format!("shard {} asks twice about {connection:?}", self.me);
            self.violation.get_or_insert(Violation { invariant: "boundary-authenticate", detail });
        }
        let is_own = client.username == Some(client.client_id);
        let verdict = match client.password.map(|password| std::str::from_utf8(password).unwrap_or_default())
        {
            Some(RIGHT) if is_own => allow(client),
            Some(WRONG) if self.saboteur.admits_wrong() => allow(client),
            Some(WRONG) if self.random.percent(10) => Verdict::Deny(Refusal::busy("a full queue")),
            Some(WRONG) => Verdict::Deny(Refusal::bad_credentials("a wrong password")),
            _ => Verdict::Ignore,
        };
        if self.random.percent(40) {
            return Answer::Now(verdict);
        }
        let at = self.now + Delays::some(self.random, VERDICT_MS);
        let me = self.me;
        self.trace
            .note(|| format!("shard {me}: the verdict about {connection:?} comes at {at}: {verdict:?}"));
        self.state.verdicts.push((at, connection, verdict));
        Answer::Later(Question::default())
    }
}

fn allow(client: &Credentials<'_>) -> Verdict {
    Verdict::Allow(Arc::new(Identity::new(Method::File).named(client.client_id)))
}

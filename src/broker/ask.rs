//! Questions to the HTTP server that knows who may do what, where the rules are silent: the connection waits, as for
//! credit, until all that its packet needs to know has been answered. Answers are kept with the connection for
//! `acl.cache_s`.

use super::Broker;
use super::effects::Effects;
use super::mount::client_id_of;
use crate::acl::Action;
use crate::auth::{Credentials, OwnedCredentials, Question, QuestionWatch};
use crate::clock::Timestamp;
use crate::config::OnError;
use crate::connection::{AclAnswer, Connection};
use crate::session::ConnectionId;

/// Answers kept with a connection.
const ANSWERS_MAX: usize = 128;
/// Questions that one packet may raise; beyond them the answer is no.
const QUESTIONS_MAX: usize = 64;

/// Whether a client may do something.
#[derive(Debug)]
pub struct AclQuestion {
    /// By what its answer is known.
    pub key: u64,
    /// What it wants.
    pub action: Action,
    /// With what Topic Name or Topic Filter.
    pub topic: Box<str>,
    /// Who it is.
    pub client: OwnedCredentials,
    /// Whether it still waits for the answer.
    pub watch: QuestionWatch,
}

impl Broker {
    /// Asks what is not known yet of what a packet wants; true: its connection has to wait for an answer.
    pub(super) fn waits_for_answers<'t, E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        client_id: Option<&str>,
        wanted: impl Iterator<Item = (Action, &'t str)>,
        fx: &mut E,
    ) -> bool {
        if !self.policy.asks_http {
            return false;
        }
        let mut questions = 0;
        for (action, topic) in wanted {
            let Some(question) = self.question(now, id, client_id, action, topic) else { continue };
            questions += 1;
            if questions > QUESTIONS_MAX {
                break;
            }
            let Asked::Unknown(unknown) = question else { continue };
            let (question, asked) = *unknown;
            let key = question.key;
            let Some(connection) = self.clients.connections.get_mut(id) else { return true };
            let allowance = connection.allowance.get_or_insert_default();
            if allowance.asked.as_ref().is_some_and(|(asked, _)| *asked == key) {
                return true;
            }
            self.metrics().acl_asked.inc();
            if fx.authorize(id, question) {
                if let Some(connection) = self.clients.connections.get_mut(id) {
                    connection.allowance.get_or_insert_default().asked = Some((key, asked));
                }
                return true;
            }
            self.note_answer(now, id, key, None);
        }
        if let Some(allowance) = self.clients.connections.get_mut(id).and_then(|c| c.allowance.as_mut()) {
            allowance.is_resolving = false;
        }
        false
    }

    /// What the server would have to be asked; `None`: the rules say it.
    fn question(
        &self,
        now: Timestamp,
        id: ConnectionId,
        client_id: Option<&str>,
        action: Action,
        topic: &str,
    ) -> Option<Asked> {
        let connection = self.clients.connections.get(id)?;
        let own = self.clients.sessions.get(connection.session).map(|s| client_id_of(&s.client_id));
        let client_id = client_id.or(own).unwrap_or_default();
        if self.rules_say(connection, client_id, action, topic).is_some() {
            return None;
        }
        let key = self.question_key(action, topic);
        if let Some(allowance) = &connection.allowance
            && let Some(answer) = allowance.answers.iter().find(|answer| answer.key == key)
            && (allowance.is_resolving || answer.until > now)
        {
            return Some(Asked::Known);
        }
        let username = connection.identity.as_ref().and_then(|identity| identity.username.as_deref());
        let client = Credentials {
            client_id,
            username,
            password: None,
            remote: connection.remote.into(),
            listener: connection.listener,
            certificate: None,
        }
        .to_owned();
        let asked = Question::default();
        let watch = asked.watch();
        let question = AclQuestion { key, action, topic: topic.into(), client, watch };
        Some(Asked::Unknown(Box::new((question, asked))))
    }

    /// The server's answer, if it was asked and what it said was yes or no; otherwise what holds without.
    pub(super) fn answered_by_server(&self, connection: &Connection, action: Action, topic: &str) -> bool {
        let key = self.question_key(action, topic);
        let answers = connection.allowance.as_ref().map(|allowance| &allowance.answers);
        answers
            .and_then(|answers| answers.iter().find(|answer| answer.key == key))
            .is_some_and(|answer| answer.is_allowed)
    }

    fn question_key(&self, action: Action, topic: &str) -> u64 {
        self.clients.topic_hash(topic) ^ action as u64
    }

    /// An answer has come; its connection goes on.
    pub(super) fn authorized<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        key: u64,
        answer: Option<bool>,
        fx: &mut E,
    ) {
        let allowance = self.clients.connections.get_mut(id).and_then(|c| c.allowance.as_mut());
        let Some(allowance) = allowance else { return };
        if allowance.asked.take_if(|(asked, _)| *asked == key).is_none() {
            return;
        }
        self.note_answer(now, id, key, answer);
        self.go_on(now, id, fx);
    }

    fn note_answer(&mut self, now: Timestamp, id: ConnectionId, key: u64, answer: Option<bool>) {
        let config = self.config();
        let until = now.plus_s(u64::from(config.acl.cache_s));
        let on_error = match config.acl.on_error {
            OnError::Deny => false,
            OnError::Ignore => self.policy.no_match == crate::acl::Permission::Allow,
        };
        if answer.is_none() {
            self.metrics().acl_unanswered.inc();
        }
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        let allowance = connection.allowance.get_or_insert_default();
        allowance.is_resolving = true;
        allowance.answers.retain(|known| known.key != key);
        if allowance.answers.len() >= ANSWERS_MAX {
            allowance.answers.remove(0);
        }
        allowance.answers.push(AclAnswer { key, until, is_allowed: answer.unwrap_or(on_error) });
    }
}

/// What is known of a question.
enum Asked {
    Known,
    Unknown(Box<(AclQuestion, Question)>),
}

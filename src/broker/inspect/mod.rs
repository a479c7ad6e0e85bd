//! What operators ask of a shard: one question, one answer, in bounded time. Lists come in pages, walked by places that outlive
//! changes; whoever asks goes on until there is no next page. One file a subject; nothing here knows HTTP.

mod observe;

pub use observe::{ObserveAnswer, ObserveQuestion};

use super::Broker;
use super::effects::Effects;
use crate::clock::Timestamp;

/// What a shard is asked. One variant a subject, whose own type says what exactly.
#[derive(Debug)]
pub enum Question {
    /// Whether the shard still turns.
    Ping,
    /// About traces, slow clients, topic metrics, alarms.
    Observe(ObserveQuestion),
}

/// What a shard answers: the variant of its question.
#[derive(Debug)]
pub enum Answer {
    /// To `Question::Ping`.
    Pong,
    /// To `Question::Observe`.
    Observe(ObserveAnswer),
}

impl Broker {
    /// Answers a question, or does what is asked. Like `handle`: an input of a turn, with `Input::TurnEnd` after it, since it
    /// may have effects. No question looks at more than a bounded part of the shard's tables.
    pub fn inspect<E: Effects>(&mut self, now: Timestamp, question: Question, fx: &mut E) -> Answer {
        match question {
            Question::Ping => {
                let _ = fx;
                Answer::Pong
            }
            Question::Observe(question) => Answer::Observe(self.inspect_observed(now, question)),
        }
    }
}

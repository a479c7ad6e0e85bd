//! What routes about traces, slow clients, topic metrics and alarms share: how the shards are asked about them.

use std::time::Duration;

use super::failure::Failure;
use crate::admin::desk::Desk;
use crate::broker::{Answer, ObserveAnswer, ObserveQuestion, Question};
use crate::topic::{self, TopicLimits};

/// How long the shards have to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What every shard answers, in their order.
pub(super) async fn ask_everywhere(
    desk: &Desk,
    question: impl Fn() -> ObserveQuestion,
) -> Result<Vec<ObserveAnswer>, Failure> {
    let answers = desk.ask_all(|| Question::Observe(question()), PATIENCE).await?;
    let observed = |answer| match answer {
        Answer::Observe(answer) => Some(answer),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(observed).collect())
}

/// Whether a shard has done what it was asked for: it had room for it, or had what was to go.
fn is_done(answer: &ObserveAnswer) -> bool {
    matches!(answer, ObserveAnswer::Done(true))
}

/// Has every shard do something; whether all have done it.
pub(super) async fn do_everywhere(
    desk: &Desk,
    question: impl Fn() -> ObserveQuestion,
) -> Result<bool, Failure> {
    let answers = ask_everywhere(desk, question).await?;
    Ok(answers.iter().all(is_done))
}

/// Has every shard let go of something; whether any had it. One that had not is no matter: an earlier request may have come to
/// some of them only.
pub(super) async fn undo_everywhere(
    desk: &Desk,
    question: impl Fn() -> ObserveQuestion,
) -> Result<bool, Failure> {
    let answers = ask_everywhere(desk, question).await?;
    Ok(answers.iter().any(is_done))
}

/// `filter` is one that topics can be compared with.
pub(super) fn check_filter(desk: &Desk, key: &str, filter: &str) -> Result<(), Failure> {
    let config = desk.config();
    let limits =
        TopicLimits { len_max: config.limits.topic_len_max, levels_max: config.limits.topic_levels_max };
    if filter.starts_with("$share/") || topic::check_filter(filter, &limits).is_err() {
        return Err(Failure::bad_request(format!(
            "{key}: expected a Topic Filter, as a/+/c, not {filter:?}"
        )));
    }
    Ok(())
}

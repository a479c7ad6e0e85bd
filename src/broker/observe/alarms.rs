//! The alarms of the node, kept by shard 0: what is wrong now, and what was lately. Each is raised once, and cleared once it is
//! over: `$SYS/…/alarms/<id>/{alert,clear}`, the log, the API.

use std::collections::VecDeque;

use serde_json::json;

use super::super::Broker;
use super::super::effects::Effects;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::metrics::datetime_utc;
use crate::packet::QoS;

/// Alarms that are over and still remembered.
const CLEARED_MAX: usize = 100;

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What it is called: a level of a topic.
    pub id: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// Since when, in milliseconds of Unix time.
    pub raised_at_ms: u64,
    /// Until when; `None`: it is still so.
    pub cleared_at_ms: Option<u64>,
}

/// What is wrong, and what was.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    active: Vec<Alarm>,
    cleared: VecDeque<Alarm>,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Raised,
    Cleared,
}

impl Alarms {
    /// What is wrong now; `None`: nothing (any more). The message of an active alarm may change without raising it again.
    fn set(&mut self, now_ms: u64, id: &'static str, message: Option<String>) -> Option<Change> {
        let at = self.active.iter().position(|alarm| alarm.id == id);
        match (at, message) {
            (None, None) => None,
            (None, Some(message)) => {
                self.active.push(Alarm { id, message, raised_at_ms: now_ms, cleared_at_ms: None });
                Some(Change::Raised)
            }
            (Some(at), Some(message)) => {
                if let Some(alarm) = self.active.get_mut(at) {
                    alarm.message = message;
                }
                None
            }
            (Some(at), None) => {
                if self.cleared.len() == CLEARED_MAX {
                    self.cleared.pop_front();
                }
                self.cleared.push_back(Alarm { cleared_at_ms: Some(now_ms), ..self.active.remove(at) });
                Some(Change::Cleared)
            }
        }
    }

    pub(super) fn is_active(&self, id: &str) -> bool {
        self.active.iter().any(|alarm| alarm.id == id)
    }
}

impl Broker {
    /// The alarms that are active, then the last ones that are over, newest first. Shard 0 has them.
    pub(in crate::broker) fn alarms(&self) -> Vec<Alarm> {
        let Self { observe, .. } = self;
        observe.alarms.active.iter().chain(observe.alarms.cleared.iter().rev()).cloned().collect()
    }

    /// Something is wrong (`message`), or nothing is: raises or clears the alarm `id`, if that is new.
    pub(super) fn alarm<E: Effects>(
        &mut self,
        now: Timestamp,
        id: &'static str,
        message: Option<String>,
        fx: &mut E,
    ) {
        let unix_ms = self.shared.started_unix_ms + now.0;
        match self.observe.alarms.set(unix_ms, id, message) {
            None => return,
            Some(Change::Raised) => {
                let Some(alarm) = self.observe.alarms.active.last() else { return };
                tracing::warn!(target: "alarm", id, "{}", alarm.message);
                let alert = alert_of(alarm);
                // Retained: who subscribes later sees what is wrong.
                self.publish_alarm(now, id, "alert", true, &alert, fx);
            }
            Some(Change::Cleared) => {
                let since = self.observe.alarms.cleared.back().map_or(0, |alarm| alarm.raised_at_ms / 1000);
                tracing::info!(target: "alarm", id, since = datetime_utc(since), "this is over");
                let clear = json!({ "id": id, "ts": unix_ms / 1000 }).to_string();
                self.publish_alarm(now, id, "alert", true, "", fx);
                self.publish_alarm(now, id, "clear", false, &clear, fx);
            }
        }
        self.metrics().alarms.set(self.observe.alarms.active.len() as u64);
    }

    /// A reload may have changed where alarms are published, or whether: what is retained there would never be taken back.
    pub(in crate::broker) fn move_alarms<E: Effects>(&mut self, now: Timestamp, former: &Config, fx: &mut E) {
        if topic_of(former, "", "") == topic_of(self.config(), "", "") {
            return;
        }
        for alarm in self.observe.alarms.active.clone() {
            if let Some(topic) = topic_of(former, alarm.id, "alert") {
                self.publish_of_node(now, &topic, &[], true, QoS::AtMostOnce, fx);
            }
            self.publish_alarm(now, alarm.id, "alert", true, &alert_of(&alarm), fx);
        }
    }

    fn publish_alarm<E: Effects>(
        &mut self,
        now: Timestamp,
        id: &str,
        what: &str,
        retain: bool,
        payload: &str,
        fx: &mut E,
    ) {
        if let Some(topic) = topic_of(self.config(), id, what) {
            self.publish_of_node(now, &topic, payload.as_bytes(), retain, QoS::AtMostOnce, fx);
        }
    }
}

/// Where something is said of an alarm; `None`: there is no `$SYS`.
fn topic_of(config: &Config, id: &str, what: &str) -> Option<String> {
    let is_on = config.sys.interval_s > 0;
    is_on.then(|| format!("{}/{}/alarms/{id}/{what}", config.sys.prefix, config.node.name))
}

fn alert_of(alarm: &Alarm) -> String {
    let Alarm { id, message, raised_at_ms, .. } = alarm;
    let ts = raised_at_ms / 1000;
    json!({ "id": id, "severity": "warning", "title": id, "summary": message, "ts": ts }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_and_cleared_once() {
        let mut alarms = Alarms::default();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(alarms.set(1, "a", None), None);
        assert_eq!(alarms.set(2, "a", is("x")), Some(Change::Raised));
        assert_eq!(alarms.set(3, "a", is("y")), None);
        assert_eq!(alarms.active.first().map(|alarm| alarm.message.as_str()), Some("y"));
        assert!(alarms.is_active("a") && !alarms.is_active("b"));
        assert_eq!(alarms.set(4, "a", None), Some(Change::Cleared));
        assert_eq!(alarms.set(5, "a", None), None);
        let over = alarms.cleared.back().map(|alarm| (alarm.raised_at_ms, alarm.cleared_at_ms));
        assert_eq!(over, Some((2, Some(4))));
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut alarms = Alarms::default();
        for n in 0..250 {
            alarms.set(n, "a", Some(String::new()));
            alarms.set(n, "a", None);
        }
        assert_eq!(alarms.cleared.len(), CLEARED_MAX);
        assert_eq!(alarms.cleared.front().map(|alarm| alarm.raised_at_ms), Some(150));
    }
}

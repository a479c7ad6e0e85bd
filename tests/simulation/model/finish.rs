//! The checks at the end, when everything has come to rest: what should have arrived and did not.

use super::message::{Message, MessageNumber, Stored, matches};
use super::session::Session;
use super::will::{Verdict, WILL_SLACK_MS};
use super::{Model, SessionNumber, THINNED_LEN};
use crate::trace::{Check, broken, ensure};

impl Model {
    /// Everything that is owed has come. `calm_from` is the stamp after which nobody published any more.
    pub fn finish(&mut self, now: u64, calm_from: u64) -> Check {
        self.finish_wills(now)?;
        for session in 0..self.sessions.len() {
            self.finish_owed(session, now, calm_from)?;
            self.finish_retained(session, now)?;
        }
        self.sys_at_rest(now)?;
        self.finish_shared(now)
    }

    /// Each Will that is due was published once, in its time.
    fn finish_wills(&mut self, now: u64) -> Check {
        for socket in 0..self.connections.len() {
            let Some(will) = &mut self.connections[socket].will else { continue };
            will.decide(now);
            let will = *will;
            let of_watcher = self.sessions.iter().filter(|s| s.client == self.watcher);
            let got: Vec<_> = of_watcher.map(|s| s.got(will.message)).filter(|got| got.any > 0).collect();
            let seen: u32 = got.iter().map(|got| got.any).sum();
            if let (Verdict::Must { not_after, .. }, Some(first)) = (will.verdict, got.first()) {
                ensure(first.first_at <= not_after, "will-in-time", || {
                    format!("socket {socket}: Will {will:?} was seen only at {}", first.first_at)
                })?;
            }
            // One that lives shorter than it may be under way may expire there.
            let lasts =
                self.messages[will.message].expiry_s.is_none_or(|s| u64::from(s) * 1000 > WILL_SLACK_MS);
            let expected = match will.verdict {
                Verdict::Must { .. } => u32::from(self.queue_len_max >= 100 && lasts)..=1,
                Verdict::Never | Verdict::Armed => 0..=0,
                Verdict::Waiting { .. } | Verdict::May => 0..=1,
            };
            if let Verdict::Must { .. } = will.verdict {
                self.checked.wills += 1;
                // From here on it counts as a message like any other.
                self.messages[will.message].accepted = Some(u64::MAX);
            }
            ensure(expected.contains(&seen), "will-exactly-when-due", || {
                format!("socket {socket}: Will {will:?} was seen {seen} times by the watcher")
            })?;
        }
        Ok(())
    }

    /// No message is lost but by the rule of the full mqueue: the oldest goes.
    fn finish_owed(&mut self, number: SessionNumber, now: u64, calm_from: u64) -> Check {
        let session = &self.sessions[number];
        if session.ended.is_some() {
            return Ok(());
        }
        let mut lost = Vec::new();
        for (message, m) in self.messages.iter().enumerate() {
            if m.accepted.is_some() && session.is_owed(m) {
                self.checked.owed += 1;
                if session.got(message).any == 0 {
                    lost.push(message);
                }
            }
        }
        let before = lost.len();
        lost.retain(|&message| !self.has_expired_waiting(session, message, now));
        self.checked.expired_waiting += (before - lost.len()) as u64;
        self.checked.dropped += lost.len() as u64;
        for message in lost {
            self.check_lost(session, message, calm_from)?;
        }
        Ok(())
    }

    fn check_lost(&self, session: &Session, number: MessageNumber, calm_from: u64) -> Check {
        let lost = &self.messages[number];
        let began = lost.interval().0;
        let may_follow = |(other, m): &(usize, &Message)| {
            *other != number
                && !m.sent.is_empty()
                && m.interval().1 > began
                && (m.qos > 0 || self.queue_qos0)
                && session.live(m).next().is_some()
        };
        let later: usize =
            self.messages.iter().enumerate().filter(may_follow).map(|(_, m)| m.sent.len()).sum();
        let since = lost.passages.iter().map(|p| p.from).min().unwrap_or(0);
        let lengths = self.settings.during(since, u64::MAX).map(|config| config.session.queue_len_max);
        let len_max = lengths.min().unwrap_or(self.queue_len_max);
        let len_max = if self.is_thinned { len_max.min(THINNED_LEN) } else { len_max };
        ensure(later >= len_max as usize, "no-message-lost", || {
            format!(
                "client {} never got message {number} {lost:?}; {later} may have come after it",
                session.client
            )
        })?;
        // In a time offline that nothing followed, all that is older than a dropped one is dropped too.
        let (from, to) = lost.interval();
        let Some(window) = session.offline.iter().find(|w| w.0 <= from && to <= w.1 && w.1 >= calm_from)
        else {
            return Ok(());
        };
        for (other, m) in self.messages.iter().enumerate() {
            let inside = m.interval().0 >= window.0 && m.interval().1 < from;
            if inside && session.is_owed(m) && session.got(other).any > 0 {
                return broken(
                    "drop-oldest",
                    format!("client {} lost {number} but got the older {other}", session.client),
                );
            }
        }
        Ok(())
    }

    /// Who subscribed has the last retained message of each topic.
    fn finish_retained(&mut self, number: SessionNumber, now: u64) -> Check {
        let session = &self.sessions[number];
        if session.ended.is_some() {
            return Ok(());
        }
        for (index, s) in session.subscriptions.iter().enumerate() {
            let lasting = s.acked.is_some() && s.qos_max() > 0 && session.definite_until(index) == u64::MAX;
            if !s.snapshot.is_certain() || !lasting {
                continue;
            }
            for (topic, &floor) in &s.floors {
                let of_topic =
                    || self.messages.iter().filter(|m| m.topic == *topic && m.retain && !m.sent.is_empty());
                // What was sent twice may have replaced a newer one; what is weaker than QoS 1 may be dropped; what is
                // too large is not kept.
                let weak = of_topic().any(|m| {
                    let unsure = m.delete || m.qos == 0 || m.will || m.stored != Stored::Yes;
                    m.sent.len() > 1 || m.key >= floor && unsure
                });
                let numbers = || (0..self.messages.len()).filter(|&n| self.messages[n].topic == *topic);
                let weak = weak
                    || numbers().any(|n| {
                        self.messages[n].key >= floor
                            && self.messages[n].retain
                            && self.may_have_expired(n, true, now)
                    });
                let fits =
                    |m: &Message| session.packet_max.is_none_or(|max| m.size + topic.len() + 64 <= max);
                let own = of_topic().any(|m| m.publisher == session.client) && s.no_local;
                if weak || own || !of_topic().all(fits) || self.queue_len_max < 100 {
                    continue;
                }
                self.checked.retained += 1;
                let newest = session.newest_retained.get(topic).copied().unwrap_or(0);
                ensure(newest >= floor, "retained-never-missed", || {
                    format!(
                        "client {} subscribed to {} and got only key {newest} of {topic}, not {floor}",
                        session.client, s.filter
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Each message of a Shared Subscription that had a lasting member came to some member.
    fn finish_shared(&mut self, now: u64) -> Check {
        for number in 0..self.messages.len() {
            let message = &self.messages[number];
            if message.accepted.is_none() || message.qos == 0 || !message.topic.starts_with("s/") {
                continue;
            }
            let lasting = |session: &Session| {
                session.ended.is_none()
                    && session.subscriptions.iter().enumerate().any(|(index, s)| {
                        s.share.is_some()
                            && s.qos_max() > 0
                            && matches(&s.filter, &message.topic)
                            && s.acked.is_some_and(|at| at < message.interval().0)
                            && session.definite_until(index) == u64::MAX
                    })
            };
            // Too large for the member that is chosen: dropped.
            let fits =
                |s: &Session| s.packet_max.is_none_or(|max| message.size + message.topic.len() + 64 <= max);
            if !self.sessions.iter().filter(|s| self.workers[s.client]).all(fits) {
                continue;
            }
            let qos_2_may_be_gone = message.qos == 2 && self.members_gone > 0;
            if self.may_have_expired(number, false, now) {
                continue;
            }
            if qos_2_may_be_gone || self.queue_len_max < 100 || !self.sessions.iter().any(lasting) {
                continue;
            }
            self.checked.shared += 1;
            let seen = self.sessions.iter().filter(|s| self.workers[s.client]).any(|s| s.got(number).any > 0);
            ensure(seen, "shared-no-message-lost", || format!("no member got message {number} {message:?}"))?;
        }
        Ok(())
    }

    /// What a new subscriber to everything got is all that is retained: for each topic the last accepted or a later
    /// one, and nothing of a topic whose last accepted is a deletion that nothing followed.
    pub fn audit(&mut self, session: SessionNumber, gauge: Option<u64>, now: u64) -> Check {
        let session = &self.sessions[session];
        for (topic, &last) in &self.retained {
            let of_topic =
                || self.messages.iter().filter(|m| m.topic == *topic && m.retain && !m.sent.is_empty());
            let found = self.messages.iter().position(|m| m.topic == *topic && m.retain && m.key == last);
            let Some(number) = found else { continue };
            let accepted = &self.messages[number];
            // A QoS 1 PUBLISH that was repeated, and what was never accepted, may have come in between.
            let unsure = of_topic().any(|m| m.key > last || m.sent.len() > 1);
            if unsure || accepted.stored == Stored::Maybe {
                continue;
            }
            self.checked.retained += 1;
            let got = session.newest_retained.get(topic).copied();
            let expected = (!accepted.delete && accepted.stored == Stored::Yes).then_some(last);
            let expired = got.is_none() && self.may_have_expired(number, true, now);
            ensure(got == expected || expired, "retained-is-the-last", || {
                format!("{topic}: a new subscriber got key {got:?}, the last accepted is {accepted:?}")
            })?;
        }
        let seen = session.newest_retained.len() as u64;
        let mut unseen: Vec<&str> = self.messages.iter().filter(|m| m.retain).map(|m| &*m.topic).collect();
        unseen.sort_unstable();
        unseen.dedup();
        unseen
            .retain(|topic| !session.newest_retained.contains_key(*topic) && self.may_be_counted(topic, now));
        let right = |gauge: u64| (seen..=seen + unseen.len() as u64).contains(&gauge);
        ensure(gauge.is_none_or(right), "retained-gauge", || {
            format!("{seen} retained messages and of {unseen:?} perhaps, but the gauge says {gauge:?}")
        })
    }
}

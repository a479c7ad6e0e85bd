//! What happens when a timer fires: Keep Alive, connect timeout, retry, session expiry, Will Delay, `$SYS`.
//! Timers are lazy: one that fires too early for what is true now is set again, none is ever cancelled.

use std::sync::Arc;

use super::effects::{Effects, Timer};
use super::{Broker, rates};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::connection::{Error, Phase};
use crate::session::{ConnectionId, UNSENT};

impl Broker {
    pub(super) fn start_timers<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        fx.set_timer(Timer::RetainedSweep, now.plus_s(10));
        // The first tree comes soon.
        self.want_sys(now, self.config().sys.interval_s.min(1), fx);
        self.want_memory_look(now, fx);
        self.want_look(now, fx);
    }

    /// A new configuration is in effect; `$SYS` may begin with it, end, or come at another pace from now on.
    pub(super) fn reload<E: Effects>(&mut self, now: Timestamp, config: Arc<Config>, fx: &mut E) {
        self.clients.grants.reload(&config);
        self.paces_bytes = rates::paces_bytes(&config);
        self.clients.sight.lengths.configure(&config);
        self.modules.reload(&self.clients.config, &config);
        let former = std::mem::replace(&mut self.clients.config, config);
        self.want_memory_look(now, fx);
        self.move_alarms(now, &former, fx);
        let interval_s = self.config().sys.interval_s;
        if interval_s != former.sys.interval_s {
            self.want_sys(now, interval_s, fx);
        }
    }

    /// Sets the timer of the next `$SYS` tree; 0: there is none.
    pub(super) fn want_sys<E: Effects>(&mut self, now: Timestamp, interval_s: u32, fx: &mut E) {
        self.sys_at = (self.shard.0 == 0 && interval_s > 0).then(|| now.plus_s(u64::from(interval_s)));
        if let Some(at) = self.sys_at {
            fx.set_timer(Timer::Sys, at);
        }
    }

    pub(super) fn timer<E: Effects>(&mut self, now: Timestamp, timer: Timer, fx: &mut E) {
        match timer {
            Timer::Connection(index) => self.connection_timer(now, index, fx),
            Timer::Session(index) => self.session_timer(now, index, fx),
            Timer::Sys if self.sys_at.is_some_and(|at| at <= now) => self.publish_sys(now, fx),
            // Set before a reload that changed the pace.
            Timer::Sys => {}
            Timer::RetainedSweep => {
                self.sampling.tell_left_out(now);
                self.sweep_retained(now, fx);
            }
            Timer::Resume(index) => self.resume_timer(now, index, fx),
            Timer::Memory => self.memory_look(now, fx),
            Timer::Legacies => self.pass_on_legacies(now, fx),
            Timer::Look => self.look(now, fx),
            Timer::Drain => self.send_away(now, fx),
            Timer::Delayed => self.publish_delayed(now, fx),
        }
    }

    fn connection_timer<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        self.clients.connections.timer_fired(index, now);
        let Some(id) = self.clients.connections.id_at(index) else { return };
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        if connection.phase != Phase::Connected {
            let timeout_s = self.clients.config.limits.connect_timeout_s;
            let at = connection.heard_at.plus_s(u64::from(timeout_s));
            if at > now {
                return self.clients.want_connection_timer(index, at, fx);
            }
            self.metrics().connect_timeouts.inc();
            return self.fail(now, id, &Error::ConnectTimeout(timeout_s), fx);
        }
        if let Some(at) = connection.identity.as_ref().and_then(|identity| identity.expires_at) {
            if at <= now {
                return self.fail(now, id, &Error::CredentialsExpired, fx);
            }
            self.clients.want_connection_timer(index, at, fx);
        }
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        let max_ms = connection.silence_max_ms;
        if connection.stalled {
            // Its PINGREQs lie unread in the socket: that is not its fault.
            connection.heard_at = now;
        }
        let silence_ms = now.ms_since(connection.heard_at);
        if max_ms > 0 {
            if silence_ms >= u64::from(max_ms) {
                self.metrics().keep_alive_timeouts.inc();
                return self.fail(now, id, &Error::KeepAlive { silence_ms, max_ms }, fx);
            }
            let at = connection.heard_at.plus_ms(u64::from(max_ms));
            self.clients.want_connection_timer(index, at, fx);
        }
        self.retry(now, id, fx);
        self.want_retry_timer(now, id, fx);
    }

    /// Sends again what a connected 3.x client has not acknowledged for `session.retry_interval_s`. Off by default:
    /// 5.0 forbids it [MQTT-4.4.0-1].
    fn retry<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let interval_s = self.config().session.retry_interval_s;
        let Some(connection) = self.clients.connections.get(id) else { return };
        if interval_s == 0 || connection.is_v5() {
            return;
        }
        let index = connection.session;
        let now_s = (now.0 / 1000) as u32;
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        if let Some(outbound) = &mut session.outbound {
            let is_due = |sent_s: u32| sent_s != UNSENT && now_s.saturating_sub(sent_s) >= interval_s;
            outbound.inflight.mark_unsent_where(|delivery| is_due(delivery.sent_s));
            self.clients.pump(now, index, fx);
        }
    }

    /// Looks again for what has to be sent again.
    pub(super) fn want_retry_timer<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let interval_s = self.config().session.retry_interval_s;
        let is_v5 = self.clients.connections.get(id).is_some_and(|connection| connection.is_v5());
        if interval_s > 0 && !is_v5 {
            self.clients.want_connection_timer(id.index, now.plus_s(u64::from(interval_s)), fx);
        }
    }

    fn session_timer<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        let client = self.clients.client_hash(index);
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        if session.timer_at.is_some_and(|at| at <= now) {
            session.timer_at = None;
        }
        if session.expires_at().is_some_and(|at| at <= now) {
            return self.end_session(now, index, fx);
        }
        if session.will_at().is_some_and(|at| at <= now)
            && let Some(will) = session.will.take()
        {
            let is_kept = self.clients.journal.keeps(session);
            self.write_session(index, false);
            self.publish_will(now, *will, client, is_kept, fx);
        }
        self.want_session_end(index, fx);
    }
}

//! What SIGHUP changes while the broker runs, and what has to wait for a restart.

use super::Config;
use super::keys::{Change, KEYS, LISTENER};

/// The outcome of reading the configuration again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// What is in effect from now on: the running configuration with the changes that need no restart.
    pub config: Config,
    /// The keys that changed, as `session.queue_len_max`.
    pub changed: Vec<String>,
    /// The keys that differ from what is running and wait for a restart; `listener` stands for all listeners.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// What becomes of a running broker with the configuration `self` when `new` is asked for.
    pub fn diff_live(&self, new: &Self) -> Reload {
        let mut reload = Reload { config: self.clone(), changed: Vec::new(), needs_restart: Vec::new() };
        for key in &KEYS {
            let value = (key.read)(new);
            if value == (key.read)(self) {
                continue;
            }
            match key.change {
                // `new` was checked, so its value fits; were it not to, the old one stays and is named below.
                Change::Live if key.store(&mut reload.config, value).is_ok() => {
                    reload.changed.push(key.path())
                }
                Change::Live | Change::Restart => reload.needs_restart.push(key.path()),
            }
        }
        if self.listeners != new.listeners {
            reload.needs_restart.push(LISTENER.into());
        }
        reload
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn live_keys_change_and_the_others_are_named() {
        let running = Config::default();
        let new = "node.shards = 2\nlimits.receive_max = 7\nlimits.subscriptions_expected = 5\nlog.level = \"debug\"\n\
                   [[listener]]\nurl = \"mqtt://127.0.0.1:1884\"";
        let reload = running.diff_live(&Config::from_toml(new, "new").unwrap());
        assert_eq!(reload.changed, ["limits.receive_max", "log.level"]);
        assert_eq!(reload.needs_restart, ["node.shards", "limits.subscriptions_expected", "listener"]);
        let mut expected = running.clone();
        expected.limits.receive_max = 7;
        expected.log.level = "debug".into();
        assert_eq!(reload.config, expected);
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let running = Config::default();
        let reload = running.diff_live(&running);
        assert_eq!(reload, Reload { config: running, changed: Vec::new(), needs_restart: Vec::new() });
    }
}

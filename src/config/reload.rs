//! What SIGHUP changes while the broker runs, and what has to wait for a restart.

use super::keys::{Change, KEYS, Key, LISTENER, LISTENER_KEYS};
use super::{Config, Listener, repeated};

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
        for key in KEYS {
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
        self.diff_listeners(new, &mut reload);
        for section in repeated::ALL.iter().filter(|section| !(section.is_same)(self, new)) {
            match section.change {
                Change::Live => {
                    (section.take)(&mut reload.config, new);
                    reload.changed.push(section.name.into());
                }
                Change::Restart => reload.needs_restart.push(section.name.into()),
            }
        }
        reload
    }

    /// The live keys of listeners change where the listeners are the same ones in the same order.
    fn diff_listeners(&self, new: &Self, reload: &mut Reload) {
        // The door of the bridges comes and goes with them, at a restart.
        let own = |listener: &&Listener| !listener.is_internal;
        let new_ones: Vec<&Listener> = new.listeners.iter().filter(own).collect();
        let is_same =
            self.listeners.iter().filter(own).map(|old| &old.url).eq(new_ones.iter().map(|new| &new.url));
        if is_same {
            let running = reload.config.listeners.iter_mut().filter(|listener| !listener.is_internal);
            for (running, new) in running.zip(&new_ones) {
                // Headers are demanded, or not, until the restart: who may send them belongs to that.
                let is_proxy_same = running.proxy_protocol == new.proxy_protocol;
                let is_live = |key: &&Key<Listener>| {
                    key.change == Change::Live && (key.name != "trusted" || is_proxy_same)
                };
                for key in LISTENER_KEYS.iter().filter(is_live) {
                    let value = (key.read)(new);
                    let differs = value != (key.read)(running);
                    if differs && key.store(running, value).is_ok() && !reload.changed.contains(&key.path()) {
                        reload.changed.push(key.path());
                    }
                }
            }
        }
        if !reload.config.listeners.iter().filter(own).eq(new_ones) {
            reload.needs_restart.push(LISTENER.into());
        }
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
    fn live_keys_of_a_listener_change_where_it_stays() {
        let read =
            |keys: &str| Config::from_toml(&format!("[[listener]]\nurl = 'mqtt://127.0.0.1'\n{keys}"), "a");
        let running = read("access = ['deny all']").unwrap();
        let reload = running.diff_live(&read("access = ['allow 127.0.0.1', 'deny all']").unwrap());
        assert_eq!(
            (reload.changed.as_slice(), reload.needs_restart.len()),
            (&["listener.access".into()][..], 0)
        );
        assert_eq!(reload.config.listeners[0].access.texts(), ["allow 127.0.0.1/32", "deny all"]);
        let reload = running.diff_live(&read("backlog = 7").unwrap());
        assert_eq!(
            (reload.changed.as_slice(), reload.needs_restart),
            (&["listener.access".into()][..], vec!["listener".into()])
        );
        assert_eq!(reload.config.listeners[0].backlog, 1024);
    }

    #[test]
    fn who_is_trusted_stays_while_headers_of_proxies_wait_for_a_restart() {
        let read = |keys: &str| {
            let text = format!("[[listener]]\nurl = 'mqtt://127.0.0.1'\nallow_anonymous = true\n{keys}");
            Config::from_toml(&text, "a").unwrap()
        };
        let proxied = read("proxy_protocol = true\ntrusted = ['10.0.0.7']");
        for (running, new) in [(&proxied, &read("")), (&read(""), &proxied)] {
            let reload = running.diff_live(new);
            assert_eq!(&reload.config, running);
            assert_eq!((reload.changed.len(), reload.needs_restart), (0, vec!["listener".into()]));
        }
        let other = read("proxy_protocol = true\ntrusted = ['10.0.0.8']");
        let reload = proxied.diff_live(&other);
        assert_eq!((reload.config, reload.needs_restart.len()), (other, 0));
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let running = Config::default();
        let reload = running.diff_live(&running);
        assert_eq!(reload, Reload { config: running, changed: Vec::new(), needs_restart: Vec::new() });
    }
}

//! Sections that may be there any number of times, other than `[[listener]]`: which there are, their keys, and where the
//! configuration has them. Reading, printing and reloading walk `ALL`.

use super::keys::{Change, Key};
use super::modules::ENTRIES_MAX;
use super::value::{Field, Form, Value};
use super::{AutoSubscription, Bridge, Config, Rewrite, Webhook};

/// What an entry of such a section is.
pub(super) trait Repeated: Sized + Default + Clone + PartialEq + 'static {
    /// The section's name.
    const SECTION: &'static str;
    /// Keys that an entry must have.
    const REQUIRED: &'static [&'static str];
    /// When a changed list has effect.
    const CHANGE: Change;
    /// Its keys, in the order of `myriad.toml`.
    fn keys() -> &'static [Key<Self>];
    /// Where the configuration has them.
    fn of(config: &mut Config) -> &mut Vec<Self>;
    /// The same, to read.
    fn all(config: &Config) -> &[Self];
    /// Whether an entry can be used: the key at fault and what is wrong.
    fn check(&self) -> Result<(), (&'static str, String)>;
}

macro_rules! entry_key {
    ($type:ident, $name:ident$(.$more:ident)*, $form:expr) => {
        Key::new(
            (<$type as Repeated>::SECTION, concat!(stringify!($name) $(, ".", stringify!($more))*)),
            $form,
            <$type as Repeated>::CHANGE,
            |entry: &$type| entry.$name$(.$more)*.to_value(),
            |entry: &mut $type, value| {
                Field::from_value(value).map(|value| entry.$name$(.$more)* = value).is_some()
            },
        )
    };
}

macro_rules! repeated {
    ($($type:ident $section:literal $field:ident, required $required:expr, $change:ident: $keys:ident = [
        $($name:ident$(.$more:ident)* => $form:expr),+ $(,)?
    ];)+) => {
        $(
            static $keys: &[Key<$type>] = &[$(entry_key!($type, $name$(.$more)*, $form)),+];

            impl Repeated for $type {
                const SECTION: &'static str = $section;
                const REQUIRED: &'static [&'static str] = &$required;
                const CHANGE: Change = Change::$change;
                fn keys() -> &'static [Key<Self>] {
                    $keys
                }
                fn of(config: &mut Config) -> &mut Vec<Self> {
                    &mut config.$field
                }
                fn all(config: &Config) -> &[Self] {
                    &config.$field
                }
                fn check(&self) -> Result<(), (&'static str, String)> {
                    $type::check(self)
                }
            }
        )+

        /// Every such section, with what is done for it.
        pub(super) static ALL: &[Section] = &[$(Section::of::<$type>()),+];
    };
}

/// Which entry can't be used, the key at fault, what is wrong.
type Fault = (usize, &'static str, String);
/// An entry's keys and values.
type Shown = Vec<(&'static str, Value)>;

/// One such section, whatever its entries are.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Names of its keys.
    pub(super) keys: fn() -> Vec<&'static str>,
    /// Forgets what other documents said.
    pub(super) clear: fn(&mut Config),
    /// Adds an entry with the defaults of its keys.
    pub(super) push: fn(&mut Config),
    /// Sets a key of the newest entry; `None`: there is no such key.
    pub(super) store: fn(&mut Config, &str, Value) -> Option<Result<(), String>>,
    /// Keys that an entry must have.
    pub(super) required: &'static [&'static str],
    /// The first entry that can't be used.
    pub(super) check: fn(&Config) -> Result<(), Fault>,
    /// Every entry as it is.
    pub(super) entries: fn(&Config) -> Vec<Shown>,
    /// Whether two configurations have the same.
    pub(super) is_same: fn(&Config, &Config) -> bool,
    /// Takes those of another configuration.
    pub(super) take: fn(&mut Config, &Config),
    pub(super) change: Change,
}

impl Section {
    const fn of<R: Repeated>() -> Self {
        Self {
            name: R::SECTION,
            keys: || R::keys().iter().map(|key| key.name).collect(),
            clear: |config| R::of(config).clear(),
            push: |config| R::of(config).push(R::default()),
            store: |config, name, value| {
                let key = R::keys().iter().find(|key| key.name == name)?;
                R::of(config).last_mut().map(|entry| key.store(entry, value))
            },
            required: R::REQUIRED,
            check: |config| {
                let all = R::all(config);
                if let Some(at) = (all.len() > ENTRIES_MAX).then_some(ENTRIES_MAX) {
                    let key = R::REQUIRED.first().copied().unwrap_or_default();
                    let problem = format!("more than {ENTRIES_MAX} [[{}]]: put several into one", R::SECTION);
                    return Err((at, key, problem));
                }
                let find = |(at, entry): (usize, &R)| entry.check().err().map(|(key, what)| (at, key, what));
                all.iter().enumerate().find_map(find).map_or(Ok(()), Err)
            },
            entries: |config| {
                let values = |entry: &R| R::keys().iter().map(|key| (key.name, (key.read)(entry))).collect();
                R::all(config).iter().map(values).collect()
            },
            is_same: |one, other| R::all(one) == R::all(other),
            take: |into, from| *R::of(into) = R::all(from).to_vec(),
            change: R::CHANGE,
        }
    }
}

/// The section of that name.
pub(super) fn find(name: &str) -> Option<&'static Section> {
    ALL.iter().find(|section| section.name == name)
}

repeated! {
    AutoSubscription "subscription" subscriptions, required ["filter"], Live: SUBSCRIPTION_KEYS = [
        filter => Form::Text,
        qos => Form::Count(0, 2),
        no_local => Form::Flag,
        retain_as_published => Form::Flag,
        retain_handling => Form::Count(0, 2),
    ];
    Rewrite "rewrite" rewrites, required ["topic", "pattern", "to"], Live: REWRITE_KEYS = [
        topic => Form::Text,
        pattern => Form::Text,
        to => Form::Text,
        on => Form::Texts,
    ];
    Bridge "bridge" bridges, required ["name", "url"], Restart: BRIDGE_KEYS = [
        name => Form::Text,
        url => Form::Text,
        client_id => Form::Text,
        username => Form::Text,
        password_file => Form::Text,
        version => Form::Choice(&Bridge::VERSIONS),
        clean_start => Form::Flag,
        keep_alive_s => Form::Seconds(5, 65_535),
        inflight_max => Form::Count(1, 10_000),
        expiry_s => Form::Seconds(0, u32::MAX),
        forward => Form::Texts,
        subscribe => Form::Texts,
        tls.ca => Form::Text,
        tls.cert => Form::Text,
        tls.key => Form::Text,
    ];
    Webhook "webhook" webhooks, required ["url", "events"], Restart: WEBHOOK_KEYS = [
        url => Form::Text,
        events => Form::Texts,
        topics => Form::Texts,
        authorization_file => Form::Text,
        batch_max => Form::Count(1, 10_000),
        linger_ms => Form::Count(0, 60_000),
        queue_len_max => Form::Count(1, 1_000_000),
        timeout_ms => Form::Count(1, 300_000),
        retries => Form::Count(0, 100),
    ];
}

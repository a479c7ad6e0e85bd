//! One value of the configuration: as written (`Value`), the form that a key demands of it (`Form`), and the field's
//! type (`Field`). Durations and sizes may be written with units: "48h", "64 KiB".

use std::fmt;
use std::path::PathBuf;

use toml::de::DeValue;

use super::{
    AccessRules, Durability, FileMode, HttpMethod, ListenerUrl, LogFormat, LogTarget, Networks, NoMatch,
    OnError, ShardCount, SharedStrategy, TokenFrom,
};

/// A value as it was written, and as it is printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    /// Strings in brackets.
    Texts(Vec<String>),
    /// A kind of TOML that no key takes, by its name.
    Other(&'static str),
}

impl Value {
    /// The value in a document.
    pub(super) fn of_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(Self::Other("an integer beyond 64 bits"), Self::Integer),
            DeValue::Float(float) => float.as_str().parse().map_or(Self::Other("a float"), Self::Float),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(items) => texts(items.iter().map(toml::Spanned::get_ref))
                .map_or(Self::Other("an array of other things than strings"), Self::Texts),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }

    /// The value behind the `=` of `--set`: as in the file, where strings may lack their quotes.
    pub(super) fn of_argument(text: &str) -> Self {
        match DeValue::parse(text) {
            Ok(value) => Self::of_toml(value.get_ref()),
            Err(_) => Self::Text(text.trim().into()),
        }
    }
}

/// What a table with a `filter` says, as words: the filter, then the other keys and their values (a route of a bridge).
fn words(table: &toml::de::DeTable<'_>) -> Option<String> {
    let value = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => Some(integer.as_str().to_owned()),
        _ => None,
    };
    let mut words = value(table.get("filter")?.get_ref())?;
    for (key, item) in table.iter().filter(|(key, _)| key.get_ref() != "filter") {
        words.push_str(&format!(" {} {}", key.get_ref(), value(item.get_ref())?));
    }
    Some(words)
}

/// The strings of an array, if all are.
fn texts<'t, 'i: 't>(items: impl Iterator<Item = &'t DeValue<'i>>) -> Option<Vec<String>> {
    items
        .map(|item| match item {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Table(table) => words(table),
            _ => None,
        })
        .collect()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Self::Texts(texts) => {
                let strings = texts.iter().cloned().map(toml::Value::String);
                write!(f, "{}", toml::Value::Array(strings.collect()))
            }
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// What a key takes. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// A whole number.
    Count(u32, u32),
    /// Seconds, or a duration with units.
    Seconds(u32, u32),
    /// Bytes, or a size with units.
    Bytes(u32, u32),
    /// Bytes of any number, or a size with units.
    Size,
    /// A number with a fraction.
    Factor(f64, f64),
    /// true or false.
    Flag,
    /// Any string.
    Text,
    /// Any strings, in brackets; one alone may lack them.
    Texts,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// "auto", or a whole number up to this.
    Shards(u16),
    /// A `ListenerUrl`.
    Url,
    /// `AccessRules`; one alone may lack the brackets.
    Access,
    /// `Networks`; one alone may lack the brackets.
    Networks,
    /// A `FileMode`.
    Mode,
    /// Levels of the log.
    LogLevel,
}

/// The levels that `log.level` knows, most silent first.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Form {
    /// `value` as the field takes it: units resolved, range checked. Otherwise what is wrong, and what was expected.
    pub(super) fn resolve(self, value: Value) -> Result<Value, String> {
        let resolved = match (self, &value) {
            (Self::Count(min, max), Value::Integer(n)) => whole(*n, min, max),
            (Self::Seconds(min, max), Value::Integer(n)) => whole(*n, min, max),
            (Self::Seconds(min, max), Value::Text(text)) => seconds(text).and_then(|n| whole(n, min, max)),
            (Self::Bytes(min, max), Value::Integer(n)) => whole(*n, min, max),
            (Self::Bytes(min, max), Value::Text(text)) => bytes(text).and_then(|n| whole(n, min, max)),
            (Self::Size, Value::Integer(n)) => (*n >= 0).then(|| value.clone()),
            (Self::Size, Value::Text(text)) => bytes(text).map(Value::Integer),
            (Self::Factor(min, max), Value::Float(x)) => (min..=max).contains(x).then_some(Value::Float(*x)),
            (Self::Factor(..), Value::Integer(n)) => {
                let n = f64::from(i32::try_from(*n).unwrap_or(i32::MAX));
                return self.resolve(Value::Float(n));
            }
            (Self::Flag, Value::Flag(_)) | (Self::Text, Value::Text(_)) | (Self::Texts, Value::Texts(_)) => {
                Some(value.clone())
            }
            (Self::Texts, Value::Text(text)) => Some(Value::Texts(vec![text.clone()])),
            (Self::Choice(names), Value::Text(text)) => names.contains(&text.as_str()).then(|| value.clone()),
            (Self::Shards(max), Value::Integer(n)) => whole(*n, 1, u32::from(max)),
            (Self::Shards(_), Value::Text(text)) => (text == "auto").then(|| value.clone()),
            (Self::Url, Value::Text(text)) => match text.parse::<ListenerUrl>() {
                Ok(_) => Some(value.clone()),
                Err(error) => return Err(error.to_string()),
            },
            (Self::Access, Value::Texts(texts)) => Some(Value::Texts(AccessRules::parse(texts)?.texts())),
            (Self::Networks, Value::Texts(texts)) => Some(Value::Texts(Networks::parse(texts)?.texts())),
            (Self::Access | Self::Networks, Value::Text(text)) => {
                return self.resolve(Value::Texts(vec![text.clone()]));
            }
            (Self::Mode, Value::Text(text)) => FileMode::parse(text).map(|mode| mode.to_value()),
            (Self::LogLevel, Value::Text(text)) => log_level_is_valid(text).then(|| value.clone()),
            _ => None,
        };
        resolved.ok_or_else(|| format!("expected {self}, not {value}"))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Seconds(min, max) => write!(f, "seconds from {min} to {max}, as 30, \"90s\" or \"48h\""),
            Self::Bytes(min, max) => write!(f, "bytes from {min} to {max}, as 4096 or \"64 KiB\""),
            Self::Size => f.write_str("bytes, as 4096 or \"64 KiB\""),
            Self::Factor(min, max) => write!(f, "a number from {min:?} to {max:?}"),
            Self::Flag => f.write_str("true or false"),
            Self::Text => f.write_str("a string"),
            Self::Texts => f.write_str("strings in brackets, as [\"a\", \"b\"]"),
            Self::Choice(names) => write!(f, "one of {}", quoted(names)),
            Self::Shards(max) => write!(f, "\"auto\" or a whole number from 1 to {max}"),
            Self::Url => f.write_str("a URL as \"mqtt://127.0.0.1:1883\""),
            Self::Access => f.write_str("rules in brackets, as [\"allow 192.168.1.0/24\", \"deny all\"]"),
            Self::Networks => f.write_str("networks in brackets, as [\"10.0.0.0/8\", \"192.0.2.7\"]"),
            Self::Mode => f.write_str("permissions in octal digits, as \"0660\""),
            Self::LogLevel => {
                write!(
                    f,
                    "one of {}, or levels by module as \"info,myriad::broker=debug\"",
                    quoted(&LOG_LEVELS)
                )
            }
        }
    }
}

/// `"a", "b"`.
fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn whole(n: i64, min: u32, max: u32) -> Option<Value> {
    (i64::from(min)..=i64::from(max)).contains(&n).then_some(Value::Integer(n))
}

/// `level`, or `level,module=level,…`.
fn log_level_is_valid(text: &str) -> bool {
    text.split(',').all(|part| match part.split_once('=') {
        Some((module, level)) => !module.trim().is_empty() && LOG_LEVELS.contains(&level.trim()),
        None => LOG_LEVELS.contains(&part.trim()),
    })
}

/// A duration of one or more parts: "48h", "1h 30m", "90 s", or a bare number of seconds.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(n) = text.trim().parse::<i64>() {
        return Some(n);
    }
    let mut rest = text.trim();
    let mut sum = 0_i64;
    while !rest.is_empty() {
        let (n, after) = leading_number(rest)?;
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_len)?;
        let scale = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        sum = sum.checked_add(n.checked_mul(scale)?)?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// A size: "64 KiB" (1024s), "64 KB" (1000s), "1MiB", "12 B", or a bare number of bytes.
fn bytes(text: &str) -> Option<i64> {
    let (n, unit) = leading_number(text.trim())?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    n.checked_mul(scale)
}

/// The number at the start (with `_` between digits, as in TOML), and what follows it and its blanks.
fn leading_number(text: &str) -> Option<(i64, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(len)?;
    let n = digits.replace('_', "").parse().ok()?;
    Some((n, rest.trim_start()))
}

/// A type that a key's value is kept in.
pub(super) trait Field: Sized {
    /// For printing; what `from_value` takes back.
    fn to_value(&self) -> Value;
    /// The field; `None` where a `Form` was too wide for it (a test rules that out).
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! integer_field {
    ($($integer:ty),+) => {
        $(impl Field for $integer {
            fn to_value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }
            fn from_value(value: Value) -> Option<Self> {
                if let Value::Integer(n) = value { n.try_into().ok() } else { None }
            }
        })+
    };
}

integer_field!(u8, u16, u32);

impl Field for u64 {
    fn to_value(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(n) = value { n.try_into().ok() } else { None }
    }
}

impl Field for f32 {
    fn to_value(&self) -> Value {
        // By way of its shortest decimal form, so that 1.1 is printed as 1.1 and not as the nearest `f32`.
        Value::Float(self.to_string().parse().unwrap_or_else(|_| f64::from(*self)))
    }
    fn from_value(value: Value) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation)] // the nearest f32 is meant
        if let Value::Float(x) = value { Some(x as f32) } else { None }
    }
}

impl Field for bool {
    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Flag(flag) = value { Some(flag) } else { None }
    }
}

impl Field for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl Field for Vec<String> {
    fn to_value(&self) -> Value {
        Value::Texts(self.clone())
    }
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Texts(texts) = value { Some(texts) } else { None }
    }
}

/// What may be left out is an empty string where it is printed.
impl<T: Field> Field for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or_else(|| Value::Text(String::new()), Field::to_value)
    }
    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Text(String::new()) { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl Field for PathBuf {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }
    fn from_value(value: Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl Field for ListenerUrl {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn from_value(value: Value) -> Option<Self> {
        String::from_value(value)?.parse().ok()
    }
}

impl Field for AccessRules {
    fn to_value(&self) -> Value {
        Value::Texts(self.texts())
    }
    fn from_value(value: Value) -> Option<Self> {
        Self::parse(&Vec::from_value(value)?).ok()
    }
}

impl Field for Networks {
    fn to_value(&self) -> Value {
        Value::Texts(self.texts())
    }
    fn from_value(value: Value) -> Option<Self> {
        Self::parse(&Vec::from_value(value)?).ok()
    }
}

impl Field for FileMode {
    fn to_value(&self) -> Value {
        Value::Text(format!("{:04o}", self.0))
    }
    fn from_value(value: Value) -> Option<Self> {
        Self::parse(&String::from_value(value)?)
    }
}

impl Field for ShardCount {
    fn to_value(&self) -> Value {
        match self {
            Self::Auto => Value::Text("auto".into()),
            Self::Count(n) => n.to_value(),
        }
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => (text == "auto").then_some(Self::Auto),
            other => u16::from_value(other).map(Self::Count),
        }
    }
}

impl Durability {
    /// The names in the file.
    pub(super) const NAMES: [&str; 3] = ["sync", "interval", "memory"];
}

impl Field for Durability {
    fn to_value(&self) -> Value {
        let [sync, interval, memory] = Self::NAMES;
        let name = match self {
            Self::Sync => sync,
            Self::Interval => interval,
            Self::Memory => memory,
        };
        Value::Text(name.into())
    }
    fn from_value(value: Value) -> Option<Self> {
        [Self::Sync, Self::Interval, Self::Memory]
            .into_iter()
            .find(|durability| durability.to_value() == value)
    }
}

impl LogTarget {
    /// The names in the file.
    pub(super) const NAMES: [&str; 3] = ["stderr", "journald", "file"];
}

impl Field for LogTarget {
    fn to_value(&self) -> Value {
        let [stderr, journald, file] = Self::NAMES;
        let name = match self {
            Self::Stderr => stderr,
            Self::Journald => journald,
            Self::File => file,
        };
        Value::Text(name.into())
    }
    fn from_value(value: Value) -> Option<Self> {
        [Self::Stderr, Self::Journald, Self::File].into_iter().find(|target| target.to_value() == value)
    }
}

impl LogFormat {
    /// The names in the file.
    pub(super) const NAMES: [&str; 2] = ["text", "json"];
}

impl Field for LogFormat {
    fn to_value(&self) -> Value {
        let [text, json] = Self::NAMES;
        Value::Text(if *self == Self::Text { text } else { json }.into())
    }
    fn from_value(value: Value) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.to_value() == value)
    }
}

impl NoMatch {
    /// The names in the file.
    pub(super) const NAMES: [&str; 2] = ["allow", "deny"];
}

impl Field for NoMatch {
    fn to_value(&self) -> Value {
        let [allow, deny] = Self::NAMES;
        Value::Text(if *self == Self::Allow { allow } else { deny }.into())
    }
    fn from_value(value: Value) -> Option<Self> {
        [Self::Allow, Self::Deny].into_iter().find(|no_match| no_match.to_value() == value)
    }
}

impl SharedStrategy {
    /// The names in the file, in the order of `ALL`.
    pub(super) const NAMES: [&str; 6] =
        ["round_robin", "random", "least_inflight", "sticky", "hash_publisher", "hash_topic"];
    const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastInflight,
        Self::Sticky,
        Self::HashPublisher,
        Self::HashTopic,
    ];
}

impl Field for SharedStrategy {
    fn to_value(&self) -> Value {
        let named = Self::ALL.iter().zip(Self::NAMES).find(|(strategy, _)| *strategy == self);
        named.map_or(Value::Other("unnamed"), |(_, name)| Value::Text(name.into()))
    }
    fn from_value(value: Value) -> Option<Self> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().zip(Self::NAMES).find(|(_, name)| *name == text).map(|(strategy, _)| strategy)
    }
}

macro_rules! named_field {
    ($($field:ident: $($value:ident $name:literal),+;)+) => {
        $(impl $field {
            /// The names in the file.
            pub(super) const NAMES: [&str; [$($name),+].len()] = [$($name),+];
        }

        impl Field for $field {
            fn to_value(&self) -> Value {
                match self {
                    $(Self::$value => Value::Text($name.into()),)+
                }
            }
            fn from_value(value: Value) -> Option<Self> {
                match String::from_value(value)?.as_str() {
                    $($name => Some(Self::$value),)+
                    _ => None,
                }
            }
        })+
    };
}

named_field! {
    TokenFrom: Password "password", Username "username";
    HttpMethod: Get "get", Post "post";
    OnError: Deny "deny", Ignore "ignore";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("48h", 172_800),
            ("90s", 90),
            ("90 s", 90),
            ("2 min", 120),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m10s", 5410),
            ("2d", 172_800),
            ("1w", 604_800),
            ("30", 30),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", " ", "h", "48 hours", "1.5h", "-1s", "1h,30m", "9999999999999999999s", "百h", "1百"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1 MB", 1_000_000),
            ("1_000", 1000),
            ("2 GiB", 2_147_483_648),
            ("12 B", 12),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "KiB", "64 Kib s", "1.5 MiB", "-1", "9223372036854775807 KiB", "64 千"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn ranges_are_inclusive_and_hold_for_units_too() {
        let form = Form::Seconds(1, 60);
        assert_eq!(form.resolve(Value::Text("1m".into())), Ok(Value::Integer(60)));
        assert!(form.resolve(Value::Text("61s".into())).is_err());
        assert!(form.resolve(Value::Integer(0)).is_err());
        let problem = Form::Bytes(128, 4096).resolve(Value::Text("1 MiB".into())).unwrap_err();
        assert_eq!(problem, "expected bytes from 128 to 4096, as 4096 or \"64 KiB\", not \"1 MiB\"");
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(Form::Mode.resolve(Value::Text("660".into())), Ok(Value::Text("0660".into())));
        for text in ["", "0o660", "8", "1777", "-1", "+660", "rw"] {
            let problem = Form::Mode.resolve(Value::Text(text.into())).unwrap_err();
            assert!(problem.starts_with("expected permissions"), "{problem}");
        }
    }

    #[test]
    fn factors_take_whole_numbers_and_refuse_nan() {
        let form = Form::Factor(1.0, 100.0);
        assert_eq!(form.resolve(Value::Integer(2)), Ok(Value::Float(2.0)));
        assert!(form.resolve(Value::Float(f64::NAN)).is_err());
        assert!(form.resolve(Value::Integer(i64::MAX)).is_err());
    }

    #[test]
    fn log_levels_by_module() {
        for text in ["off", "info", "info,myriad::broker=debug", "myriad=trace, warn"] {
            assert!(log_level_is_valid(text), "{text}");
        }
        for text in ["", "debgu", "myriad=loud", "=info", "info,", "INFO"] {
            assert!(!log_level_is_valid(text), "{text}");
        }
    }

    #[test]
    fn arguments_may_lack_quotes() {
        assert_eq!(Value::of_argument("100"), Value::Integer(100));
        assert_eq!(Value::of_argument("1_000"), Value::Integer(1000));
        assert_eq!(Value::of_argument("1.5"), Value::Float(1.5));
        assert_eq!(Value::of_argument("true"), Value::Flag(true));
        assert_eq!(Value::of_argument("48h"), Value::Text("48h".into()));
        assert_eq!(Value::of_argument("\"48h\""), Value::Text("48h".into()));
        assert_eq!(Value::of_argument("64 KiB"), Value::Text("64 KiB".into()));
        assert_eq!(Value::of_argument(""), Value::Text(String::new()));
        assert_eq!(Value::of_argument("['a', \"b\"]"), Value::Texts(vec!["a".into(), "b".into()]));
        assert!(matches!(Value::of_argument("['a', 1]"), Value::Other(_)));
    }

    #[test]
    fn one_string_is_a_list_of_it() {
        let one = Form::Texts.resolve(Value::Text("deny all".into())).unwrap();
        assert_eq!(Vec::<String>::from_value(one.clone()), Some(vec!["deny all".into()]));
        assert_eq!(one.to_string(), "[\"deny all\"]");
        assert!(
            Form::Texts.resolve(Value::Integer(1)).unwrap_err().starts_with("expected strings in brackets")
        );
    }

    #[test]
    fn what_is_left_out_is_empty_where_it_is_printed() {
        let path = Some(PathBuf::from("a"));
        for value in [None, path] {
            assert_eq!(Option::<PathBuf>::from_value(value.to_value()), Some(value));
        }
    }

    #[test]
    fn sizes_may_exceed_32_bits() {
        assert_eq!(Form::Size.resolve(Value::Text("20 GiB".into())), Ok(Value::Integer(20 << 30)));
        assert!(Form::Size.resolve(Value::Integer(-1)).is_err());
    }

    #[test]
    fn every_shared_strategy_has_its_name() {
        for (strategy, name) in SharedStrategy::ALL.into_iter().zip(SharedStrategy::NAMES) {
            assert_eq!(strategy.to_value(), Value::Text(name.into()));
            assert_eq!(SharedStrategy::from_value(strategy.to_value()), Some(strategy));
        }
    }
}

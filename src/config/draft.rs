//! A configuration in the making: defaults, then the file, then the command line, each over what came before; and
//! where each value was written, so that an error found at the end still names its line.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, LISTENER};
use super::redact::{shown_key, shown_unknown, shown_value};
use super::value::{Form, Value};
use super::{Config, Error, Listener, ListenerUrl, Origin, ShardCount, check, repeated};

/// The configuration so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    config: Config,
    /// Where each value was written, by `section.key`; those of listeners by `listener[0].key`, and `listener[0]`.
    origins: BTreeMap<String, Origin>,
}

/// A document, with what an error needs to name a line of it.
#[derive(Clone, Copy)]
struct Document<'a> {
    name: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn origin(self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Origin::Line { file: self.name.into(), line: 1 + before.bytes().filter(|&b| b == b'\n').count() }
    }

    fn error(self, offset: usize, problem: String) -> Error {
        Error { origin: self.origin(offset), problem }
    }
}

/// A key with its value, somewhere below a section.
struct Entry<'t, 'i> {
    /// The keys on the way to it, with dots between.
    name: String,
    offset: usize,
    value: &'t DeValue<'i>,
}

/// All below `table` in the order of the file, so that the first error is the one that stands first. The keys of a table
/// in it are its own, after its name and a dot.
fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut found = Vec::new();
    collect("", table, &mut found);
    found.sort_by_key(|entry| entry.offset);
    found
}

fn collect<'t, 'i>(prefix: &str, table: &'t DeTable<'i>, into: &mut Vec<Entry<'t, 'i>>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            // The depth is that of the document, which the parser limits.
            DeValue::Table(table) if !table.is_empty() => collect(&format!("{name}."), table, into),
            value => into.push(Entry { name, offset: key.span().start, value }),
        }
    }
}

impl Draft {
    /// Takes all that the document `text` says.
    pub(super) fn file(&mut self, text: &str, name: &str) -> Result<(), Error> {
        let document = Document { name, text };
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            document.error(offset, format!("not TOML: {}", error.message().replace('\n', ", ")))
        })?;
        let mut sections: Vec<_> = table.get_ref().iter().collect();
        sections.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in sections {
            let (section, offset) = (key.get_ref().as_ref(), key.span().start);
            match value.get_ref() {
                DeValue::Array(items) if section == LISTENER => self.listeners(document, items.iter())?,
                DeValue::Array(items) if repeated::find(section).is_some() => {
                    self.repeated(document, section, items.iter())?;
                }
                _ if repeated::find(section).is_some() => {
                    let problem = format!("this is written under [[{section}]], in double brackets");
                    return Err(document.error(offset, problem));
                }
                _ if section == LISTENER => {
                    let problem = "a listener is written under [[listener]], in double brackets".into();
                    return Err(document.error(offset, problem));
                }
                DeValue::Table(table) if keys::is_section(section) => {
                    self.section(document, section, table)?
                }
                DeValue::Table(_) | DeValue::Array(_) => {
                    return Err(document.error(offset, keys::unknown_section(section)));
                }
                _ => return Err(document.error(offset, keys::unknown_key("", section))),
            }
        }
        Ok(())
    }

    fn section(&mut self, document: Document<'_>, section: &str, table: &DeTable<'_>) -> Result<(), Error> {
        for Entry { name, offset, value } in entries(table) {
            let Some(key) = keys::find(section, &name) else {
                return Err(document.error(offset, keys::unknown_key(section, &name)));
            };
            key.store(&mut self.config, Value::of_toml(value))
                .map_err(|problem| document.error(offset, format!("{section}.{name}: {problem}")))?;
            self.origins.insert(key.path(), document.origin(offset));
        }
        Ok(())
    }

    fn listeners<'t, 'i: 't>(
        &mut self,
        document: Document<'_>,
        items: impl Iterator<Item = &'t Spanned<DeValue<'i>>>,
    ) -> Result<(), Error> {
        self.config.listeners.clear();
        for (index, item) in items.enumerate() {
            let here = item.span().start;
            let DeValue::Table(table) = item.get_ref() else {
                return Err(document.error(here, "expected [[listener]] and its keys below".into()));
            };
            let mut listener = Listener::default();
            let mut has_url = false;
            for Entry { name, offset, value } in entries(table) {
                let Some(key) = keys::find_of_listener(&name) else {
                    return Err(document.error(offset, keys::unknown_key(LISTENER, &name)));
                };
                key.store(&mut listener, Value::of_toml(value))
                    .map_err(|problem| document.error(offset, format!("{LISTENER}.{name}: {problem}")))?;
                has_url |= name == "url";
                self.origins.insert(format!("{LISTENER}[{index}].{name}"), document.origin(offset));
            }
            if !has_url {
                let problem = "this [[listener]] lacks its url, as url = \"mqtt://127.0.0.1:1883\"".into();
                return Err(document.error(here, problem));
            }
            self.config.listeners.push(listener);
        }
        Ok(())
    }

    /// A section that may be there any number of times.
    fn repeated<'t, 'i: 't>(
        &mut self,
        document: Document<'_>,
        name: &str,
        items: impl Iterator<Item = &'t Spanned<DeValue<'i>>>,
    ) -> Result<(), Error> {
        let Some(section) = repeated::find(name) else { return Ok(()) };
        (section.clear)(&mut self.config);
        for (index, item) in items.enumerate() {
            let here = item.span().start;
            let DeValue::Table(table) = item.get_ref() else {
                return Err(document.error(here, format!("expected [[{name}]] and its keys below")));
            };
            (section.push)(&mut self.config);
            let mut missing = section.required.to_vec();
            for Entry { name: key, offset, value } in entries(table) {
                match (section.store)(&mut self.config, &key, Value::of_toml(value)) {
                    None => return Err(document.error(offset, keys::unknown_key(name, &key))),
                    Some(Err(problem)) => {
                        return Err(document.error(offset, format!("{name}.{key}: {problem}")));
                    }
                    Some(Ok(())) => {}
                }
                missing.retain(|wanted| **wanted != *key);
                self.origins.insert(format!("{name}[{index}].{key}"), document.origin(offset));
            }
            if let Some(key) = missing.first() {
                return Err(document.error(here, format!("this [[{name}]] lacks its {key}")));
            }
        }
        Ok(())
    }

    /// `--listen`: these listeners in place of those of the file.
    pub(super) fn listen(&mut self, urls: &[ListenerUrl]) {
        if urls.is_empty() {
            return;
        }
        self.origins.retain(|key, _| !key.starts_with(LISTENER));
        self.config.listeners = urls.iter().cloned().map(Listener::at).collect();
        for (index, url) in urls.iter().enumerate() {
            self.origins
                .insert(format!("{LISTENER}[{index}].url"), Origin::Argument(format!("--listen {url}")));
        }
    }

    /// `--shards`
    pub(super) fn shards(&mut self, shards: ShardCount) {
        self.config.node.shards = shards;
    }

    /// `--data-dir`. Not by way of a string: a path may be no UTF-8.
    pub(super) fn data_dir(&mut self, path: &Path) {
        self.config.node.data_dir = path.into();
        self.origins.insert("node.data_dir".into(), Origin::Argument("--data-dir".into()));
    }

    /// `--log LEVEL`
    pub(super) fn log(&mut self, level: &str) -> Result<(), Error> {
        self.assign(&Origin::Argument(format!("--log {level}")), "log.level", level)
    }

    /// `--set KEY=VALUE`. `listener.KEY` sets that key of every listener.
    pub(super) fn set(&mut self, assignment: &str) -> Result<(), Error> {
        let Some((path, value)) = assignment.split_once('=') else {
            let origin = Origin::Argument(format!("--set {}", shown_key(assignment)));
            return Err(Error { origin, problem: "expected KEY=VALUE, as session.queue_len_max=100".into() });
        };
        let (path, value) = (path.trim(), value.trim());
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let is_known = match section {
            LISTENER => keys::find_of_listener(name).is_some(),
            _ => keys::find(section, name).is_some(),
        };
        // It stands in errors, and those in logs.
        let shown = if is_known { shown_value(name, value) } else { shown_unknown(path, value) };
        self.assign(&Origin::Argument(format!("--set {path}={shown}")), path, value)
    }

    fn assign(&mut self, origin: &Origin, path: &str, value: &str) -> Result<(), Error> {
        let error = |problem| Error { origin: origin.clone(), problem };
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        if repeated::find(section).is_some() {
            return Err(error(format!("[[{section}]] is a list: it can only be written in the file")));
        }
        if section == LISTENER {
            let key = keys::find_of_listener(name).ok_or_else(|| error(keys::unknown_key(section, name)))?;
            for (index, listener) in self.config.listeners.iter_mut().enumerate() {
                key.store(listener, argument(key.form, value)).map_err(error)?;
                self.origins.insert(format!("{LISTENER}[{index}].{name}"), origin.clone());
            }
            return Ok(());
        }
        let key = keys::find(section, name).ok_or_else(|| error(keys::unknown_key(section, name)))?;
        key.store(&mut self.config, argument(key.form, value)).map_err(error)?;
        self.origins.insert(key.path(), origin.clone());
        Ok(())
    }

    /// The configuration, derived limits filled in, after the checks that need more than one value. What can be used but is
    /// hardly meant goes to `warn`, a line each.
    pub(super) fn finish(mut self, warn: impl FnMut(String)) -> Result<Config, Error> {
        check::derive(&mut self.config);
        check::check(&self.config).map_err(|(key, problem)| {
            let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
            Error { origin, problem }
        })?;
        let origin = |key: &str| self.origins.get(key).unwrap_or(&Origin::Default);
        check::verdict_in_time(&self.config, origin)
            .map(|warning| warning.to_string())
            .into_iter()
            .for_each(warn);
        Ok(self.config)
    }
}

/// The value of an argument; what reads as a number is still text where text is due, as in `--set node.name=7`.
fn argument(form: Form, text: &str) -> Value {
    match (form, Value::of_argument(text)) {
        (_, value @ Value::Text(_)) => value,
        (Form::Text, _) => Value::Text(text.into()),
        (_, value) => value,
    }
}

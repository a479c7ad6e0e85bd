//! The configuration that is being made, and what became of each line of the old one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use toml::Value;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in effect.
    Mapped,
    /// It is so anyway, or is nobody's business any more.
    Needless,
    /// It is in effect, with a difference.
    Changed,
    /// It is not in effect.
    Unmapped,
}

/// A line and its fate.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// File and line.
    pub(super) place: String,
    pub(super) line: String,
    pub(super) fate: Fate,
    /// The reason, and the nearest thing.
    pub(super) why: String,
}

/// A line of an old configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// File and line.
    pub(super) place: String,
    /// What stands there; secrets hidden.
    pub(super) line: String,
}

#[derive(Debug)]
struct Setting {
    section: &'static str,
    key: &'static str,
    value: Value,
    from: String,
}

/// A listener that is being made.
#[derive(Debug, Default)]
pub(super) struct ListenerDraft {
    settings: Vec<(&'static str, Value, String)>,
}

impl ListenerDraft {
    /// Sets a key; the last one counts.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>, from: &str) {
        self.settings.retain(|(old, ..)| *old != key);
        self.settings.push((key, value.into(), from.into()));
    }

    /// Takes what another one has.
    pub(super) fn take(&mut self, other: &mut Self) {
        self.settings.append(&mut other.settings);
    }
}

/// The configuration that is being made.
#[derive(Debug)]
pub(super) struct Draft {
    source: String,
    /// Where the old files are.
    folder: PathBuf,
    /// Where the new ones go.
    target: PathBuf,
    settings: Vec<Setting>,
    pub(super) listeners: Vec<ListenerDraft>,
    /// Files that the configuration names, to be written beside it.
    pub(super) files: Vec<(String, String)>,
    pub(super) notes: Vec<Note>,
    /// What is said at the top of the file.
    remarks: Vec<String>,
    /// Tables at its end, and whether they are in effect.
    appendix: Vec<(String, bool)>,
}

/// Sections in the order of `myriad.toml`.
const SECTIONS: [&str; 15] = [
    "node",
    "limits",
    "session",
    "mqtt",
    "retained",
    "auth",
    "auth.file",
    "auth.client_id",
    "auth.http.auth_req",
    "auth.http.super_req",
    "auth.http.acl_req",
    "storage",
    "sys",
    "acl",
    "log",
];

impl Draft {
    pub(super) fn new(file: &Path, output: Option<&Path>) -> Self {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
        let target = output.and_then(|path| std::path::absolute(path).ok());
        Self {
            source: file.display().to_string(),
            folder,
            target: target.and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default(),
            settings: Vec::new(),
            listeners: Vec::new(),
            files: Vec::new(),
            notes: Vec::new(),
            remarks: Vec::new(),
            appendix: Vec::new(),
        }
    }

    /// Sets `section.key`; the last one counts. Says nothing of a line.
    pub(super) fn put(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
        from: &str,
    ) {
        self.settings.retain(|setting| (setting.section, setting.key) != (section, key));
        self.settings.push(Setting { section, key, value: value.into(), from: from.into() });
    }

    /// The value of `section.key` so far.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&Value> {
        self.settings.iter().find(|s| s.section == section && s.key == key).map(|s| &s.value)
    }

    /// Whether the configuration has something that not everybody should read.
    pub(super) fn may_have_secrets(&self) -> bool {
        self.settings.iter().any(|setting| setting.section.starts_with("auth.http"))
    }

    /// Sets a key because of a line.
    pub(super) fn map(
        &mut self,
        origin: &Origin,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) {
        self.put(section, key, value, &origin.line);
        self.note(origin, Fate::Mapped, "");
    }

    pub(super) fn note(&mut self, origin: &Origin, fate: Fate, why: impl Into<String>) {
        let Origin { place, line } = origin.clone();
        self.notes.push(Note { place, line, fate, why: why.into() });
    }

    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// Adds tables of TOML at the end, as comments where this version does not know them. Whether it does.
    pub(super) fn block(&mut self, toml: String) -> bool {
        let is_known = myriad::config::Config::from_toml(&toml, "").is_ok();
        self.appendix.push((toml, is_known));
        is_known
    }

    /// Sets a key that this version may not have yet. Whether it has.
    pub(super) fn map_if_known(
        &mut self,
        origin: &Origin,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
    ) {
        let value = value.into();
        let alone = format!("[{section}]\n{key} = {value}\n");
        match myriad::config::Config::from_toml(&alone, "") {
            Ok(_) => self.map(origin, section, key, value),
            Err(error) => self.note(origin, Fate::Unmapped, error.problem),
        }
    }

    /// Adds a file and returns the path that names it.
    pub(super) fn file(&mut self, name: &str, text: String) -> String {
        self.files.push((name.into(), text));
        self.target.join(name).to_string_lossy().into_owned()
    }

    /// The path of a file that the old configuration names: found from where its broker looked for it.
    pub(super) fn find(&self, path: &str) -> PathBuf {
        let above = self.folder.parent().unwrap_or(&self.folder);
        let candidates = [self.folder.join(path), above.join(path)];
        candidates.into_iter().find(|candidate| candidate.exists()).unwrap_or_else(|| path.into())
    }

    /// The same, as text.
    pub(super) fn found(&self, path: &str) -> String {
        self.find(path).to_string_lossy().into_owned()
    }

    /// The configuration as TOML, each key with the line that it comes from.
    pub(super) fn to_toml(&self) -> String {
        let mut out = format!(
            "# Made by `myriadctl import` from {}. Keys that are not here have their defaults.\n",
            self.source
        );
        for remark in &self.remarks {
            let _ = writeln!(out, "# {remark}");
        }
        for listener in &self.listeners {
            let _ = writeln!(out, "\n[[listener]]");
            for (key, value, from) in &listener.settings {
                setting(&mut out, key, value, from);
            }
        }
        for section in SECTIONS {
            let mut settings = self.settings.iter().filter(|setting| setting.section == section).peekable();
            if settings.peek().is_some() {
                let _ = writeln!(out, "\n[{section}]");
            }
            for Setting { key, value, from, .. } in settings {
                setting(&mut out, key, value, from);
            }
        }
        for (block, is_known) in &self.appendix {
            let _ = writeln!(out);
            for line in block.lines() {
                let _ = writeln!(out, "{}{line}", if *is_known { "" } else { "# " });
            }
        }
        out
    }
}

fn setting(out: &mut String, key: &str, value: &Value, from: &str) {
    let _ = write!(out, "{key} = {value}");
    if !from.is_empty() {
        let _ = write!(out, "  # {}", from.chars().filter(|c| !c.is_control()).collect::<String>());
    }
    out.push('\n');
}

/// A count for TOML; larger than it can say: its largest.
pub(super) fn count(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// `4294967295`: no limit, never.
pub(super) const ANY: u64 = u32::MAX as u64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_stay_values_and_comments_stay_comments() {
        let mut draft = Draft::new(Path::new("x.conf"), None);
        let origin = Origin { place: "x.conf:1".into(), line: "a \"b\"\nc".into() };
        draft.map(&origin, "node", "name", "a\"\n[auth]\norder = []");
        draft.map(&origin, "node", "name", "b\"\\");
        let text = draft.to_toml();
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed["node"]["name"].as_str(), Some("b\"\\"), "{text}");
        assert_eq!((parsed.len(), draft.notes.len()), (1, 2));
    }
}

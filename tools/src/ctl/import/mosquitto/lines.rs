//! The lines of a mosquitto.conf and of the files that it includes.

use std::path::Path;

use anyhow::Result;

use super::super::draft::{Draft, Fate, Origin};

/// Files within files.
const DEPTH_MAX: u32 = 8;

/// `key value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    place: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Line {
    /// As it is shown: never a password.
    pub(super) fn origin(&self) -> Origin {
        let is_secret =
            self.key.contains("password") && !self.key.ends_with("_file") || self.key.ends_with("psk");
        let value = if is_secret { "***" } else { &self.value };
        Origin { place: self.place.clone(), line: format!("{} {value}", self.key).trim_end().to_owned() }
    }
}

/// All lines that say something, in the order in which Mosquitto reads them.
pub(super) fn read(text: &str, file: &Path, draft: &mut Draft) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    collect(text, file, 0, draft, &mut lines);
    Ok(lines)
}

fn collect(text: &str, file: &Path, depth: u32, draft: &mut Draft, into: &mut Vec<Line>) {
    for (number, text) in text.lines().enumerate() {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let place = format!("{}:{}", file.display(), number + 1);
        let line = Line { place, key: key.to_owned(), value: value.trim().to_owned() };
        if key == "include_dir" {
            include(&line, depth, draft, into);
        } else {
            into.push(line);
        }
    }
}

/// The files `*.conf` of a folder, in the order of their names.
fn include(line: &Line, depth: u32, draft: &mut Draft, into: &mut Vec<Line>) {
    let origin = line.origin();
    let folder = draft.find(&line.value);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) if depth < DEPTH_MAX => entries,
        Ok(_) => return draft.note(&origin, Fate::Unmapped, "included too deeply"),
        Err(error) => {
            return draft.note(
                &origin,
                Fate::Unmapped,
                format!("the folder can't be read ({error}): import where it is"),
            );
        }
    };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort_by_key(|path| path.to_string_lossy().to_lowercase());
    draft.note(&origin, Fate::Needless, format!("{} files were read from there", files.len()));
    for file in files {
        match super::super::read(&file) {
            Ok(text) => collect(&text, &file, depth + 1, draft, into),
            Err(error) => draft.note(&origin, Fate::Unmapped, format!("{error:#}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_places_and_secrets_are_hidden() {
        let mut draft = Draft::new(Path::new("m.conf"), None);
        let text = "# c\n\nlistener 1883  0.0.0.0 \r\n  remote_password s3 cret\npassword_file /p\n";
        let lines = read(text, Path::new("m.conf"), &mut draft).unwrap();
        let shown: Vec<Origin> = lines.iter().map(Line::origin).collect();
        assert_eq!(shown[0], Origin { place: "m.conf:3".into(), line: "listener 1883  0.0.0.0".into() });
        assert_eq!(shown[1].line, "remote_password ***");
        assert_eq!((lines[1].value.as_str(), shown[2].line.as_str()), ("s3 cret", "password_file /p"));
    }

    #[test]
    fn a_folder_that_includes_itself_ends() {
        let dir = std::env::temp_dir().join(format!("myriadctl-include-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("a.conf");
        let text = format!("max_keepalive 5\ninclude_dir {}\n", dir.display());
        std::fs::write(&file, &text).unwrap();
        let mut draft = Draft::new(&file, None);
        let lines = read(&text, &file, &mut draft).unwrap();
        assert_eq!(lines.len() as u32, DEPTH_MAX + 1);
        assert!(
            draft.notes.iter().any(|note| note.fate == Fate::Unmapped && note.why.contains("too deeply"))
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}

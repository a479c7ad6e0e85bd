//! What the compiler does not check about the shape of the code: which module may name which, where the machine may
//! be touched, headers, names and sizes. Each rule is a table below; to bend one, change the table and say why.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The modules of `src`, lowest first: a module may name only what stands before it.
const LAYERS: [&str; 22] = [
    "clock",
    "slab",
    "topic",
    "packet",
    "config",
    "metrics",
    "limits",
    "acl",
    "auth",
    "session",
    "interest",
    "router",
    "retained",
    "connection",
    "storage",
    "broker",
    "cluster",
    "transport",
    "bridge",
    "admin",
    "server",
    "main",
];

/// The modules of `src` that touch the machine: sockets, clocks, threads, files.
const IMPURE: [&str; 6] = ["storage", "cluster", "bridge", "admin", "server", "main"];

/// Names that pure code has no use for, and the files of pure modules that may use one all the same.
const MACHINE: [(&str, &[&str]); 9] = [
    ("Instant", &[]),
    ("SystemTime", &[]),
    ("TcpStream", &[]),
    ("TcpListener", &[]),
    ("UdpSocket", &[]),
    // Short, bounded, and only when a client connects or leaves: never on the path of a packet.
    ("Mutex", &["src/limits/bans.rs", "src/limits/quota.rs", "src/limits/tally.rs"]),
    ("RwLock", &[]),
    ("thread", &[]),
    ("fs", &["src/config/cli.rs"]), // reads the configuration file
];

/// Crates that only package `shards` may name.
const CRATES_OF_SHARDS: [&str; 3] = ["glommio", "io_uring", "crossbeam_channel"];

/// Names that say nothing: a file or module is named after what it owns.
const EMPTY_NAMES: [&str; 9] =
    ["utils", "util", "common", "types", "helpers", "helper", "misc", "manager", "managers"];

/// Lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 700;

/// A Rust file of the repository.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// Identifiers, `::`, and single other characters, in order; without comments, strings and unit tests.
    tokens: Vec<String>,
}

impl Source {
    /// The module of `src` that the file belongs to.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split('/').next().unwrap_or(below).trim_end_matches(".rs"))
    }

    fn is_test(&self) -> bool {
        self.path.contains("tests/") || self.path.ends_with("/tests.rs")
    }

    /// The text before the unit tests.
    fn code(&self) -> &str {
        before_tests(&self.text)
    }
}

fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]").map_or(text, |at| &text[..at])
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "shards", "bench", "tools", "tests", "fuzz"] {
        rust_files(&root().join(folder), &mut paths);
    }
    assert!(paths.len() > 20, "the repository is not where it was: {} files", paths.len());
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, tokens: tokens(before_tests(&text)), text }
    };
    paths.into_iter().map(source).collect()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "corpus", "artifacts"].contains(&name.as_str())
                && !name.starts_with('.')
            {
                rust_files(&path, into);
            }
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

/// The tokens of Rust code, coarsely: comments, strings and characters are left out.
fn tokens(code: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(len) = raw_string_len(rest) {
            len
        } else if c == '"' {
            string_len(rest)
        } else if c == '\'' {
            character_len(rest)
        } else if is_word(c) {
            let len = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            tokens.push(rest[..len].to_owned());
            len
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            2
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string_len(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let open = hashes.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(hashes.len() - open.len()));
    let body = open.strip_prefix('"')?;
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// A character literal, or the quote of a lifetime.
fn character_len(text: &str) -> usize {
    let body = &text[1..];
    if body.starts_with('\\') {
        return body.char_indices().skip(2).find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 2);
    }
    let mut chars = body.chars();
    match (chars.next(), chars.next()) {
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// The modules that the tokens name behind `root` (`crate` or `myriad`), in braces too.
fn modules_named<'t>(tokens: &'t [String], root: &str) -> Vec<&'t str> {
    let mut named = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at] != root || tokens.get(at + 1).is_none_or(|token| token != "::") {
            continue;
        }
        let rest = &tokens[at + 2..];
        if rest.first().is_none_or(|token| token != "{") {
            named.extend(rest.first().map(String::as_str));
            continue;
        }
        // The first identifier after `{` and each comma of the outermost braces.
        let (mut depth, mut expects) = (0, true);
        for token in rest {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => expects = true,
                word if depth == 1 && expects => {
                    named.push(word);
                    expects = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

/// Fails with all `findings`, a line each.
fn assert_none(findings: impl IntoIterator<Item = String>, rule: &str) {
    let list = findings.into_iter().fold(String::new(), |mut list, finding| {
        let _ = write!(list, "\n  {finding}");
        list
    });
    assert!(list.is_empty(), "{rule}:{list}");
}

#[test]
fn a_module_names_only_what_stands_above_it() {
    let mut findings = Vec::new();
    for source in sources() {
        let Some(module) = source.module().filter(|module| *module != "lib") else { continue };
        let Some(rank) = LAYERS.iter().position(|layer| *layer == module) else {
            findings.push(format!("{}: `{module}` is not in LAYERS", source.path));
            continue;
        };
        let root = if module == "main" { "myriad" } else { "crate" };
        for named in modules_named(&source.tokens, root) {
            if LAYERS[rank + 1..].contains(&named) {
                findings.push(format!(
                    "{} names `{named}`, which stands below `{module}` in lib.rs",
                    source.path
                ));
            }
        }
    }
    assert_none(findings, "layers");
}

#[test]
fn lib_lists_the_modules_in_the_order_of_the_layers() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<_> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))?.strip_suffix(';')
        })
        .collect();
    let mut expected = listed.clone();
    expected.sort_by_key(|module| LAYERS.iter().position(|layer| layer == module));
    assert_eq!(listed, expected);
    assert_none(
        listed.iter().filter(|module| !LAYERS.contains(module)).map(ToString::to_string),
        "modules that are not in LAYERS",
    );
}

#[test]
fn only_the_server_names_shards() {
    let mut findings = Vec::new();
    for source in sources() {
        let Some(module) = source.module().filter(|module| *module != "server") else { continue };
        for at in 0..source.tokens.len() {
            let word = |offset: usize| source.tokens.get(at + offset).map_or("", String::as_str);
            let is_root = at == 0 || source.tokens[at - 1] != "::";
            if word(0) == "shards" && is_root && word(1) == "::" {
                findings.push(format!("{}: module `{module}` names package `shards`", source.path));
            }
        }
    }
    assert_none(findings, "only `server` may call package `shards`");
}

#[test]
fn only_shards_names_the_runtime_and_only_it_is_unsafe() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("shards/")) {
        for token in &source.tokens {
            if CRATES_OF_SHARDS.contains(&token.as_str()) || token == "unsafe" {
                findings.push(format!("{}: `{token}`", source.path));
            }
        }
    }
    assert_none(findings, "only in package `shards`");
}

#[test]
fn pure_modules_do_not_touch_the_machine() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if source.module().is_none_or(|module| IMPURE.contains(&module)) {
            continue;
        }
        for (word, exceptions) in MACHINE {
            let names_it = source.tokens.iter().any(|token| token == word);
            if names_it && !exceptions.contains(&source.path.as_str()) {
                findings.push(format!("{}: `{word}`", source.path));
            }
        }
    }
    assert_none(findings, "a function of its arguments has no use for these");
}

#[test]
fn every_file_says_what_it_owns() {
    let lacking = sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|s| s.path);
    assert_none(lacking, "a file starts with `//! ` and what it owns");
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|source| !source.is_test()).filter_map(|source| {
        let lines = source.code().lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    assert_none(long, &format!("at most {FILE_LINES_MAX} lines of code in a file"));
}

#[test]
fn no_marks_of_unfinished_work() {
    // Written in two parts, so that this file passes its own check.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let marked = sources().into_iter().filter(|source| marks.iter().any(|mark| source.text.contains(mark)));
    assert_none(marked.map(|source| source.path), "an issue is the place for what is left to do");
}

#[test]
fn names_say_what_they_own() {
    let mut findings = Vec::new();
    for source in sources() {
        let stem = source.path.rsplit('/').find(|part| *part != "mod.rs").unwrap_or_default();
        if EMPTY_NAMES.contains(&stem.trim_end_matches(".rs")) {
            findings.push(source.path.clone());
        }
        for pair in source.tokens.windows(2) {
            let is_empty_module = pair[0] == "mod" && EMPTY_NAMES.contains(&pair[1].as_str());
            if is_empty_module || (pair[0] == "fn" && is_getter(&pair[1])) {
                findings.push(format!("{}: {} {}", source.path, pair[0], pair[1]));
            }
        }
    }
    assert_none(findings, "names without a meaning");
}

/// A field's reader is named after the field. `get_mut` is what the standard library calls a collection's.
fn is_getter(name: &str) -> bool {
    name.starts_with("get_") && name != "get_mut"
}

/// The expression that `file` gives its constant `name`.
fn constant(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let start = format!("const {name}: ");
    let line = text.lines().find_map(|line| Some(line.split_once(&start)?.1));
    let line = line.unwrap_or_else(|| panic!("{file} has no constant {name}"));
    line.split_once(" = ").unwrap().1.to_owned()
}

/// `myriadctl tune` advises for rings that it can't ask: its package does not know the broker's.
#[test]
fn tune_knows_the_rings_of_shards() {
    for name in ["RING_SLOTS_MAX", "SHARD_LOCKED_BYTES"] {
        let [of_shards, of_tune] =
            ["shards/src/limits.rs", "tools/src/ctl/tune/settings.rs"].map(|file| constant(file, name));
        assert_eq!(of_shards, of_tune, "{name}");
    }
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = "use crate::{a::{b, c}, d}; // crate::x\n/* crate::y */ let s = \"crate::z \\\" crate::z\";\n\
                let r = r#\"crate::q\"#; let c = '\"'; let l: &'static str = crate::e::f('\\''); fn g<'a>() {}";
    let tokens = tokens(code);
    assert_eq!(modules_named(&tokens, "crate"), ["a", "d", "e"]);
    assert!(tokens.iter().any(|token| token == "g"), "{tokens:?}");
}

//! The configuration from outside: documents and arguments in, configurations or one-line errors out; and
//! `myriad.toml` against the code, both ways.

use clap::Parser;

use super::keys::{KEYS, LISTENER, LISTENER_KEYS};
use super::*;

fn problem(text: &str) -> String {
    Config::from_toml(text, "m.toml").unwrap_err().to_string()
}

fn arguments(line: &[&str]) -> Arguments {
    Cli::try_parse_from([&["myriad"], line].concat()).unwrap().arguments
}

fn resolve(line: &[&str]) -> Result<Config, Error> {
    arguments(line).resolve(None)
}

#[test]
fn an_empty_document_is_the_default_and_the_default_is_usable() {
    assert_eq!(Config::from_toml("", "m.toml").unwrap(), Config::default());
    assert_eq!(resolve(&[]).unwrap(), Config::default());
    assert_eq!(Config::default().listeners[0].url.to_string(), "mqtt://127.0.0.1:1883");
}

#[test]
fn the_commented_file_has_every_key_with_its_default() {
    let text = include_str!("../../myriad.toml");
    assert_eq!(Config::from_toml(text, "myriad.toml").unwrap(), Config::default());
    let document: toml::Table = text.parse().unwrap();
    for key in KEYS {
        assert!(has(&document[key.section], key.name), "myriad.toml lacks {}", key.path());
    }
    for key in LISTENER_KEYS {
        assert!(has(&document[LISTENER][0], key.name), "myriad.toml lacks {}", key.path());
    }
}

/// Whether the key is there; the dots of its name lead through tables.
fn has(table: &toml::Value, name: &str) -> bool {
    name.split('.').try_fold(table, |table, key| table.get(key)).is_some()
}

#[test]
fn the_commented_file_explains_every_key_and_marks_those_that_need_a_restart() {
    let (mut section, mut comment) = ("", String::new());
    for line in include_str!("../../myriad.toml").lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(" = ") {
            assert!(!comment.is_empty(), "no comment above {name}");
            // [auth.file] is a table of the section auth.
            let path = format!("{section}.{name}");
            let (of, key) = path.split_once('.').unwrap_or_default();
            // Those of a listener are marked once, above [[listener]].
            let restart = keys::find(of, key).is_some_and(|key| key.change == keys::Change::Restart);
            assert_eq!(comment.contains("(restart)"), restart, "{section}.{name}:{comment}");
        }
        comment.clear();
    }
}

#[test]
fn the_recipes_of_the_guide_are_configurations() {
    let guide = include_str!("../../docs/CONFIGURATION.md");
    let recipes =
        guide.split_once("## Recipes").unwrap().1.split("\n\n").filter(|block| block.starts_with("    ["));
    let mut count = 0;
    for recipe in recipes {
        let text: String = recipe.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
        Config::from_toml(&text, "CONFIGURATION.md").unwrap_or_else(|error| panic!("{error}\n{text}"));
        count += 1;
    }
    assert!(count >= 4, "{count} recipes found");
}

#[test]
fn every_section_reads_its_keys() {
    let config = Config::from_toml(
        "[node]\nname = 'n1'\nshards = 2\n[limits]\npacket_bytes_max = '64 KiB'\nkeep_alive_factor = 2\n\
         [session]\nexpiry_s = '1h 30m'\n[sys]\ninterval_s = 0\n[[listener]]\nurl = 'mqtt://localhost:1'\n\
         [[listener]]\nurl = 'mqtt://[::]:2'\nallow_anonymous = true\nmax_connections = 9",
        "m.toml",
    )
    .unwrap();
    assert_eq!(config.node.shards, ShardCount::Count(2));
    assert_eq!(config.limits.packet_bytes_max, 65_536);
    assert!((config.limits.keep_alive_factor - 2.0).abs() < f32::EPSILON);
    assert_eq!(config.session.expiry_s, 5400);
    assert_eq!(config.sys.interval_s, 0);
    let listeners: Vec<_> =
        config.listeners.iter().map(|l| (l.url.to_string(), l.allow_anonymous, l.max_connections)).collect();
    assert_eq!(
        listeners,
        [("mqtt://127.0.0.1:1".into(), false, 1_000_000), ("mqtt://[::]:2".into(), true, 9)]
    );
}

#[test]
fn an_error_names_file_line_key_and_what_was_expected() {
    assert_eq!(
        problem("[session]\n\n# a comment\nqueue_len = 5\n"),
        "m.toml:4: unknown key `session.queue_len`; the nearest known one is `session.queue_len_max`"
    );
    assert_eq!(
        problem("[limits]\nreceive_max = 0"),
        "m.toml:2: limits.receive_max: expected a whole number from 1 to 65535, not 0"
    );
    assert_eq!(
        problem("[limits]\r\nreceive_max = \"many\""),
        "m.toml:2: limits.receive_max: expected a whole number from 1 to 65535, not \"many\""
    );
    assert_eq!(
        problem("[limit]\nx = 1"),
        "m.toml:1: unknown section `limit`; the nearest known one is `limits`"
    );
    assert_eq!(
        problem("shards = 1"),
        "m.toml:1: unknown key `shards`; the nearest known one is `node.shards`"
    );
    assert_eq!(
        problem("[[listener]]\nbacklog = 5"),
        "m.toml:1: this [[listener]] lacks its url, as url = \"mqtt://127.0.0.1:1883\""
    );
    assert_eq!(
        problem("[listener]\nurl = 'mqtt://127.0.0.1'"),
        "m.toml:1: a listener is written under [[listener]], in double brackets"
    );
    assert!(problem("[node]\nname = \n").starts_with("m.toml:2: not TOML: "));
    assert!(problem("[node]\nname = 'a'\nname = 'b'").starts_with("m.toml:3: not TOML: "));
    assert!(problem("listener = 5").starts_with("m.toml:1: a listener is written under [[listener]]"));
    assert!(problem("listener = []").starts_with("default: no listener"));
    assert!(problem("listener = [5]").starts_with("m.toml:1: expected [[listener]]"));
}

#[test]
fn an_error_is_one_line() {
    for text in [
        "[a\nb",
        "[node]\nname = '''a\nb/'''",
        "a = \"\u{1}\"",
        "[node]\n'x\ty\\n' = 1",
        "[\"\\n\"]",
        "\"\\n\"=1",
    ] {
        assert!(!problem(text).contains('\n'), "{:?}", problem(text));
    }
}

#[test]
fn the_first_error_of_the_file_is_the_one_reported() {
    assert!(problem("[sys]\nx = 1\n[limits]\nx = 1").starts_with("m.toml:2:"));
}

#[test]
fn strangers_get_in_only_where_the_file_says_so() {
    for url in ["mqtt://0.0.0.0:1883", "mqtt://[::]:1883", "mqtt://192.168.1.1:1883"] {
        let open = format!("[[listener]]\nurl = '{url}'\nallow_anonymous = true");
        assert!(Config::from_toml(&open, "m.toml").is_ok(), "{url}");
        let problem = problem(&format!("[[listener]]\nurl = '{url}'"));
        assert!(problem.starts_with("m.toml:2:") && problem.contains("allow_anonymous = true"), "{problem}");
        let error = resolve(&["--listen", url]).unwrap_err();
        assert_eq!((error.exit_status(), error.origin), (2, Origin::Argument(format!("--listen {url}"))));
        assert!(resolve(&["--listen", url, "--set", "listener.allow_anonymous=true"]).is_ok(), "{url}");
    }
}

#[test]
fn two_listeners_need_two_addresses() {
    let twice = |url: &str| resolve(&["--listen", url, "--listen", url]);
    assert!(twice("mqtt://127.0.0.1:1").unwrap_err().problem.contains("two listeners"));
    assert!(twice("mqtt://127.0.0.1:0").is_ok(), "the kernel chooses two different ports");
    assert!(resolve(&["--listen", "mqtt://127.0.0.1:1", "--listen", "ws://127.0.0.1:1"]).is_err());
    let both = [
        "--listen",
        "mqtt://0.0.0.0:1",
        "--listen",
        "mqtt://[::]:1",
        "--set",
        "listener.allow_anonymous=true",
    ];
    assert!(resolve(&both).is_ok(), "[::] leaves IPv4 to the other");
}

#[test]
fn whoever_may_say_who_a_client_is_must_be_named() {
    let listener = |keys: &str| format!("[[listener]]\nurl = 'mqtt://127.0.0.1'\n{keys}");
    let problem = |keys: &str| problem(&listener(keys));
    assert!(problem("proxy_protocol = true").contains("trusted = ["));
    assert!(problem("trusted = ['10.0.0.0/8']").contains("without proxy_protocol"));
    let good = listener(
        "proxy_protocol = true\ntrusted = '10.0.0.0/8'\naccess = 'deny all'\nallow_anonymous = true",
    );
    let config = Config::from_toml(&good, "m.toml").unwrap();
    assert_eq!(config.listeners[0].trusted.texts(), ["10.0.0.0/8"]);
    assert_eq!(Config::from_toml(&config.to_toml(), "printed"), Ok(config));
    assert!(problem("access = ['allow all', 'deny 10.0.0.0/33']").contains("not \"deny 10.0.0.0/33\""));
    assert!(problem("access = [1]").contains("expected rules in brackets"));
}

#[test]
fn behind_a_load_balancer_of_this_machine_are_clients_of_others() {
    for url in ["mqtt://127.0.0.1", "mqtt://[::1]", "unix:/run/m.sock"] {
        let text = format!("[[listener]]\nurl = '{url}'\nproxy_protocol = true\ntrusted = '127.0.0.1'");
        let problem = problem(&text);
        assert!(
            problem.contains("proxy_protocol") && problem.contains("allow_anonymous = true"),
            "{problem}"
        );
        assert!(Config::from_toml(&format!("{text}\nallow_anonymous = true"), "m.toml").is_ok(), "{url}");
        let auth = "[auth]\norder = ['file']\nfile.path = 'passwords'\n";
        assert!(Config::from_toml(&format!("{auth}{text}"), "m.toml").is_ok(), "{url}");
    }
}

#[test]
fn a_listener_has_no_more_connections_than_the_node() {
    let config = resolve(&["--set", "limits.max_connections=10"]).unwrap();
    assert_eq!(config.listeners[0].max_connections, 10);
}

#[test]
fn later_features_say_that_they_are_later() {
    assert!(problem("[cluster]\nnats = ''").contains("not in this version"));
    assert!(
        problem("[[listener]]\nurl = 'mqtts://127.0.0.1'").contains("it needs a certificate and its key")
    );
    assert!(problem("[cluster]\nnats = ''").contains("`cluster` is not in this version"));
}

#[test]
fn arguments_win_over_the_file_and_set_wins_over_all() {
    let file =
        "[node]\nshards = 3\ndata_dir = 'a'\n[log]\nlevel = 'warn'\n[[listener]]\nurl = 'mqtt://127.0.0.1:1'";
    let config = arguments(&[
        "--shards",
        "auto",
        "--data-dir",
        "数据 dir",
        "--log",
        "debug",
        "--listen",
        "mqtt://127.0.0.1:2",
        "--listen",
        "mqtt://[::1]",
        "--set",
        "session.queue_len_max=100",
        "--set",
        "session.expiry_s=2h",
        "--set",
        "node.name=7",
        "--set",
        "storage.durability=memory",
        "--set",
        "limits.packet_bytes_max=64 KiB",
        "--set",
        "log.level=trace",
    ])
    .resolve(Some(("m.toml", file)))
    .unwrap();
    assert_eq!(config.node.shards, ShardCount::Auto);
    assert_eq!(config.node.data_dir.to_str(), Some("数据 dir"));
    let urls: Vec<_> = config.listeners.iter().map(|listener| listener.url.to_string()).collect();
    assert_eq!(urls, ["mqtt://127.0.0.1:2", "mqtt://[::1]:1883"]);
    assert_eq!((config.session.queue_len_max, config.session.expiry_s), (100, 7200));
    assert_eq!((config.node.name.as_str(), config.log.level.as_str()), ("7", "trace"));
    assert_eq!(config.limits.packet_bytes_max, 65_536);
}

#[test]
fn every_key_can_be_set_to_what_it_is() {
    let config = Config::default();
    for key in KEYS {
        let assignment = format!("{}={}", key.path(), (key.read)(&config));
        assert_eq!(resolve(&["--set", &assignment]).as_ref(), Ok(&config), "{assignment}");
    }
    for key in LISTENER_KEYS {
        let assignment = format!("{}={}", key.path(), (key.read)(&config.listeners[0]));
        assert_eq!(resolve(&["--set", &assignment]).as_ref(), Ok(&config), "{assignment}");
    }
}

#[test]
fn bad_arguments_exit_2_and_a_bad_file_1() {
    for line in [
        ["--set", "session.queue_len=1"],
        ["--set", "session.queue_len_max"],
        ["--set", "session.queue_len_max=0"],
        ["--set", "node.name=a/b"],
        ["--set", "listener.url=ws://example.org"],
        ["--log", "debgu"],
    ] {
        let error = resolve(&line).unwrap_err();
        assert_eq!(error.exit_status(), 2, "{error}");
        assert!(error.to_string().starts_with(&line.join(" ")), "{error}");
    }
    for line in [["--shards", "0"], ["--shards", "many"], ["--listen", "wss://example.org"], ["--bogus", "1"]]
    {
        assert_eq!(Cli::try_parse_from(["myriad", line[0], line[1]]).unwrap_err().exit_code(), 2, "{line:?}");
    }
    assert_eq!(Config::from_toml("x", "m.toml").unwrap_err().exit_status(), 1);
    let error = arguments(&["--config", "no such 文件.toml"]).load(|_| {}).unwrap_err();
    assert_eq!(error.exit_status(), 1);
    assert!(error.to_string().starts_with("no such 文件.toml: the configuration can't be read"), "{error}");
}

#[test]
fn a_wait_for_a_verdict_that_the_time_for_connect_cuts_short_is_warned_of() {
    let warnings = |line: &[&str], file: &str| {
        let mut warnings = Vec::new();
        arguments(line).resolve_with(Some(("m.toml", file)), |warning| warnings.push(warning)).unwrap();
        warnings
    };
    let file =
        "[auth]\norder = [\"file\"]\nfile.path = \"users\"\ntimeout_s = 9\n[limits]\nconnect_timeout_s = 9\n";
    let [warning] = warnings(&[], file).try_into().unwrap();
    assert!(warning.starts_with("m.toml:4: auth.timeout_s (9 s)"), "{warning}");
    assert!(warning.contains("limits.connect_timeout_s (9 s, m.toml:6)"), "{warning}");
    // The line that is there is blamed.
    let [warning] = warnings(&["--set", "limits.connect_timeout_s=8"], &file.replace("\ntimeout_s = 9", ""))
        .try_into()
        .unwrap();
    assert!(
        warning.starts_with("--set limits.connect_timeout_s=8: auth.timeout_s (20 s, default)"),
        "{warning}"
    );
    assert!(warnings(&["--set", "auth.timeout_s=8"], file).is_empty());
    assert!(warnings(&["--set", "auth.order=[]"], file).is_empty());
    assert!(warnings(&["--set", "auth.order=certificate"], file).is_empty(), "nobody waits");
}

#[test]
fn errors_do_not_repeat_what_may_be_a_secret() {
    for (assignment, shown) in [
        ("auth.http.auth_rq.url=http://u:s3cret@h/", "--set auth.http.auth_rq.url=***"),
        ("auth.http.auth_req.url http://u:s3cret@h/", "--set auth.http.auth_req.url***"),
        ("auth.jwt.secret=s3cret", "--set auth.jwt.secret=***"),
        ("ath.http.auth_req.params=key=s3cret", "--set ath.http.auth_req.params=***"),
    ] {
        let error = resolve(&["--set", assignment]).unwrap_err().to_string();
        assert!(!error.contains("s3cret") && error.starts_with(shown), "{error}");
    }
    let file = "[auth.http.auth_req]\nurl = [\"http://u:s3cret@h/\"]\n";
    assert_eq!(problem(file), "m.toml:2: auth.http.auth_req.url: expected a string");
}

#[test]
fn an_error_found_at_the_end_names_where_the_value_was_written() {
    let file = Some(("m.toml", "[sys]\nprefix = 'a/b'\n\n[node]\nname = 'a/b'"));
    assert!(arguments(&[]).resolve(file).unwrap_err().to_string().starts_with("m.toml:5: node.name"));
    let error = arguments(&["--set", "node.name=#"]).resolve(file).unwrap_err();
    assert!(error.to_string().starts_with("--set node.name=#: node.name"), "{error}");
    for prefix in ["", "/", "a//b", "$SYS/", "a/+", "#"] {
        assert!(resolve(&["--set", &format!("sys.prefix={prefix}")]).is_err(), "{prefix}");
    }
}

#[test]
fn check_is_a_subcommand_with_the_same_arguments() {
    let cli = Cli::try_parse_from(["myriad", "check", "--config", "a.toml", "--shards", "2"]).unwrap();
    let Some(Command::Check(arguments)) = cli.command else { panic!("not check") };
    assert_eq!(arguments.config.as_deref(), Some(std::path::Path::new("a.toml")));
    assert_eq!(arguments.shards, Some(ShardCount::Count(2)));
}

//! `myriadctl import`: configurations of Mosquitto and emqttd as their packages install them, and worked examples. What comes out is read
//! back by the library, and by the broker's own `check` where it is built.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod fake;

use std::path::{Path, PathBuf};
use std::process::Command;

use fake::{Ended, ended, myriadctl, temporary_dir, text};
use myriad::config::Config;

const MOSQUITTO_OF_DEBIAN: &str = include_str!("import/mosquitto.debian.conf");
const EMQTTD: &str = include_str!("import/emqttd.config");
const EMQ: &str = include_str!("import/emq.conf");

/// A folder with `old`, the configuration, and whatever else a test puts there.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(old: &str) -> Self {
        let folder = Self(temporary_dir());
        folder.file("etc/old", old);
        folder
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn import(&self, more: &[&str]) -> Ended {
        let (old, new) = (self.0.join("etc/old"), self.0.join("myriad.toml"));
        ended(myriadctl().arg("import").arg(old).arg("-o").arg(new).args(more))
    }

    /// Imports it; the report, what came out as text, and as the broker reads it.
    fn imported(&self) -> (String, String, Config) {
        let run = self.import(&[]);
        assert_eq!(
            run.status,
            Some(0),
            "{run:?}\n{}",
            std::fs::read_to_string(self.0.join("myriad.toml")).unwrap_or_default()
        );
        let toml = self.read("myriad.toml");
        let config =
            Config::from_toml(&toml, "myriad.toml").unwrap_or_else(|error| panic!("{error}\n{toml}"));
        (run.out, toml, config)
    }

    /// What the broker's own check says, if it is built.
    fn check(&self) {
        let binary = Path::new(env!("CARGO_BIN_EXE_myriadctl")).with_file_name("myriad");
        if !binary.exists() {
            return println!("skipped: there is no {}", binary.display());
        }
        let output = Command::new(binary)
            .args(["check", "--config"])
            .arg(self.0.join("myriad.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stderr), self.read("myriad.toml"));
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn debians_mosquitto_conf_is_a_broker_on_loopback_that_stores() {
    let folder = Folder::new(MOSQUITTO_OF_DEBIAN);
    let (report, toml, config) = folder.imported();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].url.to_string(), "mqtt://127.0.0.1:1883");
    assert_eq!((config.session.expiry_s, config.session.queue_qos0), (u32::MAX, false));
    assert!(!toml.contains("durability"), "{toml}");
    // Every line has its fate, and what is not mapped has a reason.
    has(&report, &["old:9: persistence_location /var/lib/mosquitto/\n      node.data_dir says where"]);
    folder.check();
}

#[test]
fn a_mosquitto_with_users_rules_and_tls_keeps_them() {
    let folder = Folder::new(
        "per_listener_settings false\n\
         allow_anonymous false\npassword_file pw\nacl_file acl\npersistence true\n\
         max_inflight_messages 0\nmax_queued_messages 5000\nqueue_qos0_messages true\npersistent_client_expiration 2w\n\
         max_keepalive 600\nmessage_size_limit 1000\nlog_type error\nlog_type notice\nfrobnicate yes\nsys_interval 10\n\
         listener 1883\nmax_connections 500\n\
         listener 8883 ::\ncertfile /c/server.pem\nkeyfile /c/server.key\ncafile /c/ca.pem\nrequire_certificate true\n\
         use_identity_as_username true\ntls_version tlsv1.2\nciphers x\n\
         listener 9001 10.0.0.1\nprotocol websockets\nmount_point tenant/\n\
         listener 0 /run/m.sock\n",
    );
    let hash = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";
    folder.file("etc/pw", &format!("alice:{hash}\n"));
    folder.file("etc/acl", "user alice\ntopic readwrite homes/#\npattern read down/%c\n");
    let (report, toml, config) = folder.imported();
    let urls: Vec<String> = config.listeners.iter().map(|listener| listener.url.to_string()).collect();
    assert_eq!(
        urls,
        ["mqtt://0.0.0.0:1883", "mqtts://[::]:8883", "ws://10.0.0.1:9001/mqtt", "unix:/run/m.sock"]
    );
    assert_eq!(config.listeners[0].max_connections, 500);
    assert_eq!(config.listeners[2].mountpoint, "tenant/");
    assert!(
        config.listeners[1].tls.require_client_cert && config.listeners.iter().all(|l| !l.allow_anonymous)
    );
    assert_eq!(config.auth.order, ["certificate", "file"]);
    assert_eq!(config.auth.file.path, folder.0.join("etc/pw"));
    assert_eq!(config.acl.file, Some(folder.0.join("acl.conf")));
    assert_eq!((config.session.inflight_max, config.session.queue_len_max), (65_535, 5000));
    assert_eq!((config.session.expiry_s, config.limits.keep_alive_s_max), (1_209_600, 600));
    assert_eq!((config.sys.interval_s, config.log.level.as_str()), (10, "info"));
    has(&folder.read("acl.conf"), &["{allow, {user, \"alice\"}, pubsub, [\"homes/#\"]}.", "{deny, all}."]);
    has(&toml, &["max_connections = 500  # max_connections 500"]);
    has(
        &report,
        &["frobnicate yes\n", "ciphers x\n", "as acl.conf: a SUBSCRIBE to a filter that reaches further"],
    );
}

#[test]
fn a_listener_that_mosquitto_closes_to_all_is_not_opened_to_all() {
    let folder = Folder::new("listener 1883\n");
    let (report, _, config) = folder.imported();
    assert_eq!(config.listeners[0].url.to_string(), "mqtt://127.0.0.1:1883");
    has(&report, &["it listens on loopback until [auth] says who may come in"]);
    let open = Folder::new("listener 1883\nallow_anonymous true\n");
    let (_, _, config) = open.imported();
    assert!(
        config.listeners[0].allow_anonymous && config.listeners[0].url.to_string() == "mqtt://0.0.0.0:1883"
    );
    open.check();
    // The same where a plugin checked.
    let plugin = Folder::new("allow_anonymous true\nlistener 1883\nauth_plugin /p.so\nauth_opt_x secret\n");
    let (_, _, config) = plugin.imported();
    assert!(config.listeners[0].url.to_string() == "mqtt://127.0.0.1:1883", "{config:?}");
}

#[test]
fn files_that_are_missing_or_broken_are_named_and_nothing_is_opened_for_it() {
    let folder = Folder::new("listener 1883\npassword_file pw\nacl_file gone\n");
    folder.file("etc/pw", "bob:cleartext\n");
    let (report, _, config) = folder.imported();
    has(
        &report,
        &[
            "set that user's password with `myriadctl passwd`",
            "nobody may publish or subscribe until acl.file is there",
        ],
    );
    assert_eq!(format!("{:?}", config.acl.no_match), "Deny");
}

#[test]
fn every_option_of_mosquittos_own_example_is_known() {
    let path = "/usr/share/doc/mosquitto/examples/mosquitto.conf";
    let Ok(example) = std::fs::read_to_string(path) else { return println!("skipped: there is no {path}") };
    // Options stand there as comments without a blank before them.
    let is_option = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let options: Vec<&str> = example.lines().filter(is_option).map(|line| &line[1..]).collect();
    assert!(options.len() > 80, "{}", options.len());
    let folder = Folder::new(&options.join("\n"));
    let run = folder.import(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let unknown: Vec<&serde_json::Value> = report["unmapped"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|note| note["why"].as_str().unwrap().contains("manual does not know it"))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn emqttds_defaults_become_the_same_broker() {
    let folder = Folder::new(EMQTTD);
    folder
        .file("etc/acl.config", "{allow, {user, \"dashboard\"}, subscribe, [\"$SYS/#\"]}.\n{allow, all}.\n");
    let (report, _, config) = folder.imported();
    let urls: Vec<String> = config.listeners.iter().map(|listener| listener.url.to_string()).collect();
    assert_eq!(urls, ["mqtt://0.0.0.0:1883", "mqtts://0.0.0.0:8883", "ws://0.0.0.0:8083/mqtt"]);
    assert!(config.listeners.iter().all(|listener| listener.allow_anonymous));
    assert_eq!((config.listeners[0].max_connections, config.listeners[0].bytes_rate), (512, 10_240));
    assert_eq!((config.limits.packet_bytes_max, config.limits.connect_timeout_s), (65_536, 30));
    assert_eq!((config.session.expiry_s, config.session.retry_interval_s), (172_800, 60));
    assert_eq!((config.session.queue_len_max, config.retained.count_max), (u32::MAX, 100_000));
    assert_eq!(config.acl.file, Some(folder.0.join("etc/acl.config")));
    has(&report, &["{await_rel_timeout, 20}\n", "myriadctl auto-subscriptions add"]);
}

#[test]
fn emq_conf_becomes_the_same_broker() {
    let folder = Folder::new(EMQ);
    let (report, toml, config) = folder.imported();
    let urls: Vec<String> = config.listeners.iter().map(|listener| listener.url.to_string()).collect();
    let expected = [
        "mqtt://0.0.0.0:1883",
        "mqtt://127.0.0.1:11883",
        "mqtts://0.0.0.0:8883",
        "ws://0.0.0.0:8083/mqtt",
        "wss://0.0.0.0:8084/mqtt",
    ];
    assert_eq!(urls, expected);
    assert_eq!(config.node.name, "emq@127.0.0.1");
    assert_eq!((config.limits.packet_bytes_max, config.session.expiry_s), (65_536, 7200));
    assert_eq!((config.session.inflight_max, config.session.await_rel_max), (32, 100));
    assert!(config.listeners[2].tls.require_client_cert);
    assert_eq!(config.auth.order, ["certificate"]);
    assert_eq!(config.limits.subscriptions_per_session_max, u32::MAX);
    has(&report, &["it is not there: Myriad does not start until acl.file can be read", "admin.listen"]);
    has(&toml, &["[[rewrite]]\ntopic = \"x/#\"\n", "^x/y/(.+)$", "filter = \"$client/%c\""]);
    // A cookie is a secret, wherever it is printed.
    assert!(!report.contains("emqsecretcookie") && !toml.contains("emqsecretcookie"));
}

#[test]
fn who_had_to_show_credentials_to_a_plugin_does_not_come_in_without_any() {
    let folder = Folder::new(
        "mqtt.allow_anonymous = true\nlistener.tcp.external = 1883\nauth.mysql.server = db:3306\n",
    );
    let (report, _, config) = folder.imported();
    assert_eq!(config.listeners[0].url.to_string(), "mqtt://127.0.0.1:1883");
    has(&report, &["auth.http asks a small server of your own"]);
    let http = Folder::new(
        "listener.tcp.external = 1883\nauth.http.auth_req = http://127.0.0.1:8080/auth\nauth.http.auth_req.method = post\n\
         auth.http.auth_req.params = clientid=%c,username=%u,password=%P\nmqtt.allow_anonymous = false\n",
    );
    let (_, _, config) = http.imported();
    // It may have secrets in it.
    let mode = |folder: &Folder| {
        let metadata = std::fs::metadata(folder.0.join("myriad.toml")).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077
    };
    assert!(mode(&http) == 0 && mode(&folder) != 0);
    assert_eq!(
        (config.auth.order, config.auth.http.auth_req.url.as_str()),
        (vec!["http".into()], "http://127.0.0.1:8080/auth")
    );
}

#[test]
fn nothing_is_overwritten_and_a_broken_file_is_named() {
    let folder = Folder::new("listener 1883 127.0.0.1\n");
    assert_eq!(folder.import(&[]).status, Some(0));
    let again = folder.import(&[]);
    assert!(
        again.status == Some(1) && again.err.contains("is there already; --force overwrites it"),
        "{again:?}"
    );
    assert_eq!(folder.import(&["--force"]).status, Some(0));
    folder.file("etc/old", "[{emqttd, [{mqtt, [}]}].\n");
    let broken = folder.import(&["--force"]);
    assert_eq!(broken.status, Some(1));
    has(&broken.err, &["etc/old: line 1: expected an Erlang term, not '}'"]);
    let missing = ended(myriadctl().args(["import", "/nowhere/m.conf"]));
    assert!(
        missing.status == Some(1) && missing.err.starts_with("myriadctl: /nowhere/m.conf: "),
        "{missing:?}"
    );
    // Without --output the configuration alone goes to standard output.
    let folder = Folder::new("listener 1883 127.0.0.1\nfrobnicate 1\n");
    let run = ended(myriadctl().arg("import").arg(folder.0.join("etc/old")));
    assert!(Config::from_toml(&run.out, "").is_ok() && run.err.contains("frobnicate 1"), "{run:?}");
}

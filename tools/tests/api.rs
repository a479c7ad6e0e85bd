//! `myriadctl` against a server that answers as the HTTP API does: what each command asks, prints, and how it ends.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod fake;

use std::process::Stdio;

use fake::{Ended, Fake, ended, myriadctl, temporary_dir};

const NO_CONTENT: &str = "";

#[test]
fn each_command_asks_what_the_api_has() {
    let items = r#"{"items":[]}"#;
    let fake = Fake::start(&[
        ("GET /api/v1/clients?client_id=dev%2A&user=u&address=10.0.0.0%2F8&listener=1&limit=100", 200, items),
        ("DELETE /api/v1/clients/a%2Fb", 204, NO_CONTENT),
        ("GET /api/v1/sessions?kind=persistent&connected=false&limit=7", 200, items),
        ("DELETE /api/v1/sessions/c", 204, NO_CONTENT),
        ("GET /api/v1/subscriptions?topic=a%2F%23&share=g&limit=1000", 200, items),
        ("POST /api/v1/clients/c/subscriptions", 201, "{}"),
        ("DELETE /api/v1/clients/c/subscriptions?filter=a%2F%2B", 204, NO_CONTENT),
        ("GET /api/v1/topics?match=a%2F%23&limit=100", 200, items),
        ("GET /api/v1/retained?limit=100", 200, items),
        ("DELETE /api/v1/retained/message?topic=a%2Fb", 204, NO_CONTENT),
        ("GET /api/v1/listeners", 200, items),
        ("POST /api/v1/listeners/1/stop", 200, "{}"),
        ("POST /api/v1/listeners/1/start", 204, NO_CONTENT),
        ("GET /api/v1/bans", 200, items),
        ("POST /api/v1/bans", 201, "{}"),
        ("DELETE /api/v1/bans/user/a%20b", 204, NO_CONTENT),
        ("POST /api/v1/acl/reload", 200, "{}"),
        ("GET /api/v1/users", 200, r#"{"items":["admin"]}"#),
        ("DELETE /api/v1/users/bob", 204, NO_CONTENT),
        ("GET /api/v1/slow", 200, items),
        ("GET /api/v1/topic-metrics", 200, items),
        ("POST /api/v1/topic-metrics", 201, "{}"),
        ("DELETE /api/v1/topic-metrics?filter=a%2F%23", 204, NO_CONTENT),
        ("POST /api/v1/drain", 202, "{}"),
        ("DELETE /api/v1/drain", 204, NO_CONTENT),
        ("POST /api/v1/bridges/up/stop", 200, "{}"),
        ("POST /api/v1/auto-subscriptions", 201, "{}"),
        ("DELETE /api/v1/auto-subscriptions?client_id=c&filter=a", 204, NO_CONTENT),
        ("GET /api/v1/webhooks", 200, items),
        ("DELETE /api/v1/clients/c?mountpoint=tenants%2Fa%2F", 204, NO_CONTENT),
        ("GET /api/v1/auto-subscriptions?client_id=c&limit=100", 200, items),
        ("GET /api/v1/delayed?limit=100", 200, items),
        ("POST /api/v1/traces", 201, r#"{"id":"7"}"#),
        ("DELETE /api/v1/traces/7", 204, NO_CONTENT),
    ]);
    let cases: &[(&str, &str)] = &[
        (
            "clients list --client-id dev* --username u --address 10.0.0.0/8 --listener 1",
            "GET /api/v1/clients?client_id=dev%2A&user=u&address=10.0.0.0%2F8&listener=1&limit=100",
        ),
        ("clients kick a/b", "DELETE /api/v1/clients/a%2Fb"),
        (
            "sessions list persistent --connected false --limit 7",
            "GET /api/v1/sessions?kind=persistent&connected=false&limit=7",
        ),
        ("clients kick c --mountpoint tenants/a/", "DELETE /api/v1/clients/c?mountpoint=tenants%2Fa%2F"),
        ("auto-subscriptions list --client-id c", "GET /api/v1/auto-subscriptions?client_id=c&limit=100"),
        ("sessions discard c", "DELETE /api/v1/sessions/c"),
        (
            "subscriptions list --topic a/# --share g --all",
            "GET /api/v1/subscriptions?topic=a%2F%23&share=g&limit=1000",
        ),
        ("subscriptions add c a/+ 1", r#"POST /api/v1/clients/c/subscriptions {"filter":"a/+","qos":1}"#),
        ("subscriptions del c a/+", "DELETE /api/v1/clients/c/subscriptions?filter=a%2F%2B"),
        ("topics list --match a/#", "GET /api/v1/topics?match=a%2F%23&limit=100"),
        ("retained list", "GET /api/v1/retained?limit=100"),
        ("retained del a/b", "DELETE /api/v1/retained/message?topic=a%2Fb"),
        ("listeners list", "GET /api/v1/listeners"),
        ("listeners stop 1", "POST /api/v1/listeners/1/stop {}"),
        ("listeners start 1", "POST /api/v1/listeners/1/start {}"),
        ("bans list", "GET /api/v1/bans"),
        ("bans add client c --seconds 60", r#"POST /api/v1/bans {"kind":"client","name":"c","seconds":60}"#),
        ("bans lift user a\u{a0}b", "DELETE /api/v1/bans/user/a%20b"),
        ("acl reload", "POST /api/v1/acl/reload {}"),
        ("users list", "GET /api/v1/users"),
        ("users del bob", "DELETE /api/v1/users/bob"),
        ("slow", "GET /api/v1/slow"),
        ("topic-metrics list", "GET /api/v1/topic-metrics"),
        ("topic-metrics add a/#", r#"POST /api/v1/topic-metrics {"filter":"a/#"}"#),
        ("topic-metrics del a/#", "DELETE /api/v1/topic-metrics?filter=a%2F%23"),
        (
            "drain --rate 50 --server-reference h --no-wait",
            r#"POST /api/v1/drain {"permanent":false,"rate":50,"server_reference":"h"}"#,
        ),
        ("drain --stop", "DELETE /api/v1/drain"),
        ("bridges stop up", "POST /api/v1/bridges/up/stop {}"),
        (
            "auto-subscriptions add c a/%c 2",
            r#"POST /api/v1/auto-subscriptions {"client_id":"c","filter":"a/%c","qos":2}"#,
        ),
        ("auto-subscriptions del c a", "DELETE /api/v1/auto-subscriptions?client_id=c&filter=a"),
        ("webhooks", "GET /api/v1/webhooks"),
        ("delayed", "GET /api/v1/delayed?limit=100"),
        (
            "trace client c --for 5m --file",
            r#"POST /api/v1/traces {"file":true,"kind":"client","name":"c","seconds":300}"#,
        ),
        ("trace off 7", "DELETE /api/v1/traces/7"),
    ];
    for (line, expected) in cases {
        // A no-break space stands for a blank within an argument.
        let arguments: Vec<String> = line.split(' ').map(|word| word.replace('\u{a0}', " ")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = fake.ctl(&arguments);
        assert_eq!(run.status, Some(0), "{line}: {run:?}");
        assert_eq!(fake.seen(), [*expected], "{line}");
    }
}

#[test]
fn a_list_follows_its_pages_and_is_one_table_or_one_document() {
    let fake = Fake::start(&[
        (
            "GET /api/v1/clients?limit=1000",
            200,
            r#"{"items":[{"client_id":"a\u001b[2J","username":null,"address":"10.0.0.1:5","queued":3}],"next":"x y"}"#,
        ),
        (
            "GET /api/v1/clients?limit=1000&cursor=x%20y",
            200,
            r#"{"items":[{"client_id":"b","username":"u"}],"next":null}"#,
        ),
        ("GET /api/v1/clients?limit=1", 200, r#"{"items":[{"client_id":"a"},{"client_id":"b"}],"next":"n"}"#),
        ("GET /api/v1/topics?limit=100", 200, r#"{"items":[],"next":"n"}"#),
        ("GET /api/v1/topics?limit=100&cursor=n", 200, r#"{"items":[],"next":"n"}"#),
    ]);
    let run = fake.ctl(&["clients", "list", "--all"]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!((lines.len(), run.status, run.err.as_str()), (3, Some(0), ""), "{run:?}");
    assert!(lines[0].starts_with("CLIENT      USER  ADDRESS     VERSION"), "{}", run.out);
    assert!(lines[1].starts_with("a\\u{1b}[2J  -     10.0.0.1:5  -"), "{}", run.out);
    let run = fake.ctl(&["clients", "list", "--all", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((document.as_array().unwrap().len(), &document[1]["username"]), (2, &"u".into()));
    // A limit is kept even if the page has more, and it is said that there are more.
    let run = fake.ctl(&["clients", "list", "--limit", "1", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(document.as_array().unwrap().len(), 1);
    assert_eq!(run.err, "myriadctl: there are more; --all or --limit shows them\n");
    // A broker that gives the same cursor again does not hang us.
    let run = fake.ctl(&["topics", "list"]);
    assert_eq!(run.status, Some(1));
    assert!(run.err.contains("the same cursor came twice"), "{run:?}");
}

#[test]
fn one_thing_is_shown_with_its_lists() {
    let session = r#"{"client_id":"c","kind":"persistent","expiry_s":null,"queued":1,
        "subscriptions_list":[{"filter":"a/#","qos":1}],"queue":[{"topic":"a/b","qos":1,"payload_bytes":2048}],
        "inflight_list":[]}"#;
    let fake =
        Fake::start(&[("GET /api/v1/sessions/c", 200, session), ("GET /api/v1/sessions/none", 404, "{}")]);
    let run = fake.ctl(&["sessions", "show", "c"]);
    for part in
        ["client         c\n", "expires after  never\n", "\nsubscriptions:\n", "\nqueue:\n", "2.0 KiB"]
    {
        assert!(run.out.contains(part), "{part:?} is not in\n{}", run.out);
    }
    assert!(!run.out.contains("inflight:"), "{}", run.out);
    let run = fake.ctl(&["subscriptions", "show", "c", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(document[0]["filter"], "a/#");
}

#[test]
fn errors_are_one_line_and_have_a_status_each() {
    let refused = r#"{"error":"log in first","code":"unauthorized"}"#;
    let fake = Fake::start(&[
        ("GET /api/v1/slow", 401, refused),
        ("GET /api/v1/bans", 200, "<html>"),
        ("GET /api/v1/listeners", 502, "<html>"),
        ("POST /api/v1/bans", 400, r#"{"error":"expected an IP address, not \"x\"","code":"bad_request"}"#),
    ]);
    let one_line = |run: &Ended| assert_eq!((run.err.lines().count(), run.out.as_str()), (1, ""), "{run:?}");
    for (arguments, status, words) in [
        (&["clients", "show", "x"][..], 4, "there is no such thing"),
        (&["bans", "lift", "client", "c"], 4, "myriadctl: client c was not banned"),
        (&["slow"], 5, "log in first (give --user NAME:PASSWORD"),
        (&["bans", "list"], 1, "is this the admin port of Myriad?"),
        (&["listeners", "list"], 1, "status 502"),
        (&["bans", "add", "address", "x"], 1, "expected an IP address, not \"x\""),
        (&["--url", "h", "slow", "--timeout", "1"], 2, "cannot be used with"),
    ] {
        let run = fake.ctl(arguments);
        assert_eq!(run.status, Some(status), "{arguments:?}: {run:?}");
        assert!(run.err.contains(words), "{arguments:?}: {run:?}");
        if status != 2 {
            one_line(&run);
        }
    }
    let run = ended(myriadctl().args(["status", "--data-dir", "/nowhere"]));
    assert_eq!(run.status, Some(3));
    let expected = "myriadctl: no broker answers at /nowhere/control.sock: No such file or directory (os error 2); is it \
                    running there? Give --data-dir or --url\n";
    assert_eq!(run.err, expected);
    let run = ended(myriadctl().args(["status", "--url", "ftp://h"]));
    assert_eq!(run.status, Some(2), "{run:?}");
}

#[test]
fn a_broker_that_does_not_answer_is_not_waited_for_longer_than_asked() {
    let dir = temporary_dir();
    let _listener = std::os::unix::net::UnixListener::bind(dir.join("control.sock")).unwrap();
    let run = ended(myriadctl().args(["bans", "list", "--timeout", "1", "--data-dir"]).arg(&dir));
    assert_eq!(run.status, Some(3), "{run:?}");
    assert!(run.err.contains("no answer in time; --timeout gives it longer"), "{run:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_url_takes_a_user_from_the_arguments_or_the_environment() {
    let (fake, address) = Fake::start_tcp(&[("GET /api/v1/bans", 200, r#"{"items":[]}"#)]);
    let url = format!("http://{address}/");
    let basic = "GET /api/v1/bans [Basic YWRtaW46cDp3]";
    let run = ended(myriadctl().args(["bans", "list", "--url", &url, "--user", "admin:p:w"]));
    assert_eq!((run.status, fake.seen()), (Some(0), vec![basic.to_owned()]), "{run:?}");
    let mut command = myriadctl();
    command.env("MYRIAD_API_URL", &url).env("MYRIAD_API_USER", "admin").env("MYRIAD_API_PASSWORD", "p:w");
    assert_eq!(ended(command.args(["bans", "list"])).status, Some(0));
    assert_eq!(fake.seen(), [basic]);
    // A directory that was named wins over the environment's URL.
    let run = ended(command.args(["--data-dir", "/nowhere"]));
    assert_eq!((run.status, fake.seen().len()), (Some(3), 0), "{run:?}");
    // Nobody is there to be asked for the password.
    let run = ended(myriadctl().args(["bans", "list", "--url", &url, "--user", "admin"]));
    assert!(run.err.contains("the password of admin is missing"), "{run:?}");
}

#[test]
fn what_is_wrong_is_an_exit_status() {
    let running = "Node myriad@localhost is started\nmyriad 0.1.0 is running\n";
    let fake = Fake::start(&[
        ("GET /status", 200, running),
        ("GET /readyz", 503, "draining"),
        (
            "GET /api/v1/alarms",
            200,
            r#"{"items":[{"id":"a","active":true,"message":"m"},{"id":"old","active":false}]}"#,
        ),
        ("POST /api/v1/acl/check", 200, r#"{"allowed":false,"rule":"{deny, all}."}"#),
    ]);
    let run = fake.ctl(&["status"]);
    assert_eq!((run.status, run.out), (Some(1), format!("{running}not ready for clients: draining\n")));
    let run = fake.ctl(&["alarms"]);
    assert!(run.status == Some(1) && run.out.contains("a      yes") && !run.out.contains("old"), "{run:?}");
    assert!(fake.ctl(&["alarms", "--history"]).out.contains("old"));
    fake.seen();
    let run = fake.ctl(&["acl", "check", "publish", "a/b", "--client-id", "c"]);
    assert_eq!((run.status, run.out.as_str()), (Some(1), "denied: {deny, all}.\n"));
    let asked = r#"{"access":"publish","address":"127.0.0.1","client_id":"c","topic":"a/b","username":null}"#;
    assert_eq!(fake.seen(), [format!("POST /api/v1/acl/check {asked}")]);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let item = format!(r#"{{"topic":"{}"}}"#, "t".repeat(1000));
    let page = format!(r#"{{"items":[{}],"next":null}}"#, vec![item; 500].join(","));
    let fake = Fake::start(&[("GET /api/v1/retained?limit=1000", 200, page.as_str())]);
    let mut command = myriadctl();
    command.arg("--data-dir").arg(&fake.dir).args(["retained", "list", "--all"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), fake::text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn a_trace_prints_events_as_they_come_and_ends_with_the_trace() {
    let fake = Fake::start(&[
        ("POST /api/v1/traces", 201, r#"{"id":7}"#),
        (
            "GET /api/v1/traces/7/events?after=0",
            200,
            r#"{"items":[{"seq":1,"at":"T","client_id":"c","event":"PUBLISH","text":"a/b"}],"dropped":0}"#,
        ),
        ("GET /api/v1/traces/7/events?after=1", 404, "{}"),
    ]);
    let run = fake.ctl(&["trace", "client", "c"]);
    assert_eq!((run.status, run.out.as_str()), (Some(0), "T c PUBLISH a/b\n"), "{run:?}");
}

#[test]
fn top_prints_one_frame() {
    let node = r#"{"name":"n","version":"1","uptime_s":1,"connections":5,"connections_max":10}"#;
    let shards = r#"{"items":[{"shard":0,"clients":5,"messages_received":10}]}"#;
    let fake = Fake::start(&[("GET /api/v1/node", 200, node), ("GET /api/v1/shards", 200, shards)]);
    let run = fake.ctl(&["top", "--once", "--interval", "0.2"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.out.contains("5 of 10 connections") && run.out.contains("SHARD   CLIENTS"), "{}", run.out);
    let run = fake.ctl(&["top", "--json", "--interval", "0.2"]);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(document["rates"]["messages_received_per_s"], 0.0, "{}", run.out);
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let run = ended(myriadctl().args(["completions", shell]));
        assert_eq!(run.status, Some(0));
        for command in ["topic-metrics", "subscribe", "import"] {
            assert!(run.out.contains(command), "{shell} does not know {command}");
        }
    }
    let run = ended(myriadctl().arg("man"));
    assert!(run.out.contains(".TH myriadctl 1") && run.out.contains("Exit status"), "{}", run.out);
    let dir = temporary_dir();
    assert_eq!(ended(myriadctl().args(["man", "--dir"]).arg(&dir)).status, Some(0));
    assert_eq!(ended(myriadctl().args(["completions", "--dir"]).arg(&dir)).status, Some(0));
    for page in [
        "myriadctl.1",
        "myriadctl-clients-kick.1",
        "myriadctl-import.1",
        "myriadctl.bash",
        "_myriadctl",
        "myriadctl.fish",
    ] {
        assert!(dir.join(page).exists(), "{page}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_configuration_is_checked_without_a_broker() {
    let dir = temporary_dir();
    let file = dir.join("m.toml");
    std::fs::write(&file, "[session]\nqueue_len_max = 5\n").unwrap();
    let run = ended(myriadctl().args(["config", "check"]).arg(&file));
    assert_eq!((run.status, run.out), (Some(0), format!("{}: can be used\n", file.display())));
    std::fs::write(&file, "[session]\nqueue_len = 5\n").unwrap();
    let run = ended(myriadctl().args(["config", "check"]).arg(&file));
    assert_eq!(run.status, Some(1));
    assert!(run.err.contains("m.toml:2") && run.err.contains("session.queue_len_max"), "{run:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

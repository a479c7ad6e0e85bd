//! Files that can't serve keep the broker from starting, with a line that names them; `myriad check` tells it too.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Runs the broker, or its check, with a TLS listener of these keys; its status and what it printed.
fn run(command: &[&str], dir: &std::path::Path, keys: &str) -> (Option<i32>, String) {
    let address = unused_address();
    write(dir, "myriad.toml", &format!("[[listener]]\nurl = \"mqtts://{address}\"\n{keys}"));
    let mut process = Command::new(binary());
    process.current_dir(dir).args(command).args(["--config", "myriad.toml", "--set", NO_HTTP]);
    let output = process.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn what_is_wrong_is_told_in_one_line_at_start_and_by_check() {
    let options = Options::shards(1);
    let pair = "tls.cert = \"server.pem\"\ntls.key = \"server.key\"\n";
    options.write("empty.pem", "");
    options.write_pair("other", &options.authority.server(&[HOST]));
    let cases = [
        ("", "myriad.toml:2: "),
        ("tls.cert = \"server.pem\"\n", "tls.cert names 1 files and tls.key 0"),
        (
            "tls.cert = \"missing.pem\"\ntls.key = \"server.key\"\n",
            "missing.pem: can't be read: No such file",
        ),
        ("tls.cert = \".\"\ntls.key = \"server.key\"\n", ".: can't be read: it is a directory"),
        ("tls.cert = \"empty.pem\"\ntls.key = \"server.key\"\n", "empty.pem: there is no certificate in it"),
        ("tls.cert = \"server.pem\"\ntls.key = \"other.key\"\n", "other.key: its private key is not that of"),
        (&format!("{pair}tls.require_client_cert = true\n"), "tls.require_client_cert needs tls.ca"),
        (&format!("{pair}tls.ca = \"empty.pem\"\n"), "empty.pem: there is no certificate in it"),
        (
            &format!("{pair}tls.ca = \"ca.pem\"\ntls.crl = \"ca.pem\"\n"),
            "ca.pem: there is no certificate revoc",
        ),
        (&format!("{pair}tls.username_from = \"name\"\n"), "listener.tls.username_from: expected one of"),
    ];
    for (keys, expected) in cases {
        for command in [&[][..], &["check"]] {
            let (status, text) = run(command, &options.dir, keys);
            assert_eq!(status, Some(1), "{keys}: {text}");
            assert!(text.contains(expected), "{keys}: {text}");
            assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn check_prints_paths_and_no_secrets_and_warns_of_open_keys() {
    let options = Options::shards(1);
    let pair = "tls = { cert = \"server.pem\", key = \"server.key\" }\n";
    let (status, text) = run(&["check"], &options.dir, pair);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("tls.key = [\"server.key\"]") && !text.contains("BEGIN"), "{text}");
    assert!(!text.contains("every user"), "{text}");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(options.dir.join("server.key"), open).unwrap();
    let (_, text) = run(&["check"], &options.dir, pair);
    assert!(text.contains("server.key: every user of this machine"), "{text}");
}

#[test]
fn a_tls_table_on_a_plain_listener_is_an_error() {
    let options = Options::shards(1);
    let address = unused_address();
    options.write(
        "plain.toml",
        &format!("[[listener]]\nurl = \"mqtt://{address}\"\ntls.cert = \"server.pem\"\n"),
    );
    let mut process = Command::new(binary());
    let output =
        process.current_dir(&options.dir).args(["check", "--config", "plain.toml"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("plain.toml:2: ") && text.contains("write mqtts:// or wss://"), "{text}");
}

#[test]
fn rsa_keys_in_both_of_their_forms_serve() {
    let Some((pkcs8, pkcs1)) = rsa_keys() else { return };
    for pem in [pkcs8.clone(), pkcs1] {
        let options = Options::shards(1);
        let key = rcgen::KeyPair::from_pem(&pkcs8).unwrap();
        let leaf = options.authority.sign_for(authority::server(&[HOST]), &key, pem);
        options.write_pair("server", &leaf);
        let secured = options.start();
        for versions in [super::peer::V12, super::peer::V13] {
            let peer = secured.peer().versions(versions);
            peer.connect(secured.mqtts, crate::wire::Connect::v5("rsa")).disconnect();
        }
    }
}

/// An RSA key as PKCS#8 and as PKCS#1, which takes openssl; `None`: there is none.
pub fn rsa_keys() -> Option<(String, String)> {
    let openssl = |args: &[&str], input: &str| {
        use std::io::Write;
        use std::process::Stdio;
        let mut command = Command::new("openssl");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        child.stdin.take()?.write_all(input.as_bytes()).ok()?;
        let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let pkcs8 = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "");
    let keys = pkcs8.and_then(|pkcs8| {
        let pkcs1 = openssl(&["rsa", "-traditional"], &pkcs8)?;
        assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"), "{pkcs1}");
        Some((pkcs8, pkcs1))
    });
    if keys.is_none() {
        crate::clients::skip("there is no openssl");
    }
    keys
}

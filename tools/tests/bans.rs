//! `myriadctl bans` against a socket that answers as a broker does.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

/// Runs `myriadctl bans` with these arguments while the socket gives `answer`; the request too.
fn run(name: &str, arguments: &[&str], answer: &'static str) -> (Output, String) {
    let socket: PathBuf = std::env::temp_dir().join(format!("myriadctl-{}-{name}.sock", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    let output = Command::new(env!("CARGO_BIN_EXE_myriadctl"))
        .args(["bans", "--socket"])
        .arg(&socket)
        .args(arguments)
        .output()
        .unwrap();
    let request = server.join().unwrap();
    std::fs::remove_file(&socket).unwrap();
    (output, request)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_list_is_one_line_a_ban() {
    let answer = concat!(
        r#"{"kind":"client","name":"a b","cause":"flapping","seconds_left":12}"#,
        "\n",
        r#"{"kind":"address","name":"10.0.0.1","cause":"operator","seconds_left":null}"#,
        "\n{\"ok\":true}\n"
    );
    let (output, request) = run("list", &["list"], answer);
    assert_eq!(request.trim(), r#"{"request":"bans.list"}"#);
    let expected = "client\ta b\tflapping\t12 s\naddress\t10.0.0.1\toperator\tuntil lifted\n";
    assert_eq!(text(&output.stdout), expected);
    assert!(output.status.success());
}

#[test]
fn bans_are_added_and_lifted_by_kind_and_name() {
    let (output, request) = run("add", &["add", "client", "a b", "--seconds", "60"], "{\"ok\":true}\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [r#""kind":"client""#, r#""name":"a b""#, r#""seconds":60"#] {
        assert!(request.contains(part), "{request}");
    }
    let lifted = "{\"ok\":true,\"was_banned\":true}\n";
    assert!(run("lift", &["lift", "address", "10.0.0.1"], lifted).0.status.success());
    let (output, _) = run("lift2", &["lift", "user", "u"], "{\"ok\":true,\"was_banned\":false}\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "myriadctl: user u was not banned\n");
}

#[test]
fn what_goes_wrong_is_said_in_one_line() {
    let refused = "{\"ok\":false,\"error\":\"expected an IP address\"}\n";
    let (output, _) = run("refused", &["add", "address", "x"], refused);
    assert_eq!(text(&output.stderr), "myriadctl: expected an IP address\n");
    let output = Command::new(env!("CARGO_BIN_EXE_myriadctl"))
        .args(["bans", "list", "--socket", "/nowhere/control.sock"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/control.sock: no broker answers here"));
}

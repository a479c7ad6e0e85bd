//! `myriadctl bans` against a socket that answers as a broker does, and against a broker.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

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

/// A broker, ended with the test.
struct Broker {
    child: std::process::Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Broker {
    /// `None`: this workspace's broker is not built (`cargo test -p myriadctl` alone).
    fn start() -> Option<Self> {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_myriadctl")).with_file_name("myriad");
        if !binary.exists() {
            println!("skipped: there is no {}", binary.display());
            return None;
        }
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = SocketAddr::from(([127, 64 | (high & 0x3F), middle, low], 18_829));
        let dir = std::env::temp_dir().join(format!("myriadctl-bans-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut child = Command::new(binary)
            .args(["--listen", &format!("mqtt://{address}"), "--shards", "2", "--data-dir"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().map_while(Result::ok).any(|line| line == "myriad ready"));
        Some(Self { child, address, dir })
    }

    /// The return code for a client of 3.1.1 with this Client Identifier of one letter.
    fn connect(&self, client_id: u8) -> u8 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01").unwrap();
        stream.write_all(&[client_id]).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack[..2], [0x20, 2]);
        connack[3]
    }

    /// What `myriadctl bans` prints, and how it ends.
    fn bans(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myriadctl"));
        command.args(["bans", "--socket"]).arg(self.dir.join("control.sock")).args(arguments);
        let output = command.output().unwrap();
        (text(&output.stdout) + &text(&output.stderr), output.status.code())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_real_broker_bans_lists_and_lifts() {
    let Some(broker) = Broker::start() else { return };
    assert_eq!((broker.connect(b'c'), broker.bans(&["list"])), (0, (String::new(), Some(0))));
    assert_eq!(broker.bans(&["add", "client", "c", "--seconds", "600"]), (String::new(), Some(0)));
    assert_eq!(broker.bans(&["add", "user", "mallory"]), (String::new(), Some(0)));
    // Not authorized; others come in.
    assert_eq!((broker.connect(b'c'), broker.connect(b'd')), (5, 0));
    let (listed, status) = broker.bans(&["list"]);
    let mut lines = listed.lines();
    let client = lines.next().unwrap();
    let left = client.strip_prefix("client\tc\toperator\t").and_then(|left| left.strip_suffix(" s")).unwrap();
    assert!((500..=600).contains(&left.parse::<u32>().unwrap()), "{client}");
    assert_eq!((lines.next(), status), (Some("user\tmallory\toperator\tuntil lifted"), Some(0)));
    let json: serde_json::Value =
        serde_json::from_str(broker.bans(&["list", "--json"]).0.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&json["kind"], &json["name"], &json["seconds_left"]),
        (&"user".into(), &"mallory".into(), &().into())
    );
    assert_eq!(broker.bans(&["lift", "client", "c"]), (String::new(), Some(0)));
    assert_eq!(broker.connect(b'c'), 0);
    assert_eq!(
        broker.bans(&["lift", "client", "c"]),
        ("myriadctl: client c was not banned\n".into(), Some(1))
    );
    let (problem, status) = broker.bans(&["add", "address", "10.0.0"]);
    assert_eq!((problem.as_str(), status), ("myriadctl: expected an IP address, not \"10.0.0\"\n", Some(1)));
}

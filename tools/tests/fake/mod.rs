//! A server that answers as a broker's API does, over a Unix socket or TCP, and keeps what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is answered to a request: `METHOD /path?query`, a status, a body. The first one that fits; each may be asked again and again.
pub type Answers = Vec<(String, u16, String)>;

/// A server with a data directory of its own.
pub struct Fake {
    pub dir: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `myriadctl` with nothing of the test's own environment.
pub fn myriadctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriadctl"));
    for name in ["MYRIAD_API_URL", "MYRIAD_API_USER", "MYRIAD_API_PASSWORD", "MYRIAD_MQTT_PASSWORD"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A new empty directory.
pub fn temporary_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("myriadctl-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Fake {
    /// Answers on `<dir>/control.sock`.
    pub fn start(answers: &[(&str, u16, &str)]) -> Self {
        Self::start_in(temporary_dir(), answers)
    }

    /// The same in a directory that is there.
    pub fn start_in(dir: PathBuf, answers: &[(&str, u16, &str)]) -> Self {
        let fake = Self { dir, seen: Arc::default() };
        let listener = UnixListener::bind(fake.dir.join("control.sock")).unwrap();
        let (answers, seen) = (owned(answers), Arc::clone(&fake.seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(BufReader::new(stream.try_clone().unwrap()), stream, &answers, &seen);
            }
        });
        fake
    }

    /// Answers on a port of this process's own address.
    pub fn start_tcp(answers: &[(&str, u16, &str)]) -> (Self, SocketAddr) {
        let fake = Self { dir: temporary_dir(), seen: Arc::default() };
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let listener =
            TcpListener::bind(SocketAddr::from(([127, 64 | (high & 0x3F), middle, low], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, seen) = (owned(answers), Arc::clone(&fake.seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(BufReader::new(stream.try_clone().unwrap()), stream, &answers, &seen);
            }
        });
        (fake, address)
    }

    /// Runs `myriadctl` against it.
    pub fn ctl(&self, arguments: &[&str]) -> Ended {
        ended(myriadctl().arg("--data-dir").arg(&self.dir).args(arguments))
    }

    /// What it was asked since the last time: `METHOD /path?query body`, with the credentials that came along.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn owned(answers: &[(&str, u16, &str)]) -> Answers {
    answers.iter().map(|(request, status, body)| ((*request).into(), *status, (*body).into())).collect()
}

/// One request a connection; those that only look whether somebody is there send none.
fn serve(mut reader: impl BufRead, mut stream: impl Write, answers: &Answers, seen: &Mutex<Vec<String>>) {
    let mut request = String::new();
    if reader.read_line(&mut request).unwrap_or(0) == 0 {
        return;
    }
    let asked = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let (mut len, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.parse().unwrap(),
            "authorization" => authorization = format!(" [{value}]"),
            _ => {}
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let shown = if body.is_empty() { String::new() } else { format!(" {body}") };
    seen.lock().unwrap().push(format!("{asked}{shown}{authorization}"));
    let missing = (String::new(), 404, r#"{"error":"there is no such thing","code":"not_found"}"#.to_owned());
    let (_, status, answer) = answers.iter().find(|(request, ..)| *request == asked).unwrap_or(&missing);
    // The length is told for some and the end of the stream for others, as servers do.
    let head = match answer.len() % 2 {
        0 => format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        ),
        _ => format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{answer}\r\n0\r\n\r\n",
            answer.len()
        ),
    };
    let _ = stream.write_all(head.as_bytes());
}

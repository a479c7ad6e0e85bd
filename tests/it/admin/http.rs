//! A small HTTP client: over the control socket, or over TCP with a token. One connection a request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::broker::Broker;

/// Where requests go and who sends them.
#[derive(Debug, Clone)]
pub struct Http {
    to: To,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
}

#[derive(Debug, Clone)]
enum To {
    Socket(PathBuf),
    Tcp(SocketAddr),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON, of an answer with that status.
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The sentence of a failure with that status and code.
    pub fn problem(&self, status: u16, code: &str) -> String {
        let body = self.json(status);
        assert_eq!(body["code"], code, "{body}");
        body["error"].as_str().unwrap().to_owned()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Http {
    /// Over the control socket of a broker with this data directory.
    pub fn socket(dir: &Path) -> Self {
        Self { to: To::Socket(dir.join("control.sock")), authorization: None }
    }

    /// Over its port, as nobody.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { to: To::Tcp(address), authorization: None }
    }

    /// Over its port, with that token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self.clone() }
    }

    fn stream(&self) -> Box<dyn Stream> {
        let patience = Some(Duration::from_secs(60));
        match &self.to {
            To::Socket(path) => {
                let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                stream.set_read_timeout(patience).unwrap();
                Box::new(stream)
            }
            To::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
                stream.set_read_timeout(patience).unwrap();
                Box::new(stream)
            }
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    /// GET of what has to be JSON and there.
    pub fn json(&self, path: &str) -> Value {
        self.get(path).json(200)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, &[], b"")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Any request.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if let Some(authorization) = &self.authorization {
            head += &format!("Authorization: {authorization}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = self.stream();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // The answer may come, and the connection end, before all of it is sent: too large.
        let _ = stream.write_all(body);
        read(stream)
    }
}

fn read(stream: impl Read) -> Reply {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find =
        |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if find("transfer-encoding") == Some("chunked") {
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let len = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; len + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..len]);
            if len == 0 {
                break;
            }
        }
    } else if let Some(len) = find("content-length").and_then(|len| len.parse().ok()) {
        body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
    }
    Reply { status, headers, body }
}

impl Broker {
    /// Requests over its control socket.
    pub fn http(&self) -> Http {
        Http::socket(self.dir())
    }

    /// Requests over its port (`--set admin.listen=127.0.0.1:0`), as nobody.
    pub fn http_over_tcp(&self) -> Http {
        let output = self.output();
        let line = output.lines().find_map(|line| line.strip_prefix("admin on http://"));
        Http::tcp(line.unwrap_or_else(|| panic!("no port of HTTP:\n{output}")).parse().unwrap())
    }
}

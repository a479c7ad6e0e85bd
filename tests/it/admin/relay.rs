//! MQTT over WebSocket on the port of the admin side.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{first_password, served};
use crate::broker::Broker;

/// Asks for a WebSocket; the connection, and the head of the answer.
fn upgrade(broker: &Broker, path: &str, protocols: &str) -> (TcpStream, String) {
    let output = broker.output();
    let line = output.lines().find_map(|line| line.strip_prefix("admin on http://")).unwrap();
    let mut stream = TcpStream::connect(line).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap().to_ascii_lowercase())
}

/// A short binary message, masked with zeroes as only a test may.
fn frame(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 126);
    [&[0x82, 0x80 | bytes.len() as u8, 0, 0, 0, 0], bytes].concat()
}

/// The next message, which is a short binary one.
fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x82, "{head:?}");
    let mut bytes = vec![0; usize::from(head[1])];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn admin_console_speaks_mqtt_for_those_who_are_logged_in() {
    let Some(broker) = served(3, &[]) else { return };
    let login = json!({ "username": "admin", "password": first_password(&broker) });
    let login = broker.http_over_tcp().post("/api/v1/login", &login).json(200);
    let token = login["token"].as_str().unwrap();
    // A token in an address is in the logs of every proxy: none is taken there.
    let in_address = format!("/mqtt?token={token}");
    for (path, protocols) in [("/mqtt", "mqtt"), ("/mqtt", "mqtt, bearer.x"), (&in_address, "mqtt")] {
        let (_, refused) = upgrade(&broker, path, protocols);
        assert!(refused.starts_with("http/1.1 401"), "{refused}");
    }
    broker.http().get("/mqtt").problem(400, "bad_request");
    let (mut console, head) = upgrade(&broker, "/mqtt", &format!("mqtt, bearer.{token}"));
    assert!(!head.contains(&token.to_ascii_lowercase()), "{head}");
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-protocol: mqtt"), "{head}");
    // CONNECT of 3.1.1 as `web`, SUBSCRIBE to `t`, PUBLISH to it.
    console.write_all(&frame(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03web")).unwrap();
    assert_eq!(receive(&mut console), b"\x20\x02\x00\x00");
    console.write_all(&frame(b"\x82\x06\x00\x01\x00\x01t\x00")).unwrap();
    assert_eq!(receive(&mut console), b"\x90\x03\x00\x01\x00");
    console.write_all(&frame(b"\x30\x05\x00\x01thi")).unwrap();
    assert_eq!(receive(&mut console), b"\x30\x05\x00\x01thi");
    // DISCONNECT ends both.
    console.write_all(&frame(b"\xe0\x00")).unwrap();
    let mut rest = Vec::new();
    console.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0x88, 0x00], "a close frame, then the end");
}

#[test]
fn admin_consoles_are_bounded() {
    let Some(broker) = served(1, &[]) else { return };
    let login = json!({ "username": "admin", "password": first_password(&broker) });
    let login = broker.http_over_tcp().post("/api/v1/login", &login).json(200);
    let protocols = format!("mqtt,bearer.{}", login["token"].as_str().unwrap());
    let open: Vec<_> = (0..16).map(|_| upgrade(&broker, "/mqtt", &protocols)).collect();
    assert!(open.iter().all(|(_, head)| head.starts_with("http/1.1 101")));
    let (_, refused) = upgrade(&broker, "/mqtt", &protocols);
    assert!(refused.starts_with("http/1.1 503"), "{refused}");
    drop(open);
    crate::broker::wait_until("a place", || {
        upgrade(&broker, "/mqtt", &protocols).1.starts_with("http/1.1 101")
    });
}

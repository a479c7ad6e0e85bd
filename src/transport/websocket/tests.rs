//! The layer as a client sees it: requests in any pieces, answers byte by byte.

use super::*;

fn service() -> Arc<Service> {
    Arc::new(Service { path: "/mqtt".into(), origins: Vec::new(), packet_bytes_max: 1000, scheme: "ws" })
}

/// The example of RFC 6455, section 1.2, with MQTT's subprotocol.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// What came up, what went down (its farewell included), and how it ended, if it did.
type Outcome = (Vec<u8>, Vec<u8>, Option<End>);

fn run(service: &Arc<Service>, stream: &[u8], piece: usize) -> Outcome {
    let (mut layer, mut up, mut down) = (WebSocket::new(Arc::clone(service)), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        let mut below = piece.to_vec();
        let result = layer.receive(&mut below, &mut up, &mut down);
        if let Err(end) = result {
            layer.close(&mut down);
            return (up, down, Some(end));
        }
        assert!(below.is_empty());
    }
    (up, down, None)
}

/// The same in whatever pieces.
fn outcome(service: &Arc<Service>, stream: &[u8]) -> Outcome {
    let whole = run(service, stream, usize::MAX);
    for piece in [1, 2, 3, 7, 100] {
        assert_eq!(run(service, stream, piece), whole, "pieces of {piece}");
    }
    whole
}

/// The answer to a request that is to be refused: its status line, and whole.
fn refused(service: &Arc<Service>, request: &str) -> (String, String) {
    let (up, down, end) = outcome(service, request.as_bytes());
    assert!(up.is_empty());
    let answer = String::from_utf8(down).unwrap();
    assert!(matches!(end, Some(End::WebSocket(Error::Refused(_)))), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(head.contains("Connection: close") || head.contains("Connection: Upgrade, close"), "{answer}");
    assert!(body.contains("ws://HOST:PORT/mqtt"), "{answer}");
    (head.lines().next().unwrap().to_owned(), answer.clone())
}

fn status(request: &str) -> String {
    refused(&service(), request).0
}

/// An accepted request's answer.
fn accepted(service: &Arc<Service>, request: &str) -> String {
    let (up, down, end) = outcome(service, request.as_bytes());
    assert_eq!((up, end), (Vec::new(), None));
    String::from_utf8(down).unwrap()
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let head = [first, 0x80 | payload.len() as u8];
    let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    [&head[..], &mask, &payload].concat()
}

#[test]
fn rfc_6455_1_2_the_example_is_accepted() {
    assert_eq!(accepted(&service(), REQUEST), ACCEPTED);
}

#[test]
fn upgrade_tokens_are_case_insensitive_and_in_lists() {
    let request = REQUEST
        .replace("Upgrade: websocket", "uPGRADE: h2c, WebSocket")
        .replace("Connection: Upgrade", "Connection: keep-alive, uPGRADE")
        .replace("/mqtt HTTP", "/mqtt?token=1 HTTP");
    assert_eq!(accepted(&service(), &request), ACCEPTED);
    let split = REQUEST.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade");
    assert_eq!(accepted(&service(), &split), ACCEPTED);
}

#[test]
fn mqtt_6_0_0_4_the_first_known_subprotocol_is_chosen() {
    let choice = |offer: &str| {
        let request = REQUEST.replace("Sec-WebSocket-Protocol: mqtt\r\n", offer);
        let answer = accepted(&service(), &request);
        let line = answer.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        line.map(str::to_owned)
    };
    assert_eq!(choice("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n").as_deref(), Some("mqttv3.1"));
    assert_eq!(choice("Sec-WebSocket-Protocol: chat, mqttv3.1.1\r\n").as_deref(), Some("mqttv3.1.1"));
    let two = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: mqtt\r\n";
    assert_eq!(choice(two).as_deref(), Some("mqtt"));
    assert_eq!(choice(""), None, "none offered");
    assert!(status(&REQUEST.replace("Protocol: mqtt", "Protocol: chat")).contains("400"));
    assert!(status(&REQUEST.replace("Protocol: mqtt", "Protocol: MQTT")).contains("400"), "names are exact");
}

#[test]
fn origins_are_checked_where_they_are_configured() {
    let origins = vec!["https://example.org".into(), "http://EXAMPLE.com".into()];
    let service = Arc::new(Service { origins, ..(*service()).clone() });
    assert_eq!(accepted(&service, REQUEST), ACCEPTED);
    assert_eq!(accepted(&service, &REQUEST.replace("Origin: http://example.com\r\n", "")), ACCEPTED);
    let foreign = REQUEST.replace("http://example.com", "https://example.com");
    assert_eq!(refused(&service, &foreign).0, "HTTP/1.1 403 Forbidden");
    let two = REQUEST.replace("Origin:", "Origin: null\r\nOrigin:");
    assert_eq!(refused(&service, &two).0, "HTTP/1.1 403 Forbidden");
}

#[test]
fn people_get_a_helpful_answer() {
    let (line, answer) = refused(&service(), "GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(line, "HTTP/1.1 426 Upgrade Required");
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(status("GET /mqtt HTTP/1.0\r\n\r\n"), "HTTP/1.1 426 Upgrade Required");
    assert_eq!(status("GET /mqtt HTTP/1.1\n\n"), "HTTP/1.1 426 Upgrade Required");
    let (line, answer) = refused(&service(), "POST /mqtt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(line, "HTTP/1.1 405 Method Not Allowed");
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
}

#[test]
fn requests_that_lack_something_are_refused() {
    for (from, to, wanted) in [
        ("GET /mqtt ", "GET /mqtt/ ", "404 Not Found"),
        ("Version: 13", "Version: 8", "426 Upgrade Required"),
        ("Sec-WebSocket-Version: 13\r\n", "", "426 Upgrade Required"),
        ("Upgrade: websocket", "Upgrade: h2c", "426 Upgrade Required"),
        ("Connection: Upgrade", "Connection: close", "400 Bad Request"),
        ("Host: server.example.com\r\n", "", "400 Bad Request"),
        ("Host: server.example.com", "Host: a\r\nHost: b", "400 Bad Request"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", "400 Bad Request"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "?", "400 Bad Request"),
        ("HTTP/1.1", "HTTP/1.0", "400 Bad Request"),
        ("HTTP/1.1", "HTTP/2.0", "400 Bad Request"),
        ("Host: ", "Host ", "400 Bad Request"),
        ("Host:", "Content-Length: 5\r\nHost:", "400 Bad Request"),
        ("Host:", "Transfer-Encoding: chunked\r\nHost:", "400 Bad Request"),
    ] {
        let request = REQUEST.replace(from, to);
        assert_ne!(request, REQUEST);
        assert_eq!(status(&request), format!("HTTP/1.1 {wanted}"), "{request}");
    }
}

#[test]
fn a_request_is_bounded() {
    let long = |len: usize| REQUEST.replace("Host:", &format!("X: {}\r\nHost:", "x".repeat(len)));
    assert_eq!(accepted(&service(), &long(8192 - REQUEST.len() - 5)), ACCEPTED);
    let wanted = "HTTP/1.1 431 Request Header Fields Too Large";
    assert_eq!(status(&long(8192 - REQUEST.len() - 4)), wanted);
    assert_eq!(status(&long(20_000)), wanted);
    assert_eq!(status(&REQUEST.replace("Host:", &format!("{}Host:", "X: y\r\n".repeat(60)))), wanted);
}

#[test]
fn other_protocols_get_no_answer() {
    for (bytes, word) in
        [(&b"\x10\x0c\0\x04MQTT"[..], "without WebSocket"), (b"\x16\x03\x01", "TLS"), (b"\0", "no HTTP")]
    {
        let (up, down, end) = outcome(&service(), bytes);
        assert!(up.is_empty() && down.is_empty());
        assert!(end.unwrap().to_string().contains(word), "{bytes:?}");
    }
}

#[test]
fn packets_come_out_of_frames_and_answers_of_pings() {
    let stream = [
        REQUEST.as_bytes(),
        &masked(0x02, b"ab"),
        &masked(0x89, b"ping"),
        &masked(0x80, b"cd"),
        &masked(0x82, b"ef"),
        &masked(0x8A, b""),
        &masked(0x88, &[0x0F, 0xA0]),
        b"ignored",
    ];
    let (up, down, end) = outcome(&service(), &stream.concat());
    assert_eq!((up.as_slice(), end), (&b"abcdef"[..], Some(End::Peer)));
    assert_eq!(down, [ACCEPTED.as_bytes(), b"\x8a\x04ping", b"\x88\x02\x0f\xa0"].concat());
    let without_code = [REQUEST.as_bytes(), &masked(0x88, b"")].concat();
    assert_eq!(outcome(&service(), &without_code).1, [ACCEPTED.as_bytes(), b"\x88\0"].concat());
}

#[test]
fn violations_are_answered_with_their_close_code() {
    let too_large = [0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 3, 0xE9];
    for (bytes, code) in [
        (masked(0x81, b"text"), 1003_u16),
        (vec![0x82, 2, b'a', b'b'], 1002),
        (masked(0xC2, b"a"), 1002),
        (masked(0x83, b"a"), 1002),
        (too_large.to_vec(), 1009),
    ] {
        let stream = [REQUEST.as_bytes(), &masked(0x82, b"before"), &bytes].concat();
        let (up, down, end) = outcome(&service(), &stream);
        assert_eq!(up, b"before");
        assert!(matches!(end, Some(End::WebSocket(Error::Violation(_)))), "{end:?}");
        assert_eq!(down, [ACCEPTED.as_bytes(), &[0x88, 2], &code.to_be_bytes()].concat());
    }
}

#[test]
fn a_client_that_takes_nothing_gets_no_pongs() {
    let (mut layer, mut up, mut down) = (WebSocket::new(service()), Vec::new(), Vec::new());
    layer.receive(&mut REQUEST.into(), &mut up, &mut down).unwrap();
    down.clear();
    layer.set_congested(true);
    layer.receive(&mut masked(0x89, b"1"), &mut up, &mut down).unwrap();
    assert!(down.is_empty());
    layer.set_congested(false);
    layer.receive(&mut masked(0x89, b"2"), &mut up, &mut down).unwrap();
    assert_eq!(down, b"\x8a\x012");
}

#[test]
fn what_is_sent_is_one_frame_and_the_farewell_comes_once() {
    let (mut layer, mut down) = (WebSocket::new(service()), Vec::new());
    layer.send(b"too early", &mut down);
    assert!(down.is_empty() && layer.is_handshaking());
    layer.receive(&mut REQUEST.into(), &mut Vec::new(), &mut down).unwrap();
    down.clear();
    layer.send(b"abc", &mut down);
    layer.send(b"", &mut down);
    layer.close(&mut down);
    layer.close(&mut down);
    layer.send(b"too late", &mut down);
    assert_eq!(down, b"\x82\x03abc\x88\x02\x03\xe8");
}

//! `[[webhook]]`: events of clients, posted to an HTTP server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir, wait_until};
use crate::client::TIMEOUT;
use crate::wire::{Connect, Publish};

/// A request that the server got: the header `Authorization`, and the events.
type Request = (Option<String>, Vec<Value>);

/// An HTTP server that answers each request with the next status, the last one for ever.
fn server(statuses: &[u16]) -> (SocketAddr, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = channel();
    let mut statuses = statuses.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut authorization, mut len) = (None, 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "authorization" => authorization = Some(value.trim().to_owned()),
                    "content-length" => len = value.trim().parse().unwrap(),
                    _ => {}
                }
            }
            let mut body = vec![0; len];
            if stream.read_exact(&mut body).is_err() || len == 0 {
                continue;
            }
            let status = if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] };
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.get_mut().write_all(answer.as_bytes());
            if sender.send((authorization, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn hooked(to: SocketAddr, keys: &str) -> Broker {
    let file = format!("[[webhook]]\nurl = 'http://{to}/events?key=s3cret'\n{keys}\n");
    Broker::start(&Options::shards(2).file(&file)).unwrap()
}

/// Events until there are so many.
fn collect(requests: &Receiver<Request>, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(requests.recv_timeout(TIMEOUT).unwrap().1);
    }
    events
}

#[test]
fn webhook_gets_what_clients_do() {
    if peer_is_mosquitto() {
        return;
    }
    let (address, requests) = server(&[204]);
    let dir = temporary_dir();
    let file = dir.join("authorization");
    std::fs::write(&file, "Bearer t0ken\n").unwrap();
    let keys = format!(
        "events = ['client.connected', 'client.disconnected', 'client.subscribe', 'client.unsubscribe', \
         'message.publish']\ntopics = ['t/#']\nauthorization_file = '{}'",
        file.display()
    );
    let broker = hooked(address, &keys);
    let mut client = broker.connect(Connect::v5("c").keep_alive_s(30));
    client.subscribe("t/+", 1);
    client.publish(Publish::new("other", "unheard").qos(1));
    client.publish(Publish::new("t/1", "text").qos(1));
    client.expect_message("t/1", "text");
    client.publish(Publish::new("t/2", vec![0xFF]).qos(1));
    client.recv_message();
    client.unsubscribe(&["t/+"]);
    client.disconnect();
    let (authorization, mut events) = requests.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(authorization.as_deref(), Some("Bearer t0ken"));
    events.extend(collect(&requests, 6 - events.len().min(6)));
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "client.connected",
        "client.subscribe",
        "message.publish",
        "message.publish",
        "client.unsubscribe",
        "client.disconnected",
    ];
    assert_eq!(names, expected, "{events:?}");
    assert!(events.iter().all(|event| event["client_id"] == "c"), "{events:?}");
    assert_eq!((&events[0]["protocol"], &events[0]["keep_alive_s"]), (&"5.0".into(), &30.into()));
    assert_eq!((&events[1]["filter"], &events[1]["qos"]), (&"t/+".into(), &1.into()));
    assert_eq!((&events[2]["topic"], &events[2]["payload"]), (&"t/1".into(), &"text".into()));
    assert_eq!(events[3]["payload_base64"], "/w==");
    assert_eq!(events[5]["reason"], "normal");
    let shown = broker.http().json("/api/v1/webhooks");
    assert!(shown["items"][0]["url"].as_str().unwrap().ends_with("/events?key=***"), "{shown}");
    assert!(!broker.output().contains("s3cret") && !broker.output().contains("t0ken"));
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn webhook_is_asked_again_and_loses_what_is_refused() {
    if peer_is_mosquitto() {
        return;
    }
    let (address, requests) = server(&[503, 200, 400, 200]);
    let broker = hooked(address, "events = ['message.publish']\nlinger_ms = 0\nretries = 2");
    let mut client = broker.connect(Connect::v5("c"));
    client.publish(Publish::new("a", "1").qos(1));
    let payload = |request: Request| request.1[0]["payload"].as_str().unwrap().to_owned();
    // Twice the same: the first answer was that there is no service.
    assert_eq!(payload(requests.recv_timeout(TIMEOUT).unwrap()), "1");
    assert_eq!(payload(requests.recv_timeout(TIMEOUT).unwrap()), "1");
    client.publish(Publish::new("a", "2").qos(1));
    assert_eq!(payload(requests.recv_timeout(TIMEOUT).unwrap()), "2");
    client.publish(Publish::new("a", "3").qos(1));
    assert_eq!(payload(requests.recv_timeout(TIMEOUT).unwrap()), "3");
    let numbers = || {
        let shown = broker.http().json("/api/v1/webhooks");
        let item = &shown["items"][0];
        (item["delivered"].as_u64().unwrap(), item["failed"].as_u64().unwrap(), item["error"].is_null())
    };
    wait_until("all is counted", || numbers() == (2, 1, true));
}

#[test]
fn webhook_that_does_not_answer_slows_nobody_and_what_finds_no_room_is_counted() {
    if peer_is_mosquitto() {
        return;
    }
    // It accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let keys =
        "events = ['message.publish']\nqueue_len_max = 10\nbatch_max = 5\nlinger_ms = 0\ntimeout_ms = 60000";
    let broker = hooked(silent.local_addr().unwrap(), keys);
    let mut client = broker.connect(Connect::v5("c"));
    let begun = Instant::now();
    for number in 0..200 {
        client.publish(Publish::new("a", number.to_string()).qos(1));
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let shown = broker.http().json("/api/v1/webhooks");
    let item = &shown["items"][0];
    // Some are in the request that is not answered, and ten wait.
    assert!(item["dropped"].as_u64().unwrap() >= 180, "{item}");
    assert_eq!(item["delivered"], 0);
}

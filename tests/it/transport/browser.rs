//! A page in a real Chromium: MQTT.js as browsers run it, and the origin check as browsers keep to it.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use super::{listen, ws};
use crate::broker::temporary_dir;
use crate::clients::{repository, runs, skip};
use crate::wire::Connect;

/// What the page does: a conversation in each version, then a WebSocket that its origin forbids.
const SCRIPT: &str = r#"
const url = (port) => `ws://${HOST}:${port}/mqtt`;
function converse(version) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url(PORT), { clientId: `page-${version}`, protocolVersion: version, reconnectPeriod: 0 });
    client.on("error", reject);
    client.on("connect", () => client.subscribe(`page/${version}`, { qos: 2 }, () => {
      client.publish(`page/${version}`, new Uint8Array(70000).fill(version), { qos: 2 });
    }));
    client.on("message", (topic, payload) => {
      if (payload.length !== 70000 || payload[69999] !== version) reject(new Error("another payload"));
      resolve(client);
    });
  });
}
function forbidden() {
  return new Promise((resolve) => {
    const socket = new WebSocket(FORBIDDEN, "mqtt");
    socket.onopen = () => resolve("opened");
    socket.onerror = () => resolve("refused");
  });
}
(async () => {
  await (await converse(4)).endAsync();
  const client = await converse(5);
  client.publish("result", `conversed, then ${await forbidden()}`);
})();
"#;

/// The first of the usual names that there is.
fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| runs(Command::new(name).arg("--version")))
}

#[test]
fn a_page_in_chromium_speaks_mqtt() {
    let Some(chromium) = chromium() else { return skip("there is no chromium") };
    let mqttjs = repository("tests/it/js/node_modules/mqtt/dist/mqtt.min.js");
    if !mqttjs.exists() {
        return skip("MQTT.js is not installed (npm ci in tests/it/js)");
    }
    let broker = listen(2, "ws", "");
    let other = listen(1, "ws", "origins = [\"https://example.org\"]");
    let dir = temporary_dir();
    let mut page = String::from("<!doctype html><meta charset=utf-8>\n");
    let (host, port) = (broker.address.ip(), broker.address.port());
    let _ = writeln!(page, "<script src=\"file://{}\"></script>", mqttjs.display());
    let forbidden = format!("ws://{}/mqtt", other.address);
    let _ = writeln!(
        page,
        "<script>const HOST = \"{host}\", PORT = {port}, FORBIDDEN = \"{forbidden}\";{SCRIPT}</script>"
    );
    let file = dir.join("page.html");
    std::fs::write(&file, page).unwrap();
    let (mut watcher, _) = ws::connect(broker.address, Connect::v311("watcher"));
    watcher.subscribe("result", 0);
    let mut browser = Command::new(chromium)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A browser takes its time to start on a busy machine.
    let result = watcher.recv_within(std::time::Duration::from_secs(60));
    let _ = browser.kill();
    let _ = browser.wait();
    let _ = std::fs::remove_dir_all(dir);
    let Some(crate::wire::Packet::Publish(publish)) = result else { panic!("{result:?} came from the page") };
    assert_eq!(publish.text(), "conversed, then refused");
}

// Scenarios with MQTT.js in MQTT 3.1, 3.1.1 and 5.0. Usage: node scenarios.js HOST PORT SCENARIO [PROTOCOL [CA_FILE]]

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import mqtt from "mqtt";

const [host, port, scenario, protocol = "mqtt", caFile] = process.argv.slice(2);
// Of TLS: the authority to trust.
const tls = caFile ? { ca: readFileSync(caFile) } : {};
const VERSIONS = [3, 4, 5];
const TIMEOUT_MS = 20_000;

/** A client with a queue of what it received; every method waits for its answer. */
class Peer {
  static async connect(name, version, { persistent = false, ...options } = {}) {
    const peer = new Peer();
    peer.messages = [];
    peer.waiting = [];
    const client = mqtt.connect({
      host,
      port: Number(port),
      protocol,
      ...tls,
      path: "/mqtt",
      clientId: `${name}-${version}`,
      protocolVersion: version,
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      clean: !persistent,
      reconnectPeriod: 50,
      ...(version === 5 ? { properties: { sessionExpiryInterval: persistent ? 300 : 0 } } : {}),
      ...options,
    });
    client.on("message", (topic, payload, packet) => {
      const message = { topic, text: payload.toString(), packet };
      const next = peer.waiting.shift();
      if (next) next(message);
      else peer.messages.push(message);
    });
    client.on("error", (error) => {
      console.error(error);
      process.exit(1);
    });
    peer.client = client;
    peer.connack = await new Promise((resolve) => client.once("connect", resolve));
    return peer;
  }

  receive() {
    const message = this.messages.shift();
    if (message) return Promise.resolve(message);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing came")), TIMEOUT_MS);
      this.waiting.push((message) => {
        clearTimeout(timer);
        resolve(message);
      });
    });
  }

  async expect(topic, text) {
    const message = await this.receive();
    assert.deepEqual([message.topic, message.text], [topic, text]);
    return message.packet;
  }

  async expectNothing() {
    await sleep(200);
    assert.deepEqual(this.messages, []);
  }

  end() {
    return this.client.endAsync();
  }
}

const scenarios = {
  async qos() {
    for (const from of VERSIONS) {
      for (const to of VERSIONS) {
        const subscriber = await Peer.connect("subscriber", to);
        await subscriber.client.subscribeAsync("qos/#", { qos: 2 });
        const publisher = await Peer.connect("publisher", from);
        for (const qos of [0, 1, 2]) {
          await publisher.client.publishAsync(`qos/${qos}`, "x", { qos });
          assert.equal((await subscriber.expect(`qos/${qos}`, "x")).qos, qos);
        }
        await publisher.end();
        await subscriber.end();
      }
    }
  },

  async retained() {
    for (const version of VERSIONS) {
      const topic = `retained/${version}`;
      const publisher = await Peer.connect("publisher", version);
      await publisher.client.publishAsync(topic, "kept", { qos: 1, retain: true });
      const subscriber = await Peer.connect("subscriber", version);
      await subscriber.client.subscribeAsync("retained/+", { qos: 1 });
      assert.equal((await subscriber.expect(topic, "kept")).retain, true);
      await publisher.client.publishAsync(topic, "", { qos: 1, retain: true });
      const late = await Peer.connect("late", version);
      await late.client.subscribeAsync("retained/#", { qos: 1 });
      await late.expectNothing();
      for (const peer of [publisher, subscriber, late]) await peer.end();
    }
  },

  async will() {
    for (const version of VERSIONS) {
      const watcher = await Peer.connect("watcher", version);
      await watcher.client.subscribeAsync("will/#", { qos: 1 });
      const will = { topic: "will/rude", payload: Buffer.from("gone"), qos: 1, retain: false };
      await (await Peer.connect("gentle", version, { will })).end();
      const rude = await Peer.connect("rude", version, { will, reconnectPeriod: 0 });
      rude.client.stream.destroy();
      await watcher.expect("will/rude", "gone");
      await watcher.expectNothing();
      await watcher.end();
    }
  },

  async resume() {
    for (const version of VERSIONS) {
      const first = await Peer.connect("persistent", version, { persistent: true });
      await first.client.subscribeAsync("resume/#", { qos: 2 });
      await first.end();
      const publisher = await Peer.connect("publisher", version);
      for (let number = 0; number < 50; number += 1) {
        await publisher.client.publishAsync("resume/t", String(number), { qos: 1 + (number % 2) });
      }
      const second = await Peer.connect("persistent", version, { persistent: true });
      assert.equal(version === 3 || second.connack.sessionPresent, true);
      const got = [];
      while (got.length < 50) got.push(Number((await second.receive()).text));
      // A message of QoS 2 is handed over at its PUBREL, so the two QoS are each in order, not together.
      for (const odd of [0, 1]) {
        const expected = Array.from({ length: 25 }, (_, index) => index * 2 + odd);
        assert.deepEqual(got.filter((number) => number % 2 === odd), expected);
      }
      await second.expectNothing();
      await second.end();
      await publisher.end();
    }
  },

  async shared() {
    const members = [];
    for (let number = 0; number < 6; number += 1) {
      const member = await Peer.connect(`member-${number}`, VERSIONS[number % 3]);
      await member.client.subscribeAsync("$share/group/shared/#", { qos: 1 });
      members.push(member);
    }
    const publisher = await Peer.connect("publisher", 5);
    for (let number = 0; number < 120; number += 1) {
      await publisher.client.publishAsync("shared/t", String(number), { qos: 1 });
    }
    await sleep(500);
    const all = members.flatMap((member) => member.messages.map((message) => Number(message.text)));
    all.sort((a, b) => a - b);
    assert.deepEqual(all, Array.from({ length: 120 }, (_, number) => number));
    assert.ok(members.every((member) => member.messages.length > 0));
    for (const member of [...members, publisher]) await member.end();
  },

  async properties() {
    const subscriber = await Peer.connect("subscriber", 5, { properties: { topicAliasMaximum: 5 } });
    const options = { qos: 1, rap: true, properties: { subscriptionIdentifier: 77 } };
    await subscriber.client.subscribeAsync("properties", options);
    const publisher = await Peer.connect("publisher", 5, { autoAssignTopicAlias: true });
    const properties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Buffer.from([0, 1]),
      userProperties: { b: ["1", "3"], a: "2" },
    };
    for (let round = 0; round < 3; round += 1) {
      await publisher.client.publishAsync("properties", "x", { qos: 1, properties });
      const got = (await subscriber.expect("properties", "x")).properties;
      assert.equal(got.contentType, "text/plain");
      assert.equal(got.responseTopic, "answers");
      assert.deepEqual([...got.correlationData], [0, 1]);
      assert.deepEqual(JSON.parse(JSON.stringify(got.userProperties)), properties.userProperties);
      assert.equal(got.subscriptionIdentifier, 77);
    }
    await publisher.end();
    await subscriber.end();
  },

  async order() {
    for (const version of VERSIONS) {
      for (const qos of [1, 2]) {
        const subscriber = await Peer.connect("subscriber", version);
        await subscriber.client.subscribeAsync("order", { qos });
        const publisher = await Peer.connect("publisher", version);
        for (let start = 0; start < 1000; start += 20) {
          const numbers = Array.from({ length: 20 }, (_, index) => start + index);
          await Promise.all(numbers.map((n) => publisher.client.publishAsync("order", String(n), { qos })));
        }
        for (let number = 0; number < 1000; number += 1) await subscriber.expect("order", String(number));
        await subscriber.expectNothing();
        await publisher.end();
        await subscriber.end();
      }
    }
  },

  async reconnect() {
    for (const version of [4, 5]) {
      const subscriber = await Peer.connect("subscriber", version, { persistent: true });
      await subscriber.client.subscribeAsync("reconnect", { qos: 1 });
      const publisher = await Peer.connect("publisher", version);
      for (let number = 0; number < 400; number += 1) {
        await publisher.client.publishAsync("reconnect", String(number), { qos: 1 });
        if (number % 80 === 40) subscriber.client.stream.destroy();
      }
      const got = new Set();
      while (!got.has(399)) got.add(Number((await subscriber.receive()).text));
      assert.equal(got.size, 400);
      await publisher.end();
      await subscriber.end();
    }
  },
};

await scenarios[scenario]();
console.log("done");
process.exit(0);

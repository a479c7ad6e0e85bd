// Starts the real broker for a test, and clients of it over TCP.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MqttClient } from '../../src/admin/dashboard/mqtt.js';

const BINARY = process.env.MYRIAD_BIN ?? new URL('../../target/debug/myriad', import.meta.url).pathname;
const READY_MS = 20000;

/** The dashboard's own MQTT client speaks through a `WebSocket`: here that is a TCP connection. */
class TcpSocket {
  constructor(url) {
    const { hostname, port } = new URL(url);
    this.readyState = 0;
    this.tcp = net.connect(Number(port), hostname, () => {
      this.readyState = 1;
      this.onopen();
    });
    this.tcp.setNoDelay();
    this.tcp.on('data', (data) => this.onmessage?.({ data: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) }));
    this.tcp.on('error', () => {});
    this.tcp.on('close', () => {
      this.readyState = 3;
      this.onclose?.();
    });
  }

  send(packet) { this.tcp.write(packet); }

  close() { this.tcp.end(); }
}
TcpSocket.OPEN = 1;
globalThis.WebSocket = TcpSocket;

/** Waits until `check` returns something true, at most `ms`; returns that. */
export async function until(what, check, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** A broker with a folder of its own, on ports that the kernel chose. */
export class Broker {
  static async start(settings = []) {
    const broker = new Broker();
    broker.folder = mkdtempSync(join(tmpdir(), 'myriad-dashboard-'));
    broker.clients = [];
    broker.lines = [];
    broker.process = spawn(BINARY, [
      '--data-dir', join(broker.folder, 'data'), '--listen', 'mqtt://127.0.0.1:0',
      ...['storage.durability=memory', 'admin.listen=127.0.0.1:0', ...settings].flatMap((setting) => ['--set', setting]),
    ], { cwd: broker.folder });
    const read = (stream) => createInterface(stream).on('line', (line) => broker.lines.push(line));
    read(broker.process.stdout);
    read(broker.process.stderr);
    await until('myriad ready', () => {
      if (broker.process.exitCode !== null) throw new Error(`the broker ended:\n${broker.lines.join('\n')}`);
      return broker.lines.some((line) => line.includes('myriad ready'));
    }, READY_MS);
    broker.url = await broker.printed(/admin on (http:\/\/\S+)/);
    broker.mqtt = await broker.printed(/listening on (mqtt:\/\/\S+)/);
    broker.password = await broker.printed(/admin password: ([^,\s]+)/);
    return broker;
  }

  printed(pattern) {
    return until(`a line like ${pattern}`, () => this.lines.map((line) => pattern.exec(line)?.[1]).find(Boolean), 3000);
  }

  /** A connected client. Its `messages` are what it received, `ended` the sentence of its end. */
  async client(clientId, options = {}) {
    const client = new MqttClient({ url: this.mqtt, clientId, version: 5, ...options });
    client.messages = [];
    client.onmessage = (message) => client.messages.push(message);
    client.onclose = (sentence) => { client.ended = sentence; };
    await client.connect();
    this.clients.push(client);
    return client;
  }

  async stop() {
    for (const client of this.clients) client.disconnect();
    if (this.process.exitCode === null) {
      const ended = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      await Promise.race([ended, new Promise((resolve) => { setTimeout(resolve, 5000).unref(); })]);
      if (this.process.exitCode === null) this.process.kill('SIGKILL');
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

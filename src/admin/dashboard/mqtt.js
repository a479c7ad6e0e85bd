// A small MQTT client over WebSocket, 3.1.1 and 5.0, QoS 0 to 2: what the console needs and no more. It keeps no session.

import { textOf } from './payload.js';

const encoder = new TextEncoder();

/** Writes the fields of a packet. */
class Writer {
  constructor() { this.bytes = []; }
  u8(n) { this.bytes.push(n & 255); return this; }
  u16(n) { return this.u8(n >> 8).u8(n); }
  u32(n) { return this.u16(n >>> 16).u16(n & 0xffff); }
  raw(data) { for (const byte of data) this.bytes.push(byte); return this; }
  text(value) {
    const data = encoder.encode(value);
    if (data.length > 65535) throw new Error('a text is longer than 65,535 bytes');
    return this.u16(data.length).raw(data);
  }
  varint(n) {
    let left = n;
    do {
      const byte = left % 128;
      left = Math.floor(left / 128);
      this.u8(left > 0 ? byte | 128 : byte);
    } while (left > 0);
    return this;
  }
}

/** A packet with its fixed header. */
function frame(first, body, tail = new Uint8Array()) {
  const head = new Writer().u8(first).varint(body.bytes.length + tail.length);
  const packet = new Uint8Array(head.bytes.length + body.bytes.length + tail.length);
  packet.set(head.bytes);
  packet.set(body.bytes, head.bytes.length);
  packet.set(tail, head.bytes.length + body.bytes.length);
  return packet;
}

/** Reads the fields of a packet; throws where it ends too early. */
class Reader {
  constructor(data) { this.data = data; this.at = 0; }
  get left() { return this.data.length - this.at; }
  u8() {
    if (this.at >= this.data.length) throw new Error('the broker sent a packet that ends too early');
    return this.data[this.at++];
  }
  u16() { return (this.u8() << 8) | this.u8(); }
  u32() { return this.u16() * 65536 + this.u16(); }
  raw(length) {
    if (length > this.left) throw new Error('the broker sent a packet that ends too early');
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }
  binary() { return this.raw(this.u16()); }
  text() { return textOf(this.binary()) ?? '\ufffd'; }
  varint() {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new Error('the broker sent a malformed length');
  }
}

// Section 2.2.2.2 of MQTT 5.0: the type of each property, and the name of those that are shown.
const PROPERTIES = {
  1: ['u8', 'payload format'], 2: ['u32', 'expires in s'], 3: ['text', 'content type'], 8: ['text', 'response topic'], 9: ['binary'],
  11: ['varint', 'subscription id'], 17: ['u32'], 18: ['text', 'client id'], 19: ['u16', 'keep alive'], 21: ['text'], 22: ['binary'], 26: ['text'],
  28: ['text', 'server reference'], 31: ['text', 'reason'], 33: ['u16'], 34: ['u16'], 35: ['u16'], 36: ['u8', 'maximum QoS'], 37: ['u8'],
  38: ['pair'], 39: ['u32', 'maximum packet size'], 40: ['u8'], 41: ['u8'], 42: ['u8'],
};

function properties(reader) {
  const within = new Reader(reader.raw(reader.varint()));
  const found = [];
  while (within.left > 0) {
    const [type, label] = PROPERTIES[within.u8()] ?? [];
    if (!type) throw new Error('the broker sent an unknown property');
    if (type === 'pair') found.push([within.text(), within.text()]);
    else {
      const value = within[type]();
      if (label) found.push([label, String(value)]);
    }
  }
  return found;
}

const REFUSED_3 = ['', 'protocol version not supported', 'client identifier rejected', 'server unavailable', 'bad user name or password', 'not authorized'];
const REASONS = {
  0x80: 'unspecified error', 0x81: 'malformed packet', 0x82: 'protocol error', 0x84: 'protocol version not supported', 0x85: 'client identifier not valid',
  0x86: 'bad user name or password', 0x87: 'not authorized', 0x88: 'server unavailable', 0x89: 'server busy', 0x8a: 'banned', 0x8b: 'server shutting down',
  0x8d: 'keep alive timeout', 0x8e: 'session taken over', 0x8f: 'topic filter not valid', 0x90: 'topic name not valid', 0x93: 'receive maximum exceeded',
  0x95: 'packet too large', 0x96: 'message rate too high', 0x97: 'quota exceeded', 0x98: 'ended by an administrator', 0x99: 'payload format not valid',
  0x9a: 'retain not supported', 0x9b: 'QoS not supported', 0x9c: 'use another server', 0x9d: 'server moved', 0x9e: 'shared subscriptions not supported',
  0x9f: 'connection rate exceeded', 0xa1: 'subscription identifiers not supported', 0xa2: 'wildcard subscriptions not supported',
};

/** A Reason Code in words. */
export const reason = (code) => REASONS[code] ?? `code 0x${code.toString(16)}`;

/** One connection. Handlers: `onmessage({topic, payload, qos, retain, dup, properties})`, `onclose(sentence)`. */
export class MqttClient {
  constructor({ url, protocols = ['mqtt'], version = 5, clientId, username, password, keepAlive = 30 }) {
    Object.assign(this, { url, protocols, version, clientId, username, password, keepAlive });
    this.onmessage = () => {};
    this.onclose = () => {};
    this.waiting = new Map();
    this.received = new Set();
    this.nextId = 1;
    this.buffer = new Uint8Array();
  }

  /** Resolves after CONNACK; rejects with an Error that says why not. */
  connect() {
    // [MQTT-3.1.2-22]
    if (this.version !== 5 && this.password && !this.username) {
      return Promise.reject(new Error('MQTT 3.1.1 takes no password without a user name.'));
    }
    return new Promise((resolve, reject) => {
      this.opened = { resolve, reject };
      this.socket = new WebSocket(this.url, this.protocols);
      this.socket.binaryType = 'arraybuffer';
      this.socket.onopen = () => {
        this.isReached = true;
        this.send(this.connectPacket());
      };
      this.socket.onmessage = (event) => this.take(event.data);
      this.socket.onclose = () => this.end(this.isReached ? 'The connection was closed by the broker.' : 'The connection was refused.');
    });
  }

  disconnect() {
    if (this.isOpen) this.send(new Uint8Array([0xe0, 0]));
    this.end('Disconnected.');
  }

  get isOpen() { return this.socket?.readyState === WebSocket.OPEN && !this.opened; }

  /** Resolves when the QoS's acknowledgement is there. */
  publish(topic, payload, qos = 0, retain = false) {
    const body = new Writer().text(topic);
    const id = qos > 0 ? this.takeId() : 0;
    if (qos > 0) body.u16(id);
    if (this.version === 5) body.u8(0);
    this.send(frame(0x30 | (qos << 1) | (retain ? 1 : 0), body, payload));
    return qos > 0 ? this.answer(id) : Promise.resolve();
  }

  /** Resolves to the granted QoS. */
  subscribe(filter, qos) {
    const id = this.takeId();
    const body = new Writer().u16(id);
    if (this.version === 5) body.u8(0);
    this.send(frame(0x82, body.text(filter).u8(qos)));
    return this.answer(id);
  }

  unsubscribe(filter) {
    const id = this.takeId();
    const body = new Writer().u16(id);
    if (this.version === 5) body.u8(0);
    this.send(frame(0xa2, body.text(filter)));
    return this.answer(id);
  }

  // ---- sending

  connectPacket() {
    const has = (value) => value !== undefined && value !== '';
    const flags = 2 | (has(this.password) ? 0x40 : 0) | (has(this.username) ? 0x80 : 0);
    const body = new Writer().text('MQTT').u8(this.version === 5 ? 5 : 4).u8(flags).u16(this.keepAlive);
    if (this.version === 5) body.u8(0);
    body.text(this.clientId);
    if (has(this.username)) body.text(this.username);
    if (has(this.password)) body.text(this.password);
    return frame(0x10, body);
  }

  send(packet) {
    if (this.socket?.readyState !== WebSocket.OPEN) throw new Error('There is no connection.');
    this.socket.send(packet);
  }

  takeId() {
    if (this.waiting.size >= 1000) throw new Error('1,000 requests wait for their answer: the broker does not keep up.');
    while (this.waiting.has(this.nextId)) this.nextId = (this.nextId % 65535) + 1;
    const id = this.nextId;
    this.nextId = (this.nextId % 65535) + 1;
    return id;
  }

  answer(id) {
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  settle(id, code) {
    const asked = this.waiting.get(id);
    this.waiting.delete(id);
    if (code >= 0x80) asked?.reject(new Error(`The broker refused: ${this.version === 5 ? reason(code) : 'not allowed'}.`));
    else asked?.resolve(code);
  }

  // ---- receiving

  take(data) {
    const joined = new Uint8Array(this.buffer.length + data.byteLength);
    joined.set(this.buffer);
    joined.set(new Uint8Array(data), this.buffer.length);
    this.buffer = joined;
    try {
      while (this.buffer.length >= 2) {
        const reader = new Reader(this.buffer);
        const first = reader.u8();
        // The length may not be there in full yet.
        const bytesOfLength = this.buffer.subarray(1, 5).findIndex((byte) => byte < 128);
        if (bytesOfLength < 0 && this.buffer.length < 5) return;
        const length = reader.varint();
        if (reader.left < length) return;
        const body = reader.raw(length);
        this.buffer = this.buffer.subarray(reader.at);
        this.packet(first, new Reader(body));
      }
    } catch (error) {
      this.end(`Connection given up: ${error.message}.`);
    }
  }

  packet(first, body) {
    switch (first >> 4) {
      case 2: return this.connack(body);
      case 3: return this.published(first, body);
      case 4: case 7: return this.settle(body.u16(), body.left ? body.u8() : 0);
      case 5: return this.pubrec(body);
      case 6: return this.pubrel(body.u16());
      case 9: case 11: return this.granted(first >> 4, body);
      case 14: return this.end(`The broker disconnected: ${body.left ? reason(body.u8()) : 'no reason given'}.`);
      default: return undefined;
    }
  }

  connack(body) {
    body.u8();
    const code = body.u8();
    const { opened } = this;
    if (code !== 0) {
      return this.end(`The broker refused: ${this.version === 5 ? reason(code) : REFUSED_3[code] ?? `code ${code}`}.`);
    }
    const given = this.version === 5 && body.left ? properties(body) : [];
    const keepAlive = Number(given.find(([label]) => label === 'keep alive')?.[1] ?? this.keepAlive);
    this.timer = setInterval(() => this.ping(), Math.max(1, keepAlive) * 500);
    this.opened = null;
    return opened?.resolve();
  }

  ping() {
    if (this.isOpen) this.send(new Uint8Array([0xc0, 0]));
  }

  published(first, body) {
    const qos = (first >> 1) & 3;
    const topic = body.text();
    const id = qos > 0 ? body.u16() : 0;
    const found = this.version === 5 ? properties(body) : [];
    const message = { topic, payload: body.raw(body.left).slice(), qos, retain: (first & 1) === 1, dup: (first & 8) !== 0, properties: found };
    if (qos === 2) {
      this.send(frame(0x50, new Writer().u16(id)));
      if (this.received.has(id)) return;
      this.received.add(id);
    }
    this.onmessage(message);
    if (qos === 1) this.send(frame(0x40, new Writer().u16(id)));
  }

  pubrec(body) {
    const id = body.u16();
    const code = body.left ? body.u8() : 0;
    if (code >= 0x80) this.settle(id, code);
    else this.send(frame(0x62, new Writer().u16(id)));
  }

  pubrel(id) {
    this.received.delete(id);
    this.send(frame(0x70, new Writer().u16(id)));
  }

  granted(type, body) {
    const id = body.u16();
    if (this.version === 5) properties(body);
    // UNSUBACK of 3.1.1 has no codes; one filter at a time means one code.
    this.settle(id, body.left ? body.u8() : type === 11 ? 0 : 0x80);
  }

  end(sentence) {
    if (this.isEnded) return;
    this.isEnded = true;
    clearInterval(this.timer);
    this.socket.onclose = null;
    this.socket.onmessage = null;
    this.socket.close();
    for (const { reject } of this.waiting.values()) reject(new Error(sentence));
    this.waiting.clear();
    const { opened } = this;
    this.opened = null;
    if (opened) opened.reject(new Error(sentence));
    else this.onclose(sentence);
  }
}

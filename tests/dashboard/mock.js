// The API with made-up answers, for work on the dashboard without a broker: node tests/dashboard/mock.js [PORT] [CLIENTS]
// Every name and password logs in. Answers have the shape that the API's description says; tests use the real broker.

import { readFileSync, existsSync } from 'node:fs';
import { createServer } from 'node:http';

const PORT = Number(process.argv[2] ?? 18083);
const CLIENTS = Number(process.argv[3] ?? 10000);
const ROOT = new URL('../../src/admin/dashboard/', import.meta.url);
const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
const POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const begin = Date.now() - 2 * 3600e3;
const now = () => new Date().toISOString();
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const wave = (i, size, noise = 0.1) => Math.max(0, size * (1 + 0.25 * Math.sin(i / 40) + noise * (Math.random() - 0.5)));
const busy = CLIENTS > 0 ? 1 : 0;

const clients = Array.from({ length: CLIENTS }, (_, i) => ({
  client_id: i === 0 ? '<img src=x onerror=alert(1)>' : `sensor-${String(i).padStart(5, '0')}`, username: i % 3 ? 'plant-a' : null,
  address: `10.1.${i >> 8 & 255}.${i & 255}:5${1000 + (i % 9000)}`, listener: 'mqtt://0.0.0.0:1883', protocol: i % 2 ? '5.0' : '3.1.1', clean_start: i % 2 === 0,
  keep_alive_s: 60, connected_at: ago(40 + i * 7), shard: i % 4, session_expiry_s: i % 2 ? 172800 : 0, subscriptions: 1 + (i % 3), inflight: i % 5, queued: i % 97 === 0 ? 40 : 0,
  mountpoint: null,
}));
const subscriptions = clients.map((client, i) => ({
  client_id: client.client_id, filter: `plant/a/line-${i % 40}/cmd/${client.client_id}`, qos: i % 3, no_local: false, retain_as_published: false, retain_handling: 0,
  subscription_id: null, share: i % 50 ? null : 'workers', shard: client.shard,
}));
const retained = Array.from({ length: busy * 320 }, (_, i) => ({
  topic: i === 0 ? '<img src=x onerror=alert(2)>' : `plant/a/line-${i % 40}/state/${i}`, payload_bytes: 43 + i, qos: 1, stored_at: ago(i * 60), expires_at: i % 5 ? null : ago(-3600),
}));
let bans = busy ? [{ kind: 'address', name: '192.0.2.7', cause: '10 wrong passwords', seconds_left: 512 }] : [];

function page(items, search, match) {
  const found = items.filter(match ?? (() => true));
  const from = Number(search.get('cursor') ?? 0);
  const limit = Number(search.get('limit') ?? 100);
  return { items: found.slice(from, from + limit), next: from + limit < found.length ? String(from + limit) : null };
}
const globbed = (pattern) => {
  if (!pattern) return () => true;
  const regex = new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\<>]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`);
  return (text) => regex.test(text ?? '');
};
const counters = () => {
  const s = busy * (Date.now() - begin) / 1000;
  return {
    clients: CLIENTS, sessions: CLIENTS, subscriptions: subscriptions.length, queues: busy * 1280, inflight: busy * 640, retained: retained.length, messages_received: Math.round(s * 12450), messages_sent: Math.round(s * 40200),
    bytes_received: Math.round(s * 1.4e6), bytes_sent: Math.round(s * 5.1e6), messages_dropped: Math.round(s * 3), dropped_queue_full: Math.round(s * 2), dropped_slow: Math.round(s * 0.9),
    dropped_expired: Math.round(s * 0.1),
  };
};
const shards = () => [0, 1, 2, 3].map((shard) => {
  const c = counters();
  const part = [0.27, 0.25, 0.24, 0.24][shard];
  return { shard, clients: Math.round(CLIENTS * part), sessions: Math.round(CLIENTS * part), subscriptions: 0, queued: 3, inflight: 2, retained: 80, messages_received: Math.round(c.messages_received * part), messages_sent: Math.round(c.messages_sent * part),
    messages_dropped: 0, bytes_received: 0, bytes_sent: 0, mailbox: shard, cpu_us: Math.round((Date.now() - begin) * 1000 * part * (busy * 1.5 + 0.01)), slow_turns: shard * 2 };
});
function history() {
  const length = busy ? 720 : 40;
  const line = (size, noise) => Array.from({ length }, (_, i) => Math.round(wave(i, size * busy, noise)));
  return { step_s: 5, from: ago(length * 5), series: {
    connections: line(CLIENTS, 0.01), messages_received_per_s: line(12450), messages_sent_per_s: line(40200), bytes_received_per_s: line(1.4e6), bytes_sent_per_s: line(5.1e6), dropped_per_s: line(3, 1.5),
    queued: line(1280, 0.6), inflight: line(640, 0.5), memory_bytes: Array.from({ length }, (_, i) => 21e6 + busy * (i * 9000 + CLIENTS * 900)), cpu_percent: line(92),
    latency_p50_us: line(180, 0.5).map((v) => (busy ? v : null)), latency_p99_us: line(920, 0.8).map((v) => (busy ? v : null)) } };
}
const missing = { status: 404, body: { error: 'there is no such thing', code: 'not_found' } };

const routes = {
  'POST /login': () => ({ token: 'mock', expires_s: 43200 }),
  'GET /node': () => ({ name: 'myriad@plant-a', version: '0.1.0', started_at: new Date(begin).toISOString(), uptime_s: (Date.now() - begin) / 1000, shards: 4, connections: CLIENTS, sessions: CLIENTS + busy * 210, subscriptions: subscriptions.length,
    retained: retained.length, memory_bytes: 21e6 + CLIENTS * 950, cpu_s: (Date.now() - begin) / 1000 * (0.92 * busy + 0.004), storage: { durability: 'sync', is_down: false }, draining: false, connections_max: 1000000 }),
  'GET /stats': () => ({ items: counters() }),
  'GET /shards': () => ({ items: shards() }),
  'GET /latency': () => ({ count: busy * 1e6, p50_us: 184, p90_us: 410, p99_us: 930, p999_us: 2100, max_us: 18400, shards: [] }),
  'GET /history': history,
  'GET /alarms': () => ({ items: busy ? [{ id: 'memory_high', message: 'Memory is at 84 % of limits.memory_max: raise it or drain clients.', raised_at: ago(320), cleared_at: null, active: true }] : [] }),
  'GET /listeners': () => ({ items: [
    { index: 0, url: 'mqtt://0.0.0.0:1883', bound: '0.0.0.0:1883', state: 'running', connections: CLIENTS, max_connections: 1000000, tls: false, proxy_protocol: false, mountpoint: null },
    { index: 1, url: 'mqtts://0.0.0.0:8883', bound: '0.0.0.0:8883', state: 'stopped', connections: 0, max_connections: 0, tls: true, proxy_protocol: true, mountpoint: 'tenants/%u/' }] }),
  'GET /clients': (search) => {
    const [id, user, address] = [globbed(search.get('client_id')), globbed(search.get('user')), search.get('address')];
    return page(clients, search, (c) => id(c.client_id) && user(c.username) && (!address || c.address.startsWith(address)));
  },
  'GET /sessions': (search) => {
    const id = globbed(search.get('client_id'));
    return page(clients, search, (c) => id(c.client_id)).items.length === 0 ? { items: [], next: null } : {
      ...page(clients, search, (c) => id(c.client_id)),
      items: page(clients, search, (c) => id(c.client_id)).items.map((c, i) => ({ ...c, kind: c.session_expiry_s ? 'persistent' : 'transient', connected: i % 7 !== 0, expiry_s: c.session_expiry_s, expires_at: i % 7 ? null : ago(-9000), awaiting_rel: 0 })) };
  },
  'GET /subscriptions': (search) => {
    const id = globbed(search.get('client_id'));
    return page(subscriptions, search, (s) => id(s.client_id) && (!search.get('topic') || s.filter === search.get('topic')) && (!search.get('share') || s.share === search.get('share')));
  },
  'GET /topics': (search) => page(Array.from({ length: busy * 40 }, (_, i) => ({ filter: `plant/a/line-${i}/+/cmd`, subscribers: 250, shards: [0, 1, 2, 3] })), search),
  'GET /retained': (search) => page(retained, search),
  'GET /retained/message': (search) => {
    const payload = JSON.stringify({ state: 'running', speed: 12.5, at: now(), note: '<img src=x onerror=alert(3)>' });
    return { ...(retained.find((m) => m.topic === search.get('topic'))), payload_base64: Buffer.from(payload).toString('base64'), payload_text: payload, content_type: 'application/json', user_properties: [['line', '7']] };
  },
  'GET /bans': () => ({ items: bans }),
  'POST /bans': (_, body) => { bans = [...bans, { kind: body.kind, name: body.name, cause: 'by hand', seconds_left: body.seconds }]; return {}; },
  'GET /config': () => ({ file: '/etc/myriad/myriad.toml', toml: '[node]\nname = "myriad@plant-a"\n\n[session]\nexpiry_s = "48h"\n', items: { 'node.name': 'myriad@plant-a', 'node.shards': 4, 'session.expiry_s': '48h', 'session.queue_len_max': 1000, 'limits.packet_bytes_max': '1 MiB', 'auth.order': ['file', 'jwt'], 'acl.file': 'acl.conf' } }),
  'POST /config/reload': () => ({ changed: ['session.queue_len_max'], needs_restart: ['node.shards'] }),
  'POST /config/check': (_, body) => (body.toml.includes('=') ? { ok: true, error: null } : { ok: false, error: 'line 1: expected a key' }),
  'GET /slow': () => ({ items: busy ? [{ client_id: 'sensor-00097', outbound_bytes: 913000, queued: 412, dropped: 12033, worst_delay_ms: 8200, shard: 1 }] : [] }),
  'GET /traces': () => ({ items: busy ? [{ id: '1', kind: 'client', name: 'sensor-00001', active: true, ends_at: ago(-212), events: 31, file: null }] : [] }),
  'GET /topic-metrics': () => ({ items: busy ? [{ filter: 'plant/a/#', messages_in: 81230, messages_out: 244110, dropped: 3, bytes_in: 9e6, bytes_out: 27e6 }] : [] }),
  'POST /traces': () => ({ id: '1' }),
  'GET /store': () => ({ segments: 12, bytes: 48e6, records: 812331, last_sync_us: 812 }),
  'GET /drain': () => ({ draining: false, left: CLIENTS, sent_away: 0 }),
  'GET /users': () => ({ items: [{ username: 'admin' }] }),
};

function answer(method, path, search, body) {
  const route = routes[`${method} ${path}`];
  if (route) return { status: 200, body: route(search, body) };
  const [, subject, id, rest] = path.split('/').map(decodeURIComponent);
  const client = clients.find((c) => c.client_id === id);
  if (method === 'DELETE') {
    if (subject === 'bans') bans = bans.filter((ban) => ban.name !== rest);
    return { status: 204 };
  }
  if (subject === 'topics') return { status: 200, body: { filter: id, subscribers: clients.slice(0, 100).map((c) => c.client_id) } };
  if (subject === 'traces') return { status: 200, body: { items: Array.from({ length: 3 }, (_, i) => ({ seq: Date.now() + i, at: now(), client_id: 'sensor-00001', event: 'PUBLISH', text: 'QoS 1 plant/a/line-1/state/1, 43 B <img src=x onerror=alert(4)>' })), dropped: 0 } };
  if (!client) return missing;
  const list = subscriptions.filter((s) => s.client_id === id);
  if (subject === 'clients') return { status: 200, body: { ...client, subscriptions_list: list, will: { topic: 'plant/a/gone', qos: 1, retain: true }, outbound_bytes: 1200, inbound_qos2: 0, paused: false } };
  return { status: 200, body: { ...client, kind: 'persistent', connected: true, awaiting_rel: 0, expiry_s: 172800, expires_at: null, subscriptions_list: list,
    queue: [{ topic: 'plant/a/line-1/cmd', qos: 1, payload_bytes: 120, expires_at: null }], inflight_list: [{ packet_id: 7, topic: 'plant/a/line-1/cmd', qos: 2, state: 'pubrel' }] } };
}

createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (!url.pathname.startsWith('/api/v1')) {
    const file = new URL(url.pathname === '/' ? 'index.html' : url.pathname.slice(1), ROOT);
    if (!file.href.startsWith(ROOT.href) || !existsSync(file)) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': TYPES[file.pathname.split('.').pop()], 'content-security-policy': POLICY, 'cache-control': 'no-store' }).end(readFileSync(file));
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const text = Buffer.concat(parts).toString();
    const { status, body } = answer(request.method, url.pathname.slice(7), url.searchParams, text ? JSON.parse(text) : null);
    response.writeHead(status, { 'content-type': 'application/json' }).end(body === undefined ? undefined : JSON.stringify(body));
  });
  return undefined;
}).listen(PORT, '127.0.0.1', () => process.stdout.write(`http://127.0.0.1:${PORT}\n`));

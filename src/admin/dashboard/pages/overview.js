// The first page: is the broker well, how much goes through it, and the last hour.

import { get, optional } from '../api.js';
import { chart } from '../chart.js';
import { h, link, name, put } from '../dom.js';
import { age, bytes, bytesRate, count, duration, exact, micros, percent, plural, rate } from '../format.js';
import { trouble } from '../list.js';
import { firstClient } from './clients.js';

const LIVE_MS = 2000;
const HISTORY_MS = 5000;

// Counters of dropped messages, and what to do about each.
const DROPS = {
  dropped_queue_full: ['Queue full', 'the oldest of a full queue: session.queue_len_max'],
  dropped_slow: ['Slow subscriber', 'QoS 0 for a client that reads too slowly'],
  dropped_offline_qos0: ['Away, QoS 0', 'the session keeps no QoS 0: session.queue_qos0'],
  dropped_expired: ['Expired', 'the Message Expiry Interval passed'],
  dropped_too_large: ['Too large', 'larger than the subscriber takes'],
  dropped_no_credit: ['Shard busy', 'QoS 0 towards a shard with a full mailbox'],
  dropped_session_end: ['Session ended', 'with messages waiting'],
  dropped_memory: ['Memory', 'the broker is near limits.memory_max'],
};

const PLOTS = [
  { title: 'Messages per second', format: rate, floor: 4, series: [{ key: 'messages_received_per_s', label: 'in' }, { key: 'messages_sent_per_s', label: 'out' }] },
  { title: 'Connections', format: count, floor: 4, series: [{ key: 'connections', label: '' }] },
  { title: 'Latency, publish to delivery', format: micros, floor: 100, series: [{ key: 'latency_p50_us', label: 'p50' }, { key: 'latency_p99_us', label: 'p99' }] },
  { title: 'Traffic', format: bytesRate, tick: bytes, base: 2, floor: 1024, series: [{ key: 'bytes_received_per_s', label: 'in' }, { key: 'bytes_sent_per_s', label: 'out' }] },
  { title: 'Messages that wait', format: count, floor: 4, series: [{ key: 'queued', label: 'queued' }, { key: 'inflight', label: 'inflight' }] },
  { title: 'CPU', format: percent, floor: 5, series: [{ key: 'cpu_percent', label: '' }] },
  { title: 'Memory', format: bytes, base: 2, floor: 1 << 20, series: [{ key: 'memory_bytes', label: '' }] },
  { title: 'Dropped per second', format: rate, floor: 4, series: [{ key: 'dropped_per_s', label: '' }] },
];

/** A number with its name, and a line below. */
function tile(label, path) {
  const value = h('div', { class: 'value' }, '–');
  const below = h('div', { class: 'below' }, '\u00a0');
  const head = path ? link(path, label) : label;
  const element = h('div', { class: 'tile card' }, h('div', { class: 'label' }, head), value, below);
  return {
    element,
    set(text, line, title) {
      put(value, text);
      value.title = title ?? '';
      put(below, line ?? '\u00a0');
    },
  };
}

function tiles() {
  return {
    connections: tile('Connections', '/clients'),
    incoming: tile('Messages in /s'),
    outgoing: tile('Messages out /s'),
    latency: tile('Latency p99'),
    waiting: tile('Queued', '/slow'),
    dropped: tile('Dropped /s'),
    memory: tile('Memory'),
    cpu: tile('CPU'),
  };
}

/** What changed between two readings of counters, per second. */
function rates(now, before) {
  if (!before) return () => undefined;
  const seconds = (now.at - before.at) / 1000;
  return (key) => {
    const [to, from] = [now.items[key], before.items[key]];
    // A counter that went back: the broker was started again.
    return typeof to === 'number' && typeof from === 'number' && to >= from && seconds > 0 ? (to - from) / seconds : undefined;
  };
}

function fillTiles(all, node, stats, per, latency, cpu) {
  const items = stats?.items ?? {};
  const room = node.connections_max ? `of ${count(node.connections_max)}` : '';
  all.connections.set(count(node.connections), [room, room && ' · ', plural(node.sessions, 'session')], exact(node.connections));
  all.incoming.set(rate(per('messages_received')), bytesRate(per('bytes_received')), `${exact(items.messages_received)} since the start`);
  all.outgoing.set(rate(per('messages_sent')), bytesRate(per('bytes_sent')), `${exact(items.messages_sent)} since the start`);
  if (latency && latency.count > 0) all.latency.set(micros(latency.p99_us), `p50 ${micros(latency.p50_us)}, since the start`, `slowest ${micros(latency.max_us)}`);
  else all.latency.set('–', latency ? 'nothing delivered yet' : 'not available');
  all.waiting.set(count(items.queues), `${count(items.inflight)} inflight`, exact(items.queues));
  all.dropped.set(rate(per('messages_dropped')), `${count(items.messages_dropped)} since the start`, exact(items.messages_dropped));
  all.memory.set(bytes(node.memory_bytes), 'of this process');
  all.cpu.set(percent(cpu), `${plural(node.shards, 'shard')}, ${100 * node.shards} % at most`);
}

function status(node) {
  const storage = node.storage;
  const state = storage?.is_down ? ['bad', 'storage is down'] : node.draining ? ['warn', 'draining'] : ['good', 'running'];
  return [
    h('span', { class: `chip ${state[0]}` }, state[1]), name(node.name), h('span', { class: 'muted' },
      `version ${node.version} · up ${duration(node.uptime_s)} · ${storage ? `durability ${storage.durability}` : 'nothing on disk'}`),
  ];
}

function alarmList(alarms) {
  return (alarms?.items ?? []).filter((alarm) => alarm.active).slice(0, 20).map((alarm) =>
    h('p', { class: 'strip bad' }, h('b', {}, name(alarm.id)), ' ', alarm.message, h('span', { class: 'muted' }, ` · for ${age(alarm.raised_at)}`)));
}

/** A bar against the largest of its column. */
const bar = (value, most, text, kind) => h('div', { class: 'cellbar' },
  h('span', { class: `bar ${kind ?? ''}`, 'aria-hidden': true, style: { width: `${most > 0 && value ? Math.max(1, (100 * value) / most) : 0}%` } }),
  h('span', { class: 'n' }, text));

function shardTable(shards, before) {
  const seconds = before ? (shards.at - before.at) / 1000 : 0;
  const old = new Map((before?.items ?? []).map((shard) => [shard.shard, shard]));
  const rows = shards.items.slice(0, 256).map((shard) => {
    const was = old.get(shard.shard);
    const per = (key) => (was && seconds > 0 && shard[key] >= was[key] ? (shard[key] - was[key]) / seconds : undefined);
    const [received, sent] = [per('messages_received'), per('messages_sent')];
    return { ...shard, messages: received === undefined ? undefined : received + sent, cpu: per('cpu_us') === undefined ? undefined : per('cpu_us') / 1e4 };
  });
  const most = (key) => Math.max(0, ...rows.map((row) => row[key] ?? 0));
  return h('table', { class: 'shards' },
    h('thead', {}, h('tr', {}, ['Shard', 'Clients', 'Messages /s', 'CPU'].map((label) => h('th', { scope: 'col' }, label)),
      h('th', { scope: 'col', class: 'number mid', title: 'Messages of other shards that wait' }, 'Mailbox'),
      h('th', { scope: 'col', class: 'number mid', title: 'Turns of the loop that took longer than 5 ms' }, 'Slow turns'))),
    h('tbody', {}, rows.map((row) => h('tr', {},
      h('td', { class: 'number' }, row.shard),
      h('td', {}, bar(row.clients, most('clients'), count(row.clients))),
      h('td', {}, bar(row.messages, most('messages'), rate(row.messages))),
      h('td', {}, bar(row.cpu, 100, percent(row.cpu), row.cpu > 85 ? 'hot' : '')),
      h('td', { class: 'number mid' }, count(row.mailbox)),
      h('td', { class: 'number mid' }, count(row.slow_turns))))));
}

function dropTable(items, per) {
  const rows = Object.entries(DROPS).filter(([key]) => items[key] > 0).sort((a, b) => items[b[0]] - items[a[0]]);
  if (rows.length === 0) return h('p', { class: 'muted' }, 'Nothing was dropped since the start.');
  const most = items[rows[0][0]];
  return h('table', {}, h('tbody', {}, rows.map(([key, [label, hint]]) => h('tr', {},
    h('td', {}, label, h('small', {}, hint)),
    h('td', {}, bar(items[key], most, count(items[key]))),
    h('td', { class: 'number' }, `${rate(per(key))}/s`)))));
}

export default {
  path: '/',
  title: 'Overview',
  show(context) {
    const parts = Object.fromEntries(['alarms', 'status', 'first', 'shards', 'drops'].map((key) => [key, h('div', { class: key })]));
    const all = tiles();
    const plots = PLOTS.map(chart);
    const plotGrid = h('div', { class: 'plots' }, plots.map((plot) => plot.element));
    const noHistory = h('p', { class: 'muted', hidden: true }, 'The last hour is not available from this broker.');
    put(context.element, parts.alarms, parts.status, parts.first,
      h('div', { class: 'tiles' }, Object.values(all).map((one) => one.element)),
      h('h2', {}, 'The last hour'), noHistory, plotGrid,
      h('div', { class: 'halves' },
        h('section', { class: 'card pad' }, h('h2', {}, 'Shards'), parts.shards),
        h('section', { class: 'card pad' }, h('h2', {}, 'Dropped messages'), parts.drops)));
    let statsBefore = null;
    let shardsBefore = null;
    let cpuBefore = null;

    context.poll(async (signal) => {
      const at = Date.now();
      let node;
      try {
        node = await get('/node', signal);
      } catch (error) {
        const notice = trouble(error, 'its state');
        if (notice && error.status !== 0) put(parts.status, notice);
        return;
      }
      const [stats, shards, latency, alarms] = await Promise.all(['/stats', '/shards', '/latency', '/alarms'].map((path) => optional(path, signal)));
      if (stats) stats.at = at;
      const per = stats ? rates(stats, statsBefore) : () => undefined;
      const cpu = cpuBefore && node.cpu_s >= cpuBefore.s ? (100000 * (node.cpu_s - cpuBefore.s)) / (at - cpuBefore.at) : undefined;
      put(parts.status, status(node));
      put(parts.alarms, alarmList(alarms));
      put(parts.first, node.connections === 0 && h('div', { class: 'blank card' }, firstClient()));
      fillTiles(all, node, stats, per, latency, cpu);
      if (shards?.items) {
        shards.at = at;
        put(parts.shards, shardTable(shards, shardsBefore));
        shardsBefore = shards;
      } else put(parts.shards, h('p', { class: 'muted' }, 'Not available from this broker.'));
      put(parts.drops, stats?.items ? dropTable(stats.items, per) : h('p', { class: 'muted' }, 'Not available from this broker.'));
      statsBefore = stats;
      cpuBefore = { s: node.cpu_s, at };
    }, LIVE_MS);

    context.poll(async (signal) => {
      const history = await optional('/history', signal);
      noHistory.hidden = history !== null;
      plotGrid.hidden = history === null;
      if (history === null) return;
      plots.forEach((plot, i) => {
        plot.element.hidden = PLOTS[i].series.every(({ key }) => !history.series?.[key]);
        plot.update(history);
      });
    }, HISTORY_MS);
  },
};

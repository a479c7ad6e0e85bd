// One client: its connection, its session, what it subscribed to, what waits for it.

import { call, get, optional, query } from '../api.js';
import { button, confirmed, field, h, link, name, put, select, toast, visible } from '../dom.js';
import { age, bytes, count, duration, moment, plural } from '../format.js';
import { table, trouble } from '../list.js';
import { ban } from './bans.js';
import { clientPath, kick } from './clients.js';
import { discard, expiry } from './sessions.js';
import { options } from './subscriptions.js';

const REFRESH_MS = 3000;
const LISTED_MAX = 100;

/** Pairs of a name and a value. */
const facts = (pairs) => h('dl', { class: 'facts' },
  pairs.filter(Boolean).map(([label, value]) => [h('dt', {}, label), h('dd', {}, value ?? '–')]));

/** The answer, or null for 404. */
async function found(path, signal) {
  try {
    return await get(path, signal);
  } catch (error) {
    if (error.isMissing) return null;
    throw error;
  }
}

const will = (value) => (value ? [name(value.topic, 'code'), ` QoS ${value.qos}${value.retain ? ', retained' : ''}`] : 'none');

const connectionFacts = (client, listeners) => facts([
  ['User', name(client.username)],
  ['Address', name(client.address, 'code')],
  ['Listener', name(listeners?.items?.find((listener) => listener.index === client.listener)?.bound ?? client.listener, 'code')],
  ['Protocol', `MQTT ${client.protocol}`],
  ['Keep alive', client.keep_alive_s ? duration(client.keep_alive_s) : 'off'],
  ['Connected', [moment(client.connected_at), h('span', { class: 'muted' }, ` (${age(client.connected_at)})`)]],
  ['Clean start', client.clean_start ? 'yes' : 'no'],
  client.mountpoint && ['Mountpoint', name(client.mountpoint, 'code')],
  ['Will', will(client.will)],
  ['Unsent', [bytes(client.outbound_bytes), client.paused ? h('span', { class: 'chip warn' }, 'paused') : '']],
  ['Shard', client.shard],
]);

const sessionFacts = (session) => facts([
  ['Kind', session.kind],
  ['Expires', expiry(session)],
  ['Queued', plural(session.queued, 'message')],
  ['Inflight', plural(session.inflight, 'message')],
  ['Awaits PUBREL', count(session.awaiting_rel)],
  session.created_at && ['Since', moment(session.created_at)],
]);

const queueColumns = [
  { label: 'Topic', is: 'first', cell: (item) => name(item.topic, 'code') },
  { label: 'QoS', is: 'number', cell: (item) => item.qos },
  { label: 'Size', is: 'number', cell: (item) => bytes(item.payload_bytes) },
  { label: 'Expires', is: 'mid', cell: (item) => (item.expires_at ? moment(item.expires_at) : 'never') },
];
const inflightColumns = [
  { label: 'Topic', is: 'first', cell: (item) => name(item.topic, 'code') },
  { label: 'QoS', is: 'number', cell: (item) => item.qos },
  { label: 'Packet id', is: 'number mid', cell: (item) => item.packet_id },
  { label: 'Waits for', cell: (item) => ({ publish: item.qos === 2 ? 'PUBREC' : 'PUBACK', pubrel: 'PUBCOMP' }[item.state] ?? item.state) },
];

function subscriptionColumns(who, refresh) {
  const remove = async (filter) => {
    try {
      await call('DELETE', clientPath(who, { rest: '/subscriptions', filter }));
      toast('The subscription was removed.');
    } catch (error) {
      if (error.status === undefined) throw error;
      toast(error.message, 'bad');
    }
    refresh();
  };
  return [
    { label: 'Filter', is: 'first', cell: (item) => name(item.filter, 'code') },
    { label: 'QoS', is: 'number', cell: (item) => item.qos },
    { label: 'Options', is: 'mid muted', cell: (item) => [item.share && `share ${visible(item.share)} `, options(item)] },
    {
      label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
      cell: (item) => button('Remove', () => remove(item.filter), { class: 'small', 'aria-label': `Remove the subscription to ${item.filter}` }),
    },
  ];
}

function subscribeForm(who, refresh) {
  const filter = h('input', { required: true, placeholder: 'sensors/#', spellcheck: 'false', autocapitalize: 'off' });
  const qos = select({}, [['0', '0'], ['1', '1'], ['2', '2']]);
  return h('form', {
    class: 'filters',
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await call('POST', clientPath(who, { rest: '/subscriptions' }), { filter: filter.value, qos: Number(qos.value) });
        toast('Subscribed.');
        filter.value = '';
      } catch (error) {
        if (error.status === undefined) throw error;
        toast(error.message, 'bad');
      }
      refresh();
    },
  }, field('Subscribe it to', filter), field('QoS', qos), h('button', {}, 'Add'));
}

const section = (title, ...children) => h('section', { class: 'card pad' }, h('h2', {}, title), ...children);

function listed(title, all, columns, empty) {
  const items = all ?? [];
  return section(title, items.length === 0 ? h('p', { class: 'muted' }, empty) : table(title, columns, items.slice(0, LISTED_MAX)),
    items.length >= LISTED_MAX && h('p', { class: 'muted' }, `The first ${LISTED_MAX}.`));
}

function actions(who, client, session, refresh) {
  const id = who.client_id;
  const banIt = async () => {
    const isSure = await confirmed(`Ban ${id.slice(0, 60)} for one hour?`, 'It is kept out until then. Other spans and addresses: page Bans.', 'Ban');
    if (isSure && await ban('client', id, 3600) && client) {
      try {
        await call('DELETE', clientPath(who));
      } catch (error) {
        if (error.status === undefined) throw error;
        if (error.status !== 404) toast(error.message, 'bad');
      }
    }
    refresh();
  };
  return h('div', { class: 'row' },
    client && button('Kick', async () => { if (await kick(who)) refresh(); }),
    session && button('Discard session', async () => { if (await discard(who)) refresh(); }),
    button('Ban', banIt),
    link(`/trace${query({ kind: 'client', name: id })}`, 'Trace'));
}

export default {
  prefix: '/clients/',
  under: '/clients',
  title: 'Client',
  show(context) {
    const who = { client_id: context.item, mountpoint: context.query.get('mountpoint') };
    put(context.heading, name(who.client_id));
    const head = h('div', { class: 'row between' });
    const top = h('div', { class: 'halves' });
    const subscriptions = h('div');
    const rest = h('div', { class: 'halves' });
    const form = h('section', { class: 'card pad', hidden: true }, subscribeForm(who, () => refresh()));
    put(context.element, head, top, subscriptions, form, rest);
    let shown = '';
    let listeners;

    async function refresh(signal = context.signal) {
      let client;
      let session;
      try {
        [client, session] = await Promise.all([found(clientPath(who), signal), found(clientPath(who, { subject: '/sessions' }), signal)]);
      } catch (error) {
        const notice = trouble(error, 'single clients');
        if (notice && error.status !== 0) put(head, notice);
        return;
      }
      listeners ??= (await optional('/listeners', signal)) ?? {};
      const print = JSON.stringify([client, session]);
      if (print === shown) return;
      shown = print;
      put(head,
        client ? h('span', { class: 'chip good' }, 'connected') : session ? h('span', { class: 'chip' }, 'away') : h('span', { class: 'chip' }, 'unknown'),
        actions(who, client, session, refresh));
      form.hidden = !client && !session;
      if (!client && !session) {
        put(top, h('div', { class: 'blank card' }, h('p', {}, 'This client is not connected and has no session.'), h('p', {}, link('/clients', 'All clients'))));
        put(subscriptions);
        put(rest);
        return;
      }
      put(top,
        section('Connection', client ? connectionFacts(client, listeners) : h('p', { class: 'muted' }, 'Not connected. Its session waits for it.')),
        section('Session', session ? sessionFacts(session) : h('p', { class: 'muted' }, 'Not available from this broker.')));
      put(subscriptions, listed('Subscriptions', client?.subscriptions_list ?? session?.subscriptions_list, subscriptionColumns(who, refresh), 'It has not subscribed to anything.'));
      put(rest,
        listed('Queue', session?.queue, queueColumns, 'No message waits for it.'),
        listed('Inflight', session?.inflight_list, inflightColumns, 'Every message that was sent is acknowledged.'));
    }
    context.poll(refresh, REFRESH_MS);
  },
};

// Sessions, connected or not: what waits for clients that are away.

import { call } from '../api.js';
import { button, confirmed, h, toast } from '../dom.js';
import { count, duration, moment } from '../format.js';
import { listPage } from '../list.js';
import { GLOB_MAX, clientLink, clientPath, glob } from './clients.js';

/** Ends a session with all that waits in it, after a question. Resolves to whether it did. */
export async function discard(who) {
  const isSure = await confirmed(`Discard the session of ${who.client_id.slice(0, 60)}?`,
    'Its subscriptions and the messages that wait for it are lost; a connected client is disconnected.', 'Discard');
  if (!isSure) return false;
  try {
    await call('DELETE', clientPath(who, { subject: '/sessions' }));
    toast('The session was discarded.');
    return true;
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.message, 'bad');
    return error.status === 404;
  }
}

/** When a session ends, in words. */
export const expiry = (item) =>
  (item.expires_at ? h('span', { title: moment(item.expires_at) }, `in ${duration((Date.parse(item.expires_at) - Date.now()) / 1000)}`)
    : item.expiry_s === null ? 'never'
      : item.expiry_s === 0 ? 'with the connection' : `${duration(item.expiry_s)} after it leaves`);

const columns = (refresh) => [
  { label: 'Client', is: 'first', cell: clientLink },
  { label: 'State', cell: (item) => (item.connected ? h('span', { class: 'chip good' }, 'connected') : h('span', { class: 'chip' }, 'away')) },
  { label: 'Kind', is: 'wide', cell: (item) => item.kind },
  { label: 'Subscriptions', is: 'number mid', cell: (item) => count(item.subscriptions) },
  { label: 'Queued', is: 'number', cell: (item) => count(item.queued) },
  { label: 'Inflight', is: 'number wide', cell: (item) => count(item.inflight) },
  { label: 'Expires', is: 'mid', cell: expiry },
  { label: 'Shard', is: 'number wide', cell: (item) => item.shard },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => button('Discard', async () => { if (await discard(item)) refresh(); },
      { class: 'small', 'data-focus': `discard ${item.client_id}`, 'aria-label': `Discard the session of ${item.client_id}` }),
  },
];

export default {
  path: '/sessions',
  title: 'Sessions',
  show(context) {
    listPage(context, {
      what: 'sessions',
      path: '/sessions',
      filters: [
        { name: 'client_id', label: 'Search', placeholder: 'part of a client id', length: GLOB_MAX },
        { name: 'connected', label: 'State', options: [['', 'All'], ['true', 'Connected'], ['false', 'Away']] },
        { name: 'kind', label: 'Kind', options: [['', 'All'], ['persistent', 'Persistent'], ['transient', 'Transient']] },
      ],
      ask: (values) => ({ ...values, client_id: glob(values.client_id) }),
      columns,
      empty: () => [
        h('p', {}, 'There are no sessions.'),
        h('p', { class: 'muted' }, 'A session stays when its client asked for that: ', h('code', {}, 'mosquitto_sub -c -i me -q 1 -t news')),
      ],
    });
  },
};

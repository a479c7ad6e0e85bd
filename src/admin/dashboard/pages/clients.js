// The connected clients: search, paging, kick.

import { call, segment } from '../api.js';
import { button, confirmed, h, link, name, toast } from '../dom.js';
import { age, count, moment } from '../format.js';
import { listPage } from '../list.js';

const KINDS = [['client_id', 'Client id'], ['user', 'User'], ['address', 'Address']];

/** A part of a name finds it: what has no wildcard of its own gets one at both ends. Addresses are exact or a network. */
export const glob = (text) => (text === '' || /[*?]/.test(text) ? text : `*${text}*`);

/** Where a client's page is. */
export const clientPath = (id) => `/clients/${segment(id)}`;

/** Ends a client's connection, after a question. Resolves to whether it did. */
export async function kick(id) {
  const isSure = await confirmed(`Disconnect ${id.length > 60 ? `${id.slice(0, 60)}…` : id}?`,
    'Its connection ends now. Most clients connect again by themselves; to keep this one out, ban it.', 'Disconnect');
  if (!isSure) return false;
  try {
    await call('DELETE', clientPath(id));
    toast(`${id.slice(0, 80)} was disconnected.`);
    return true;
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.status === 404 ? 'It is not connected any more.' : error.message, 'bad');
    return error.status === 404;
  }
}

/** What an empty broker suggests. */
export const firstClient = () => [
  h('p', {}, 'No client is connected.'),
  h('p', { class: 'muted' }, 'Try: ', h('code', {}, `mosquitto_sub -h ${location.hostname.replace(/^\[|\]$/g, '')} -t '#' -v`)),
];

function columns(refresh) {
  return [
    { label: 'Client', is: 'first', cell: (item) => link(clientPath(item.client_id), name(item.client_id)) },
    { label: 'User', is: 'wide', cell: (item) => name(item.username) },
    { label: 'Address', is: 'mid', cell: (item) => name(item.address, 'code') },
    { label: 'MQTT', is: 'wide', cell: (item) => item.protocol },
    { label: 'For', is: 'number mid', cell: (item) => h('span', { title: moment(item.connected_at) }, age(item.connected_at)) },
    { label: 'Subscriptions', is: 'number wide', cell: (item) => count(item.subscriptions) },
    { label: 'Inflight', is: 'number wide', cell: (item) => count(item.inflight) },
    { label: 'Queued', is: 'number', cell: (item) => count(item.queued) },
    { label: 'Shard', is: 'number wide', cell: (item) => item.shard },
    {
      label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
      cell: (item) => button('Kick', async () => { if (await kick(item.client_id)) refresh(); },
        { class: 'small', 'data-focus': `kick ${item.client_id}`, 'aria-label': `Kick ${item.client_id}` }),
    },
  ];
}
// Ages move on without the broker.
columns.hasClock = true;

export default {
  path: '/clients',
  title: 'Clients',
  show(context) {
    listPage(context, {
      what: 'clients',
      path: '/clients',
      filters: [
        { name: 'find', label: 'Search', placeholder: 'part of a name, or sensor-*' },
        { name: 'in', label: 'In', options: [['', 'Client id'], ...KINDS.slice(1)] },
      ],
      ask: ({ find, in: kind }) => (find.trim() === '' ? {} : { [kind || 'client_id']: kind === 'address' ? find.trim() : glob(find) }),
      columns,
      empty: firstClient,
    });
  },
};

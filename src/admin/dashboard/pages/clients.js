// The connected clients: search, paging, kick.

import { call, query, segment } from '../api.js';
import { button, confirmed, h, link, name, toast } from '../dom.js';
import { age, count, moment } from '../format.js';
import { listPage } from '../list.js';

const KINDS = [['client_id', 'Client id'], ['user', 'User'], ['address', 'Address']];

// What the API takes of a pattern, but for the wildcards at its ends.
export const GLOB_MAX = 126;

/** A part of a name finds it: what has no wildcard of its own gets one at both ends. Addresses are exact or a network. */
export const glob = (text) => (text === '' || /[*?]/.test(text) ? text : `*${text}*`);

/** Below `subject` of the API, or of this page's addresses: a client, by its id and the mountpoint within which it lives. */
export const clientPath = (who, { subject = '/clients', rest = '', ...more } = {}) =>
  `${subject}/${segment(who.client_id)}${rest}${query({ mountpoint: who.mountpoint, ...more })}`;

/** A link to a client's page. */
export const clientLink = (who) => link(clientPath(who), name(who.client_id));

/** Ends a client's connection, after a question. Resolves to whether it did. */
export async function kick(who) {
  const id = who.client_id;
  const isSure = await confirmed(`Disconnect ${id.length > 60 ? `${id.slice(0, 60)}…` : id}?`,
    'Its connection ends now. Most clients connect again by themselves; to keep this one out, ban it.', 'Disconnect');
  if (!isSure) return false;
  try {
    await call('DELETE', clientPath(who));
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
    { label: 'Client', is: 'first', cell: clientLink },
    { label: 'User', is: 'wide', cell: (item) => name(item.username) },
    { label: 'Address', is: 'mid', cell: (item) => name(item.address, 'code') },
    { label: 'MQTT', is: 'wide', cell: (item) => item.protocol },
    { label: 'For', is: 'number mid', cell: (item) => h('span', { title: moment(item.connected_at) }, age(item.connected_at)) },
    { label: 'Subs', is: 'number wide', cell: (item) => count(item.subscriptions) },
    { label: 'Inflight', is: 'number wide', cell: (item) => count(item.inflight) },
    { label: 'Queued', is: 'number', cell: (item) => count(item.queued) },
    { label: 'Shard', is: 'number wide', cell: (item) => item.shard },
    {
      label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
      cell: (item) => button('Kick', async () => { if (await kick(item)) refresh(); },
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
        { name: 'find', label: 'Search', placeholder: 'part of a name, or sensor-*', length: GLOB_MAX },
        { name: 'in', label: 'In', options: [['', 'Client id'], ...KINDS.slice(1)] },
      ],
      ask: ({ find, in: kind }) => (find.trim() === '' ? {} : { [kind || 'client_id']: kind === 'address' ? find.trim() : glob(find) }),
      columns,
      empty: firstClient,
    });
  },
};

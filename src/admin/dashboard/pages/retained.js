// Retained Messages: find, look into, delete.

import { call, get, query } from '../api.js';
import { button, confirmed, h, name, put, toast } from '../dom.js';
import { bytes, duration, moment } from '../format.js';
import { listPage, trouble } from '../list.js';
import { fromBase64, payloadView } from '../payload.js';

const messagePath = (topic) => `/retained/message${query({ topic })}`;

async function remove(topic) {
  if (!(await confirmed(`Delete the retained message of ${topic.slice(0, 80)}?`, 'New subscribers will not get it any more.', 'Delete'))) return false;
  try {
    await call('DELETE', messagePath(topic));
    toast('The retained message was deleted.');
  } catch (error) {
    if (error.status === undefined) throw error;
    if (error.status !== 404) toast(error.message, 'bad');
    return error.status === 404;
  }
  return true;
}

const facts = (message) => [
  `QoS ${message.qos}`, bytes(message.payload_bytes),
  message.content_type && `content type ${message.content_type}`,
  message.stored_at && `stored ${moment(message.stored_at)}`,
  message.expires_at && `expires ${moment(message.expires_at)}`,
].filter(Boolean).join(' · ');

async function view(panel, topic, refresh, signal) {
  panel.hidden = false;
  try {
    const message = await get(messagePath(topic), signal);
    const properties = message.user_properties ?? [];
    put(panel,
      h('div', { class: 'row' }, h('h2', {}, name(topic, 'code')),
        h('span', { class: 'row' },
          button('Delete', async () => { if (await remove(topic)) { panel.hidden = true; refresh(); } }, { class: 'small' }),
          button('Close', () => { panel.hidden = true; }, { class: 'small quiet' }))),
      h('p', { class: 'muted' }, facts(message)),
      payloadView(fromBase64(message.payload_base64 ?? '')),
      properties.length > 0 && h('dl', { class: 'facts' }, properties.map(([key, value]) => [h('dt', {}, name(key)), h('dd', {}, name(value))])));
  } catch (error) {
    const notice = error.status === 404 ? h('p', { class: 'muted' }, 'This message is gone.') : trouble(error, 'retained messages');
    if (notice) put(panel, notice);
  }
  panel.scrollIntoView({ block: 'nearest' });
}

export default {
  path: '/retained',
  title: 'Retained messages',
  menu: 'Retained',
  lead: 'The last message of a topic that was published with RETAIN.',
  show(context) {
    const panel = h('section', { class: 'card pad viewer', hidden: true, 'aria-label': 'Message' });
    const columns = (refresh) => [
      {
        label: 'Topic', is: 'first',
        cell: (item) => h('button', { type: 'button', class: 'linklike', 'data-focus': item.topic, onclick: () => view(panel, item.topic, refresh, context.signal) }, name(item.topic, 'code')),
      },
      { label: 'Size', is: 'number', cell: (item) => bytes(item.payload_bytes) },
      { label: 'QoS', is: 'number mid', cell: (item) => item.qos },
      { label: 'Expires', is: 'mid', cell: (item) => (item.expires_at ? `in ${duration((Date.parse(item.expires_at) - Date.now()) / 1000)}` : 'never') },
      {
        label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
        cell: (item) => button('Delete', async () => { if (await remove(item.topic)) refresh(); },
          { class: 'small', 'data-focus': `delete ${item.topic}`, 'aria-label': `Delete ${item.topic}` }),
      },
    ];
    listPage(context, {
      what: 'retained messages',
      path: '/retained',
      filters: [{ name: 'match', label: 'Topics', placeholder: 'sensors/#' }],
      columns,
      empty: () => [
        h('p', {}, 'There are no retained messages.'),
        h('p', { class: 'muted' }, 'Try: ', h('code', {}, `mosquitto_pub -h ${location.hostname} -r -t hello -m world`)),
      ],
      head: panel,
    });
  },
};

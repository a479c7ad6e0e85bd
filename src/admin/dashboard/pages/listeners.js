// Where clients come in.

import { call } from '../api.js';
import { button, confirmed, h, name, toast } from '../dom.js';
import { count } from '../format.js';
import { listPage } from '../list.js';

async function change(item, action) {
  if (action === 'stop' && !(await confirmed(`Stop ${item.url}?`,
    'No new client gets in there until it is started again. Those that are connected stay.', 'Stop'))) return;
  try {
    await call('POST', `/listeners/${item.index}/${action}`);
    toast(action === 'stop' ? 'The listener takes no new connections.' : 'The listener takes connections.');
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.status === 501 ? 'This broker can’t stop a single listener.' : error.message, 'bad');
  }
}

const columns = (refresh) => [
  { label: 'Address', is: 'first', cell: (item) => name(item.url, 'code') },
  { label: 'Bound', is: 'wide', cell: (item) => name(item.bound, 'code') },
  { label: 'State', cell: (item) => h('span', { class: `chip ${item.state === 'running' ? 'good' : 'warn'}` }, item.state) },
  { label: 'Connections', is: 'number', cell: (item) => `${count(item.connections)}${item.max_connections ? ` of ${count(item.max_connections)}` : ''}` },
  { label: 'Security', is: 'mid', cell: (item) => [item.tls ? 'TLS' : 'plain', item.proxy_protocol ? ', PROXY protocol' : ''] },
  { label: 'Mountpoint', is: 'wide', cell: (item) => name(item.mountpoint, 'code') },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => {
      const action = item.state === 'running' ? 'stop' : 'start';
      return button(action === 'stop' ? 'Stop' : 'Start', async () => { await change(item, action); refresh(); },
        { class: 'small', 'data-focus': `listener ${item.index}`, 'aria-label': `${action} ${item.url}` });
    },
  },
];

export default {
  path: '/listeners',
  title: 'Listeners',
  show(context) {
    listPage(context, { what: 'listeners', path: '/listeners', columns, empty: () => h('p', {}, 'There are no listeners.') });
  },
};

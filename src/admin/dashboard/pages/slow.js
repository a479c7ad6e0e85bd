// Clients that do not keep up with what they subscribed to.

import { h } from '../dom.js';
import { bytes, count } from '../format.js';
import { listPage } from '../list.js';
import { clientLink } from './clients.js';

const columns = () => [
  { label: 'Client', is: 'first', cell: clientLink },
  { label: 'Worst delay', is: 'number', cell: (item) => (typeof item.worst_delay_ms === 'number' ? `${count(item.worst_delay_ms)} ms` : '–') },
  { label: 'Queued', is: 'number', cell: (item) => count(item.queued) },
  { label: 'Unsent', is: 'number mid', cell: (item) => bytes(item.outbound_bytes) },
  { label: 'Dropped', is: 'number mid', cell: (item) => count(item.dropped) },
  { label: 'Shard', is: 'number wide', cell: (item) => item.shard },
];

export default {
  path: '/slow',
  title: 'Slow subscribers',
  lead: 'Clients that read more slowly than messages come for them, worst first.',
  show(context) {
    listPage(context, {
      what: 'slow subscribers', path: '/slow', columns,
      empty: () => [h('p', {}, 'No subscriber is slow.'), h('p', { class: 'muted' }, 'Whoever falls behind shows up here with its delay and its queue.')],
    });
  },
};

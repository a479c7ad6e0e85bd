// Counters of chosen Topic Filters.

import { call, query } from '../api.js';
import { button, field, h, name, toast } from '../dom.js';
import { bytes, count, exact } from '../format.js';
import { listPage } from '../list.js';

const number = (key) => (item) => h('span', { title: exact(item[key]) }, count(item[key]));

/** Runs a change of the list, says why it failed, shows the list again. */
async function change(work, refresh) {
  try {
    await work();
  } catch (error) {
    if (error.status === undefined) throw error;
    if (error.status !== 404) toast(error.message, 'bad');
  }
  refresh();
}

const columns = (refresh) => [
  { label: 'Filter', is: 'first', cell: (item) => name(item.filter, 'code') },
  { label: 'Messages in', is: 'number', cell: number('messages_in') },
  { label: 'Messages out', is: 'number', cell: number('messages_out') },
  { label: 'Dropped', is: 'number mid', cell: number('dropped') },
  { label: 'Bytes in', is: 'number wide', cell: (item) => bytes(item.bytes_in) },
  { label: 'Bytes out', is: 'number wide', cell: (item) => bytes(item.bytes_out) },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => button('Stop', () => change(() => call('DELETE', `/topic-metrics${query({ filter: item.filter })}`), refresh),
      { class: 'small', 'data-focus': `stop ${item.filter}`, 'aria-label': `Stop counting ${item.filter}` }),
  },
];

export default {
  path: '/topic-metrics',
  title: 'Topic metrics',
  lead: 'Messages of chosen filters, counted from the moment that you add them.',
  show(context) {
    let refresh = () => {};
    const filter = h('input', { required: true, placeholder: 'sensors/#', spellcheck: 'false', autocapitalize: 'off' });
    const form = h('form', {
      class: 'filters',
      onsubmit: (event) => {
        event.preventDefault();
        change(async () => {
          await call('POST', '/topic-metrics', { filter: filter.value });
          filter.value = '';
        }, refresh);
      },
    }, field('Count messages of', filter), h('button', { class: 'main' }, 'Add'));
    refresh = listPage(context, {
      what: 'topic metrics', path: '/topic-metrics', columns, head: form, every: 2000, empty: () => h('p', {}, 'No filter is counted.'),
    });
  },
};

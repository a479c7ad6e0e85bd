// Topic Filters in use, and who subscribed to one.

import { get, segment } from '../api.js';
import { button, h, link, name, put } from '../dom.js';
import { count } from '../format.js';
import { listPage, trouble } from '../list.js';
import { clientLink } from './clients.js';

async function showSubscribers(panel, filter, signal) {
  put(panel, h('p', { class: 'muted' }, 'Loading…'));
  panel.hidden = false;
  try {
    const answer = await get(`/topics/${segment(filter)}`, signal);
    const ids = answer.subscribers ?? [];
    put(panel,
      h('div', { class: 'row' }, h('h2', {}, name(filter, 'code')), button('Close', () => { panel.hidden = true; }, { class: 'small quiet' })),
      ids.length === 0 ? h('p', { class: 'muted' }, 'Nobody subscribes to it any more.')
        : h('ul', { class: 'plain' }, ids.map((id) => h('li', {}, clientLink({ client_id: id })))),
      (answer.count ?? 0) > ids.length && h('p', { class: 'muted' }, `The first ${count(ids.length)} of ${count(answer.count)}. All: `, link(`/subscriptions?topic=${encodeURIComponent(filter)}`, 'subscriptions')));
  } catch (error) {
    const notice = trouble(error, 'the subscribers of a filter');
    if (notice) put(panel, notice);
  }
  panel.scrollIntoView({ block: 'nearest' });
}

export default {
  path: '/topics',
  title: 'Topics',
  lead: 'Topic Filters that clients have subscribed to.',
  show(context) {
    const panel = h('section', { class: 'card pad', hidden: true, 'aria-label': 'Subscribers' });
    const columns = () => [
      { label: 'Filter', is: 'first', cell: (item) => name(item.filter, 'code') },
      { label: 'Subscribers', is: 'number', cell: (item) => count(item.subscribers) },
      { label: 'Shards', is: 'mid', cell: (item) => (item.shards ?? []).join(', ') },
      {
        label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
        cell: (item) => button('Show', () => showSubscribers(panel, item.filter, context.signal),
          { class: 'small', 'data-focus': `show ${item.filter}`, 'aria-label': `Show who subscribes to ${item.filter}` }),
      },
    ];
    listPage(context, {
      what: 'topic filters',
      path: '/topics',
      filters: [{ name: 'match', label: 'Below', placeholder: 'sensors/#' }],
      columns,
      empty: () => h('p', {}, 'No client has subscribed to anything.'),
      head: panel,
    });
  },
};

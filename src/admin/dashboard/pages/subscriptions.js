// Subscriptions of all sessions.

import { h, name } from '../dom.js';
import { listPage } from '../list.js';
import { GLOB_MAX, clientLink, glob } from './clients.js';

const HANDLING = ['retained at subscribe', 'retained if new', 'no retained'];

/** A subscription's options in words. */
export function options(item) {
  return [
    item.no_local && 'no local', item.retain_as_published && 'retain as published',
    item.retain_handling ? HANDLING[item.retain_handling] : null,
    item.subscription_id && `id ${item.subscription_id}`,
  ].filter(Boolean).join(', ');
}

const columns = () => [
  { label: 'Filter', is: 'first', cell: (item) => name(item.filter, 'code') },
  { label: 'Client', cell: clientLink },
  { label: 'QoS', is: 'number', cell: (item) => item.qos },
  { label: 'Share', is: 'mid', cell: (item) => name(item.share) },
  { label: 'Options', is: 'wide muted', cell: options },
  { label: 'Shard', is: 'number wide', cell: (item) => item.shard },
];

export default {
  path: '/subscriptions',
  title: 'Subscriptions',
  show(context) {
    listPage(context, {
      what: 'subscriptions',
      path: '/subscriptions',
      filters: [
        { name: 'topic', label: 'Filter', placeholder: 'exactly, as sensors/#' },
        { name: 'client_id', label: 'Client id', placeholder: 'part of a client id', length: GLOB_MAX },
        { name: 'share', label: 'Share name', placeholder: 'exactly' },
      ],
      ask: (values) => ({ ...values, client_id: glob(values.client_id) }),
      columns,
      empty: () => h('p', {}, 'No client has subscribed to anything.'),
    });
  },
};

// Traces: what a client, a topic or an address does, live.

import { ApiError, call, get, query, segment } from '../api.js';
import { button, confirmed, field, h, name, put, select, toast } from '../dom.js';
import { clock, count, duration } from '../format.js';
import { table, trouble } from '../list.js';

const KINDS = [['client', 'Client id'], ['topic', 'Topic filter'], ['address', 'Address']];
const SPANS = [['60', '1 minute'], ['300', '5 minutes'], ['900', '15 minutes'], ['3600', '1 hour']];
const LIVE_MS = 1000;
const LIST_MS = 3000;
// Events that are shown; older ones are in the file of the trace, where one was asked for.
const SHOWN_MAX = 500;

function startForm(context, started) {
  const kind = select({ name: 'kind' }, KINDS, context.query.get('kind') ?? undefined);
  const subject = h('input', { name: 'name', required: true, value: context.query.get('name') ?? '', spellcheck: 'false', autocapitalize: 'off' });
  const span = select({ name: 'span' }, SPANS, '300');
  const file = h('input', { type: 'checkbox', name: 'file' });
  return h('form', {
    class: 'filters',
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        const answer = await call('POST', '/traces', { kind: kind.value, name: subject.value, seconds: Number(span.value), file: file.checked });
        started(answer.id);
      } catch (error) {
        if (error.status === undefined) throw error;
        toast(error.isMissing ? 'This broker does not offer traces.' : error.message, 'bad');
      }
    },
  }, field('Trace', kind), field('Name', subject), field('For', span), h('label', { class: 'check' }, file, ' into a file too'), h('button', { class: 'main' }, 'Start'));
}

/** Ends a trace and forgets it: what was watched stays on the page. */
const stop = async (item, refresh) => {
  if (item.file && !(await confirmed('Remove this trace?', `Its file is deleted too: ${item.file}`, 'Remove'))) return;
  try {
    await call('DELETE', `/traces/${segment(item.id)}`);
    toast('The trace was ended.');
  } catch (error) {
    if (error.status === undefined) throw error;
    if (error.status !== 404) toast(error.message, 'bad');
  }
  refresh();
};

const isActive = (item) => item.active !== false;

const columns = (look, refresh) => [
  { label: 'Trace', is: 'first', cell: (item) => [name((KINDS.find(([kind]) => kind === item.kind) ?? [0, item.kind])[1]), ' ', name(item.name, 'code')] },
  { label: 'Left', is: 'number', cell: (item) => (isActive(item) ? duration((Date.parse(item.ends_at) - Date.now()) / 1000) : 'over') },
  { label: 'Events', is: 'number mid', cell: (item) => count(item.events) },
  { label: 'File', is: 'wide', cell: (item) => name(item.file, 'code') },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => [button('Watch', () => look(item.id), { class: 'small' }), ' ', button(isActive(item) ? 'Stop' : 'Remove', () => stop(item, refresh), { class: 'small' })],
  },
];

const eventRow = (event) => h('li', {}, h('span', { class: 'muted time' }, clock(event.at)), ' ', name(event.client_id), ' ', h('b', {}, name(event.event)), ' ',
  h('span', { class: 'code' }, name(event.text)));

export default {
  path: '/trace',
  title: 'Trace',
  lead: 'What one client, one topic or one address does, as it happens. Without cost when no trace runs.',
  show(context) {
    let watched = null;
    let after = 0;
    const list = h('div', { class: 'card list' });
    const events = h('ul', { class: 'plain messages events', 'aria-label': 'Events' });
    const note = h('span', { class: 'muted', role: 'status' });
    const live = h('section', { class: 'card pad', hidden: true }, h('div', { class: 'row between' }, h('h2', {}, 'Live'), note), events);

    const look = (id) => {
      watched = id;
      after = 0;
      events.replaceChildren();
      put(note, 'Waiting for events…');
      live.hidden = false;
    };

    async function refresh(signal = context.signal) {
      let answer;
      try {
        answer = await get('/traces', signal);
      } catch (error) {
        const notice = trouble(error, 'traces');
        if (notice && error.status !== 0) put(list, notice);
        return;
      }
      const items = (answer.items ?? []).slice(0, 100);
      put(list, items.length ? table('Traces', columns(look, refresh), items) : h('div', { class: 'blank' }, h('p', {}, 'No trace runs.')));
    }

    async function follow(signal) {
      if (watched === null) return;
      const id = watched;
      try {
        const answer = await get(`/traces/${segment(id)}/events${query({ after })}`, signal);
        const items = answer.items ?? [];
        if (id !== watched || items.length === 0) return;
        after = Math.max(after, ...items.map((event) => event.seq));
        events.prepend(...items.slice(-SHOWN_MAX).reverse().map(eventRow));
        while (events.childElementCount > SHOWN_MAX) events.lastElementChild.remove();
        put(note, `${count(events.childElementCount)} shown, newest first${answer.dropped ? `; ${count(answer.dropped)} were too many and left out` : ''}`);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 404 && id === watched) {
          watched = null;
          put(note, 'This trace has ended.');
        }
      }
    }

    put(context.element, startForm(context, (id) => { look(id); refresh(); }), list, live);
    context.poll(refresh, LIST_MS);
    context.poll(follow, LIVE_MS);
  },
};

// Who is kept out: list, add, lift.

import { call, segment } from '../api.js';
import { button, field, h, name, select, toast } from '../dom.js';
import { duration } from '../format.js';
import { listPage } from '../list.js';

const KINDS = [['client', 'Client id'], ['user', 'User'], ['address', 'Address']];
const SPANS = [['600', '10 minutes'], ['3600', '1 hour'], ['86400', '1 day'], ['604800', '1 week'], ['', 'until lifted']];

/** Keeps somebody out. Resolves to whether it worked. */
export async function ban(kind, subject, seconds) {
  try {
    await call('POST', '/bans', { kind, name: subject, seconds });
    toast(`${subject.slice(0, 80)} is banned.`);
    return true;
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.message, 'bad');
    return false;
  }
}

const columns = (refresh) => [
  { label: 'Who', is: 'first', cell: (item) => name(item.name) },
  { label: 'Kind', cell: (item) => (KINDS.find(([kind]) => kind === item.kind) ?? [0, item.kind])[1] },
  { label: 'Cause', is: 'mid', cell: (item) => name(item.cause) },
  { label: 'Left', is: 'number', cell: (item) => (item.seconds_left === null ? 'until lifted' : duration(item.seconds_left)) },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => button('Lift', async () => {
      try {
        await call('DELETE', `/bans/${segment(item.kind)}/${segment(item.name)}`);
        toast('The ban was lifted.');
      } catch (error) {
        if (error.status === undefined) throw error;
        if (error.status !== 404) toast(error.message, 'bad');
      }
      refresh();
    }, { class: 'small', 'data-focus': `lift ${item.kind} ${item.name}`, 'aria-label': `Lift the ban of ${item.name}` }),
  },
];

export default {
  path: '/bans',
  title: 'Bans',
  lead: 'Who does not get in: banned by hand, for wrong passwords or for flapping.',
  show(context) {
    let refresh = () => {};
    const kind = select({ name: 'kind' }, KINDS, context.query.get('kind') ?? undefined);
    const subject = h('input', { name: 'name', required: true, value: context.query.get('name') ?? '', spellcheck: 'false', autocapitalize: 'off' });
    const span = select({ name: 'span' }, SPANS, '3600');
    const form = h('form', {
      class: 'filters',
      onsubmit: async (event) => {
        event.preventDefault();
        if (await ban(kind.value, subject.value, span.value === '' ? null : Number(span.value))) {
          subject.value = '';
          refresh();
        }
      },
    }, field('Ban', kind), field('Name or address', subject), field('For', span), h('button', { class: 'main' }, 'Ban'));
    refresh = listPage(context, {
      what: 'bans', path: '/bans', columns, head: form, empty: () => h('p', {}, 'Nobody is banned.'),
    });
  },
};

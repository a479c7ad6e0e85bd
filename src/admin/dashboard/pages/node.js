// This broker: version, storage, backup, drain, who may log in here.

import { call, get, optional, segment } from '../api.js';
import { button, confirmed, field, h, name, put, toast } from '../dom.js';
import { bytes, count, duration, moment } from '../format.js';
import { table, trouble } from '../list.js';

const REFRESH_MS = 5000;

const words = (key) => key.replaceAll('_', ' ').replace(/ (s|us|bytes)$/, '');

/** A value of the API by the unit at the end of its name. */
function shown(key, value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'object') return JSON.stringify(value);
  if (typeof value !== 'number') return /_at$/.test(key) ? moment(value) : name(value);
  if (/bytes/.test(key)) return bytes(value);
  if (/_s$/.test(key)) return duration(value);
  return count(value);
}

const facts = (values) => h('dl', { class: 'facts' }, Object.entries(values)
  .filter(([, value]) => value === null || typeof value !== 'object')
  .map(([key, value]) => [h('dt', {}, words(key)), h('dd', {}, shown(key, value))]));

/** Runs a change, says how it went. */
async function change(work, done) {
  try {
    const answer = await work();
    toast(typeof done === 'function' ? done(answer) : done);
    return true;
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.status === 501 ? 'This broker does not offer that.' : error.message, 'bad');
    return false;
  }
}

function backupForm() {
  const to = h('input', { required: true, placeholder: '/var/backups/myriad', spellcheck: 'false', autocapitalize: 'off' });
  return h('form', {
    class: 'filters',
    onsubmit: (event) => {
      event.preventDefault();
      change(() => call('POST', '/store/backup', { to: to.value }), (answer) => `Backed up ${count(answer.files)} files, ${bytes(answer.bytes)}.`);
    },
  }, field('Back up into this folder of the broker’s machine', to), h('button', {}, 'Back up'));
}

function drainPanel(drain, refresh) {
  if (drain?.draining) {
    return [
      h('p', {}, `Draining: ${count(drain.sent_away)} sent away, ${count(drain.left)} left.`),
      button('Stop draining', async () => { await change(() => call('DELETE', '/drain'), 'Draining was stopped.'); refresh(); }),
    ];
  }
  return [
    h('p', { class: 'muted' }, 'Sends all clients away, evenly, before a restart. New ones are refused until it is stopped.'),
    button('Drain…', async () => {
      const isSure = await confirmed('Send all clients away?', '500 a second leave; no new client gets in until the drain is stopped.', 'Drain');
      if (isSure) await change(() => call('POST', '/drain', { rate: 500 }), 'Draining.');
      refresh();
    }),
  ];
}

function userForm(refresh) {
  const user = h('input', { required: true, autocomplete: 'off', autocapitalize: 'off' });
  const password = h('input', { type: 'password', required: true, autocomplete: 'new-password' });
  return h('form', {
    class: 'filters',
    onsubmit: async (event) => {
      event.preventDefault();
      if (await change(() => call('POST', '/users', { username: user.value, password: password.value }), 'The user can log in now.')) {
        user.value = '';
        password.value = '';
      }
      refresh();
    },
  }, field('New user', user), field('Password', password), h('button', {}, 'Add'));
}

const userColumns = (refresh) => [
  { label: 'User', is: 'first', cell: (item) => name(item.username ?? item.name ?? item) },
  {
    label: h('span', { class: 'unseen' }, 'Actions'), is: 'actions',
    cell: (item) => {
      const user = item.username ?? item.name ?? item;
      return button('Remove', async () => {
        if (!(await confirmed(`Remove ${user}?`, 'This user can’t log in any more.', 'Remove'))) return;
        await change(() => call('DELETE', `/users/${segment(user)}`), 'The user was removed.');
        refresh();
      }, { class: 'small', 'aria-label': `Remove ${user}` });
    },
  },
];

const unavailable = () => h('p', { class: 'muted' }, 'Not available from this broker.');

export default {
  path: '/node',
  title: 'Node and storage',
  menu: 'Node',
  show(context) {
    const [nodeBox, storeBox, drainBox, userBox] = [0, 1, 2, 3].map(() => h('div'));
    const section = (title, ...children) => h('section', { class: 'card pad' }, h('h2', {}, title), ...children);
    const backup = h('div', { hidden: true }, backupForm());
    const addUser = h('div', { hidden: true });
    put(context.element, h('div', { class: 'halves' },
      section('Node', nodeBox), section('Storage', storeBox, backup),
      section('Drain', drainBox), section('Who may log in here', userBox, addUser)));

    let shownControls = '';

    async function refresh(signal = context.signal) {
      let node;
      try {
        node = await get('/node', signal);
      } catch (error) {
        const notice = trouble(error, 'its state');
        if (notice && error.status !== 0) put(nodeBox, notice);
        return;
      }
      const [store, drain, users] = await Promise.all([node.storage && '/store', '/drain', '/users'].map((path) => path && optional(path, signal)));
      put(nodeBox, facts(node));
      put(storeBox, node.storage ? facts({ durability: node.storage.durability, 'takes writes': !node.storage.is_down, ...(store ?? {}) })
        : h('p', { class: 'muted' }, 'Nothing is kept on disk: storage.durability is memory.'));
      backup.hidden = !store || !node.storage;
      // What has controls is drawn again only when it changed: the focus stays.
      const print = JSON.stringify([drain, users]);
      if (print === shownControls) return;
      shownControls = print;
      put(drainBox, drain ? drainPanel(drain, refresh) : unavailable());
      put(userBox, users ? table('Users', userColumns(refresh), (users.items ?? []).slice(0, 100)) : unavailable());
      addUser.hidden = !users;
    }
    put(addUser, userForm(refresh));
    context.poll(refresh, REFRESH_MS);
  },
};

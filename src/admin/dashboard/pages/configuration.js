// The configuration in effect: search, the file's text, reload, check of a draft.

import { call, get } from '../api.js';
import { button, field, h, name, put, toast } from '../dom.js';
import { table, trouble } from '../list.js';

const shown = (value) => (value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value));

const columns = [
  { label: 'Key', is: 'first', cell: (item) => name(item[0], 'code') },
  { label: 'Value', is: 'wrap', cell: (item) => h('code', {}, shown(item[1]) === '' ? '""' : shown(item[1])) },
];

async function reload(result, again) {
  try {
    const answer = await call('POST', '/config/reload', {});
    const part = (label, keys) => (keys?.length ? `${label}: ${keys.join(', ')}.` : '');
    const text = [part('Changed', answer?.changed), part('Needs a restart', answer?.needs_restart)].filter(Boolean).join(' ');
    put(result, h('p', { class: 'strip good' }, text || 'The file was read again; nothing changed.'));
    again();
  } catch (error) {
    if (error.status === undefined) throw error;
    put(result, h('p', { class: 'strip bad' }, error.message));
  }
}

function checker() {
  const draft = h('textarea', { rows: 10, spellcheck: 'false', class: 'code', placeholder: '[session]\nexpiry_s = "48h"' });
  const result = h('div', { role: 'status' });
  const check = async () => {
    try {
      const answer = await call('POST', '/config/check', { toml: draft.value });
      put(result, answer.ok ? h('p', { class: 'strip good' }, 'This configuration is right.') : h('p', { class: 'strip bad' }, answer.error),
        (answer.warnings ?? []).map((warning) => h('p', { class: 'strip warn' }, warning)));
    } catch (error) {
      if (error.status === undefined) throw error;
      put(result, trouble(error, 'the check of a configuration'));
    }
  };
  return h('details', { class: 'card pad' }, h('summary', {}, 'Check a configuration before you write it'),
    field('TOML', draft), h('div', { class: 'row' }, button('Check', check)), result);
}

export default {
  path: '/config',
  title: 'Configuration',
  lead: 'As it is in effect, with all defaults. Secrets are not shown.',
  async show(context) {
    let config = null;
    const search = h('input', { type: 'search', placeholder: 'queue_len_max', spellcheck: 'false', 'data-search': true, autocapitalize: 'off' });
    const list = h('div', { class: 'card list' }, h('p', { class: 'blank muted' }, 'Loading…'));
    const result = h('div', { role: 'status' });
    const file = h('span', { class: 'muted' });
    const text = h('details', { class: 'card pad' }, h('summary', {}, 'As a file'));
    const draw = () => {
      if (!config) return;
      const wanted = search.value.trim().toLowerCase();
      const items = Object.entries(config.items ?? {}).filter(([key, value]) => `${key} ${shown(value)}`.toLowerCase().includes(wanted));
      put(list, items.length ? table('Configuration', columns, items) : h('div', { class: 'blank' }, h('p', {}, 'No key matches.')));
    };
    const load = async () => {
      try {
        config = await get('/config', context.signal);
      } catch (error) {
        const notice = trouble(error, 'its configuration');
        if (notice) put(list, notice);
        return;
      }
      put(file, config.file ? ['File: ', name(config.file, 'code')] : 'No file: defaults and the command line.');
      put(text, h('summary', {}, 'As a file'), h('pre', { class: 'payload', tabindex: 0 }, config.toml ?? ''),
        button('Copy', () => navigator.clipboard?.writeText(config.toml).then(() => toast('Copied.'), () => toast('The browser does not allow it.', 'bad')), { class: 'small' }));
      draw();
    };
    search.addEventListener('input', draw);
    put(context.element,
      h('form', { class: 'filters', role: 'search', onsubmit: (event) => event.preventDefault() }, field('Search', search), button('Read the file again', () => reload(result, load))),
      result, h('p', {}, file), list, text, checker());
    await load();
  },
};

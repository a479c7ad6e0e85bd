// A page with a list of the API: filters kept in the address, at most 100 rows at a time, refreshed while it is looked at.

import { ApiError, get, query } from './api.js';
import { button, field, h, put, select } from './dom.js';
import { count } from './format.js';

/** Rows at a time: what a person looks at, and no work for the browser. */
export const ROWS = 100;
const REFRESH_MS = 5000;
const TYPING_MS = 300;
// A search over very many comes back without a match now and then: how often it goes on by itself.
const HOPS_MAX = 60;
// A list that takes this many times as long as it rests would keep the broker busy.
const REST = 10;

/** What stands where a part of the API is not there or fails; null for an abort. */
export function trouble(error, what) {
  if (error.name === 'AbortError') return null;
  if (!(error instanceof ApiError)) throw error;
  if (error.isMissing) return h('div', { class: 'blank' }, h('p', {}, `Not available: this broker does not offer ${what}.`));
  return h('p', { class: 'strip bad' }, error.message);
}

/** A table. `columns`: [{label, cell(item), is: 'number' | 'wide' | …}]; `key(item)` tells rows apart. */
export function table(label, columns, items, attributes) {
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label },
    h('table', attributes,
      h('thead', {}, h('tr', {}, columns.map((column) =>
        h('th', { scope: 'col', class: column.is }, column.label)))),
      h('tbody', {}, items.map((item) => h('tr', {}, columns.map((column) =>
        h('td', { class: column.is }, column.cell(item))))))));
}

/** Whether the reader is busy with what stands in `element`: a selection of text there would be lost. */
const isBusy = (element) => {
  const selection = getSelection();
  return !selection.isCollapsed && element.contains(selection.anchorNode);
};

/** Replaces what `element` holds and gives the focus back to the control with the same `data-focus`. */
function replaceKeepingFocus(element, ...children) {
  const focus = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const scroll = element.querySelector('.scroll')?.scrollLeft;
  put(element, ...children);
  if (scroll) element.querySelector('.scroll').scrollLeft = scroll;
  if (focus !== undefined) {
    for (const candidate of element.querySelectorAll('[data-focus]')) {
      if (candidate.dataset.focus === focus) candidate.focus({ preventScroll: true });
    }
  }
}

function filterControls(filters, values, changed) {
  let typing = 0;
  return filters.map((filter) => {
    const set = (value) => {
      values[filter.name] = value;
      changed();
    };
    const control = filter.options
      ? select({ onchange: (event) => set(event.target.value) }, filter.options, values[filter.name] ?? '')
      : h('input', {
        type: 'search', value: values[filter.name] ?? '', placeholder: filter.placeholder, spellcheck: 'false',
        autocapitalize: 'off', 'data-search': true, maxlength: filter.length,
        oninput: (event) => {
          clearTimeout(typing);
          const { value } = event.target;
          typing = setTimeout(() => set(value), TYPING_MS);
        },
      });
    return field(filter.label, control, filter.hint);
  });
}

/**
 * Fills a page with a list.
 *
 * `what`: its noun; `path` of the API; `filters`: [{name, label, placeholder | options, hint}]; `ask(values)`: filters to the API's
 * query; `columns(refresh)`; `empty`: what an empty list says; `head`: a node above.
 */
export function listPage(context, { what, path, filters = [], ask = (values) => values, columns, empty, head, every = REFRESH_MS }) {
  const values = Object.fromEntries(filters.map(({ name }) => [name, context.query.get(name) ?? '']));
  const before = [];
  let cursor = null;
  let shown = '';
  const note = h('span', { class: 'muted', role: 'status' });
  const body = h('div', {}, h('p', { class: 'blank muted' }, 'Loading…'));
  const back = button('Previous', () => { cursor = before.pop() ?? null; turn(); });
  const forward = button('Next', () => {
    before.push(cursor);
    cursor = forward.dataset.next;
    turn();
  });
  const pager = h('div', { class: 'row pager', hidden: true }, back, forward, note);
  let turnNumber = 0;
  let notBefore = 0;

  function turn() {
    shown = '';
    refresh();
  }

  async function refresh(signal = context.signal) {
    turnNumber += 1;
    const mine = turnNumber;
    const filtered = Object.values(values).some((value) => value !== '');
    let answer;
    try {
      const began = Date.now();
      answer = await get(path + query({ ...ask(values), limit: ROWS, cursor }), signal);
      for (let hop = 0; answer.next && !answer.items.length && hop < HOPS_MAX && mine === turnNumber; hop += 1) {
        put(note, 'Searching…');
        pager.hidden = false;
        answer = await get(path + query({ ...ask(values), limit: ROWS, cursor: answer.next }), signal);
      }
      notBefore = Date.now() + REST * (Date.now() - began);
    } catch (error) {
      const notice = trouble(error, what);
      if (notice && mine === turnNumber && error.status !== 0) {
        shown = '';
        pager.hidden = true;
        put(body, notice);
      }
      return undefined;
    }
    // A slower answer to an older question.
    if (mine !== turnNumber) return undefined;
    const items = (answer.items ?? []).slice(0, ROWS);
    const print = JSON.stringify(answer);
    if (print === shown && !columns.hasClock || (shown && isBusy(body))) return undefined;
    shown = print;
    replaceKeepingFocus(body, items.length
      ? table(what, columns(turn), items)
      : filtered
        ? h('div', { class: 'blank' }, h('p', {}, `No ${what} match.`))
        : h('div', { class: 'blank' }, empty(true)));
    back.disabled = before.length === 0;
    forward.disabled = !answer.next;
    forward.dataset.next = answer.next ?? '';
    pager.hidden = !answer.next && before.length === 0;
    const first = before.length * ROWS;
    put(note, answer.next || before.length ? `${what}, page ${before.length + 1}${before.length ? '' : `, the first ${count(first + items.length)}`}` : '');
    return undefined;
  }

  const controls = filterControls(filters, values, () => {
    before.length = 0;
    cursor = null;
    const hash = `#${context.path}${query(values)}`;
    history.replaceState(null, '', hash);
    turn();
  });
  put(context.element,
    head,
    controls.length > 0 && h('form', { class: 'filters', role: 'search', onsubmit: (event) => event.preventDefault() }, controls),
    h('div', { class: 'card list' }, body, pager));
  context.poll((signal) => (Date.now() < notBefore ? undefined : refresh(signal)), every);
  return turn;
}

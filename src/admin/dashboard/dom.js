// Makes elements. All that a broker's client may have written goes through here as text or as an attribute's value, and
// nothing in the dashboard uses innerHTML: a client id is never markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    // By property: the policy of this page forbids style attributes.
    else if (name === 'style') for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (name === 'value') element.value = value;
    else if (name === 'aria-label') element.setAttribute(name, visible(value));
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** An HTML element; `on…` attributes are listeners, children are nodes or text. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Puts children in the place of what `element` holds. */
export const put = (element, ...children) => element.replaceChildren(...nodes(children));

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text of a stranger, with characters that can't be seen or that turn the line around made visible. */
export function visible(text) {
  return String(text).replace(CONTROL, (c) => {
    const code = c.codePointAt(0);
    return code < 32 ? String.fromCodePoint(0x2400 + code) : `\u27e8${code.toString(16)}\u27e9`;
  });
}

/** A stranger's name: its own direction, one line, cut by the style sheet where it is long, whole in the title. */
export function name(text, extra) {
  if (text === null || text === undefined || text === '') return h('span', { class: 'muted' }, '–');
  const shown = visible(text);
  const cut = shown.length > 400 ? `${shown.slice(0, 400)}…` : shown;
  return h('bdi', { class: `name ${extra ?? ''}`, title: shown.length > 24 ? shown.slice(0, 2000) : null }, cut);
}

/** A link to a page of the dashboard. */
export const link = (path, ...children) => h('a', { href: `#${path}` }, ...children);

/** A button. */
export const button = (label, onclick, attributes) =>
  h('button', { type: 'button', ...attributes, onclick }, label);

/** A labelled field of a form. */
export const field = (label, control, hint) =>
  h('label', { class: 'field' }, h('span', {}, label), control, hint && h('small', {}, hint));

/** A drop-down list of [value, label]. */
export const select = (attributes, options, chosen) => {
  const element = h('select', attributes, options.map(([value, label]) => h('option', { value }, label)));
  element.value = chosen ?? options[0][0];
  return element;
};

/** Says something in passing. */
export function toast(text, kind) {
  const line = h('p', { class: `toast ${kind ?? ''}` }, visible(text));
  document.getElementById('toasts').append(line);
  setTimeout(() => line.remove(), kind === 'bad' ? 8000 : 4000);
}

/** Asks before what can't be undone; resolves to whether it was confirmed. */
export function confirmed(question, detail, action) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'ask', 'aria-labelledby': 'ask-title' },
      h('form', { method: 'dialog' },
        h('h2', { id: 'ask-title' }, visible(question)),
        h('p', {}, visible(detail)),
        h('div', { class: 'row end' },
          h('button', { value: 'no', class: 'quiet' }, 'Cancel'),
          h('button', { value: 'yes', class: 'danger' }, action))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.returnValue = '';
    dialog.showModal();
  });
}

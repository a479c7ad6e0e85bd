// Shows the payload of a message as text, JSON or bytes.

import { button, h, put } from './dom.js';
import { bytes } from './format.js';

// What is shown of one payload: more freezes the page and nobody reads it.
const SHOWN_MAX = 64 * 1024;
const HEX_MAX = 4 * 1024;

/** The bytes of a base64 text. */
export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** The text of bytes, null where they are no UTF-8. */
export function textOf(data) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return null;
  }
}

function hexOf(data) {
  const lines = [];
  for (let at = 0; at < Math.min(data.length, HEX_MAX); at += 16) {
    const row = [...data.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(48);
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex} ${text}`);
  }
  return lines.join('\n');
}

function forms(data) {
  const all = [];
  const text = textOf(data.subarray(0, SHOWN_MAX)) ?? (data.length > SHOWN_MAX ? textOf(data.subarray(0, SHOWN_MAX - 3)) : null);
  if (text !== null && data.length <= SHOWN_MAX && /^\s*[[{]/.test(text)) {
    try {
      all.push(['JSON', JSON.stringify(JSON.parse(text), null, 2), data.length]);
    } catch { /* it only looked like JSON */ }
  }
  if (text !== null) all.push(['Text', text, Math.min(data.length, SHOWN_MAX)]);
  all.push(['Hex', hexOf(data), Math.min(data.length, HEX_MAX)]);
  return all;
}

/** A viewer with the forms that suit `data` (Uint8Array): the most readable one first. */
export function payloadView(data) {
  if (data.length === 0) return h('p', { class: 'muted' }, 'The payload is empty.');
  const text = h('pre', { class: 'payload', tabindex: 0 });
  const note = h('p', { class: 'muted' });
  const all = forms(data);
  const tabs = all.map(([label, content, length]) => {
    const tab = button(label, () => {
      for (const other of tabs) other.setAttribute('aria-pressed', String(other === tab));
      put(text, content);
      put(note, length < data.length ? `The first ${bytes(length)} of ${bytes(data.length)}.` : '');
    }, { class: 'tab' });
    return tab;
  });
  tabs[0].click();
  return h('div', {}, h('div', { class: 'row tabs', role: 'group', 'aria-label': 'Form of the payload' }, tabs), text, note);
}

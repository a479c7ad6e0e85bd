// Publish and subscribe by hand, over WebSocket. The connection stays while other pages are looked at.

import { relay } from '../api.js';
import { button, field, h, name, put, select, toast } from '../dom.js';
import { bytes, clock, count } from '../format.js';
import { MqttClient } from '../mqtt.js';
import { payloadView, textOf } from '../payload.js';

// Messages that are kept: what a person can look through, and a bound for a busy filter.
const KEPT_MAX = 200;
const PREVIEW = 160;
const QOS = [['0', '0'], ['1', '1'], ['2', '2']];

const fresh = () => ({
  client: null,
  filters: new Map(),
  messages: [],
  total: 0,
  isPaused: false,
  note: '',
  form: { clientId: `dashboard-${Math.random().toString(36).slice(2, 8)}`, username: '', version: '5' },
  // Logins of before do not come back into this one.
  login: {},
  changed: () => {},
});
const state = fresh();

/** Ends the connection and forgets all of it: somebody else may log in next. */
export function forget() {
  const { client } = state;
  Object.assign(state, fresh());
  client?.disconnect();
}

function received(message) {
  state.total += 1;
  if (state.isPaused) return;
  state.messages.unshift({ ...message, at: Date.now(), number: state.total });
  if (state.messages.length > KEPT_MAX) state.messages.length = KEPT_MAX;
  state.changed();
}

async function connect(values, password) {
  state.form = values;
  const client = new MqttClient({ ...relay(), version: Number(values.version), clientId: values.clientId, username: values.username, password });
  const { login } = state;
  client.onmessage = (message) => { if (state.client === client) received(message); };
  client.onclose = (sentence) => {
    if (state.client !== client) return;
    state.client = null;
    state.filters.clear();
    state.note = sentence;
    state.changed();
  };
  try {
    await client.connect();
    if (state.login !== login) {
      client.disconnect();
      return;
    }
    state.client = client;
    state.note = '';
  } catch (error) {
    state.note = client.isReached || !client.socket ? error.message
      : `${error.message} The console needs a plain mqtt:// listener (page Listeners), and at most 16 are open at a time.`;
  }
  state.changed();
}

function connectForm() {
  const clientId = h('input', { name: 'client_id', value: state.form.clientId, required: true, spellcheck: 'false', autocapitalize: 'off' });
  const username = h('input', { name: 'username', value: state.form.username, autocomplete: 'off', autocapitalize: 'off', placeholder: 'none' });
  const password = h('input', { name: 'password', type: 'password', autocomplete: 'off' });
  const version = select({ name: 'version' }, [['5', '5.0'], ['4', '3.1.1']], state.form.version);
  return h('form', {
    class: 'filters card pad',
    onsubmit: (event) => {
      event.preventDefault();
      event.submitter.disabled = true;
      connect({ clientId: clientId.value, username: username.value, version: version.value }, password.value);
    },
  }, field('Client id', clientId), field('MQTT user', username), field('MQTT password', password), field('MQTT', version), h('button', { class: 'main' }, 'Connect'));
}

async function attempt(work, done) {
  try {
    const result = await work();
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(error.message, 'bad');
    return undefined;
  }
}

function subscribeForm() {
  const filter = h('input', { name: 'filter', value: '#', required: true, spellcheck: 'false', autocapitalize: 'off' });
  const qos = select({ name: 'qos' }, QOS, '0');
  return h('form', {
    class: 'filters',
    onsubmit: async (event) => {
      event.preventDefault();
      const granted = await attempt(() => state.client.subscribe(filter.value, Number(qos.value)));
      if (granted !== undefined) state.filters.set(filter.value, granted);
      state.changed();
    },
  }, field('Subscribe to', filter), field('QoS', qos), h('button', { class: 'main' }, 'Subscribe'));
}

const filterList = () => [...state.filters].map(([filter, qos]) => h('span', { class: 'chip' }, name(filter, 'code'), ` QoS ${qos} `,
  button('×', async () => {
    await attempt(() => state.client.unsubscribe(filter));
    state.filters.delete(filter);
    state.changed();
  }, { class: 'linklike', 'aria-label': `Unsubscribe from ${filter}` })));

function publishForm() {
  const topic = h('input', { name: 'topic', required: true, placeholder: 'hello', spellcheck: 'false', autocapitalize: 'off' });
  const qos = select({ name: 'publish-qos' }, QOS, '0');
  const retain = h('input', { type: 'checkbox', name: 'retain' });
  const payload = h('textarea', { name: 'payload', rows: 3, spellcheck: 'false', class: 'code' });
  return h('form', {
    onsubmit: async (event) => {
      event.preventDefault();
      await attempt(() => state.client.publish(topic.value, new TextEncoder().encode(payload.value), Number(qos.value), retain.checked),
        qos.value === '0' ? 'Published.' : 'Published and acknowledged.');
    },
  },
  h('div', { class: 'filters' }, field('Publish to', topic), field('QoS', qos), h('label', { class: 'check' }, retain, ' Retain')),
  field('Payload', payload), h('button', { class: 'main' }, 'Publish'));
}

function messageRow(message) {
  const text = textOf(message.payload.subarray(0, PREVIEW * 4));
  const short = text === null ? `${bytes(message.payload.length)}, no text` : text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text;
  const details = h('details', {
    ontoggle: () => {
      if (!details.open || details.childElementCount > 1) return;
      details.append(payloadView(message.payload), message.properties.length > 0
        ? h('dl', { class: 'facts' }, message.properties.map(([key, value]) => [h('dt', {}, name(key)), h('dd', {}, name(value))])) : '');
    },
  }, h('summary', {},
    h('span', { class: 'muted time' }, clock(message.at)), ' ', name(message.topic, 'code'), ' ',
    h('span', { class: 'muted' }, `QoS ${message.qos}${message.retain ? ', retained' : ''}${message.dup ? ', again' : ''}`),
    h('span', { class: 'preview' }, name(short))));
  return h('li', { 'data-number': message.number }, details);
}

/** Adds rows for new messages above those that stand there, so an opened one stays open. */
function drawMessages(list) {
  const newest = Number(list.firstElementChild?.dataset.number ?? 0);
  if (state.messages.length === 0) list.replaceChildren();
  list.prepend(...state.messages.filter((message) => message.number > newest).map(messageRow));
  while (list.childElementCount > KEPT_MAX) list.lastElementChild.remove();
}

function connectedView() {
  const filters = h('div', { class: 'row chips' });
  const list = h('ul', { class: 'plain messages', 'aria-label': 'Messages' });
  const counted = h('span', { class: 'muted', role: 'status' });
  const pause = button('Pause', () => { state.isPaused = !state.isPaused; draw(); }, { class: 'small' });
  const clear = button('Clear', () => { state.messages = []; state.total = 0; list.replaceChildren(); draw(); }, { class: 'small' });
  const nothing = h('p', { class: 'muted' });
  function draw() {
    put(filters, filterList());
    drawMessages(list);
    put(pause, state.isPaused ? 'Go on' : 'Pause');
    pause.setAttribute('aria-pressed', String(state.isPaused));
    put(counted, state.total > 0 ? `${count(state.total)} received${state.total > state.messages.length ? `, ${count(state.messages.length)} shown` : ''}` : '');
    put(nothing, state.total > 0 ? '' : state.filters.size > 0 ? 'No message yet.' : 'Subscribe to a filter to see its messages.');
  }
  const element = h('div', {},
    h('div', { class: 'card pad row between' },
      h('span', {}, h('span', { class: 'chip good' }, 'connected'), ' as ', name(state.form.clientId, 'code')),
      button('Disconnect', () => { state.client.disconnect(); }, { class: 'small' })),
    h('div', { class: 'halves' },
      h('section', { class: 'card pad' }, h('h2', {}, 'Publish'), publishForm()),
      h('section', { class: 'card pad' }, h('h2', {}, 'Subscribe'), subscribeForm(), filters)),
    h('section', { class: 'card pad' },
      h('div', { class: 'row between' }, h('h2', {}, 'Messages'), h('span', { class: 'row' }, counted, pause, clear)), nothing, list));
  return { element, draw };
}

export default {
  path: '/console',
  title: 'Console',
  lead: 'An MQTT client in this page: publish and subscribe by hand.',
  show(context) {
    let view = null;
    let frame = 0;
    const draw = () => {
      frame = 0;
      if (context.signal.aborted) return;
      if (!state.client) {
        view = null;
        put(context.element, state.note && h('p', { class: 'strip', role: 'status' }, state.note), connectForm());
        return;
      }
      if (!view) {
        view = connectedView();
        put(context.element, view.element);
      }
      view.draw();
    };
    // Many messages, one drawing.
    state.changed = () => { frame ||= requestAnimationFrame(draw); };
    context.signal.addEventListener('abort', () => { state.changed = () => {}; });
    draw();
  },
};

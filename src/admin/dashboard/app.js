// The frame of the dashboard: pages by the address's hash, navigation, login, what repeats while a page is looked at.

import { fromSegment, on, optional, session } from './api.js';
import { h, link, put } from './dom.js';
import bans from './pages/bans.js';
import client from './pages/client.js';
import clients from './pages/clients.js';
import configuration from './pages/configuration.js';
import mqttConsole, { forget } from './pages/console.js';
import listeners from './pages/listeners.js';
import login from './pages/login.js';
import node from './pages/node.js';
import overview from './pages/overview.js';
import retained from './pages/retained.js';
import sessions from './pages/sessions.js';
import slow from './pages/slow.js';
import subscriptions from './pages/subscriptions.js';
import topicMetrics from './pages/topic_metrics.js';
import topics from './pages/topics.js';
import trace from './pages/trace.js';

const MENU = [
  [null, overview],
  ['Clients', clients, sessions, subscriptions],
  ['Messages', topics, retained, mqttConsole],
  ['Watch', slow, topicMetrics, trace],
  ['Broker', listeners, bans, configuration, node],
];
const PAGES = [...MENU.flatMap((group) => group.slice(1)), client];

const main = document.getElementById('main');
const side = document.getElementById('side');
const menu = document.getElementById('menu');
const offline = document.getElementById('offline');
let leave = () => {};

/** Runs `work` now and again `ms` after it ended, not while the page is hidden, until the page is left. */
function poll(work, ms, signal) {
  let timer = 0;
  let isRunning = false;
  const run = async () => {
    clearTimeout(timer);
    if (signal.aborted || document.hidden || isRunning) return;
    isRunning = true;
    try {
      await work(signal);
    } catch (error) {
      // What the broker refuses is shown by the page that asked; a broker that is away, by the strip above it.
      if (error.name !== 'AbortError' && error.status === undefined) reportError(error);
    } finally {
      isRunning = false;
      if (!signal.aborted) timer = setTimeout(run, ms);
    }
  };
  document.addEventListener('visibilitychange', run, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
}

/** The address's hash as path and query. */
function address() {
  const [path, search] = (location.hash.slice(1) || '/').split('?');
  return { path: path.startsWith('/') ? path : '/', query: new URLSearchParams(search ?? '') };
}

function find(path) {
  for (const page of PAGES) {
    if (page.path === path) return [page, null];
    if (page.prefix && path.startsWith(page.prefix)) {
      try {
        return [page, fromSegment(path.slice(page.prefix.length))];
      } catch { /* an address that somebody cut: no such page */ }
    }
  }
  return [null, null];
}

function show() {
  leave();
  const controller = new AbortController();
  leave = () => controller.abort();
  document.getElementById('drawer').classList.remove('open');
  menu.setAttribute('aria-expanded', 'false');
  for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
  const { path, query } = address();
  const [page, item] = session.token ? find(path) : [login, null];
  side.hidden = !session.token;
  document.body.classList.toggle('signed-out', !session.token);
  const element = h('div', { class: 'page' });
  const title = page ? page.title : 'No such page';
  const heading = h('h1', {}, title);
  document.title = `${title} · Myriad`;
  for (const entry of document.querySelectorAll('#nav a')) {
    const isHere = page && entry.dataset.path === (page.under ?? page.path);
    if (isHere) entry.setAttribute('aria-current', 'page');
    else entry.removeAttribute('aria-current');
  }
  put(main, !page?.isBare && h('div', { class: 'title' }, heading, page?.lead && h('p', { class: 'muted' }, page.lead)), element);
  if (!page) {
    put(element, h('div', { class: 'blank card' }, h('p', {}, 'There is nothing at this address. ', link('/', 'To the overview'))));
    return;
  }
  page.show({ element, heading, path, query, item, signal: controller.signal, poll: (work, ms) => poll(work, ms, controller.signal), show });
}

on.signedOut = () => {
  if (!session.token) return;
  session.token = null;
  // The next person at this tab gets nothing of this one's.
  forget();
  show();
};
on.reached = (isReached) => {
  offline.hidden = isReached;
  if (!isReached) put(offline, 'The broker does not answer. What you see is from before; this page keeps trying.');
};

put(document.getElementById('nav'), MENU.map(([label, ...pages]) => h('div', { class: 'group' },
  label && h('h2', {}, label),
  pages.map((page) => h('a', { href: `#${page.path}`, 'data-path': page.path }, page.menu ?? page.title)))));
menu.addEventListener('click', () => {
  const isOpen = document.getElementById('drawer').classList.toggle('open');
  menu.setAttribute('aria-expanded', String(isOpen));
});
document.getElementById('leave').addEventListener('click', async () => {
  // A token that could not be ended ends by itself; the tab forgets it in any case.
  await optional('/logout', undefined, 'POST').catch(() => null);
  on.signedOut();
});
document.querySelector('.skip').addEventListener('click', (event) => {
  // The hash is the page: the link must not change it.
  event.preventDefault();
  main.focus();
});
addEventListener('keydown', (event) => {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = main.querySelector('[data-search]');
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
addEventListener('hashchange', () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
show();

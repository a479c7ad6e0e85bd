// The dashboard in a headless browser against the real broker: node --test tests/dashboard

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Broker, until } from './broker.js';

const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
const PATIENCE_MS = 15000;
const PAGES = ['/', '/clients', '/sessions', '/subscriptions', '/topics', '/retained', '/console', '/slow', '/topic-metrics', '/trace', '/listeners', '/bans', '/config', '/node'];
const HOSTILE = '<img src=x onerror="window.hacked=1">';

let broker;
let browser;
let context;
let page;
let requests;
let complaints;

/** A page that is logged in; what it asks for and what it complains about is recorded. */
async function open(options = {}) {
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  page = await context.newPage();
  requests = [];
  complaints = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('websocket', (socket) => requests.push(socket.url().replace(/^ws/, 'http')));
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${message.text()} ${message.location().url}`);
  });
  await page.goto(broker.url);
}

/** By the password the first time, later by the token of then: the hash of a password is slow on purpose. */
async function logIn() {
  if (broker.token) {
    await page.evaluate((token) => sessionStorage.setItem('myriad.token', token), broker.token);
    await page.reload();
  } else {
    await page.fill('[name=password]', broker.password);
    await page.click('button.main');
  }
  await page.waitForSelector('#main .title h1');
  broker.token ??= await page.evaluate(() => sessionStorage.getItem('myriad.token'));
}

const go = async (path) => {
  await page.goto(`${broker.url}/#${path}`);
  await page.waitForFunction(() => !document.querySelector('#main').textContent.includes('Loading…'));
};
const tile = (label) => page.locator('.tile', { hasText: label }).locator('.value');
const rows = () => page.locator('#main .list tbody tr');

before(async () => {
  assert.ok(CHROMIUM, 'no Chromium: apt-get install chromium, or set CHROMIUM');
  broker = await Broker.start();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
});
after(async () => {
  await browser?.close();
  await broker?.stop();
});
afterEach(leave);

/** Nothing of a test is there in the next one. */
async function leave() {
  for (const client of broker.clients.splice(0)) client.disconnect();
  await context?.close();
}

describe('login', () => {
  test('a wrong password is refused in words, the right one opens the overview, leaving asks again', async () => {
    await open();
    await page.fill('[name=password]', 'wrong');
    await page.click('button.main');
    await page.waitForSelector('[role=alert]:has-text("do not match")');
    await logIn();
    assert.equal(await page.evaluate(() => localStorage.length), 0, 'the token must not outlive the tab');
    assert.equal((await context.cookies()).length, 0);
    await page.click('text=Log out');
    await page.waitForSelector('[name=password]');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    // That token has ended at the broker too.
    const answer = await context.request.get(`${broker.url}/api/v1/node`, { headers: { Authorization: `Bearer ${broker.token}` } });
    assert.equal(answer.status(), 401);
    broker.token = undefined;
  });
});

describe('pages', () => {
  beforeEach(async () => {
    await open();
    await logIn();
  });
  afterEach(async () => {
    await leave();
    // Nothing on any page asks another host, or complains.
    const elsewhere = requests.filter((url) => new URL(url).origin !== broker.url);
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(complaints, []);
  });

  test('an empty broker says what to do', async () => {
    await page.waitForSelector('text=No client is connected');
    await page.waitForSelector('code:has-text("mosquitto_sub")');
  });

  test('every page opens by its link, and none of them is missing', async () => {
    for (const path of PAGES) {
      await page.click(`#nav a[href="#${path}"]`);
      await page.waitForSelector(`#nav a[href="#${path}"][aria-current=page]`);
      await page.waitForFunction(() => !document.querySelector('#main').textContent.includes('Loading…'));
      const text = await page.innerText('#main');
      assert.doesNotMatch(text, /[Nn]ot available|undefined|\[object|\bNaN\b/, path);
    }
  });

  test('the overview shows numbers that move', async () => {
    const [reader, writer] = [await broker.client('reader'), await broker.client('writer')];
    await reader.subscribe('numbers', 0);
    const timer = setInterval(() => { writer.publish('numbers', Buffer.from('x'.repeat(100)), 0); }, 10);
    try {
      await until('2 connections', async () => (await tile('Connections').textContent()) === '2');
      const [incoming, outgoing] = [tile('Messages in'), tile('Messages out')];
      await until('messages in', async () => Number(await incoming.textContent()) > 5);
      await until('messages out', async () => Number(await outgoing.textContent()) > 5);
      await until('latency', async () => /[0-9]/.test(await tile('Latency').textContent()));
      await until('shards', async () => (await page.locator('.shards tbody tr').count()) >= 1);
      await until('plots', async () => (await page.locator('.chart path.line[d^=M]').count()) >= 6, 20000);
    } finally {
      clearInterval(timer);
    }
    await until('rest', async () => (await incomingText()) === '0');
    async function incomingText() { return tile('Messages in').textContent(); }
  });

  test('a search finds a client, and kick ends its connection', async () => {
    const lamp = await broker.client('lamp-7');
    await broker.client('door-1');
    await go('/clients');
    await until('both', async () => (await rows().count()) === 2);
    await page.fill('[data-search]', 'lamp');
    await until('one', async () => (await rows().count()) === 1);
    await page.click('[aria-label="Kick lamp-7"]');
    await page.click('dialog >> text=Cancel');
    assert.equal(lamp.ended, undefined, 'it was asked first');
    await page.click('[aria-label="Kick lamp-7"]');
    await page.click('dialog >> button:text-is("Disconnect")');
    await until('the client was told why', () => lamp.ended?.includes('administrator'));
    await until('the row is gone', async () => (await rows().count()) === 0);
    await page.waitForSelector('text=No clients match');
  });

  test('a page of a client shows it and changes its subscriptions', async () => {
    const lamp = await broker.client('lamp/8');
    await lamp.subscribe('orders/+', 1);
    await go(`/clients/${encodeURIComponent('lamp/8')}`);
    await page.waitForSelector('td:has-text("orders/+")');
    await page.fill('[placeholder="sensors/#"]', 'extra/#');
    await page.click('button:text-is("Add")');
    await page.waitForSelector('td:has-text("extra/#")');
    await (await broker.client('writer')).publish('extra/1', Buffer.from('for the lamp'), 1);
    await until('the message', () => lamp.messages.some((message) => message.topic === 'extra/1'));
    await page.click('[aria-label="Remove the subscription to extra/#"]');
    await page.waitForSelector('td:has-text("extra/#")', { state: 'detached' });
  });

  test('lists have at most a hundred rows, the rest is a page away', async () => {
    for (let i = 0; i < 130; i += 1) await broker.client(`many-${String(i).padStart(3, '0')}`);
    await go('/clients');
    await until('a full page', async () => (await rows().count()) === 100);
    const first = await page.locator('td.first').allTextContents();
    await page.click('button:text-is("Next")');
    await until('the rest', async () => (await rows().count()) === 30);
    const second = await page.locator('td.first').allTextContents();
    assert.equal(new Set([...first, ...second]).size, 130);
    await page.click('button:text-is("Previous")');
    await until('the first page', async () => (await rows().count()) === 100);
  });

  test('retained messages are shown as JSON, text and bytes, and deleted', async () => {
    const writer = await broker.client('writer');
    await writer.publish('shelf/json', Buffer.from('{"a":[1,2]}'), 1, true);
    await writer.publish('shelf/bytes', Buffer.from([0, 255, 1, 65]), 1, true);
    await go('/retained?match=shelf%2F%23');
    await until('two', async () => (await rows().count()) === 2);
    await page.click('button.linklike:has-text("shelf/json")');
    await page.waitForSelector('pre:has-text(\'"a": [\')');
    await page.click('.viewer >> text=Hex');
    await page.waitForSelector('pre:has-text("7b 22 61")');
    await page.click('button.linklike:has-text("shelf/bytes")');
    await page.waitForSelector('pre:has-text("00 ff 01 41")');
    assert.equal(await page.locator('.viewer button:text-is("Text")').count(), 0, 'it is no text');
    await page.click('[aria-label="Delete shelf/bytes"]');
    await page.click('dialog >> button:text-is("Delete")');
    await until('one', async () => (await rows().count()) === 1);
    await writer.publish('shelf/json', new Uint8Array(), 1, true);
    await page.waitForSelector('text=No retained messages match');
  });

  for (const [version, value] of [['5.0', '5'], ['3.1.1', '4']]) {
    test(`the console publishes and receives with MQTT ${version}`, async () => {
      await go('/console');
      await page.selectOption('[name=version]', value);
      await page.click('button:text-is("Connect")');
      await page.waitForSelector('.chip:has-text("connected")');
      await page.fill('[name=filter]', 'round/#');
      await page.selectOption('[name=qos]', '2');
      await page.click('button:text-is("Subscribe")');
      await page.waitForSelector('.chips >> text=round/#');
      for (const qos of ['0', '1', '2']) {
        await page.fill('[name=topic]', `round/${qos}`);
        await page.selectOption('[name=publish-qos]', qos);
        await page.fill('[name=payload]', `{"qos": ${qos}}`);
        await page.click('button:text-is("Publish")');
        await page.waitForSelector(`.messages li:has-text("round/${qos}"):has-text("QoS ${qos}")`);
      }
      await page.click('.messages li:has-text("round/2") summary');
      await page.waitForSelector('.messages pre:has-text("qos")');
      await page.click('button:text-is("Disconnect")');
      await page.waitForSelector('button:text-is("Connect")');
    });
  }

  test('whoever logs out leaves no console behind', async () => {
    const others = await broker.client('writer');
    await go('/console');
    await page.fill('[name=client_id]', 'console-1');
    await page.click('button:text-is("Connect")');
    await page.click('button:text-is("Subscribe")');
    await page.waitForSelector('.chips >> text=#');
    await others.publish('secret', Buffer.from('for this login'), 1);
    await page.waitForSelector('.messages li:has-text("secret")');
    await page.click('text=Log out');
    broker.token = undefined;
    await logIn();
    await until('its client is gone', async () => {
      const headers = { Authorization: `Bearer ${broker.token}` };
      const answer = await context.request.get(`${broker.url}/api/v1/clients?client_id=console-1`, { headers });
      return (await answer.json()).items.length === 0;
    });
    await go('/console');
    await page.waitForSelector('button:text-is("Connect")');
    assert.doesNotMatch(await page.innerText('#main'), /secret|console-1/);
    assert.ok(requests.some((url) => url.endsWith('/mqtt')), 'the console was relayed');
    assert.deepEqual(requests.filter((url) => /token/.test(url)), [], 'no address has a token');
  });

  test('a client called .. is not mistaken for something else', async () => {
    const dots = await broker.client('..');
    await go('/clients');
    await page.click('tr:has-text("..") >> button:text-is("Kick")');
    await page.click('dialog >> button:text-is("Disconnect")');
    await until('the client was told why', () => dots.ended?.includes('administrator'));
    await page.waitForSelector('.toast:has-text("was disconnected")');
    assert.deepEqual(requests.filter((url) => url.endsWith('/api/v1/')), []);
    for (const name of ['.', '..', '~..']) {
      await (await broker.client(name)).subscribe(`of/${name}`, 1);
      await go('/clients');
      await page.getByRole('link', { name, exact: true }).click();
      await page.waitForSelector(`td:has-text("of/${name}")`);
    }
  });

  test('a name that turns the line around is shown with its marks', async () => {
    await broker.client('a\u202elamp\u202c');
    await go('/clients');
    await page.click('tr:has-text("lamp") >> button:text-is("Kick")');
    const question = await page.innerText('dialog h2');
    assert.equal(question, 'Disconnect a\u27e8202e\u27e9lamp\u27e8202c\u27e9?');
    await page.click('dialog >> text=Cancel');
  });

  test('a trace shows what a client does', async () => {
    const lamp = await broker.client('lamp-9');
    await go('/trace?kind=client&name=lamp-9');
    await page.click('button:text-is("Start")');
    await page.waitForSelector('tr:has-text("lamp-9")');
    await lamp.publish('traced/topic', Buffer.from('x'), 1);
    await page.waitForSelector('.events li:has-text("traced/topic")');
    await page.click('tr:has-text("lamp-9") >> button:text-is("Stop")');
    await page.waitForSelector('text=No trace runs');
  });

  test('a ban is made and lifted', async () => {
    await go('/bans');
    await page.fill('[name=name]', 'bad-lamp');
    await page.click('button.main:text-is("Ban")');
    await page.waitForSelector('tr:has-text("bad-lamp")');
    await assert.rejects(broker.client('bad-lamp'), /banned/);
    await page.click('[aria-label="Lift the ban of bad-lamp"]');
    await page.waitForSelector('text=Nobody is banned');
    await broker.client('bad-lamp');
  });

  test('the configuration is searched', async () => {
    await go('/config');
    await until('all keys', async () => (await rows().count()) > 50);
    await page.fill('[data-search]', 'session.queue_len_max');
    await until('one key', async () => (await rows().count()) === 1);
    await page.click('summary:has-text("Check a configuration")');
    await page.fill('textarea', '[session]\nqueue_len_mx = 1\n');
    await page.click('button:text-is("Check")');
    await page.waitForSelector('.strip.bad:has-text("queue_len_max")');
  });

  test('client ids, topics and payloads are never markup', async () => {
    const hostile = await broker.client(HOSTILE, { username: HOSTILE });
    await hostile.subscribe(`${HOSTILE}/#`, 1);
    await hostile.publish(`${HOSTILE}/topic`, Buffer.from(HOSTILE), 1, true);
    await go('/console');
    await page.click('button:text-is("Connect")');
    await page.click('button:text-is("Subscribe")');
    await page.waitForSelector('.messages li:has-text("onerror")');
    await page.click('.messages summary');
    for (const [path, text] of [['/clients'], ['/sessions'], ['/subscriptions'], ['/topics'], ['/retained'],
      [`/clients/${encodeURIComponent(HOSTILE)}`], [`/bans?name=${encodeURIComponent(HOSTILE)}`, 'Bans'], [`/trace?name=${encodeURIComponent(HOSTILE)}`, 'Trace']]) {
      await go(path);
      await page.waitForSelector(`#main >> text=${text ?? 'onerror='}`);
    }
    await go('/retained');
    await page.click('button.linklike:has-text("onerror")');
    await page.waitForSelector('pre:has-text("onerror")');
    await go('/topics');
    await page.click('tr:has-text("onerror") [aria-label^="Show who subscribes"]');
    await page.waitForSelector('.plain >> text=onerror');
    await go('/clients');
    await page.click('[aria-label^="Kick <img"]');
    await page.waitForSelector('dialog:has-text("onerror")');
    assert.equal(await page.locator('#main img, dialog img, #toasts img').count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    await hostile.publish(`${HOSTILE}/topic`, new Uint8Array(), 1, true);
  });

  test('keys alone reach and use everything', async () => {
    await broker.client('by-keys');
    await page.reload();
    await page.waitForSelector('h1');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Clients');
    await page.keyboard.press('Enter');
    await page.waitForSelector('tr:has-text("by-keys")');
    await page.keyboard.press('/');
    await page.keyboard.type('by-k');
    assert.equal(await page.inputValue('[data-search]'), 'by-k');
    await page.focus('[aria-label="Kick by-keys"]');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
  });

  test('a hidden page asks nothing', async () => {
    await page.clock.install();
    await go('/clients');
    await page.waitForSelector('text=No client is connected');
    const hide = (isHidden) => page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, isHidden);
    await hide(true);
    await page.clock.runFor(10000);
    const asked = requests.length;
    await page.clock.runFor(60000);
    assert.equal(requests.length, asked);
    await hide(false);
    await until('it asks again', () => requests.length > asked);
  });
});

describe('looks', () => {
  /** Relative luminance of "rgb(r, g, b)". */
  const luminance = (rgb) => {
    const [r, g, b] = rgb.match(/[\d.]+/g).map((n) => Number(n) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const colour = (name) => page.evaluate((variable) => {
    document.body.style.outlineColor = `var(--${variable})`;
    return getComputedStyle(document.body).outlineColor;
  }, name);
  const PAIRS = [
    ['text', 'ground'], ['text', 'surface'], ['text', 'sunken'], ['muted', 'ground'], ['muted', 'surface'], ['muted', 'sunken'], ['accent', 'surface'],
    ['accent', 'ground'], ['accent', 'sunken'], ['on-accent', 'accent'], ['good', 'good-ground'], ['warn', 'warn-ground'], ['bad', 'bad-ground'], ['second', 'surface'],
  ];

  for (const colorScheme of ['light', 'dark']) {
    test(`${colorScheme}: contrast is AA`, async () => {
      await open({ colorScheme });
      for (const [front, back] of PAIRS) {
        const ratio = contrast(await colour(front), await colour(back));
        assert.ok(ratio >= 4.5, `${front} on ${back}: ${ratio.toFixed(2)}`);
      }
    });
  }

  test('dark follows the system, and the switch overrules and outlives the page', async () => {
    await open({ colorScheme: 'dark' });
    await logIn();
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.ok(luminance(await ground()) < 0.05);
    await page.selectOption('#theme', 'light');
    assert.ok(luminance(await ground()) > 0.8);
    await page.reload();
    assert.ok(luminance(await ground()) > 0.8);
  });

  test('a window of 360 px shows every page without scrolling sideways, and has a menu', async () => {
    await open({ viewport: { width: 360, height: 740 } });
    await logIn();
    await broker.client(`long-${'x'.repeat(300)}`);
    for (const path of PAGES) {
      await go(path);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, path);
    }
    assert.equal(await page.locator('#nav a').first().isVisible(), false);
    await page.click('#menu');
    await page.click('#nav a:text-is("Clients")');
    await page.waitForSelector('h1:text-is("Clients")');
    assert.equal(await page.locator('#nav a').first().isVisible(), false);
  });
});

test('a broker that is gone is said, and one that came back asks for a login', async () => {
  await open();
  await logIn();
  await broker.stop();
  await page.waitForSelector('#offline:has-text("does not answer")');
  broker = await Broker.start([`admin.listen=${new URL(broker.url).host}`]);
  await page.waitForSelector('[name=password]');
  await page.waitForSelector('#offline', { state: 'hidden' });
  await logIn();
});

// Takes pictures to look at: node tests/dashboard/screenshots.js [FOLDER] [CLIENTS]
// An empty broker, one with 10,000 clients and traffic, a narrow window, light and dark. Without a folder: those that docs/images keeps.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { Broker, until } from './broker.js';

const [folder = 'docs/images', clients = '10000'] = process.argv.slice(2);
const KEPT = ['overview', 'narrow', 'dark'];
const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
// Until the plots have something to show.
const TRAFFIC_S = Number(process.env.TRAFFIC_S ?? 60);

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const broker = await Broker.start(['node.name=myriad@plant-a']);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

async function shoot(name, path, { width = 1280, height = 800, scheme = 'light' } = {}) {
  if (folder === 'docs/images' && !KEPT.includes(name)) return;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  await page.goto(broker.url);
  await page.fill('[name=password]', broker.password);
  await page.click('button.main');
  await page.waitForSelector('h1:text-is("Overview")');
  await page.goto(`${broker.url}/#${path}`);
  await sleep(3000);
  // Rates need two answers of the broker.
  if (path === '/') await page.waitForFunction(() => /\d/.test(document.querySelectorAll('.tile .value')[1].textContent), null, { timeout: 60000 });
  await page.screenshot({ path: `${folder}/dashboard-${name}.png` });
  await context.close();
}

try {
  await shoot('empty', '/');
  await shoot('empty-dark', '/', { scheme: 'dark' });
  const all = [];
  for (let i = 0; i < Number(clients); i += 1) {
    all.push(broker.client(`sensor-${String(i).padStart(5, '0')}`, { username: i % 3 ? 'line-a' : undefined, version: i % 2 ? 5 : 4 }));
    if (all.length % 200 === 0) await Promise.all(all);
  }
  const sensors = await Promise.all(all);
  for (let i = 0; i < sensors.length; i += 4) await sensors[i].subscribe(`plant/a/line-${i % 40}/command`, 1);
  let at = 0;
  const traffic = setInterval(() => {
    const size = 12 + Math.round(8 * Math.sin(Date.now() / 9000) + 6 * Math.random());
    for (let i = 0; i < size; i += 1) {
      at = (at + 7) % sensors.length;
      sensors[at].publish(`plant/a/line-${at % 40}/command`, Buffer.from(`{"speed": ${at % 100}, "state": "running"}`), at % 2, false).catch(() => {});
      if (at % 500 === 0) sensors[at].publish(`plant/a/line-${at % 40}/state`, Buffer.from('{"state": "running"}'), 1, true).catch(() => {});
    }
  }, 100);
  await sleep(TRAFFIC_S * 1000);
  await until('traffic', () => sensors.some((sensor) => sensor.messages.length > 0));
  await shoot('overview', '/');
  await shoot('overview-dark', '/', { scheme: 'dark' });
  await shoot('clients', '/clients');
  await shoot('client', '/clients/sensor-00000');
  await shoot('dark', '/clients/sensor-00000', { scheme: 'dark' });
  await shoot('narrow', '/', { width: 360, height: 740 });
  await shoot('narrow-clients', '/clients', { width: 360, height: 740, scheme: 'dark' });
  clearInterval(traffic);
} finally {
  await browser.close();
  await broker.stop();
}
process.exit(0);

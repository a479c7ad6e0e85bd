// Line plots over time as SVG: a few series on one axis, the last hour, values under the pointer.

import { h, s, put } from './dom.js';
import { clock } from './format.js';

const HEIGHT = 130;
const LEFT = 58;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 8;
// What a plot spans at least, so that a broker that just started does not show noise at full width.
const SPAN_MIN_S = 300;

/** A round step so that about `wanted` of them reach `max`. */
function step(max, wanted, base = 10) {
  const raw = max / wanted;
  const power = base ** Math.floor(Math.log(raw) / Math.log(base));
  const choices = base === 10 ? [1, 2, 5, 10] : [1, 2];
  return power * (choices.find((n) => n * power >= raw) ?? base);
}

/** Ticks of the time axis: seconds of the epoch at round local times. */
function timeTicks(from, to, wanted) {
  const steps = [30, 60, 120, 300, 600, 900, 1800, 3600];
  const every = steps.find((n) => (to - from) / n <= wanted) ?? 3600;
  const ticks = [];
  for (let at = Math.ceil(from / every) * every; at <= to; at += every) ticks.push(at);
  return ticks;
}

/**
 * A plot. `series`: [{key, label}], first two colours by the style sheet; `format`: of a value, `tick`: of one on the axis; `base`: 2 for bytes.
 * Returns its element and `update(history)`, which takes the answer of /history.
 */
export function chart({ title, series, format, tick: tickFormat = format, base = 10, floor = 1 }) {
  const values = series.map(() => h('b', {}, '–'));
  const legend = h('span', { class: 'legend' },
    series.map(({ label }, i) => h('span', { class: `key s${i}` }, label && `${label} `, values[i])));
  const svg = s('svg', { height: HEIGHT, role: 'img', 'aria-label': title });
  const tip = h('div', { class: 'tip', hidden: true });
  const plot = h('div', { class: 'plot' }, svg, tip);
  const element = h('figure', { class: 'chart card' }, h('figcaption', {}, h('h3', {}, title), legend), plot);
  let data = null;
  let scale = null;

  function draw() {
    const width = plot.clientWidth;
    if (!data || width < 80) return;
    const { from, to, points, stepS } = data;
    const x = (at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT);
    let max = floor;
    for (const line of points) for (const value of line) if (value > max) max = value;
    const gap = step(max, 3, base);
    const top = Math.ceil(max / gap) * gap;
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    const grid = [];
    for (let tick = 0; tick <= top * 1.0001; tick += gap) {
      grid.push(s('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
      grid.push(s('text', { x: LEFT - 8, y: y(tick) + 4, 'text-anchor': 'end' }, tickFormat(tick)));
    }
    for (const tick of timeTicks(from, to, width / 90)) {
      if (x(tick) > width - 22 || x(tick) < LEFT + 8) continue;
      grid.push(s('text', { x: x(tick), y: HEIGHT - 4, 'text-anchor': 'middle' }, clock(tick * 1000).slice(0, 5)));
    }
    const paths = points.map((line, i) => {
      let d = '';
      let isDrawing = false;
      line.forEach((value, at) => {
        if (typeof value !== 'number') { isDrawing = false; return; }
        d += `${isDrawing ? 'L' : 'M'}${x(data.start + at * stepS).toFixed(1)} ${y(value).toFixed(1)}`;
        isDrawing = true;
      });
      return s('path', { class: `line s${i}`, d });
    });
    const cross = s('line', { class: 'cross', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
    svg.setAttribute('width', width);
    put(svg, grid, paths, cross);
    scale = { x, cross, width };
  }

  function point(event) {
    if (!scale || !data) return;
    const box = plot.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (scale.width - LEFT - RIGHT);
    const at = Math.round((data.from + share * (data.to - data.from) - data.start) / data.stepS);
    if (share < 0 || share > 1 || at < 0 || at >= data.length) return away();
    const time = data.start + at * data.stepS;
    const x = scale.x(time);
    scale.cross.setAttribute('x1', x);
    scale.cross.setAttribute('x2', x);
    scale.cross.setAttribute('visibility', 'visible');
    put(tip, h('div', { class: 'muted' }, clock(time * 1000)),
      series.map(({ label }, i) => h('div', { class: `key s${i}` }, label && `${label} `, h('b', {}, format(data.points[i][at])))));
    tip.hidden = false;
    const left = x + 12 + tip.offsetWidth > scale.width ? x - 12 - tip.offsetWidth : x + 12;
    tip.style.left = `${Math.max(0, left)}px`;
  }

  function away() {
    tip.hidden = true;
    scale?.cross.setAttribute('visibility', 'hidden');
  }

  plot.addEventListener('pointermove', point);
  plot.addEventListener('pointerleave', away);
  new ResizeObserver(draw).observe(plot);

  return {
    element,
    update(history) {
      const points = series.map(({ key }) => history.series?.[key] ?? []);
      const length = Math.max(0, ...points.map((line) => line.length));
      // No value yet: an empty plot up to now.
      const start = history.from ? Date.parse(history.from) / 1000 : Math.floor(Date.now() / 1000);
      const to = start + Math.max(1, length - 1) * history.step_s;
      data = { start, from: Math.min(start, to - SPAN_MIN_S), to, points, stepS: history.step_s, length };
      const last = points.map((line) => line.findLast((value) => typeof value === 'number'));
      last.forEach((value, i) => put(values[i], format(value)));
      svg.setAttribute('aria-label', `${title}, last value ${series.map(({ label }, i) => `${label ?? ''} ${format(last[i])}`).join(', ')}`);
      draw();
    },
  };
}

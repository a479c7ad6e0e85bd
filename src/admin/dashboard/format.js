// Numbers, sizes, times as people read them. Each has an exact form for titles.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

function scaled(n, step, units) {
  let at = 0;
  let size = Math.abs(n);
  while (size >= step * 0.9995 && at < units.length - 1) {
    size /= step;
    at += 1;
  }
  const digits = size < 10 ? 2 : size < 100 ? 1 : 0;
  // 12.30 k says no more than 12.3 k, and 1.00 M no more than 1 M.
  const text = at === 0 ? plain.format(size) : String(Number(size.toFixed(digits)));
  return `${n < 0 ? '−' : ''}${text}${units[at] && `\u00a0${units[at]}`}`;
}

const known = (n) => typeof n === 'number' && Number.isFinite(n);

/** 9,876 then 12.3 k, 4.56 M. */
export const count = (n) => (!known(n) ? '–' : Math.abs(n) < 10000 ? plain.format(n) : scaled(n, 1000, ['', 'k', 'M', 'G', 'T']));

/** The whole number with its separators. */
export const exact = (n) => (known(n) ? plain.format(n) : '');

/** Per second: one decimal where there is little. */
export const rate = (n) => (!known(n) ? '–' : n > 0 && n < 9.95 ? String(Number(n.toFixed(1))) : count(Math.round(n)));

/** 512 B, 4.50 MiB. */
export const bytes = (n) => (!known(n) ? '–' : scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']));

/** Bytes per second. */
export const bytesRate = (n) => (!known(n) ? '–' : `${bytes(n)}/s`);

/** Microseconds as µs, ms or s. */
export const micros = (n) =>
  (!known(n) ? '–' : n < 1000 ? `${Math.round(n)}\u00a0µs` : n < 1e6 ? `${Number((n / 1000).toFixed(n < 1e4 ? 2 : 1))}\u00a0ms` : `${Number((n / 1e6).toFixed(2))}\u00a0s`);

/** 12 %. */
export const percent = (n) => (!known(n) ? '–' : `${n < 10 ? Number(n.toFixed(1)) : Math.round(n)}\u00a0%`);

/** Seconds: 45 s, 3 min 20 s, 2 h 12 min, 3 d 4 h. */
export function duration(seconds) {
  if (!known(seconds)) return '–';
  const n = Math.max(0, Math.round(seconds));
  const two = (a, unit, b, small) => `${a}\u00a0${unit}${b ? ` ${b}\u00a0${small}` : ''}`;
  if (n < 60) return `${n}\u00a0s`;
  if (n < 3600) return two(Math.floor(n / 60), 'min', n % 60, 's');
  if (n < 86400) return two(Math.floor(n / 3600), 'h', Math.floor((n % 3600) / 60), 'min');
  return two(Math.floor(n / 86400), 'd', Math.floor((n % 86400) / 3600), 'h');
}

/** Seconds since a time of the API, by the clock of this machine. */
export const since = (time) => (Date.now() - Date.parse(time)) / 1000;

/** How long ago. */
export const age = (time) => (time ? duration(since(time)) : '–');

const pad = (n, width = 2) => String(n).padStart(width, '0');

/** A time of the API in local time: 2026-11-23 14:05:09. */
export function moment(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return '–';
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(at)}`;
}

/** Its time of day: 14:05:09. */
export const clock = (time) => {
  const at = new Date(time);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
};

/** 1 client, 2 clients. */
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many ?? `${one}s`}`;

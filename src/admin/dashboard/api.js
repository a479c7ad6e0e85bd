// The HTTP API as the pages use it: the token, the errors, what this broker does not offer.
// Paths are relative, so the dashboard works below a path of a reverse proxy too.

const KEY = 'myriad.token';

/** An answer that is no success. `status` 0: the broker did not answer. */
export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether this broker does not have what was asked for. */
  get isMissing() {
    return this.status === 501 || this.status === 404 || this.status === 405;
  }
}

export const session = {
  get token() { return sessionStorage.getItem(KEY); },
  set token(token) {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  },
};

/** Called when the broker no longer takes the token. */
export const on = { signedOut: () => {}, reached: (_isReached) => {} };

/** One request below /api/v1: the JSON of the answer, null for 204. Throws `ApiError`. */
export async function call(method, path, body, signal) {
  const headers = {};
  if (session.token) headers.Authorization = `Bearer ${session.token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(`api/v1${path}`, {
      method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    on.reached(false);
    throw new ApiError(0, 'The broker does not answer.');
  }
  on.reached(true);
  if (answer.status === 204) return null;
  const text = await answer.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* what is no JSON is shown as it is, below */ }
  if (answer.ok) return json;
  const error = new ApiError(answer.status, json?.error ?? (text.slice(0, 300) || `The broker answered ${answer.status}.`), json?.code);
  if (answer.status === 401 && path !== '/login') on.signedOut();
  throw error;
}

export const get = (path, signal) => call('GET', path, undefined, signal);

/** What an optional part of the API answers; null where the broker does not have it or can't answer now. */
export async function optional(path, signal, method = 'GET') {
  try {
    return await call(method, path, undefined, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status !== 0 && error.status !== 401) return null;
    throw error;
  }
}

/** A query string of what is neither empty nor absent, with its question mark. */
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return pairs.length ? `?${new URLSearchParams(pairs)}` : '';
}

/** A path segment. What browsers would read as a step up the path gets a tilde before it, and so does what looks like that. */
export const segment = (text) => encodeURIComponent(/^~*\.{1,2}$/.test(text) ? `~${text}` : text);

/** What a path segment stands for. */
export const fromSegment = (text) => decodeURIComponent(text).replace(/^~(~*\.{1,2})$/, '$1');

/** Where MQTT over WebSocket is relayed, and the subprotocols to offer: the token is one, for an address would be in the logs of proxies. */
export function relay() {
  const url = new URL('mqtt', location.href.split('#')[0]);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return { url: url.href, protocols: ['mqtt', `bearer.${session.token ?? ''}`] };
}

// Requests to the server that this page came from.
import { readOnly, signIn, token } from './state.js';

/** Rows in one request at most. */
export const PAGE = 100;

/** An answer that tells of an error, or none at all. */
export class Problem extends Error {
  /**
   * @param {number} status 0: there was no answer
   * @param {string} code
   * @param {string} detail
   * @param {string} [current] the version that an entry is at
   */
  constructor(status, code, detail, current) {
    super(detail);
    this.status = status;
    this.code = code;
    this.current = current;
  }
}

/** @param {string} name */
export const part = (name) => encodeURIComponent(name).replace(/[!'()*]/g, (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`);

/** A path of names. @param {string[]} names */
export const path = (...names) => names.map((name) => `/${part(name)}`).join('');

/** @param {Record<string, string | number | null | undefined>} parameters */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `?${given.map(([name, value]) => `${name}=${part(String(value))}`).join('&')}` : '';
}

/**
 * An answer's JSON. A whole number that JavaScript cannot hold stays text.
 * @param {string} text
 * @returns {any}
 */
export function parsed(text) {
  if (!/[:,[]-?\d{16,}/.test(text)) return JSON.parse(text);
  /** @param {string} _ @param {unknown} value @param {{source?: string}} [context] where the browser tells a number's own text */
  const exact = (_, value, context) => (typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '') ? context?.source : value);
  return JSON.parse(text, /** @type {(key: string, value: unknown) => unknown} */ (exact));
}

/** @typedef {{method?: string, headers?: Record<string, string>, body?: string, signal?: AbortSignal}} Options */

/**
 * @param {string} target
 * @param {Options} [options]
 * @returns {Promise<Response>} an answer that is good, or 304
 * @throws {Problem}
 */
export async function request(target, { method = 'GET', headers = {}, body, signal } = {}) {
  const sent = { ...headers, ...(token.value ? { Authorization: `Bearer ${token.value}` } : {}), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) };
  let response;
  try {
    response = await fetch(target, { method, headers: sent, body, signal, cache: 'no-store', credentials: 'same-origin', redirect: 'error' });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, 'unreachable', 'The server does not answer. Is it running?');
  }
  if (response.ok || response.status === 304) return response;
  throw await problemOf(response, method, target);
}

/** @param {Response} response @param {string} method @param {string} target */
async function problemOf(response, method, target) {
  const text = await response.text();
  let document = /** @type {any} */ ({});
  try {
    document = parsed(text) ?? {};
  } catch {
    // a proxy's own page
  }
  const problem = new Problem(
    response.status,
    String(document.code ?? 'error'),
    String(document.detail ?? `The server answered ${response.status} ${response.statusText}`),
    document.current === undefined ? undefined : String(document.current),
  );
  if (response.status === 401) signIn.value = token.value ? 'This token opens nothing here: it may be mistyped, expired or revoked.' : 'This server asks for a token.';
  if (response.status === 403 && method !== 'GET') {
    const ns = decodeURIComponent(target.split('/')[2]?.split('?')[0] ?? '');
    readOnly.value = new Set([...readOnly.value, ns]);
  }
  return problem;
}

/**
 * @param {string} target
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const get = async (target, signal) => parsed(await (await request(target, { signal })).text());

/** @typedef {{key: string, value: string, version: string, created_at: string, updated_at: string, expires_at: string | null}} Entry */

/**
 * An entry with its value as stored; null if it is still at the version known.
 * @param {string} ns @param {string} key @param {string} [known] @param {AbortSignal} [signal]
 * @returns {Promise<Entry | null>}
 */
export async function getEntry(ns, key, known, signal) {
  /** @type {Record<string, string>} */
  const headers = known === undefined ? {} : { 'If-None-Match': `"${known}"` };
  const response = await request(`/memory${path(ns, key)}?as=text`, { headers, signal });
  if (response.status === 304) return null;
  const entry = parsed(await response.text());
  return { ...entry, version: String(entry.version) };
}

/**
 * @param {string} ns @param {string} key
 * @param {string} value its JSON text, which is sent as it is
 * @param {string} version the one it replaces; '0': there must be none
 */
export async function putEntry(ns, key, value, version) {
  /** @type {Record<string, string>} */
  const headers = version === '0' ? { 'If-None-Match': '*' } : { 'If-Match': `"${version}"` };
  const ttl = version === '0' ? '' : ',"ttl":"keep"';
  await request(`/memory${path(ns, key)}`, { method: 'PUT', headers, body: `{"value":${value}${ttl}}` });
}

/**
 * @typedef {{session: string, agent: string, epoch: string, head: number, count: number, created_at: string, updated_at: string,
 *   ttl: number | null, expires_at: string | null, metadata: string}} Info
 * @typedef {{seq: number, created_at: string, message: string}} Row
 * @typedef {{info: Info | null, messages: Row[], more: boolean}} MessagePage
 */

/**
 * @param {string} ns @param {string} session @param {string} agent
 * @param {Record<string, number | undefined>} bounds
 * @param {AbortSignal} [signal]
 * @returns {Promise<MessagePage>}
 */
export const getMessages = (ns, session, agent, bounds, signal) =>
  get(`/sessions${path(ns, session)}/messages${query({ ...bounds, ...('last' in bounds ? {} : { limit: PAGE }) })}&agent=${part(agent)}&as=text`, signal);

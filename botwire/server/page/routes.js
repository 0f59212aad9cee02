// Where a reader is, as the address says it: #/namespace/key, #/namespace?session=id&agent=name, #/namespace?view=usage.
import { computed, signal } from './html.js';

/**
 * @typedef {'keys' | 'sessions' | 'usage' | 'code'} View
 * @typedef {{ns: string | null, key: string | null, view: View, session: string | null, agent: string, prefix: string, isNew: boolean}} Route
 */

/** @type {View[]} */
export const VIEWS = ['keys', 'sessions', 'usage', 'code'];

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [ns, key] = path.split('/').map(decoded);
  const found = new URLSearchParams(query);
  const session = found.get('session');
  const view = /** @type {View} */ (found.get('view'));
  return {
    ns: ns || null,
    key: key || null,
    view: session !== null ? 'sessions' : VIEWS.includes(view) ? view : 'keys',
    session: session || null,
    agent: found.get('agent') ?? '',
    prefix: found.get('prefix') ?? '',
    isNew: found.has('new'),
  };
}

/**
 * The address of a place.
 * @param {{ns?: string | null, key?: string | null, view?: View, session?: string | null, agent?: string, prefix?: string, isNew?: boolean}} place
 */
export function href({ ns, key, view = 'keys', session, agent, prefix, isNew }) {
  if (!ns) return '#/';
  const query = [
    view !== 'keys' && session == null ? `view=${view}` : '',
    session == null ? '' : `session=${encodeURIComponent(session)}`,
    agent ? `agent=${encodeURIComponent(agent)}` : '',
    prefix ? `prefix=${encodeURIComponent(prefix)}` : '',
    isNew ? 'new=' : '',
  ].filter(Boolean);
  return `#/${encodeURIComponent(ns)}${key ? `/${encodeURIComponent(key)}` : ''}${query.length ? `?${query.join('&')}` : ''}`;
}

export const hash = signal(location.hash);
export const route = computed(() => parse(hash.value));

addEventListener('hashchange', () => {
  hash.value = location.hash;
});

/** @param {Parameters<typeof href>[0]} place @param {boolean} [replace] whether the present place is forgotten */
export function go(place, replace = false) {
  const to = href(place);
  if (!replace) location.hash = to;
  else {
    history.replaceState(null, '', to);
    hash.value = to;
  }
}

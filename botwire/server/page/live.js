// Hearing of changes: by server-sent events where the server has them, else by asking every other second.
import { useEffect, useRef } from './html.js';
import { part, path, Problem, request } from './api.js';
import { liveness } from './state.js';

/**
 * What may have changed; null: anything.
 * @typedef {{keys: string[] | null, sessions: string[] | null}} Hint
 */

const POLL_MS = 2_000;
const MAX_WAIT_MS = 30_000;
const BREATH_MS = 150; // however fast others write
const ANYTHING = { keys: null, sessions: null };

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
const sleep = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
  });

/**
 * Listen while the page is looked at; what was missed meanwhile is asked after with a hint that anything may have changed.
 * @param {string} ns
 * @param {string | null} session
 * @param {(hint: Hint) => void} heard
 * @returns {() => void} what ends it
 */
export function listen(ns, session, heard) {
  /** @type {AbortController | null} */
  let under = null;
  let first = true;

  function turn() {
    if (document.hidden) {
      under?.abort();
      under = null;
    } else if (!under) {
      under = new AbortController();
      if (!first) heard(ANYTHING);
      first = false;
      void follow(ns, session, heard, under.signal);
    }
  }

  document.addEventListener('visibilitychange', turn);
  turn();
  return () => {
    document.removeEventListener('visibilitychange', turn);
    under?.abort();
  };
}

/** @param {string} ns @param {string | null} session @param {(hint: Hint) => void} heard @param {AbortSignal} signal */
async function follow(ns, session, heard, signal) {
  const target = `/watch${path(ns)}${session === null ? '' : `?session=${part(session)}`}`;
  let wait = 1_000;
  while (!signal.aborted) {
    try {
      const response = await request(target, { signal, headers: { Accept: 'text/event-stream' } });
      if (!response.body || !response.headers.get('content-type')?.startsWith('text/event-stream')) break;
      for await (const event of events(response.body)) {
        wait = 1_000;
        liveness.value = 'live';
        if (event.name === 'ready') heard(ANYTHING); // what happened after the view was fetched, or while nobody listened
        if (event.name === 'change' || event.name === 'changed') heard(hintOf(event.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      liveness.value = 'off';
      if (error instanceof Problem && [403, 404, 405, 501].includes(error.status)) break;
    }
    await sleep(wait * (0.5 + Math.random()), signal);
    wait = Math.min(wait * 2, MAX_WAIT_MS);
  }
  for (;;) {
    if (signal.aborted) return;
    liveness.value = 'polling';
    await sleep(POLL_MS, signal);
    if (!signal.aborted) heard(ANYTHING);
  }
}

/** @param {string} data @returns {Hint} */
function hintOf(data) {
  try {
    const found = JSON.parse(data);
    return { keys: Array.isArray(found.keys) ? found.keys : null, sessions: Array.isArray(found.sessions) ? found.sessions : null };
  } catch {
    return ANYTHING;
  }
}

/**
 * The events of a stream (WHATWG HTML, server-sent events), without ids and retry times.
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {AsyncGenerator<{name: string, data: string}>}
 */
async function* events(stream) {
  const reader = stream.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = '';
  let name = '';
  /** @type {string[]} */
  let data = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (name || data.length) yield { name: name || 'message', data: data.join('\n') };
        name = '';
        data = [];
      } else if (line.startsWith('event:')) name = line.slice(6).trim();
      else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
    }
  }
}

/**
 * Call `heard` on changes for as long as the view is there; calls that come while one runs become one more call.
 * @param {string | null} ns
 * @param {string | null} session
 * @param {(hint: Hint) => unknown} heard
 */
export function useChanges(ns, session, heard) {
  const now = useRef(heard);
  now.current = heard;
  useEffect(() => {
    if (ns === null) return undefined;
    let running = false;
    let ended = false;
    /** @type {Hint | null} */
    let next = null;

    async function drain() {
      running = true;
      while (next && !ended) {
        const hint = next;
        next = null;
        try {
          await now.current(hint);
          await new Promise((done) => setTimeout(done, BREATH_MS));
        } catch {
          // the next change, or the next view, tries again; what a reader asks for says what is wrong
        }
      }
      running = false;
    }

    const end = listen(ns, session, (hint) => {
      next = next ? { keys: both(next.keys, hint.keys), sessions: both(next.sessions, hint.sessions) } : hint;
      if (!running) void drain();
    });
    return () => {
      ended = true;
      end();
      liveness.value = 'off';
    };
  }, [ns, session]);
}

/** @param {string[] | null} one @param {string[] | null} other */
const both = (one, other) => (one && other ? [...one, ...other] : null);

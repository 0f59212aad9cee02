// Exports as JSON Lines, which `botwire import` reads. Stored texts go into the lines as they are.
import { html } from './html.js';
import { get, getMessages, PAGE, path, query } from './api.js';
import { read } from './json.js';
import { ask, download, tellError } from './parts.js';
import { SHA256 } from './sha256.js';
import { tell } from './state.js';
import { plural } from './text.js';

/** @typedef {import('./api.js').Entry} Entry @typedef {import('./api.js').Info} Info */

const FORMAT = 1;

/** @param {string} name @param {string} text */
function stored(name, text) {
  const quoted = `${JSON.stringify(`${name}_text`)}:${JSON.stringify(text)}`;
  if (/[\n\r]|^\s|\s$/.test(text)) return quoted;
  try {
    read(text);
  } catch {
    return quoted;
  }
  return `${JSON.stringify(name)}:${text}`;
}

/** An object of plain members and one stored text. @param {Record<string, unknown>} members @param {string} name @param {string} text */
const line = (members, name, text) => `${JSON.stringify(members).slice(0, -1)},${stored(name, text)}}\n`;

/** A number that may be too large for JavaScript and then came as text. @param {string} text */
const bareNumbers = (text) => text.replace(/"(version|head|seq)":"(\d+)"/, '"$1":$2');

/** @param {string} ns @param {Entry} entry */
const entryLine = (ns, { key, version, created_at, updated_at, expires_at, value }) =>
  `{"type":"entry","namespace":${JSON.stringify(ns)},"key":${JSON.stringify(key)},"version":${version},"created_at":${JSON.stringify(created_at)},"updated_at":${JSON.stringify(updated_at)},"expires_at":${JSON.stringify(expires_at)},${stored('value', value)}}\n`;

/** @param {string} ns @param {Entry} entry @returns {AsyncGenerator<string>} */
export async function* entryLines(ns, entry) {
  yield entryLine(ns, entry);
}

/** All entries of a namespace. @param {string} ns @param {string} prefix @returns {AsyncGenerator<string>} */
export async function* allEntryLines(ns, prefix) {
  for (let cursor = null; ; ) {
    const page = await get(`/memory${path(ns)}${query({ prefix, limit: PAGE, cursor, values: 'true', as: 'text' })}`);
    for (const entry of page.entries) yield entryLine(ns, entry);
    cursor = page.next_cursor;
    if (cursor === null) return;
  }
}

/** One transcript. @param {string} ns @param {string} session @param {string} agent @returns {AsyncGenerator<string>} */
export async function* sessionLines(ns, session, agent) {
  let epoch = '';
  for (let after = 0; ; ) {
    const page = await getMessages(ns, session, agent, { after });
    const info = page.info;
    if (!info) return;
    const names = { namespace: ns, session, agent, epoch: info.epoch };
    if (epoch !== info.epoch) {
      const { head, ttl, created_at, updated_at, expires_at } = info;
      if (epoch) after = 0;
      yield bareNumbers(line({ type: 'session', ...names, head, ttl, created_at, updated_at, expires_at }, 'metadata', info.metadata));
      if (epoch) {
        epoch = info.epoch;
        continue; // it was cleared meanwhile and began anew
      }
      epoch = info.epoch;
    }
    for (const row of page.messages) yield bareNumbers(line({ type: 'message', ...names, seq: row.seq, created_at: row.created_at }, 'body', row.message));
    if (!page.more || !page.messages.length) return;
    after = page.messages[page.messages.length - 1].seq;
  }
}

/** Everything in a namespace. @param {string} ns @returns {AsyncGenerator<string>} */
export async function* namespaceLines(ns) {
  yield* allEntryLines(ns, '');
  for (let cursor = null; ; ) {
    const page = await get(`/sessions${path(ns)}${query({ limit: PAGE, cursor, as: 'text' })}`);
    for (const info of page.sessions) yield* sessionLines(ns, info.session, info.agent);
    cursor = page.next_cursor;
    if (cursor === null) return;
  }
}

/** Ask, then export. @param {string} what @param {AsyncGenerator<string>} lines @param {string} name @param {string} ns @param {string} [prefix] */
export async function askAndSave(what, lines, name, ns, prefix = '') {
  const answer = await ask({
    title: `Export ${what}?`,
    body: html`<p>A file of JSON Lines, which <code>botwire import</code> reads into any store: values, versions and times as they are.</p>`,
    actions: [{ name: 'Export', value: 'yes' }],
  });
  if (answer) await save(lines, name, [ns], prefix);
}

/**
 * Make a file of lines, with a head and a checked end.
 * @param {AsyncGenerator<string>} lines @param {string} name of the file @param {string[]} namespaces @param {string} [prefix]
 */
export async function save(lines, name, namespaces, prefix = '') {
  try {
    const { version } = await get('/health');
    /** @type {Blob[]} */
    const blobs = [];
    const digest = new SHA256();
    const encoder = new TextEncoder();
    const put = (/** @type {string} */ text) => {
      const bytes = encoder.encode(text);
      digest.add(bytes);
      blobs.push(new Blob([bytes]));
    };
    const head = { type: 'header', format: FORMAT, botwire: version, created_at: new Date().toISOString(), source: location.origin, namespaces, prefix };
    put(`${JSON.stringify(head)}\n`);
    /** @type {Record<string, number>} */
    const counts = { entry: 0, message: 0 };
    const sessions = new Set();
    let waiting = '';
    for await (const text of lines) {
      const kind = text.slice(9, text.indexOf('"', 9));
      if (kind === 'session') sessions.add(JSON.stringify([/"session":("(?:[^"\\]|\\.)*")/.exec(text)?.[1], /"agent":("(?:[^"\\]|\\.)*")/.exec(text)?.[1]]));
      else counts[kind] += 1;
      waiting += text;
      if (waiting.length > 1_000_000) {
        put(waiting);
        waiting = '';
      }
    }
    put(waiting);
    const end = { type: 'end', entries: counts.entry, sessions: sessions.size, messages: counts.message, sha256: digest.end() };
    blobs.push(new Blob([`${JSON.stringify(end)}\n`]));
    download(new Blob(blobs, { type: 'application/jsonl' }), name);
    tell(`Exported ${plural(counts.entry, 'entry')} and ${plural(counts.message, 'message')}`);
  } catch (error) {
    tellError(error);
  }
}

// The keys of a namespace, and the one that is open.
import { html, useEffect, useState } from './html.js';
import { get, PAGE, path, query } from './api.js';
import { EntryView } from './entry.js';
import { NewEntry } from './editor.js';
import { PagedList } from './list.js';
import { useChanges } from './live.js';
import { Empty } from './parts.js';
import { go, href, route } from './routes.js';
import { readOnly } from './state.js';
import { count, Text } from './text.js';
import { QuickStart } from './code.js';

/** @param {{ns: string}} props */
export function Keys({ ns }) {
  const { key, prefix, isNew } = route.value;
  const [version, setVersion] = useState(0);
  const [hint, setHint] = useState({ version: 0, keys: /** @type {string[] | null} */ (null) });
  useChanges(ns, null, (heard) => {
    if (heard.keys?.length === 0) return;
    setVersion((number) => number + 1);
    setHint((before) => ({ version: before.version + 1, keys: heard.keys }));
  });
  const open = key !== null || isNew;
  return html`<div class=${open ? 'split open' : 'split'}>
    <section class="pane" aria-label="Keys">
      <${KeysHead} ns=${ns} prefix=${prefix} version=${version} />
      <${PagedList}
        id=${`${ns}\n${prefix}`}
        label="Keys"
        version=${version}
        fetch=${async (/** @type {string | null} */ cursor, /** @type {AbortSignal} */ signal) => {
          const page = await get(`/memory${path(ns)}${query({ prefix, limit: PAGE, cursor })}`, signal);
          return { rows: page.keys, next: page.next_cursor };
        }}
        keyOf=${(/** @type {string} */ row) => row}
        hrefOf=${(/** @type {string} */ row) => href({ ns, key: row, prefix })}
        isChosen=${(/** @type {string} */ row) => row === key}
        row=${(/** @type {string} */ row) => html`<${Text} class="name" text=${row} />`}
        empty=${prefix
          ? html`<${Empty} title="No key starts like that"><p><button type="button" onClick=${() => go({ ns }, true)}>Show all keys</button></p><//>`
          : html`<${Empty} title="No keys here"><p>This namespace holds no entries now.</p><//>`}
      />
    </section>
    <section class="detail" aria-label="Entry">
      ${isNew
        ? html`<${NewEntry} ns=${ns} key="new" />`
        : key === null
          ? html`<div class="idle"><${QuickStart} ns=${ns} /></div>`
          : html`<${EntryView} key=${`${ns}\n${key}`} ns=${ns} name=${key} hint=${hint} />`}
    </section>
  </div>`;
}

/** @param {{ns: string, prefix: string, version: number}} props */
function KeysHead({ ns, prefix, version }) {
  const [typed, setTyped] = useState(prefix);
  const [total, setTotal] = useState(/** @type {number | null} */ (null));
  useEffect(() => setTyped(prefix), [prefix]);
  useEffect(() => {
    if (typed === prefix) return undefined;
    const timer = setTimeout(() => go({ ...route.value, prefix: typed }, true), 200);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    const abort = new AbortController();
    // not at once: what is to be seen first is fetched first
    const timer = setTimeout(() => {
      get(`/count${path(ns)}${query({ prefix })}`, abort.signal).then((found) => setTotal(found.count), () => setTotal(null));
    }, 100);
    return () => (clearTimeout(timer), abort.abort());
  }, [ns, prefix, version]);
  return html`<div class="pane-head">
    <label class="filter">
      <span class="hidden">Only keys that start with</span>
      <input
        id="filter"
        type="search"
        placeholder="Keys that start with…"
        value=${typed}
        autocomplete="off"
        autocapitalize="off"
        spellcheck="false"
        onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)}
      />
    </label>
    <span class="soft total" aria-live="polite">${total === null ? '' : count(total)}</span>
    ${!readOnly.value.has(ns) && html`<a class="button" href=${href({ ns, prefix, isNew: true })} title="New key (n)">New</a>`}
  </div>`;
}

// One entry: its value, versions and times, and what can be done with it.
import { html, useEffect, useRef, useState } from './html.js';
import { getEntry, path, request } from './api.js';
import { Code } from './code.js';
import { Editor, MOST_TO_EDIT } from './editor.js';
import { entryLines, save } from './export.js';
import { ask, copy, Empty, Failure, isStatus, Loading, tellError } from './parts.js';
import { go, href, route } from './routes.js';
import { readOnly, tell } from './state.js';
import { LongText, plain, size, Text, Time } from './text.js';
import { TreeOf } from './tree.js';

/** @typedef {import('./api.js').Entry} Entry */

/** @param {{ns: string, name: string, hint: {version: number, keys: string[] | null}}} props */
export function EntryView({ ns, name, hint }) {
  const [entry, setEntry] = useState(/** @type {Entry | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [editing, setEditing] = useState(false);
  const calls = useRef(0);
  const heading = useRef(/** @type {HTMLElement | null} */ (null));

  /** @param {AbortSignal} [signal] */
  async function load(signal) {
    calls.current += 1;
    const mine = calls.current;
    try {
      const found = await getEntry(ns, name, entry?.version, signal);
      if (mine !== calls.current) return; // another answer is newer
      if (found) setEntry(found);
      setError(null);
    } catch (problem) {
      if (signal?.aborted || mine !== calls.current) return;
      setError(/** @type {Error} */ (problem));
    }
  }

  useEffect(() => {
    const abort = new AbortController();
    void load(abort.signal);
    return () => abort.abort();
  }, []);
  useEffect(() => {
    if (hint.version && (hint.keys === null || hint.keys.includes(name))) void load();
  }, [hint.version]);

  const gone = isStatus(error, 404);
  if (error && !gone && !entry) return html`<${Failure} error=${error} again=${() => load()} />`;
  if (!entry && !gone) return html`<${Loading} />`;
  if (gone && !editing) return html`<${Gone} ns=${ns} name=${name} was=${entry !== null} />`;
  if (!entry) return null;
  if (editing) {
    return html`<${Editor}
      ns=${ns}
      entry=${entry}
      gone=${gone}
      done=${async () => {
        setEditing(false);
        await load();
        heading.current?.focus();
      }}
    />`;
  }
  return html`<article class="entry">
    <header class="detail-head">
      <a class="back" href=${href({ ns, prefix: route.value.prefix })}>‹ Keys</a>
      <h2 tabindex="-1" ref=${heading}><${Text} text=${name} /></h2>
      <${Facts} entry=${entry} />
      <${Actions} ns=${ns} entry=${entry} edit=${() => setEditing(true)} />
    </header>
    <${Value} text=${entry.value} />
    <details class="use">
      <summary>Use it from code</summary>
      <${Code} ns=${ns} name=${name} value=${entry.value} version=${entry.version} />
    </details>
  </article>`;
}

/** @param {{entry: Entry}} props */
function Facts({ entry }) {
  const first = useRef(entry.version);
  return html`<dl class="facts">
    <div><dt>Version</dt><dd><span class=${entry.version === first.current ? 'version' : 'version changed'} key=${entry.version}>${entry.version}</span></dd></div>
    <div><dt>Changed</dt><dd><${Time} iso=${entry.updated_at} /></dd></div>
    <div><dt>Created</dt><dd><${Time} iso=${entry.created_at} /></dd></div>
    ${entry.expires_at && html`<div><dt>Expires</dt><dd><${Time} iso=${entry.expires_at} /></dd></div>`}
    <div><dt>Size</dt><dd>${size(new Blob([entry.value]).size)}</dd></div>
  </dl>`;
}

/** @param {{ns: string, entry: Entry, edit: () => void}} props */
function Actions({ ns, entry, edit }) {
  const locked = readOnly.value.has(ns);
  const large = entry.value.length > MOST_TO_EDIT;
  return html`<div class="buttons">
    <button type="button" id="edit" disabled=${locked || large} onClick=${edit} title="Edit (e)">Edit</button>
    <button type="button" onClick=${() => copy(entry.value, 'Value')}>Copy value</button>
    <button type="button" onClick=${() => save(entryLines(ns, entry), `${ns}-${entry.key}.jsonl`, [ns], entry.key)}>Export</button>
    <button type="button" class="bad" disabled=${locked} onClick=${() => remove(ns, entry)}>Delete</button>
    ${locked && html`<span class="note">This token may only read here.</span>`}
    ${!locked && large && html`<span class="note">Too large to edit here; the snippets below can.</span>`}
  </div>`;
}

/** @param {string} ns @param {Entry} entry */
async function remove(ns, entry) {
  const answer = await ask({
    title: 'Delete this entry?',
    body: html`<p><${Text} class="name" text=${entry.key} /> in namespace <${Text} class="name" text=${ns} />, version ${entry.version}. It cannot be brought back.</p>`,
    actions: [{ name: 'Delete', value: 'delete', bad: true }],
  });
  if (!answer) return;
  try {
    await request(`/memory${path(ns, entry.key)}`, { method: 'DELETE', headers: { 'If-Match': `"${entry.version}"` } });
    tell(`Deleted ${plain(entry.key, 60)}`);
    go({ ns, prefix: route.value.prefix });
  } catch (error) {
    if (isStatus(error, 412)) tell('Not deleted: it has changed since you saw it. Look at it again.', true);
    else tellError(error);
  }
}

/** @param {{ns: string, name: string, was: boolean}} props */
const Gone = ({ ns, name, was }) =>
  html`<${Empty} title=${was ? 'This entry was deleted' : 'There is no such entry'}>
    <p><${Text} class="name" text=${name} /></p>
    <p><a class="button" href=${href({ ns, prefix: route.value.prefix })}>Back to the keys</a></p>
  <//>`;

/** @param {{text: string}} props */
export function Value({ text }) {
  const [raw, setRaw] = useState(false);
  return html`<div class="value">
    <div class="switch" role="group" aria-label="How the value is shown">
      <button type="button" aria-pressed=${raw ? 'false' : 'true'} onClick=${() => setRaw(false)}>Tree</button>
      <button type="button" aria-pressed=${raw ? 'true' : 'false'} onClick=${() => setRaw(true)}>Raw text</button>
    </div>
    ${raw ? html`<${LongText} key=${text} class="raw" text=${text} />` : html`<${TreeOf} text=${text} />`}
  </div>`;
}

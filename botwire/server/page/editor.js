// Writing entries. A write names the version that it replaces, so that nobody's change is lost without being seen.
import { html, useMemo, useRef, useState } from './html.js';
import { getEntry, Problem, putEntry } from './api.js';
import { NotJSON, read, unquote, write } from './json.js';
import { ask, isStatus, tellError } from './parts.js';
import { go, href, route } from './routes.js';
import { tell } from './state.js';
import { LongText, pieces, plain, Text } from './text.js';

/** @typedef {import('./api.js').Entry} Entry */

/** Longer values would make a browser's text field stand still for seconds. */
export const MOST_TO_EDIT = 200_000;

/** A text of a value as it is edited: with escapes for what does not show itself. @param {string} raw */
function shown(raw) {
  const text = unquote(raw);
  return pieces(text).some((piece) => piece.odd) ? JSON.stringify(text).replace(/[^\t\n\r]/gu, (one) => (pieces(one)[0]?.odd ? escaped(one) : one)) : raw;
}

/** @param {string} character */
const escaped = (character) => [...Array(character.length)].map((_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');

/** A stored value as text to edit. @param {string} stored */
function editable(stored) {
  try {
    return write(read(stored), shown, '  ');
  } catch {
    return stored;
  }
}

/**
 * The value that a reader typed, as it is sent.
 * @param {string} text
 * @returns {{value: string} | {wrong: string}}
 */
function typedValue(text) {
  try {
    return { value: write(read(text)) };
  } catch (error) {
    if (error instanceof NotJSON) return { wrong: `This is no JSON: ${error.message}. Text goes in double quotes.` };
    throw error;
  }
}

/** @param {{text: string, change: (text: string) => void, wrong: string, save: () => void}} props */
const ValueField = ({ text, change, wrong, save }) =>
  html`<label class="field grow"
    >Value, as JSON
    <textarea
      id="value"
      value=${text}
      spellcheck="false"
      autocapitalize="off"
      aria-invalid=${wrong ? 'true' : 'false'}
      aria-describedby="wrong"
      onInput=${(/** @type {any} */ event) => change(event.currentTarget.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) save();
      }}
    ></textarea>
    <span id="wrong" class="wrong" role="alert"><bdi>${wrong}</bdi></span>
  </label>`;

/** @param {{ns: string, entry: Entry, gone: boolean, done: () => void}} props */
export function Editor({ ns, entry, gone, done }) {
  const begun = useMemo(() => ({ version: entry.version, text: editable(entry.value) }), []);
  const [text, setText] = useState(begun.text);
  const [wrong, setWrong] = useState('');
  const [busy, setBusy] = useState(false);
  const base = useRef(begun.version);
  const newer = entry.version !== base.current;

  async function save() {
    const typed = typedValue(text);
    if ('wrong' in typed) return setWrong(typed.wrong);
    setWrong('');
    setBusy(true);
    try {
      await putEntry(ns, entry.key, typed.value, base.current);
      tell(`Saved ${plain(entry.key, 60)}`);
      done();
    } catch (error) {
      if (isStatus(error, 412)) await conflict(typed.value, /** @type {Problem} */ (error));
      else tellError(error);
    } finally {
      setBusy(false);
    }
  }

  /** @param {string} mine @param {Problem} problem */
  async function conflict(mine, problem) {
    const theirs = await current(ns, entry.key);
    const answer = await ask({
      title: theirs ? 'Someone else changed this entry' : 'Someone else deleted this entry',
      body: theirs
        ? html`<p>You began at version ${base.current}; it is at version ${theirs.version} now. Nothing was overwritten. It holds:</p>
            <${LongText} class="raw boxed" first=${2_000} text=${theirs.value} />`
        : html`<p>You began at version ${base.current}. It is not there any more.</p>`,
      actions: [
        ...(theirs ? [{ name: 'Take theirs', value: 'theirs' }] : []),
        { name: theirs ? `Replace version ${theirs.version} with mine` : 'Create it again with mine', value: 'mine', bad: true },
      ],
      cancel: 'Back to my text',
    });
    if (answer === 'theirs' && theirs) {
      base.current = theirs.version;
      setText(editable(theirs.value));
    } else if (answer === 'mine') {
      base.current = theirs ? theirs.version : (problem.current ?? '0');
      if (!theirs) base.current = '0';
      await save();
    }
  }

  async function cancel() {
    const dirty = text !== begun.text;
    if (dirty && !(await ask({ title: 'Leave your changes behind?', body: html`<p>They are not saved.</p>`, actions: [{ name: 'Leave them', value: 'yes', bad: true }], cancel: 'Go on editing' }))) return;
    done();
  }

  return html`<form
    class="editor"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      void save();
    }}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Escape' && (event.preventDefault(), cancel())}
  >
    <header class="detail-head"><h2><${Text} text=${entry.key} /></h2></header>
    ${(newer || gone) && html`<p class="banner" role="status">${gone ? 'This entry was deleted meanwhile.' : `This entry changed meanwhile: it is at version ${entry.version} now.`} Saving will show you both.</p>`}
    <${ValueField} text=${text} change=${setText} wrong=${wrong} save=${save} />
    <div class="buttons">
      <button type="submit" class="main" disabled=${busy} title="Ctrl+Enter">Save over version ${base.current}</button>
      <button type="button" onClick=${cancel}>Cancel</button>
    </div>
  </form>`;
}

/** @param {string} ns @param {string} name @returns {Promise<Entry | null>} */
async function current(ns, name) {
  try {
    return await getEntry(ns, name);
  } catch (error) {
    if (isStatus(error, 404)) return null;
    throw error;
  }
}

/** @param {{ns: string}} props */
export function NewEntry({ ns }) {
  const [name, setName] = useState('');
  const [text, setText] = useState('{}');
  const [wrong, setWrong] = useState('');

  async function save() {
    const typed = typedValue(text);
    if ('wrong' in typed) return setWrong(typed.wrong);
    if (!name) return setWrong('The key has no name yet.');
    setWrong('');
    try {
      await putEntry(ns, name, typed.value, '0');
      tell(`Created ${plain(name, 60)}`);
      go({ ns, key: name }, true);
    } catch (error) {
      if (isStatus(error, 412)) setWrong('There is an entry of that name already; nothing was overwritten. Open it to change it.');
      else if (isStatus(error, 400)) setWrong(plain(/** @type {Error} */ (error).message, 300));
      else tellError(error);
    }
  }

  return html`<form
    class="editor"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      void save();
    }}
  >
    <header class="detail-head">
      <a class="back" href=${href({ ns, prefix: route.value.prefix })}>‹ Keys</a>
      <h2>New entry</h2>
    </header>
    <label class="field"
      >Key
      <input id="key" autofocus value=${name} autocomplete="off" autocapitalize="off" spellcheck="false" onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} />
    </label>
    <${ValueField} text=${text} change=${setText} wrong=${wrong} save=${save} />
    <div class="buttons">
      <button type="submit" class="main" title="Ctrl+Enter">Create</button>
      <a class="button" href=${href({ ns, prefix: route.value.prefix })}>Cancel</a>
    </div>
  </form>`;
}

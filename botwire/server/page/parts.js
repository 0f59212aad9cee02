// Small parts that many views use.
import { html, useEffect, useRef, useState } from './html.js';
import { signal } from './html.js';
import { Problem } from './api.js';
import { dismiss, tell, toasts } from './state.js';
import { plain } from './text.js';

export const Loading = () => html`<p class="loading" role="status"><span class="spinner" aria-hidden="true"></span> Loading…</p>`;

/** @param {{error: Error, again?: () => unknown}} props */
export function Failure({ error, again }) {
  return html`<div class="failure" role="alert">
    <p><bdi>${plain(error.message, 600)}</bdi></p>
    ${again && html`<button type="button" onClick=${again}>Try again</button>`}
  </div>`;
}

/** @param {{title: string, children?: unknown}} props */
export const Empty = ({ title, children }) => html`<div class="empty"><h2>${title}</h2>${children}</div>`;

/** @param {unknown} error */
export function tellError(error) {
  tell(plain(error instanceof Error ? error.message : String(error), 600), true);
}

/** Text into the clipboard; also where browsers keep it to https. @param {string} text @param {string} what */
export async function copy(text, what) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
    tell(`${what} copied`);
  } catch {
    tell('The browser does not allow copying here; select the text instead', true);
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'offscreen';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('not copied');
}

/** Offer a file for download. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^[._]+/, '').slice(0, 80) || 'export.jsonl';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map(
      (toast) => html`<div key=${toast.id} class=${toast.bad ? 'toast bad' : 'toast'}>
        <span><bdi>${toast.text}</bdi></span>
        <button type="button" class="icon" aria-label="Dismiss" onClick=${() => dismiss(toast.id)}>×</button>
      </div>`,
    )}
  </div>`;
}

// ------------------------------------------------------------------------------------------ dialogs

/**
 * What a dialog says, and what it can end with. `typed`: text that has to be typed before the action can be taken.
 * @typedef {{title: string, body: unknown, actions: {name: string, value: string, bad?: boolean}[], typed?: string, cancel?: string}} Question
 */

const asked = signal(/** @type {(Question & {answer: (value: string | null) => void}) | null} */ (null));

/** Ask; null: the reader would rather not. @param {Question} question @returns {Promise<string | null>} */
export const ask = (question) =>
  new Promise((answer) => {
    asked.value?.answer(null);
    asked.value = { ...question, answer };
  });

export function Dialogs() {
  const question = asked.value;
  return question && html`<${Dialog} key=${question.title} question=${question} />`;
}

/** @param {{question: Question & {answer: (value: string | null) => void}}} props */
function Dialog({ question }) {
  const box = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [typed, setTyped] = useState('');
  const allowed = question.typed === undefined || typed === question.typed || typed === plain(question.typed, 600);
  useEffect(() => {
    const element = box.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  /** @param {string | null} value */
  function end(value) {
    box.current?.close();
    asked.value = null;
    question.answer(value);
  }

  return html`<dialog
    ref=${box}
    aria-labelledby="dialog-title"
    onCancel=${(/** @type {Event} */ event) => {
      event.preventDefault();
      end(null);
    }}
  >
    <h2 id="dialog-title">${question.title}</h2>
    <div class="dialog-body">${question.body}</div>
    ${question.typed !== undefined &&
    html`<label class="field"
      >Type <code><bdi>${plain(question.typed, 600)}</bdi></code> to go on
      <input value=${typed} onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} autocomplete="off" spellcheck="false"
    /></label>`}
    <div class="buttons">
      <button type="button" autofocus onClick=${() => end(null)}>${question.cancel ?? 'Cancel'}</button>
      ${question.actions.map(
        (action) =>
          html`<button type="button" class=${action.bad ? 'bad' : 'main'} disabled=${!allowed} onClick=${() => end(action.value)}>${action.name}</button>`,
      )}
    </div>
  </dialog>`;
}

/** @param {unknown} error @param {number} status */
export const isStatus = (error, status) => error instanceof Problem && error.status === status;

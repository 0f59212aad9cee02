// Stored text on the screen: isolated from what stands around it, and with every character that hides or reorders shown.
import { html, signal, useState } from './html.js';

// Controls, bidirectional controls, what is ignorable (zero width, tags, fillers) and halves of surrogate pairs. Not line
// ends and tabs; not the selectors of emoji variants.
// eslint-disable-next-line no-control-regex
const ODD = /(?![\t\n\ufe00-\ufe0f])[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]/gu;
const PICTURE_BEFORE = /\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?$/u;
const PICTURE_AFTER = /^\p{Extended_Pictographic}/u;

/** @typedef {{text: string, odd: boolean}} Piece */

/**
 * A text in pieces: what shows itself, and what has to be shown.
 * @param {string} text
 * @returns {Piece[]}
 */
export function pieces(text) {
  /** @type {Piece[]} */
  const found = [];
  let from = 0;
  for (const match of text.matchAll(ODD)) {
    const at = match.index;
    const after = at + match[0].length;
    if (match[0] === '\u200d' && joins(text, at, after)) continue;
    if (at > from) found.push({ text: text.slice(from, at), odd: false });
    found.push({ text: codeOf(match[0]), odd: true });
    from = after;
  }
  if (from < text.length) found.push({ text: text.slice(from), odd: false });
  return found;
}

/** Whether a zero-width joiner makes one picture of two. @param {string} text @param {number} at @param {number} after */
function joins(text, at, after) {
  return PICTURE_BEFORE.test(text.slice(Math.max(0, at - 8), at)) && PICTURE_AFTER.test(text.slice(after, after + 4));
}

/** @param {string} character */
const codeOf = (character) => `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;

/**
 * Text for places that take no elements: labels, titles, messages.
 * @param {string} text
 * @param {number} [most] characters shown
 * @returns {string}
 */
export function plain(text, most = 120) {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return pieces(cut)
    .map((piece) => (piece.odd ? `<${piece.text}>` : piece.text))
    .join('');
}

/**
 * Stored text.
 * @param {{text: string, class?: string, dir?: string}} props
 */
export function Text({ text, class: name, dir = 'auto' }) {
  return html`<bdi class=${name} dir=${dir}>${pieces(text).map((piece) =>
    piece.odd ? html`<span class="odd" title="a character that does not show itself">${piece.text}</span>` : piece.text,
  )}</bdi>`;
}

/**
 * The beginning of a stored text, on one line.
 * @param {{text: string, most?: number}} props
 */
export const Short = ({ text, most = 80 }) => html`<bdi dir="auto">${plain(text.slice(0, most + 1).replace(/\s+/g, ' '), most)}</bdi>`;

const CHUNK = 10_000;

/** Where to cut a text without tearing a surrogate pair. @param {string} text @param {number} at */
export function cutAt(text, at) {
  const code = text.charCodeAt(at - 1);
  return at < text.length && code >= 0xd800 && code < 0xdc00 ? at - 1 : at;
}

/**
 * Text of any length, of which a reader asks for more.
 * @param {{text: string, first?: number, class?: string}} props
 */
export function LongText({ text, first = CHUNK, class: name = '' }) {
  const [shown, show] = useState(first);
  const end = cutAt(text, Math.min(shown, text.length));
  const rest = text.length - end;
  const parts = [];
  // Parts of their own, so that what is there already is not laid out again
  for (let at = 0; at < end; ) {
    const to = cutAt(text, Math.min(end, at ? at + CHUNK : Math.min(first, CHUNK)));
    parts.push(html`<${Text} key=${at} text=${text.slice(at, to)} />`);
    at = to;
  }
  return html`<div class=${`long ${name}`}>
    ${parts}
    ${rest > 0 &&
    html`<div class="more">
      <button type="button" class="link" onClick=${() => show(end + 5 * CHUNK)}>Show more</button>
      <span class="soft">${count(rest)} more characters</span>
    </div>`}
  </div>`;
}

/** A number for people. @param {number} number */
export const count = (number) => number.toLocaleString('en');

/** @param {number} number @param {string} what */
export const plural = (number, what) => `${count(number)} ${number === 1 ? what : what.replace(/y$/, 'ie') + 's'}`;

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return plural(Math.round(bytes), 'byte');
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let number = bytes / 1024;
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

const STEPS = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]);
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** How long ago, or in how long. @param {string} iso */
export function ago(iso) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return iso;
  for (const [unit, length] of STEPS) if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  return Math.abs(seconds) < 10 ? 'just now' : relative.format(Math.trunc(seconds), 'second');
}

/** Grows now and then, so that what is said of times stays true. */
const minutes = signal(0);
setInterval(() => (minutes.value += 1), 20_000);

/**
 * A time, as a person says it; the exact one is its title.
 * @param {{iso: string}} props
 */
export function Time({ iso }) {
  void minutes.value;
  const exact = plain(iso).replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');
  return html`<time datetime=${plain(iso)} title=${exact}><bdi>${plain(ago(iso))}</bdi></time>`;
}

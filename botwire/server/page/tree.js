// A JSON value as a tree that is opened step by step; numbers and texts exactly as stored.
import { html, useMemo, useState } from './html.js';
import { kindOf, NotJSON, read, unquote } from './json.js';
import { count, LongText, plain, Short, Text } from './text.js';

/** @typedef {import('./json.js').Node} Node */

const STEP = 100;
const LONG = 300;

/** Whether a value is small enough to be shown whole at once. @param {Node} node @param {{left: number}} room @returns {boolean} */
function isSmall(node, room) {
  room.left -= 1;
  if (node.t === 's' || node.t === 'n' || node.t === 'l') return room.left >= 0;
  return room.left >= 0 && node.v.every((child) => isSmall(child, room));
}

/** @param {{node: Node}} props */
function LeafView({ node }) {
  if (node.t === 's') {
    const text = unquote(node.r);
    if (text.length > LONG || text.includes('\n')) return html`<${LongText} class="j-s block" first=${1_000} text=${text} />`;
    return html`<span class="j-s"><${Text} text=${text} /></span>`;
  }
  const raw = node.t === 'n' || node.t === 'l' ? node.r : '';
  if (raw.length > LONG) return html`<${LongText} class=${`j-${node.t} block`} first=${1_000} text=${raw} />`;
  return html`<span class=${`j-${node.t}`}>${raw}</span>`;
}

/** @param {Node} node */
const short = (node) => ('r' in node ? html`<${Short} text=${node.t === 's' ? unquote(node.r) : node.r} most=${24} />` : node.t === 'a' ? '[…]' : '{…}');

/** What a closed value holds. @param {Node} node */
function glimpse(node) {
  if ('r' in node) return '';
  const said = node.v.slice(0, 5).map((one, index) => html`${index ? ', ' : ''}${node.t === 'o' && html`<${Short} text=${unquote(node.k[index])} most=${24} />: `}${short(one)}`);
  return html`${said}${node.v.length > 5 ? ', …' : ''}`;
}

/** @param {{name?: unknown, node: Node, open: boolean, depth: number}} props */
function Branch({ name, node, open: openAtFirst, depth }) {
  const [open, setOpen] = useState(openAtFirst);
  const [shown, show] = useState(STEP);
  if ('r' in node) return html`<li class="j-leaf">${name}<${LeafView} node=${node} /></li>`;
  if (!node.v.length) return html`<li class="j-leaf">${name}<span class="soft">${node.t === 'a' ? '[ ]' : '{ }'}</span></li>`;
  return html`<li>
    <button type="button" class="j-fold" aria-expanded=${open ? 'true' : 'false'} onClick=${() => setOpen(!open)}>
      <span class="chevron" aria-hidden="true"></span>${name}<span class="soft">${kindOf(node)}</span>${!open &&
      html`<span class="glimpse">${glimpse(node)}</span>`}
    </button>
    ${open &&
    html`<ul>
      ${node.v
        .slice(0, shown)
        .map((child, index) => html`<${Branch} key=${index} name=${label(node, index)} node=${child} open=${openAtFirst && depth < 3} depth=${depth + 1} />`)}
      ${node.v.length > shown &&
      html`<li class="more">
        <button type="button" class="link" onClick=${() => show(shown + STEP)}>Show ${count(Math.min(STEP, node.v.length - shown))} more</button>
        <span class="soft">of ${count(node.v.length - shown)}</span>
      </li>`}
    </ul>`}
  </li>`;
}

/** @param {Node} node @param {number} index */
function label(node, index) {
  if (node.t !== 'o') return html`<span class="j-i">${index}</span>`;
  const name = unquote(node.k[index]);
  return html`<span class="j-k">${name.length > LONG ? html`<${Short} text=${name} most=${LONG} />` : html`<${Text} text=${name} />`}</span>`;
}

/** @param {{node: Node, open?: boolean}} props */
export function Tree({ node, open = true }) {
  const whole = useMemo(() => open && isSmall(node, { left: 200 }), [node]);
  if ('r' in node) return html`<div class="json"><${LeafView} node=${node} /></div>`;
  return html`<ul class="json">
    <${Branch} node=${node} open=${open} depth=${whole ? -100 : 3} />
  </ul>`;
}

/**
 * The tree of a JSON text; the text itself where it has none.
 * @param {{text: string, open?: boolean}} props
 */
export function TreeOf({ text, open = true }) {
  const found = useMemo(() => {
    try {
      return read(text);
    } catch (error) {
      if (error instanceof NotJSON || error instanceof RangeError) return error.message;
      throw error;
    }
  }, [text]);
  if (typeof found !== 'string') return html`<${Tree} node=${found} open=${open} />`;
  return html`<p class="note">This cannot be shown as a tree: ${plain(found)}.</p>
    <${LongText} class="raw" text=${text} />`;
}

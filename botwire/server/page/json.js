// JSON read without losing anything: numbers keep the text they are stored as, members their order and their doubles.

/**
 * A value as it is stored. `r` is its own text (of a string: with quotes and escapes).
 * @typedef {{t: 's', r: string} | {t: 'n', r: string} | {t: 'l', r: string}} Leaf
 * @typedef {{t: 'a', v: Node[]}} List
 * @typedef {{t: 'o', k: string[], v: Node[]}} Members  k: the members' names, as stored
 * @typedef {Leaf | List | Members} Node
 */

const MAX_DEPTH = 1000;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERAL = /true|false|null/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f]/;

export class NotJSON extends Error {}

/**
 * The value that a text holds.
 * @param {string} text
 * @returns {Node}
 * @throws {NotJSON} if it is no JSON, saying where
 */
export function read(text) {
  let at = 0;
  // Where the next ones are: looked for once, not anew by each text
  let quote = -1;
  let slash = -1;
  const found = (/** @type {number} */ index) => (index < 0 ? Infinity : index);

  /** @param {string} what @returns {never} */
  function fail(what) {
    const before = text.slice(0, at).split('\n');
    throw new NotJSON(`${what} at line ${before.length}, column ${before[before.length - 1].length + 1}`);
  }

  /** @param {RegExp} pattern @returns {string} */
  function take(pattern) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return '';
    at = pattern.lastIndex;
    return found[0];
  }

  /** @returns {string} */
  function string() {
    const start = at;
    at += 1;
    for (;;) {
      if (quote < at) quote = found(text.indexOf('"', at));
      if (slash < at) slash = found(text.indexOf('\\', at));
      const end = Math.min(quote, slash);
      if (end === Infinity) fail('a text that does not end');
      const odd = text.slice(at, end).search(CONTROL);
      if (odd >= 0) {
        at += odd;
        fail('a line end or control character inside a text');
      }
      at = end;
      if (end === quote) {
        at += 1;
        return text.slice(start, at);
      }
      if (!take(ESCAPE)) fail('an unknown escape');
    }
  }

  /** @param {number} depth @returns {Node} */
  function value(depth) {
    if (depth > MAX_DEPTH) fail('too many levels');
    take(SPACE);
    const first = text[at];
    if (first === '{') return members(depth);
    if (first === '[') return list(depth);
    if (first === '"') return { t: 's', r: string() };
    const number = take(NUMBER);
    if (number) return { t: 'n', r: number };
    const literal = take(LITERAL);
    if (literal) return { t: 'l', r: literal };
    return fail(first === undefined ? 'nothing' : 'no value');
  }

  /** @param {number} depth @returns {List} */
  function list(depth) {
    /** @type {Node[]} */
    const v = [];
    at += 1;
    take(SPACE);
    if (text[at] === ']') {
      at += 1;
      return { t: 'a', v };
    }
    for (;;) {
      v.push(value(depth + 1));
      if (!more(']')) return { t: 'a', v };
    }
  }

  /** @param {number} depth @returns {Members} */
  function members(depth) {
    /** @type {Members} */
    const found = { t: 'o', k: [], v: [] };
    at += 1;
    take(SPACE);
    if (text[at] === '}') {
      at += 1;
      return found;
    }
    for (;;) {
      take(SPACE);
      if (text[at] !== '"') fail('no name in quotes');
      found.k.push(string());
      take(SPACE);
      if (text[at] !== ':') fail('no colon');
      at += 1;
      found.v.push(value(depth + 1));
      if (!more('}')) return found;
    }
  }

  /** @param {string} end @returns {boolean} */
  function more(end) {
    take(SPACE);
    const next = text[at];
    if (next !== ',' && next !== end) fail(`neither a comma nor ${end}`);
    at += 1;
    return next === ',';
  }

  const whole = value(0);
  take(SPACE);
  if (at < text.length) fail('more than one value');
  return whole;
}

/**
 * The text of a string as it is stored, without quotes and escapes.
 * @param {string} raw
 * @returns {string}
 */
export const unquote = (raw) => /** @type {string} */ (JSON.parse(raw));

/**
 * The same value as text: on one line, or over many lines for people. Numbers and texts stay as they are.
 * @param {Node} node
 * @param {(raw: string) => string} [texts] what to do with each text
 * @param {string | null} [indent] null: on one line
 * @returns {string}
 */
export function write(node, texts = (raw) => raw, indent = null) {
  /** @type {string[]} */
  const out = [];
  const line = (/** @type {number} */ depth) => (indent === null ? '' : `\n${indent.repeat(depth)}`);

  /** @param {Node} one @param {number} depth */
  function put(one, depth) {
    if (one.t === 's') out.push(texts(one.r));
    else if (one.t === 'n' || one.t === 'l') out.push(one.r);
    else {
      out.push(one.t === 'a' ? '[' : '{');
      one.v.forEach((child, index) => {
        out.push(index ? ',' : '', line(depth + 1));
        if (one.t === 'o') out.push(texts(one.k[index]), indent === null ? ':' : ': ');
        put(child, depth + 1);
      });
      out.push(one.v.length ? line(depth) : '', one.t === 'a' ? ']' : '}');
    }
  }

  put(node, 0);
  return out.join('');
}

/**
 * A member of an object, by name; the last of doubles, as other readers have it.
 * @param {Node | undefined} node
 * @param {string} name
 * @returns {Node | undefined}
 */
export function member(node, name) {
  if (!node || node.t !== 'o') return undefined;
  const index = node.k.map(unquote).lastIndexOf(name);
  return index < 0 ? undefined : node.v[index];
}

/**
 * What a member holds if it is a text, else undefined.
 * @param {Node | undefined} node
 * @param {string} [name]
 * @returns {string | undefined}
 */
export function textOf(node, name) {
  const found = name === undefined ? node : member(node, name);
  return found && found.t === 's' ? unquote(found.r) : undefined;
}

/**
 * How a value is called.
 * @param {Node} node
 * @returns {string}
 */
export function kindOf(node) {
  if (node.t === 's') return 'text';
  if (node.t === 'n') return 'number';
  if (node.t === 'l') return node.r === 'null' ? 'null' : 'boolean';
  const count = node.v.length;
  if (node.t === 'a') return `list of ${count.toLocaleString('en')}`;
  return `object of ${count.toLocaleString('en')}`;
}

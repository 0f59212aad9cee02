// Programs to paste, for what is in view; names are quoted for each language. Pure: text in, text out.
import { part, path } from './api.js';
import { pieces } from './text.js';

/**
 * What a snippet is about. `value`: the stored JSON text of the entry in view, `version` the one it is at.
 * @typedef {{base: string, ns: string, key?: string, session?: string, agent?: string, value?: string, version?: string, withToken: boolean}} Subject
 * @typedef {{read: string, write: string}} Pair
 */

/** Longest value that is put into a command line. */
const MOST_VALUE = 2_000;

/** A text with escapes for what does not show itself. @param {string} quoted @param {(point: number) => string} escape */
const visible = (quoted, escape) =>
  pieces(quoted)
    .map((piece) => (piece.odd ? escape(parseInt(piece.text.slice(2), 16)) : piece.text))
    .join('');

/** @param {number} number @param {number} digits */
const hex = (number, digits) => number.toString(16).padStart(digits, '0');

/** A literal of Python. @param {string} text */
export const python = (text) => visible(JSON.stringify(text), (point) => (point > 0xffff ? `\\U${hex(point, 8)}` : `\\u${hex(point, 4)}`));

/** A literal of JavaScript. @param {string} text */
export const javascript = (text) => visible(JSON.stringify(text), (point) => (point > 0xffff ? `\\u{${hex(point, 1)}}` : `\\u${hex(point, 4)}`));

/** One word of a shell's command line. @param {string} text */
export const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** JSON text with escapes for what does not show itself: within it, that can be in strings alone. @param {string} text */
const json = (text) => visible(text, (point) => [...String.fromCodePoint(point)].flatMap((one) => one.split('')).map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`).join(''));

const MESSAGE = '{"role": "user", "content": "hi"}';

/** @param {Subject} about @returns {Pair} */
export function pythonSnippet({ base, ns, key, session, agent, withToken }) {
  const head = `${withToken ? '# the token is taken from the environment variable BOTWIRE_TOKEN\n' : ''}from botwire import Memory\n\nmemory = Memory(${python(ns)}, url=${python(base)})\n`;
  if (key !== undefined) {
    return {
      read: `${head}entry = memory.get_entry(${python(key)})\nprint(entry.version, entry.value)\n`,
      write: `${head}# what the function returns is stored; it is called again if another writer was faster\nprint(memory.update(${python(key)}, lambda value: value))\n`,
    };
  }
  if (session !== undefined) {
    const opened = `${head}session = memory.session(${python(session)}${agent ? `, agent=${python(agent)}` : ''})\n`;
    return {
      read: `${opened}for message in session.messages(last=20):\n    print(message.seq, message.role, message.text)\n`,
      write: `${opened}print(session.append(${MESSAGE}))\n`,
    };
  }
  return {
    read: `from itertools import islice\n\n${head}for key in islice(memory.iter_keys(), 20):\n    print(key)\n`,
    write: `${head}memory.set("example", {"theme": "dark"})\nprint(memory.get("example"))\n`,
  };
}

/** @param {Subject} about @returns {Pair} */
export function curlSnippet({ base, ns, key, session, agent, value, version, withToken }) {
  const token = withToken ? ' \\\n  -H "Authorization: Bearer $BOTWIRE_TOKEN"' : '';
  const content = " \\\n  -H 'Content-Type: application/json'";
  /** @param {string} target @param {string} [method] @param {string} [more] */
  const curl = (target, method = '', more = '') => `curl${method ? ` -X ${method}` : ''} ${shell(base + target)}${token}${more}\n`;
  if (key !== undefined) {
    const target = `/memory${path(ns, key)}`;
    const body = value !== undefined && value.length <= MOST_VALUE ? shell(json(`{"value": ${value}, "ttl": "keep"}`)) : '@value.json';
    const condition = ` \\\n  -H ${shell(`If-Match: "${version ?? '1'}"`)}`;
    return { read: curl(target), write: curl(target, 'PUT', `${content}${condition} \\\n  --data-binary ${body}`) };
  }
  if (session !== undefined) {
    const target = `/sessions${path(ns, session)}/messages`;
    const named = agent ? `?agent=${part(agent)}` : '';
    return {
      read: curl(`${target}?last=20${agent ? `&agent=${part(agent)}` : ''}`),
      write: curl(`${target}${named}`, '', `${content} \\\n  -d ${shell(`{"messages": [${MESSAGE}]}`)}`),
    };
  }
  return {
    read: curl(`/memory${path(ns)}?limit=20`),
    write: curl(`/memory${path(ns, 'example')}`, 'PUT', `${content} \\\n  -d ${shell('{"value": {"theme": "dark"}}')}`),
  };
}

/** @param {Subject} about @returns {Pair} */
export function javascriptSnippet({ base, ns, key, session, agent, withToken }) {
  const token = withToken ? 'Authorization: `Bearer ${process.env.BOTWIRE_TOKEN}`' : '';
  const reading = withToken ? `, {\n  headers: { ${token} },\n}` : '';
  /** @param {string} [more] */
  const headers = (more = '') => `{ ${["'Content-Type': 'application/json'", more, token].filter(Boolean).join(', ')} }`;
  const checked = 'if (!response.ok) throw new Error(await response.text());\n';
  if (key !== undefined) {
    const url = `const url = ${javascript(`${base}/memory${path(ns, key)}`)};\n`;
    return {
      read: `${url}const response = await fetch(url${reading});\n${checked}const entry = await response.json();\nconsole.log(entry.version, entry.value);\n`,
      write:
        `${url}// as=text: the value as JSON text, so that no number changes\nconst entry = await (await fetch(\`\${url}?as=text\`${reading})).json();\n` +
        `const response = await fetch(url, {\n  method: 'PUT',\n  headers: ${headers("'If-Match': `\"${entry.version}\"`")},\n  body: \`{"value": \${entry.value}, "ttl": "keep"}\`,\n});\n${checked}console.log(await response.json());\n`,
    };
  }
  if (session !== undefined) {
    const url = `const url = ${javascript(`${base}/sessions${path(ns, session)}/messages`)};\n`;
    const named = agent ? javascript(`agent=${part(agent)}`).slice(1, -1) : '';
    return {
      read: `${url}const response = await fetch(\`\${url}?last=20${named && `&${named}`}\`${reading});\n${checked}for (const { seq, message } of (await response.json()).messages) console.log(seq, message.role, message.content);\n`,
      write: `${url}const response = await fetch(${named ? `\`\${url}?${named}\`` : 'url'}, {\n  method: 'POST',\n  // sent again with the same key, it is still appended once\n  headers: ${headers("'Idempotency-Key': crypto.randomUUID()")},\n  body: JSON.stringify({ messages: [${MESSAGE}] }),\n});\n${checked}console.log(await response.json());\n`,
    };
  }
  return {
    read: `const response = await fetch(${javascript(`${base}/memory${path(ns)}?limit=20`)}${reading});\n${checked}console.log((await response.json()).keys);\n`,
    write: `const response = await fetch(${javascript(`${base}/memory${path(ns, 'example')}`)}, {\n  method: 'PUT',\n  headers: ${headers()},\n  body: JSON.stringify({ value: { theme: 'dark' } }),\n});\n${checked}console.log(await response.json());\n`,
  };
}

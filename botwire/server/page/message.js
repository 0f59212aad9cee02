// One message: who says it, what, which tools are called, and which framework wrote it.
import { html, useMemo } from './html.js';
import { kindOf, member, read, textOf, unquote, write } from './json.js';
import { LongText, plain, Short, size, Text, Time } from './text.js';
import { Tree, TreeOf } from './tree.js';

/** @typedef {import('./json.js').Node} Node @typedef {import('./api.js').Row} Row */

/** @type {Record<string, string>} */
const FRAMEWORKS = {
  langchain: 'LangChain',
  crewai: 'CrewAI',
  autogen: 'AutoGen',
  autogen_classic: 'AutoGen classic',
  ag2: 'AG2',
  agent_framework: 'Agent Framework',
};
const ROLES = new Set(['system', 'user', 'assistant', 'tool']);
const LONG = 1_500;

/** Pictures that a browser can only look at. */
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=\s]+$/;

/** @param {string} text @returns {Node | null} */
function readOrNull(text) {
  try {
    return read(text);
  } catch {
    return null;
  }
}

/** @param {{row: Row, before?: Row, rows: Row[]}} props */
export function MessageView({ row, before, rows }) {
  const body = useMemo(() => readOrNull(row.message), [row.message]);
  const role = textOf(body ?? undefined, 'role');
  if (!body || body.t !== 'o' || role === undefined) return html`<${Unreadable} row=${row} />`;
  const name = textOf(body, 'name');
  const when = textOf(body, 'created_at') ?? row.created_at;
  const kind = ROLES.has(role) ? role : 'other';
  return html`<article class=${`message ${kind}`} id=${`message-${row.seq}`} aria-label=${`${plain(role, 30)}${name ? ` ${plain(name, 60)}` : ''}, message ${row.seq}`}>
    ${isAnotherDay(before, row) && html`<p class="day">${plain(row.created_at.slice(0, 10))}</p>`}
    <header>
      <span class="role"><${Text} text=${role} /></span>
      ${name !== undefined && html`<${Text} class="speaker" text=${name} />`}
      <${Frameworks} body=${body} />
      <span class="soft place">#${row.seq} · <${Time} iso=${when} /></span>
    </header>
    ${kind === 'tool' ? html`<${ToolResult} body=${body} rows=${rows} />` : html`<${Content} node=${member(body, 'content')} />`}
    <${Calls} node=${member(body, 'tool_calls')} />
    <${Rest} body=${body} />
  </article>`;
}

/** @param {Row | undefined} before @param {Row} row */
const isAnotherDay = (before, row) => before !== undefined && before.created_at.slice(0, 10) !== row.created_at.slice(0, 10);

/** @param {{row: Row}} props */
const Unreadable = ({ row }) =>
  html`<article class="message other" id=${`message-${row.seq}`} aria-label=${`unreadable message ${row.seq}`}>
    <header><span class="role">not a message</span><span class="soft place">#${row.seq} · <${Time} iso=${row.created_at} /></span></header>
    <${LongText} class="raw" first=${LONG} text=${row.message} />
  </article>`;

/** Which frameworks left data of their own in a message. @param {{body: Node}} props */
function Frameworks({ body }) {
  const native = member(body, 'native');
  if (!native || native.t !== 'o') return null;
  return native.k.map((raw) => {
    const name = unquote(raw);
    return html`<span class="framework" title="the framework that wrote this message"><${Text} text=${Object.hasOwn(FRAMEWORKS, name) ? FRAMEWORKS[name] : name} /></span>`;
  });
}

/** @param {{node: Node | undefined}} props */
function Content({ node }) {
  if (!node || (node.t === 'l' && node.r === 'null')) return null;
  if (node.t === 's') return html`<${Said} text=${unquote(node.r)} />`;
  if (node.t === 'a') return node.v.map((part, index) => html`<${Part} key=${index} node=${part} />`);
  return html`<${Tree} node=${node} />`;
}

/** @param {{text: string}} props */
const Said = ({ text }) => (text === '' ? html`<p class="soft">(no text)</p>` : html`<${LongText} class="said" first=${LONG} text=${text} />`);

/** One typed part of a message. @param {{node: Node}} props */
function Part({ node }) {
  const type = textOf(node, 'type') ?? kindOf(node);
  const text = textOf(node, 'text');
  if (type === 'text' && text !== undefined) return html`<${Said} text=${text} />`;
  const source = pictureOf(node);
  if (source !== undefined && PICTURE.test(source)) {
    return html`<figure class="picture"><img src=${source} alt="a picture in this message" loading="lazy" /><figcaption class="soft">picture, ${size((source.length * 3) / 4)}</figcaption></figure>`;
  }
  return html`<details class="fold">
    <summary><span class="tag"><${Text} text=${type} /></span>${source !== undefined && html` <span class="soft"><${Short} text=${source} />, not loaded</span>`}</summary>
    <${Tree} node=${node} />
  </details>`;
}

/** Where a picture is, in the shapes that chat APIs have for it. @param {Node} node @returns {string | undefined} */
function pictureOf(node) {
  const image = member(node, 'image_url');
  const found = textOf(image) ?? textOf(image, 'url');
  if (found !== undefined) return found;
  const type = textOf(node, 'type');
  const source = member(node, 'source') ?? node;
  const data = textOf(source, 'data') ?? textOf(source, 'base64');
  const kind = textOf(source, 'media_type') ?? textOf(source, 'mime_type');
  if (data !== undefined && kind?.startsWith('image/')) return `data:${kind};base64,${data}`;
  return type === 'image' ? textOf(source, 'url') : undefined;
}

/** @param {{node: Node | undefined}} props */
function Calls({ node }) {
  if (!node || node.t !== 'a') return null;
  return node.v.map((call, index) => {
    const args = member(call, 'arguments');
    const text = textOf(args);
    return html`<details class="fold call" key=${index}>
      <summary><span class="tag">calls</span> <${Text} class="tool-name" text=${textOf(call, 'name') ?? '?'} /> <span class="soft glimpse"><${Short} text=${text ?? (args ? write(args) : '')} /></span></summary>
      <${Arguments} text=${text} node=${args} />
      <p class="soft">call <${Text} text=${textOf(call, 'id') ?? 'without an id'} /></p>
    </details>`;
  });
}

/** @param {{text: string | undefined, node: Node | undefined}} props */
function Arguments({ text, node }) {
  if (text !== undefined && readOrNull(text) === null) return html`<${LongText} class="raw" first=${LONG} text=${text} />`;
  if (text !== undefined) return html`<${TreeOf} text=${text} />`;
  return node ? html`<${Tree} node=${node} />` : html`<p class="soft">no arguments</p>`;
}

/** What a tool answered, folded; with the name of the tool that was called. @param {{body: Node, rows: Row[]}} props */
function ToolResult({ body, rows }) {
  const id = textOf(body, 'tool_call_id');
  const tool = useMemo(() => textOf(body, 'name') ?? (id === undefined ? undefined : calledTool(rows, id)), [body, id]);
  const content = member(body, 'content');
  const text = textOf(content);
  return html`<details class="fold" open=${text !== undefined && text.length < 200 && !text.includes('\n')}>
    <summary>
      <span class="tag">result</span> ${tool !== undefined && html`<${Text} class="tool-name" text=${tool} />`}
      <span class="soft glimpse"><${Short} text=${text ?? ''} /></span>
    </summary>
    ${text !== undefined && /^\s*[[{]/.test(text) && readOrNull(text) ? html`<${TreeOf} text=${text} />` : html`<${Content} node=${content} />`}
    ${id !== undefined && html`<p class="soft">answers call <${Text} text=${id} /></p>`}
  </details>`;
}

/** @param {Row[]} rows @param {string} id @returns {string | undefined} */
function calledTool(rows, id) {
  const quoted = JSON.stringify(id);
  for (const row of rows) {
    const calls = row.message.includes(quoted) ? member(readOrNull(row.message) ?? undefined, 'tool_calls') : undefined;
    const call = calls?.t === 'a' ? calls.v.find((one) => textOf(one, 'id') === id) : undefined;
    if (call) return textOf(call, 'name');
  }
  return undefined;
}

/** Everything else that is stored with a message. @param {{body: Node}} props */
function Rest({ body }) {
  if (body.t !== 'o') return null;
  const shown = new Set(['role', 'content', 'name', 'tool_calls', 'tool_call_id', 'created_at']);
  const kept = body.k.map((raw, index) => ({ raw, node: body.v[index] })).filter(({ raw }) => !shown.has(unquote(raw)));
  if (!kept.length) return null;
  return html`<details class="fold rest">
    <summary class="soft"><span>${kept.map(({ raw }, index) => html`${index ? ', ' : ''}<${Short} text=${unquote(raw)} />`)}</span></summary>
    <${Tree} node=${{ t: 'o', k: kept.map(({ raw }) => raw), v: kept.map(({ node }) => node) }} open=${true} />
  </details>`;
}

// A session as a conversation: the newest messages first in sight, older ones as they are scrolled to, new ones as they come.
import { html, useEffect, useLayoutEffect, useRef, useState } from './html.js';
import { getMessages, PAGE, path, query, request } from './api.js';
import { Code } from './code.js';
import { askAndSave, sessionLines } from './export.js';
import { useChanges } from './live.js';
import { MessageView } from './message.js';
import { ask, Empty, Failure, Loading, tellError } from './parts.js';
import { go, href } from './routes.js';
import { readOnly, tell } from './state.js';
import { plain, plural, Text, Time } from './text.js';
import { TreeOf } from './tree.js';

/** @typedef {import('./api.js').Row} Row @typedef {import('./api.js').Info} Info */

/**
 * What is on the screen: messages without a gap, and whether there are others before and after them.
 * @typedef {{info: Info | null, rows: Row[], older: boolean, newer: boolean}} Span
 */

/** Messages in the document at most; those farther away are fetched again when they are scrolled to. */
const MOST = 600;

/** @param {{ns: string, session: string, agent: string, changed: () => void}} props */
export function Conversation({ ns, session, agent, changed }) {
  const [span, setSpan] = useState(/** @type {Span | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [unseen, setUnseen] = useState(0);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const busy = useRef(false);
  const missed = useRef(false);
  const hold = useRef(/** @type {{seq: number, top: number} | 'end' | 'start' | null} */ (null));
  const now = useRef(span);
  now.current = span;

  /** @param {Record<string, number>} bounds */
  const fetch = (bounds) => getMessages(ns, session, agent, bounds);

  /** @param {() => Promise<unknown>} work */
  async function alone(work) {
    if (busy.current) {
      missed.current = true;
      return;
    }
    busy.current = true;
    try {
      await work();
      setError(null);
    } catch (problem) {
      setError(/** @type {Error} */ (problem));
    } finally {
      busy.current = false;
    }
    if (missed.current) {
      missed.current = false;
      void look();
    }
  }

  /** Where the reader is, to be there again when rows above have come or gone. */
  function keepPlace() {
    const element = box.current;
    const first = element && [...element.querySelectorAll('article')].find((one) => one.getBoundingClientRect().bottom > element.getBoundingClientRect().top);
    if (first && element) hold.current = { seq: Number(first.id.slice(8)), top: first.getBoundingClientRect().top };
  }

  const toEnd = () =>
    alone(async () => {
      const page = await fetch({ last: PAGE });
      hold.current = 'end';
      setUnseen(0);
      setSpan({ info: page.info, rows: page.messages, older: page.more, newer: false });
    });
  const toStart = () =>
    alone(async () => {
      const page = await fetch({ after: 0 });
      hold.current = 'start';
      setSpan({ info: page.info, rows: page.messages, older: false, newer: page.more });
    });

  const older = () =>
    alone(async () => {
      const was = now.current;
      if (!was?.rows.length || !was.older) return;
      const page = await fetch({ before: was.rows[0].seq, last: PAGE });
      if (page.info?.epoch !== was.info?.epoch) return begin();
      keepPlace();
      const rows = [...page.messages, ...was.rows];
      setSpan({ info: page.info, rows: rows.slice(0, MOST), older: page.more, newer: was.newer || rows.length > MOST });
    });
  const newer = () =>
    alone(async () => {
      const was = now.current;
      if (!was?.rows.length || !was.newer) return;
      const page = await fetch({ after: was.rows[was.rows.length - 1].seq });
      if (page.info?.epoch !== was.info?.epoch) return begin();
      keepPlace();
      const rows = [...was.rows, ...page.messages];
      setSpan({ info: page.info, rows: rows.slice(-MOST), older: was.older || rows.length > MOST, newer: page.more });
    });

  async function begin() {
    busy.current = false;
    await toEnd();
  }

  /** What has changed: messages after the last one known, or all, if that one is not what it was. */
  const look = () =>
    alone(async () => {
      const was = now.current;
      const last = was?.rows[was.rows.length - 1];
      if (!was?.info || !last) return begin();
      if (was.newer) {
        const page = await fetch({ last: 0 });
        if (page.info?.epoch !== was.info.epoch) return begin();
        return setSpan({ ...was, info: page.info });
      }
      const page = await fetch({ after: last.seq - 1 });
      const [same, ...more] = page.messages;
      const info = page.info;
      if (!info || info.epoch !== was.info.epoch || same?.seq !== last.seq || same.message !== last.message) return begin();
      const kept = was.rows.filter((row) => row.seq > info.head - info.count || row.seq >= last.seq);
      if (!more.length && kept.length === was.rows.length && info.updated_at === was.info.updated_at) return undefined;
      if (more.length) changed();
      if (isAtEnd(box.current)) hold.current = 'end';
      else {
        keepPlace();
        setUnseen((number) => number + more.length);
      }
      const rows = [...kept, ...more];
      return setSpan({ info, rows: rows.slice(-MOST), older: (was.older && kept.length === was.rows.length) || rows.length > MOST, newer: page.more });
    });

  useEffect(() => void toEnd(), []);
  useChanges(ns, session, (hint) => (hint.sessions === null || hint.sessions.includes(session) ? look() : undefined));

  useLayoutEffect(() => {
    const element = box.current;
    const held = hold.current;
    hold.current = null;
    if (!element || !held) return;
    if (held === 'end') element.scrollTop = element.scrollHeight;
    else if (held === 'start') element.scrollTop = 0;
    else {
      const same = document.getElementById(`message-${held.seq}`);
      if (same) element.scrollTop += same.getBoundingClientRect().top - held.top;
    }
  }, [span]);

  function onScroll() {
    const element = box.current;
    if (!element || !span) return;
    if (element.scrollTop < 600 && span.older) void older();
    if (element.scrollHeight - element.scrollTop - element.clientHeight < 600 && span.newer) void newer();
    if (unseen && isAtEnd(element)) setUnseen(0);
  }

  const head = html`<${Head} ns=${ns} session=${session} agent=${agent} info=${span?.info ?? null} toStart=${toStart} toEnd=${toEnd} />`;
  if (error && !span) return html`${head}<${Failure} error=${error} again=${toEnd} />`;
  if (!span) return html`${head}<${Loading} />`;
  if (!span.info) return html`<${Empty} title="There is no such session"><p><${Text} class="name" text=${session} /></p><p><a class="button" href=${href({ ns, view: 'sessions' })}>Back to the sessions</a></p><//>`;
  return html`${head}
    <div class="conversation" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-live="off" aria-label="Messages">
      ${span.older && html`<p class="edge"><button type="button" class="link" onClick=${older}>Older messages</button></p>`}
      ${!span.rows.length && html`<${Empty} title="No messages"><p>The session is there, its messages were taken away.</p><//>`}
      ${span.rows.map((row, index) => html`<${MessageView} key=${`${span.info?.epoch} ${row.seq}`} row=${row} before=${span.rows[index - 1]} rows=${span.rows} />`)}
      ${span.newer && html`<p class="edge"><button type="button" class="link" onClick=${newer}>Newer messages</button></p>`}
    </div>
    ${error && html`<${Failure} error=${error} again=${look} />`}
    ${unseen > 0 && html`<button type="button" class="main unseen" onClick=${toEnd}>${plural(unseen, 'new message')} ↓</button>`}`;
}

/** @param {HTMLElement | null} element */
const isAtEnd = (element) => !element || element.scrollHeight - element.scrollTop - element.clientHeight < 60;

/** @param {{ns: string, session: string, agent: string, info: Info | null, toStart: () => void, toEnd: () => void}} props */
function Head({ ns, session, agent, info, toStart, toEnd }) {
  const locked = readOnly.value.has(ns);
  const hasMetadata = info && info.metadata !== '{}';
  return html`<header class="detail-head">
    <a class="back" href=${href({ ns, view: 'sessions' })}>‹ Sessions</a>
    <h2 tabindex="-1"><${Text} text=${session} />${agent && html`<span class="agent"> › <${Text} text=${agent} /></span>`}</h2>
    ${info &&
    html`<dl class="facts">
        <div><dt>Messages</dt><dd>${info.count.toLocaleString('en')}</dd></div>
        <div><dt>Changed</dt><dd><${Time} iso=${info.updated_at} /></dd></div>
        <div><dt>Begun</dt><dd><${Time} iso=${info.created_at} /></dd></div>
        ${info.expires_at && html`<div><dt>Expires</dt><dd><${Time} iso=${info.expires_at} /></dd></div>`}
      </dl>
      <div class="buttons">
        <button type="button" onClick=${toStart}>First</button>
        <button type="button" onClick=${toEnd}>Last</button>
        <button type="button" onClick=${() => askAndSave('this session', sessionLines(ns, session, agent), `${ns}-${session}.jsonl`, ns)}>Export</button>
        <button type="button" class="bad" disabled=${locked} onClick=${() => remove(ns, session, agent, info)}>Delete</button>
        ${locked && html`<span class="note">This token may only read here.</span>`}
      </div>
      ${hasMetadata && html`<details class="use"><summary>Metadata</summary><${TreeOf} text=${info.metadata} /></details>`}
      <details class="use"><summary>Use it from code</summary><${Code} ns=${ns} session=${session} agent=${agent} /></details>`}
  </header>`;
}

/** @param {string} ns @param {string} session @param {string} agent @param {Info} info */
async function remove(ns, session, agent, info) {
  const answer = await ask({
    title: agent ? 'Delete this transcript?' : 'Delete this session?',
    body: html`<p><${Text} class="name" text=${session} />${agent && html` › <${Text} class="name" text=${agent} />`}, ${plural(info.count, 'message')}. They cannot be brought back.${!agent && ' The transcripts of its agents stay.'}</p>`,
    actions: [{ name: 'Delete', value: 'delete', bad: true }],
  });
  if (!answer) return;
  try {
    const own = `/sessions${path(ns, session)}?agent=${encodeURIComponent(agent)}`;
    await request(own, { method: 'DELETE' });
    tell(`Deleted ${plain(session, 60)}`);
    go({ ns, view: 'sessions' });
  } catch (error) {
    tellError(error);
  }
}

// The sessions of a namespace, and the conversation that is open.
import { html, useEffect, useState } from './html.js';
import { get, PAGE, path, query } from './api.js';
import { Conversation } from './conversation.js';
import { QuickStart } from './code.js';
import { PagedList } from './list.js';
import { useChanges } from './live.js';
import { Empty } from './parts.js';
import { href, route } from './routes.js';
import { count, plural, Text, Time } from './text.js';

/** @typedef {import('./api.js').Info} Info */

/** @param {{ns: string}} props */
export function Sessions({ ns }) {
  const { session, agent } = route.value;
  const [version, setVersion] = useState(0);
  // Who listens to a namespace need not hear of sessions, so the list is looked at again now and then.
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setVersion((number) => number + 1), 3_000);
    return () => clearInterval(timer);
  }, [ns]);
  // With a session open, its own changes are listened to, there.
  useChanges(session === null ? ns : null, null, (heard) => heard.sessions?.length !== 0 && setVersion((number) => number + 1));
  return html`<div class=${session === null ? 'split' : 'split open'}>
    <section class="pane" aria-label="Sessions">
      <${PagedList}
        id=${ns}
        label="Sessions"
        version=${version}
        fetch=${async (/** @type {string | null} */ cursor, /** @type {AbortSignal} */ signal) => {
          const page = await get(`/sessions${path(ns)}${query({ limit: PAGE, cursor, as: 'text' })}`, signal);
          return { rows: page.sessions, next: page.next_cursor };
        }}
        keyOf=${(/** @type {Info} */ info) => JSON.stringify([info.session, info.agent])}
        hrefOf=${(/** @type {Info} */ info) => href({ ns, session: info.session, agent: info.agent })}
        isChosen=${(/** @type {Info} */ info) => info.session === session && info.agent === agent}
        row=${(/** @type {Info} */ info) =>
          html`<span class="name"><${Text} text=${info.session} />${info.agent && html`<span class="agent"> › <${Text} text=${info.agent} /></span>`}</span>
            <span class="soft" title=${plural(info.count, 'message')}>${count(info.count)}</span><span class="soft when"><${Time} iso=${info.updated_at} /></span>`}
        empty=${html`<${Empty} title="No sessions here"><p>No conversation was begun in this namespace.</p><//>`}
      />
    </section>
    <section class="detail" aria-label="Conversation">
      ${session === null
        ? html`<div class="idle"><${QuickStart} ns=${ns} sessions=${true} /></div>`
        : html`<${Conversation} key=${JSON.stringify([ns, session, agent])} ns=${ns} session=${session} agent=${agent} changed=${() => setVersion((number) => number + 1)} />`}
    </section>
  </div>`;
}

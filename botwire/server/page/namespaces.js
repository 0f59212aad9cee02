// The namespaces: beside everything else, or by themselves on a small screen.
import { html, useEffect, useState } from './html.js';
import { get, PAGE, query } from './api.js';
import { Code } from './code.js';
import { PagedList } from './list.js';
import { Empty } from './parts.js';
import { go, href, route } from './routes.js';
import { Text } from './text.js';

export function Namespaces() {
  const [version, setVersion] = useState(0);
  const { ns } = route.value;
  // A namespace comes and goes with its first and last entry, which no route tells of: look again now and then.
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setVersion((number) => number + 1), 5_000);
    return () => clearInterval(timer);
  }, []);
  return html`<nav class="pane namespaces" aria-label="Namespaces">
    <h2 class="pane-title">Namespaces</h2>
    <${PagedList}
      id="namespaces"
      label="Namespaces"
      version=${version}
      fetch=${async (/** @type {string | null} */ cursor, /** @type {AbortSignal} */ signal) => {
        const page = await get(`/memory${query({ limit: PAGE, cursor })}`, signal);
        return { rows: page.namespaces, next: page.next_cursor };
      }}
      keyOf=${(/** @type {string} */ row) => row}
      hrefOf=${(/** @type {string} */ row) => href({ ns: row, view: route.value.view })}
      isChosen=${(/** @type {string} */ row) => row === ns}
      row=${(/** @type {string} */ row) => html`<${Text} class="name" text=${row} />`}
      empty=${html`<${Empty} title="Nothing is stored yet"><p>The first write makes its namespace.</p><//>`}
    />
    <${OpenByName} />
  </nav>`;
}

/** For a token that may not list namespaces, and for those that do not exist yet. */
function OpenByName() {
  const [name, setName] = useState('');
  return html`<form
    class="by-name"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      if (name) go({ ns: name });
    }}
  >
    <label><span class="hidden">Open a namespace by its name</span>
      <input value=${name} placeholder="Open by name…" autocomplete="off" autocapitalize="off" spellcheck="false" onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} />
    </label>
    <button type="submit">Open</button>
  </form>`;
}

export function Home() {
  const [health, setHealth] = useState(/** @type {{version: string, store?: string} | null} */ (null));
  useEffect(() => void get('/health').then(setHealth, () => setHealth(null)), []);
  return html`<div class="page home">
    <h2>Begin</h2>
    <p class="soft">Choose a namespace, or make one by writing to it:</p>
    <${Code} ns="my-agent" first="write" />
    ${health && html`<p class="note">botwire ${health.version}${health.store && html`, store <code><${Text} text=${health.store} dir="ltr" /></code>`}. <a href="/docs">All routes</a>.</p>`}
  </div>`;
}

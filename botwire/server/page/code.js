// The snippets, with a button to copy them.
import { html, useId, useState } from './html.js';
import { copy } from './parts.js';
import { curlSnippet, javascriptSnippet, pythonSnippet } from './snippets.js';
import { token } from './state.js';
import { signal } from './html.js';
import { Text } from './text.js';

const LANGUAGES = /** @type {const} */ ([
  ['Python', pythonSnippet],
  ['curl', curlSnippet],
  ['JavaScript', javascriptSnippet],
]);

/** The language chosen last holds for all views. */
const chosen = signal(/** @type {string} */ (sessionStorage.getItem('botwire-language') ?? 'Python'));

/** @param {{ns: string, name?: string, session?: string, agent?: string, value?: string, version?: string, first?: 'read' | 'write'}} props */
export function Code({ ns, name, session, agent, value, version, first = 'read' }) {
  const [way, setWay] = useState(/** @type {'read' | 'write'} */ (first));
  const id = useId();
  const language = LANGUAGES.find(([one]) => one === chosen.value) ?? LANGUAGES[0];
  const text = language[1]({ base: location.origin, ns, key: name, session, agent, value, version, withToken: token.value !== '' })[way];
  return html`<div class="code">
    <div class="code-head">
      <div class="switch" role="group" aria-label="Language">
        ${LANGUAGES.map(
          ([one]) =>
            html`<button
              type="button"
              aria-pressed=${one === language[0] ? 'true' : 'false'}
              onClick=${() => {
                chosen.value = one;
                sessionStorage.setItem('botwire-language', one);
              }}
              >${one}</button
            >`,
        )}
      </div>
      <div class="switch" role="group" aria-label="What it does">
        <button type="button" aria-pressed=${way === 'read' ? 'true' : 'false'} onClick=${() => setWay('read')}>Read</button>
        <button type="button" aria-pressed=${way === 'write' ? 'true' : 'false'} onClick=${() => setWay('write')}>Write</button>
      </div>
      <button type="button" onClick=${() => copy(text, 'Snippet')}>Copy</button>
    </div>
    <pre id=${id} class="snippet" tabindex="0" aria-label=${`${language[0]} snippet`} dir="ltr"><code>${text}</code></pre>
  </div>`;
}

/** What to begin with, beside a list in which nothing is open. @param {{ns: string, sessions?: boolean}} props */
export const QuickStart = ({ ns, sessions = false }) =>
  html`<div class="quick">
    <h2>${sessions ? 'Choose a session' : 'Choose a key'}</h2>
    <p class="soft">Or use <${Text} class="name" text=${ns} /> from code:</p>
    ${sessions ? html`<${Code} ns=${ns} session="example" first="write" />` : html`<${Code} ns=${ns} first="write" />`}
  </div>`;

/** All there is to paste for a namespace. @param {{ns: string}} props */
export const CodeView = ({ ns }) =>
  html`<div class="page">
    <h2>Entries</h2>
    <${Code} ns=${ns} first="write" />
    <h2>Sessions</h2>
    <${Code} ns=${ns} session="example" first="write" />
    <p class="note">Each key and session has its own, with its names filled in. All routes are in the <a href="/docs">documentation</a>.</p>
  </div>`;

// The page as a whole: what is beside what, where the keys of the keyboard lead.
import { html, render, useEffect } from './html.js';
import { CodeView } from './code.js';
import { Keys } from './keys.js';
import { Home, Namespaces } from './namespaces.js';
import { ask, Dialogs, Toasts } from './parts.js';
import { go, href, route, VIEWS } from './routes.js';
import { Sessions } from './sessions.js';
import { SignIn } from './signin.js';
import { liveness, shortcuts, signIn, theme, token } from './state.js';
import { plain, Text } from './text.js';
import { Usage } from './usage.js';

const TITLES = { keys: 'Keys', sessions: 'Sessions', usage: 'Usage', code: 'Code' };
const LIVENESS = { live: ['Live', 'Changes are shown as they happen'], polling: ['Live', 'Changes are asked after every 2 seconds'], off: ['Not live', 'The server is not heard now'] };

function Head() {
  const { ns } = route.value;
  return html`<header class="top">
    <a class="brand" href="#/" aria-label="botwire: all namespaces"><svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path d="M8 10h10M8 16h16M8 22h7" /></svg><span>botwire</span></a>
    ${ns === null ? html`<h1 class="hidden">botwire</h1>` : html`<h1 class="crumb"><${Text} text=${ns} /></h1>`}
    <span class="grow"></span>
    ${ns !== null && html`<span class=${`liveness ${liveness.value}`} title=${LIVENESS[liveness.value][1]}>${LIVENESS[liveness.value][0]}</span>`}
    <button type="button" class="icon" aria-label=${`Colours: ${theme.value}`} title="Colours: as the system, light, dark (d)" onClick=${turnTheme}>${{ auto: '◐', light: '☀', dark: '☾' }[theme.value]}</button>
    <button type="button" class="icon" aria-label="Keyboard and help" title="Help (?)" onClick=${help}>?</button>
    ${token.value && html`<button type="button" onClick=${signOut}>Sign out</button>`}
  </header>`;
}

function Tabs() {
  const { ns, view } = route.value;
  return html`<nav class="tabs" aria-label="Views">
    ${VIEWS.map((one, index) => html`<a href=${href({ ns, view: one })} aria-current=${one === view ? 'page' : undefined} title=${`${TITLES[one]} (${index + 1})`}>${TITLES[one]}</a>`)}
  </nav>`;
}

function Inside() {
  const { ns, view } = route.value;
  if (ns === null) return html`<${Home} />`;
  return html`<${Tabs} />
    ${view === 'keys' && html`<${Keys} key=${ns} ns=${ns} />`} ${view === 'sessions' && html`<${Sessions} key=${ns} ns=${ns} />`}
    ${view === 'usage' && html`<${Usage} key=${ns} ns=${ns} />`} ${view === 'code' && html`<${CodeView} ns=${ns} />`}`;
}

function App() {
  const { ns, key, session, isNew } = route.value;
  const open = key !== null || session !== null || isNew;
  useEffect(() => {
    const names = [session ?? key, ns].filter((name) => name !== null);
    document.title = [...names.map((name) => plain(/** @type {string} */ (name), 60)), 'botwire'].join(' · ');
  }, [ns, key, session]);
  if (signIn.value !== null) return html`<${SignIn} /><${Toasts} />`;
  return html`<a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => (event.preventDefault(), document.getElementById('main')?.focus())}>To the content</a>
    <div class=${`app ${ns === null ? 'at-home' : open ? 'at-item' : 'at-namespace'}`}>
      <${Head} />
      <${Namespaces} />
      <main id="main" tabindex="-1"><${Inside} /></main>
    </div>
    <${Dialogs} />
    <${Toasts} />`;
}

// ------------------------------------------------------------------------------------------ keyboard

function turnTheme() {
  theme.value = theme.value === 'auto' ? 'light' : theme.value === 'light' ? 'dark' : 'auto';
}

function signOut() {
  token.value = '';
  signIn.value = 'Signed out.';
  location.hash = '#/';
}

const KEYS = [
  ['/', 'filter keys'],
  ['↑ ↓ j k', 'move in a list'],
  ['Enter', 'open'],
  ['Esc', 'one level up'],
  ['1 2 3 4', 'keys, sessions, usage, code'],
  ['n', 'new key'],
  ['e', 'edit'],
  ['Ctrl Enter', 'save'],
  ['d', 'colours'],
  ['?', 'this help'],
];

function help() {
  void ask({
    title: 'Keyboard',
    body: html`<dl class="keys">${KEYS.map(([key, what]) => html`<div><dt>${key.split(' ').map((one) => html`<kbd>${one}</kbd> `)}</dt><dd>${what}</dd></div>`)}</dl>
      <label class="check"><input type="checkbox" checked=${shortcuts.value} onChange=${(/** @type {any} */ event) => (shortcuts.value = event.currentTarget.checked)} /> Single keys do these things</label>
      <p><a href="/docs">The routes of this server</a></p>`,
    actions: [],
    cancel: 'Close',
  });
}

function up() {
  const { ns, key, session, view, prefix, isNew } = route.value;
  if (session !== null) go({ ns, view: 'sessions' });
  else if (key !== null || isNew) go({ ns, prefix });
  else if (view !== 'keys') go({ ns });
  else go({});
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const at = /** @type {HTMLElement} */ (event.target);
  const typing = at.matches('input, textarea, select, [contenteditable]');
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape' && typing && !at.closest('.editor')) return at.blur();
  if (typing || !shortcuts.value || signIn.value !== null) return undefined;
  const { ns } = route.value;
  /** @type {Record<string, () => void>} */
  const actions = { '?': help, d: turnTheme, Escape: up };
  if (ns !== null) {
    VIEWS.forEach((view, index) => (actions[String(index + 1)] = () => go({ ns, view })));
    actions.n = () => go({ ns, isNew: true });
    actions.e = () => document.getElementById('edit')?.click();
    actions['/'] = () => document.getElementById('filter')?.focus();
  }
  if (!Object.hasOwn(actions, event.key)) return undefined;
  event.preventDefault();
  return actions[event.key]();
}

document.addEventListener('keydown', onKey);
render(html`<${App} />`, /** @type {Element} */ (document.getElementById('app')));

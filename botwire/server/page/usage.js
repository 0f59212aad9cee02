// How much a namespace holds, and when it was written. The bars are drawn here; no library is needed for them.
import { html, useEffect, useState } from './html.js';
import { get, path } from './api.js';
import { allEntryLines, askAndSave, namespaceLines } from './export.js';
import { useChanges } from './live.js';
import { ask, Failure, isStatus, Loading, tellError } from './parts.js';
import { request, query } from './api.js';
import { readOnly, tell } from './state.js';
import { count, plural, size, Text } from './text.js';

/**
 * @typedef {{day: string, entries: number, messages: number, bytes: number}} Day
 * @typedef {{entries: number, entry_bytes: number, sessions: number, messages: number, message_bytes: number, days: Day[]}} Figures
 */

const MOST_DAYS = 60;

/** @param {{ns: string}} props */
export function Usage({ ns }) {
  const [figures, setFigures] = useState(/** @type {Figures | null} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));

  async function load() {
    try {
      setFigures(await get(`/usage${path(ns)}`));
      setError(null);
    } catch (problem) {
      setError(/** @type {Error} */ (problem));
    }
  }

  useEffect(() => void load(), [ns]);
  // Counting may read all of a namespace, so not with every change.
  useChanges(ns, null, async () => {
    await load();
    await new Promise((done) => setTimeout(done, 10_000));
  });
  return html`<div class="page">
    ${error && !figures ? (isStatus(error, 404) ? html`<${Counts} ns=${ns} />` : html`<${Failure} error=${error} again=${load} />`) : !figures ? html`<${Loading} />` : html`<${Charts} figures=${figures} />`}
    <${Everything} ns=${ns} />
  </div>`;
}

/** Where the server keeps no figures. @param {{ns: string}} props */
function Counts({ ns }) {
  const [entries, setEntries] = useState(/** @type {number | null} */ (null));
  useEffect(() => void get(`/count${path(ns)}`).then((found) => setEntries(found.count), tellError), [ns]);
  return html`<dl class="figures"><div><dt>Entries</dt><dd>${entries === null ? '…' : count(entries)}</dd></div></dl>
    <p class="note">This server keeps no more figures.</p>`;
}

/** @param {{figures: Figures}} props */
function Charts({ figures }) {
  const days = lastDays(figures.days);
  let held = figures.days.reduce((sum, day) => sum + day.bytes, 0) - days.reduce((sum, day) => sum + day.bytes, 0);
  const growth = days.map((day) => (held += day.bytes));
  return html`<dl class="figures">
      <div><dt>Entries</dt><dd>${count(figures.entries)} <small>${size(figures.entry_bytes)}</small></dd></div>
      <div><dt>Sessions</dt><dd>${count(figures.sessions)}</dd></div>
      <div><dt>Messages</dt><dd>${count(figures.messages)} <small>${size(figures.message_bytes)}</small></dd></div>
      <div><dt>Together</dt><dd>${size(figures.entry_bytes + figures.message_bytes)}</dd></div>
    </dl>
    ${days.length > 0 &&
    html`<${Bars} title="Writes per day" unit=${(/** @type {number} */ n) => count(n)} days=${days}
        parts=${[
          { name: 'Entries', class: 'bar-entries', values: days.map((day) => day.entries) },
          { name: 'Messages', class: 'bar-messages', values: days.map((day) => day.messages) },
        ]} />
      <${Bars} title="Size" unit=${size} days=${days} parts=${[{ name: 'Bytes', class: 'bar-bytes', values: growth }]} />
      <p class="note">By the day (UTC) on which what is there now was last written. What was replaced or deleted since is not counted.</p>`}`;
}

/** The newest days, those without writes between them too. @param {Day[]} days @returns {Day[]} */
function lastDays(days) {
  if (!days.length) return [];
  const known = new Map(days.map((day) => [day.day, day]));
  /** @type {Day[]} */
  const found = [];
  const end = Math.max(Date.parse(days[days.length - 1].day), Date.parse(new Date().toISOString().slice(0, 10)));
  const start = Math.max(Date.parse(days[0].day), end - (MOST_DAYS - 1) * 86_400_000);
  for (let at = Math.min(start, end - 13 * 86_400_000); at <= end; at += 86_400_000) {
    const day = new Date(at).toISOString().slice(0, 10);
    found.push(known.get(day) ?? { day, entries: 0, messages: 0, bytes: 0 });
  }
  return found;
}

const HEIGHT = 120;

/** @param {{title: string, unit: (value: number) => string, days: Day[], parts: {name: string, class: string, values: number[]}[]}} props */
function Bars({ title, unit, days, parts }) {
  const totals = days.map((_, index) => parts.reduce((sum, one) => sum + one.values[index], 0));
  const most = Math.max(1, ...totals);
  return html`<figure class="chart">
    <figcaption>
      <h2>${title}</h2>
      ${parts.length > 1 && html`<span class="legend">${parts.map((one) => html`<span><i class=${one.class}></i>${one.name}</span>`)}</span>`}
    </figcaption>
    <div class="plot">
      <span class="soft most">${unit(most)}</span>
      <svg viewBox=${`0 0 ${days.length * 10} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        ${days.map((day, index) => {
          let top = HEIGHT;
          return html`<g key=${day.day}>
            <title>${`${day.day}: ${parts.map((one) => `${one.name.toLowerCase()} ${unit(one.values[index])}`).join(', ')}`}</title>
            <rect class="bar-none" x=${index * 10} y="0" width="10" height=${HEIGHT} />
            ${parts.map((one) => {
              const height = one.values[index] ? Math.max(2, (one.values[index] / most) * (HEIGHT - 2)) : 0;
              top -= height;
              return html`<rect class=${one.class} x=${index * 10 + 1} y=${top} width="8" height=${height} />`;
            })}
          </g>`;
        })}
      </svg>
      <span class="soft ends"><span>${days[0].day}</span><span>${days[days.length - 1].day}</span></span>
    </div>
    <details>
      <summary>As a table</summary>
      <table>
        <thead><tr><th scope="col">Day</th>${parts.map((one) => html`<th scope="col">${one.name}</th>`)}</tr></thead>
        <tbody>${days.map((day, index) => totals[index] > 0 && html`<tr><th scope="row">${day.day}</th>${parts.map((one) => html`<td>${unit(one.values[index])}</td>`)}</tr>`)}</tbody>
      </table>
    </details>
  </figure>`;
}

/** What can be done with all of a namespace. @param {{ns: string}} props */
function Everything({ ns }) {
  const locked = readOnly.value.has(ns);
  return html`<section class="everything" aria-labelledby="everything">
    <h2 id="everything">All of this namespace</h2>
    <div class="buttons">
      <button type="button" onClick=${() => askAndSave('all entries and sessions', namespaceLines(ns), `${ns}.jsonl`, ns)}>Export everything</button>
      <button type="button" onClick=${() => askAndSave('all entries', allEntryLines(ns, ''), `${ns}-entries.jsonl`, ns)}>Export entries</button>
      <button type="button" class="bad" disabled=${locked} onClick=${() => removeEntries(ns)}>Delete entries…</button>
    </div>
    ${locked && html`<p class="note">This token may only read here.</p>`}
  </section>`;
}

/** @param {string} ns */
async function removeEntries(ns) {
  try {
    const found = await get(`/count${path(ns)}`);
    const answer = await ask({
      title: 'Delete all entries?',
      body: html`<p>${plural(found.count, 'entry')} in namespace <${Text} class="name" text=${ns} />. Sessions stay. This cannot be undone; an export can be imported again.</p>`,
      actions: [{ name: `Delete ${plural(found.count, 'entry')}`, value: 'delete', bad: true }],
      typed: ns,
    });
    if (!answer) return;
    const response = await request(`/memory${path(ns)}${query({})}`, { method: 'DELETE' });
    tell(`Deleted ${plural((await response.json()).deleted, 'entry')}`);
  } catch (error) {
    tellError(error);
  }
}

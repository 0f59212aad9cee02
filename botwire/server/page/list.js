// A list of any length: fetched page by page as it is scrolled, of which the rows in sight alone are in the document.
import { html, useEffect, useLayoutEffect, useRef, useState } from './html.js';
import { Problem } from './api.js';
import { Failure, Loading } from './parts.js';

/**
 * @template Row
 * @typedef {{cursor: string | null, rows: Row[], next: string | null, fresh: boolean}} ListPage
 */

/**
 * The pages of a list.
 * @template Row
 */
class Pages {
  /** @param {(cursor: string | null, signal: AbortSignal) => Promise<{rows: Row[], next: string | null}>} fetch @param {() => void} changed */
  constructor(fetch, changed) {
    this.fetch = fetch;
    this.changed = changed;
    this.abort = new AbortController();
    /** @type {ListPage<Row>[]} */
    this.pages = [];
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Error | null} */
    this.error = null;
    this.busy = false;
    this.done = false;
    /** @type {[number, number] | null} rows to fetch again once there is time */
    this.waiting = null;
  }

  /** The next page, if there is one. */
  async more() {
    if (this.busy || this.done || this.abort.signal.aborted) return;
    const last = this.pages[this.pages.length - 1];
    await this.load(this.pages.length, last ? last.next : null);
  }

  /** Pages are not what they were: fetch those in sight, the others once they are in sight. @param {number} from @param {number} to */
  async refresh(from, to) {
    for (const page of this.pages) page.fresh = false;
    await this.freshen(from, to);
  }

  /** @param {number} from @param {number} to rows in sight */
  async freshen(from, to) {
    if (this.busy) {
      this.waiting = [from, to];
      return;
    }
    let at = 0;
    for (let index = 0; index < this.pages.length; index += 1) {
      const page = this.pages[index];
      const end = at + Math.max(page.rows.length, 1);
      if (!page.fresh && at <= to && end > from) await this.load(index, page.cursor);
      at = end;
    }
    if (!this.pages.length) await this.more();
  }

  /** @param {number} index @param {string | null} cursor */
  async load(index, cursor) {
    this.busy = true;
    try {
      const { rows, next } = await this.fetch(cursor, this.abort.signal);
      const before = this.pages[index];
      this.pages[index] = { cursor, rows, next, fresh: true };
      if (before && before.next !== next) this.pages.length = index + 1; // the pages after it begin elsewhere now
      this.error = null;
    } catch (error) {
      if (this.abort.signal.aborted) return;
      this.error = /** @type {Error} */ (error);
    } finally {
      this.busy = false;
    }
    this.rows = this.pages.flatMap((page) => page.rows);
    const last = this.pages[this.pages.length - 1];
    this.done = last !== undefined && last.next === null;
    this.changed();
    const waiting = this.waiting;
    this.waiting = null;
    if (waiting && !this.error) void this.freshen(...waiting);
  }
}

/**
 * @template Row
 * @param {{
 *   id: string, label: string, version?: number, empty: unknown, isChosen: (row: Row) => boolean,
 *   fetch: (cursor: string | null, signal: AbortSignal) => Promise<{rows: Row[], next: string | null}>,
 *   row: (row: Row) => unknown, hrefOf: (row: Row) => string, keyOf: (row: Row) => string,
 * }} props  id: what is listed; another id begins anew. version: another one fetches again what is in sight.
 */
export function PagedList({ id, label, version = 0, empty, isChosen, fetch, row, hrefOf, keyOf }) {
  const [, redraw] = useState(0);
  const [top, setTop] = useState(0);
  const [active, setActive] = useState(-1);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const source = useRef(/** @type {Pages<Row> | null} */ (null));
  const height = matchMedia('(pointer: coarse), (max-width: 760px)').matches ? 44 : 32;

  useLayoutEffect(() => {
    const pages = new Pages(fetch, () => redraw((count) => count + 1));
    source.current = pages;
    setActive(-1);
    if (box.current) box.current.scrollTop = 0;
    void pages.more();
    return () => pages.abort.abort();
  }, [id]);

  const rows = source.current?.rows ?? [];
  const room = box.current?.clientHeight || 800;
  const from = Math.max(0, Math.floor(top / height) - 5);
  const to = Math.min(rows.length, Math.ceil((top + room) / height) + 5);

  useEffect(() => {
    if (version) void source.current?.refresh(from, to);
  }, [version]);
  useEffect(() => {
    const pages = source.current;
    if (!pages || pages.error) return;
    if (to >= rows.length - 20) void pages.more();
    else if (!version) return;
    void pages.freshen(from, to);
  }, [from, to, rows.length]);

  /** @param {number} index */
  function activate(index) {
    const element = box.current;
    const at = Math.max(0, Math.min(rows.length - 1, index));
    setActive(at);
    if (!element) return;
    if (at * height < element.scrollTop) element.scrollTop = at * height;
    else if ((at + 1) * height > element.scrollTop + element.clientHeight) element.scrollTop = (at + 1) * height - element.clientHeight;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(room / height) - 1);
    const start = active < 0 ? rows.findIndex(isChosen) : active;
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: start + 1, j: start + 1, ArrowUp: start - 1, k: start - 1, PageDown: start + page, PageUp: start - page, Home: 0, End: rows.length - 1 };
    if (event.key in moves) activate(moves[event.key]);
    else if ((event.key === 'Enter' || event.key === ' ') && rows[active]) location.hash = hrefOf(rows[active]);
    else return;
    event.preventDefault();
  }

  const pages = source.current;
  if (pages?.error && !rows.length) return html`<${Failure} error=${pages.error} again=${() => ((pages.error = null), pages.more())} />`;
  if (pages?.done && !rows.length) return empty;
  return html`<div
      class="list"
      role="listbox"
      tabindex="0"
      aria-label=${label}
      aria-activedescendant=${active >= from && active < to ? `row-${active}` : undefined}
      ref=${box}
      onScroll=${(/** @type {Event} */ event) => setTop(/** @type {HTMLElement} */ (event.currentTarget).scrollTop)}
      onKeyDown=${onKey}
    >
      <div class="rows" role="presentation" style=${{ height: `${rows.length * height}px` }}>
        ${rows.slice(from, to).map((one, offset) => {
          const index = from + offset;
          return html`<a
            key=${keyOf(one)}
            id=${`row-${index}`}
            role="option"
            tabindex="-1"
            class=${index === active ? 'row active' : 'row'}
            style=${{ top: `${index * height}px`, height: `${height}px` }}
            aria-selected=${isChosen(one) ? 'true' : 'false'}
            aria-setsize=${pages?.done ? rows.length : -1}
            aria-posinset=${index + 1}
            href=${hrefOf(one)}
            onClick=${() => setActive(index)}
            >${row(one)}</a
          >`;
        })}
      </div>
    </div>
    ${pages?.error instanceof Problem && rows.length
      ? html`<${Failure} error=${pages.error} again=${() => ((pages.error = null), pages.more())} />`
      : !pages?.done && (!rows.length || to > rows.length - 6) && html`<${Loading} />`}`;
}

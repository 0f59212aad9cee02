// Asking for a token, once the server has said that it wants one.
import { html, useEffect, useRef, useState } from './html.js';
import { PAGE, Problem, query, request } from './api.js';
import { signIn, token } from './state.js';
import { plain } from './text.js';

export function SignIn() {
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);

  async function enter() {
    setBusy(true);
    token.value = typed.trim();
    try {
      await request(`/memory${query({ limit: PAGE })}`);
      signIn.value = null;
    } catch (error) {
      if (error instanceof Problem && error.status !== 401 && error.status !== 0) signIn.value = null; // known, but may not list namespaces
      else if (error instanceof Problem) signIn.value = error.message && error.status === 0 ? error.message : signIn.value;
    }
    setBusy(false);
  }

  return html`<main class="sign-in">
    <form
      onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        void enter();
      }}
    >
      <h1>botwire</h1>
      <p role="alert"><bdi>${plain(signIn.value ?? '', 300)}</bdi></p>
      <label class="field"
        >Token
        <input ref=${field} type="password" value=${typed} autocomplete="off" spellcheck="false" required onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} />
      </label>
      <button type="submit" class="main" disabled=${busy || !typed.trim()}>Sign in</button>
      <p class="note">It is kept in this tab alone, and sent to this server alone.</p>
    </form>
  </main>`;
}

// What several views share.
import { effect, signal } from './html.js';

/** @typedef {{id: number, text: string, bad: boolean}} Toast */

/** The token in use; it lives as long as the tab. */
export const token = signal(sessionStorage.getItem('botwire-token') ?? '');

/** Why a token is asked for; null while none is. */
export const signIn = signal(/** @type {string | null} */ (null));

/** Namespaces in which a write was refused. */
export const readOnly = signal(/** @type {ReadonlySet<string>} */ (new Set()));

export const toasts = signal(/** @type {Toast[]} */ ([]));

/** How the page hears of changes. */
export const liveness = signal(/** @type {'live' | 'polling' | 'off'} */ ('off'));

/** @typedef {'auto' | 'light' | 'dark'} Theme */
export const theme = signal(/** @type {Theme} */ (localStorage.getItem('botwire-theme') ?? 'auto'));

/** Whether single keys do things. */
export const shortcuts = signal(localStorage.getItem('botwire-shortcuts') !== 'off');

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem('botwire-theme', theme.value);
});
effect(() => localStorage.setItem('botwire-shortcuts', shortcuts.value ? 'on' : 'off'));
effect(() => {
  if (token.value) sessionStorage.setItem('botwire-token', token.value);
  else sessionStorage.removeItem('botwire-token');
});

let last = 0;

/** @param {string} text @param {boolean} [bad] */
export function tell(text, bad = false) {
  last += 1;
  const id = last;
  toasts.value = [...toasts.value.slice(-3), { id, text, bad }];
  setTimeout(() => dismiss(id), bad ? 12_000 : 4_000);
}

/** @param {number} id */
export function dismiss(id) {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

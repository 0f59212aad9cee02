// What every module of the page builds its views with. Text given to it is text, never markup.
import htm from './vendor/htm.mjs';
import { h } from './vendor/preact.mjs';

export const html = htm.bind(h);
export { Fragment, createRef, render } from './vendor/preact.mjs';
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.mjs';
export { computed, effect, signal } from './vendor/signals.mjs';

// Memory for agents in JavaScript: Node.js 20 or newer and its own fetch, no package.
//
//     botwire serve                          in one shell
//     node examples/node/memory.mjs          in another one; run it twice, and it goes on where it was
//
// BOTWIRE_URL and BOTWIRE_TOKEN say where and with which token.
import { randomUUID } from 'node:crypto';

const BASE = process.env.BOTWIRE_URL ?? 'http://127.0.0.1:8377';
const TOKEN = process.env.BOTWIRE_TOKEN;
const PAUSE_MS = 200;

/** The parts of a path are names, so each is encoded whole: a slash in a key is no slash of the path. */
const path = (...names) => names.map((name) => `/${encodeURIComponent(name)}`).join('');

/**
 * One request. What fails for the moment is sent again: each write here names a version or an id, so that it is done once.
 * @returns {Promise<{status: number, answer: any}>} the answer; also one of 404 and 412, which callers expect
 */
async function ask(method, target, { body, headers = {} } = {}, tries = 5) {
  const sent = { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...(TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {}) };
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(BASE + target, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(10_000) });
    } catch (error) {
      if (attempt === tries) throw new Error(`${BASE} does not answer; is \`botwire serve\` running?`, { cause: error });
    }
    if (response && ![429, 502, 503].includes(response.status)) {
      const answer = await response.json();
      if (response.ok || response.status === 404 || response.status === 412) return { status: response.status, answer };
      throw new Error(`${response.status} ${answer.code}: ${answer.detail}`);
    }
    if (attempt === tries) throw new Error(`${BASE} is too busy`);
    const asked = Number(response?.headers.get('retry-after') ?? 0) * 1_000;
    await new Promise((done) => setTimeout(done, asked || PAUSE_MS * 2 ** attempt));
  }
}

/** The entry under a key: value, version and times; null if there is none. */
export async function get(namespace, key) {
  const { status, answer } = await ask('GET', `/memory${path(namespace, key)}`);
  return status === 404 ? null : answer;
}

/**
 * Replace a value by what `change` makes of it, and lose nobody's change: a write names the version that it replaces.
 * @param {(value: any) => any} change called again when somebody else was faster
 */
export async function update(namespace, key, change, absent = null) {
  for (let round = 0; round < 50; round += 1) {
    const entry = await get(namespace, key);
    const value = change(entry ? entry.value : absent);
    const headers = entry ? { 'If-Match': `"${entry.version}"` } : { 'If-None-Match': '*' };
    const { status } = await ask('PUT', `/memory${path(namespace, key)}`, { body: { value, ...(entry ? { ttl: 'keep' } : {}) }, headers });
    if (status === 200) return value;
  }
  throw new Error(`others were faster fifty times in a row: ${namespace}/${key}`);
}

/**
 * Append messages to a session, all or none; returns the number of the last one. The id makes it safe to send again: the
 * server does it once, however often it is asked with the same id.
 */
export async function append(namespace, session, messages, id = randomUUID()) {
  const { answer } = await ask('POST', `/sessions${path(namespace, session)}/messages`, { body: { messages }, headers: { 'Idempotency-Key': id } });
  return answer.last;
}

/** The newest messages of a session, oldest first; none of a session that is not there. */
export async function newest(namespace, session, count = 20) {
  const { answer } = await ask('GET', `/sessions${path(namespace, session)}/messages?last=${count}`);
  return answer.messages.map(({ seq, message }) => ({ seq, ...message }));
}

async function main() {
  const visits = await update('node-example', 'visits/count', (count) => count + 1, 0);
  console.log(`visit ${visits}`);
  const id = `visit-${visits}`;
  const last = await append('node-example', 'user-42', [{ role: 'user', content: `hello for the ${visits}. time` }], id);
  const again = await append('node-example', 'user-42', [{ role: 'user', content: `hello for the ${visits}. time` }], id);
  console.log(`message ${last}; sent twice, it is still message ${again}`);
  for (const { seq, role, content } of await newest('node-example', 'user-42', 3)) console.log(`${seq} ${role}: ${content}`);
}

if (process.argv[1] === import.meta.filename) await main();

// What the server remembers. Memory is enough for one process that may forget its open sessions when it restarts; with
// several, each of these is a table.
import { randomUUID } from 'node:crypto';
import { Refused } from './refused.js';

// snippet: session
// What a response is held to is this record, made when the token was: who asked, whose CPF, since when. A response is
// taken only for the session of the user who is signed in, and ends it. A user has one at a time, which also bounds
// the memory: who opens another gives up the one before.
const sessions = new Map(); // by user
const LIFETIME = 10 * 60_000; // the token's 5 minutes to start the SDK, and as long to finish

export function openSession(user) {
  const session = { id: randomUUID(), user: user.name, cpf: user.cpf, openedAt: Date.now(), used: false, failures: 0 };
  sessions.set(user.name, session);
  return session;
}

export function sessionOf(user, id) {
  const session = sessions.get(user.name);
  if (session?.id !== id) throw new Refused(404, 'session_unknown');
  if (session.used) throw new Refused(409, 'session_not_open');
  if (Date.now() >= session.openedAt + LIFETIME) throw new Refused(410, 'expired');
  return session;
}
// end

// snippet: once
// A response is used once, ever, by whomever and in whatever session. Asking and noting down are one step: between has
// and add there is no await, so of any number of simultaneous posts one wins. With several processes it is one
// INSERT into a table where request_id is unique, in the transaction that ends the session; never a SELECT before it.
// Call it when all else is right, so that nobody can use up another's id or session with rubbish. It may forget at a
// restart, because the sessions go too, and a response from before is too old for any later one.
const usedIds = new Set();

export function useOnce(session, requestId) {
  if (session.used) throw new Refused(409, 'session_not_open');
  if (usedIds.has(requestId)) throw new Refused(409, 'replayed');
  usedIds.add(requestId);
  session.used = true;
}
// end

// snippet: limits
// Limit counts by key, a user or an address, and is full() at max in a minute. Count every token that is made, since each
// is an attempt that Caf bills; and of the responses and sign-ins those that were refused, so that an honest user is never
// held up and nobody can guess for ever. When there are too many keys the oldest is dropped: memory has an end.
export class Limit {
  #counts = new Map(); // key → {count, until}

  constructor(max) {
    this.max = max;
  }

  full(key) {
    const entry = this.#counts.get(key);
    return entry !== undefined && Date.now() < entry.until && entry.count >= this.max;
  }

  add(key) {
    const entry = this.#counts.get(key);
    if (entry && Date.now() < entry.until) return void entry.count++;
    this.#counts.delete(key);
    if (this.#counts.size >= 10_000) this.#counts.delete(this.#counts.keys().next().value);
    this.#counts.set(key, { count: 1, until: Date.now() + 60_000 });
  }
}
// end

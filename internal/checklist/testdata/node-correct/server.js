// The server of examples/node-naive with its faults mended by hand. selo check must find nothing in it, and shows the
// regions marked "snippet" to whoever has the fault that one of them mends.
import { STATUS_CODES } from 'node:http';
import express from 'express';
import { approved, checkClaims, checkTimes, mint, openResponse } from './caf.js';
import { Limit, openSession, sessionOf, useOnce } from './memory.js';
import { Refused } from './refused.js';
import { signIn, signedIn } from './signin.js';

const { CAF_CLIENT_ID, CAF_CLIENT_SECRET, PORT = '3000' } = process.env;
if (!CAF_CLIENT_ID || !CAF_CLIENT_SECRET) throw new Error('CAF_CLIENT_ID and CAF_CLIENT_SECRET must be set');

const number = (name, standard) => {
  const value = Number(process.env[name] ?? standard);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${name} must be a whole number above 0`);
  return value;
};
const tokens = new Limit(number('TOKENS_PER_MINUTE', 10)); // by user
const failures = new Limit(number('FAILURES_PER_MINUTE', 20)); // refused responses, by user
const signInFailures = new Limit(number('SIGN_IN_FAILURES_PER_MINUTE', 20)); // by address
const FAILURES_PER_SESSION = number('FAILURES_PER_SESSION', 5);

// snippet: cors
// There is no cors() here. An app sends no Origin and needs none of its headers, and without them no web page can read
// what these routes answer. A web front of your own is named: cors({ origin: 'https://app.example.com' }). Reflecting
// whatever origin asks (origin: true), with credentials, lets any page act as its visitor.
const app = express();
app.disable('x-powered-by');
// end

// snippet: no-store
// A token in a cache is a token for whoever reads the cache next. This goes before all routes, so that none is missed.
app.use((req, res, next) => {
  res.set('Cache-Control', 'no-store');
  next();
});
// end

app.post('/login', express.json({ limit: '1kb' }), (req, res) => {
  if (signInFailures.full(req.ip)) throw new Refused(429, 'rate_limited');
  const token = signIn(req.body);
  if (!token) {
    signInFailures.add(req.ip);
    throw new Refused(401, 'caller_unauthenticated');
  }
  res.json({ access_token: token });
});

app.post('/caf/token', signedIn, (req, res) => {
  if (tokens.full(req.user.name)) throw new Refused(429, 'rate_limited');
  tokens.add(req.user.name);
  const session = openSession(req.user);
  res.json({ token: mint(CAF_CLIENT_ID, CAF_CLIENT_SECRET, session.cpf), session: session.id });
});

// Who is not signed in reaches no parser, and a body has an end: a response has 16 KiB at most.
app.post('/caf/response', signedIn, express.json({ limit: '20kb' }), (req, res) => {
  if (failures.full(req.user.name)) throw new Refused(429, 'too_many_attempts');
  let session;
  try {
    const { session: id, signedResponse } = req.body ?? {};
    if (typeof id !== 'string' || typeof signedResponse !== 'string') throw new Refused(400, 'request_invalid');
    session = sessionOf(req.user, id);
    const claims = openResponse(signedResponse, CAF_CLIENT_SECRET);
    checkClaims(claims, session.cpf);
    checkTimes(claims, session.openedAt);
    useOnce(session, claims.requestId); // also of a no: Caf's answer to this attempt is final
    if (!approved(claims)) throw new Refused(403, 'not_approved');
  } catch (err) {
    failures.add(req.user.name);
    if (session && ++session.failures >= FAILURES_PER_SESSION) session.used = true;
    throw err;
  }
  // Granted, once. What the user wanted to do is done here and nowhere else.
  res.json({ approved: true });
});

app.use(() => {
  throw new Refused(404, 'not_found');
});

// snippet: errors
// Whoever asked learns the status and nothing else. Express's own handler would send the stack unless NODE_ENV says
// production, and the messages of body parsers quote the body. What is not a refusal of ours or the parser's is a 500,
// which is a no as well: only a 200 that a route sends itself is a yes.
app.use((err, req, res, next) => { // all four, or Express takes it for another kind of handler
  const status = err.status >= 400 && err.status < 500 ? err.status : 500;
  console.error(status === 500 ? err.stack : `${status} ${err.reason ?? err.type ?? 'request_invalid'}`);
  if (res.headersSent) return next(err);
  if (status === 429) res.set('Retry-After', '60');
  res.status(status).json({ error: STATUS_CODES[status] });
});
// end

const server = app.listen(Number(PORT), '127.0.0.1', (err) => {
  if (err) throw err;
  console.log(`http://127.0.0.1:${server.address().port}`);
});
process.stdin.resume().on('end', () => process.exit()); // so that no test can leave it behind
process.on('SIGTERM', () => process.exit());

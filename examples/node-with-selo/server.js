// A bank's backend whose users verify themselves with Caf's face authentication. It has no access key of Caf's and
// checks no signed response: Selo does both, and this server says for whom.
import { readFileSync } from 'node:fs';
import { STATUS_CODES } from 'node:http';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import { signIn, signedIn } from './signin.js';

const { SELO_URL, SELO_API_KEY_FILE, REQUESTS_PER_MINUTE = '20', PORT = '3000' } = process.env;
const apiKey = readFileSync(SELO_API_KEY_FILE, 'utf8').trim();

const selo = (path, body) => fetch(SELO_URL + path, {
  method: 'POST',
  headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
  redirect: 'error', // the API key and the CPF are for Selo, not for wherever an answer points to
  signal: AbortSignal.timeout(10_000),
});

const refuse = (res, status) => res.status(status).json({ error: STATUS_CODES[status] });

// refused passes on Selo's status, but for what is between Selo and us alone, and nothing of what it said.
const refused = (res, { status }) => refuse(res, status >= 400 && status < 500 && status !== 401 ? status : 503);

const limit = (by) => rateLimit({
  windowMs: 60_000, limit: Number(REQUESTS_PER_MINUTE), message: { error: STATUS_CODES[429] }, ...by,
});
const perUser = () => limit({ keyGenerator: (req) => req.user.name });

const app = express();
app.disable('x-powered-by');
app.use((req, res, next) => {
  res.set('Cache-Control', 'no-store');
  next();
});

app.post('/login', limit({ skipSuccessfulRequests: true }), express.json({ limit: '1kb' }), (req, res) => {
  const token = signIn(req.body);
  if (!token) return refuse(res, 401);
  res.json({ access_token: token });
});

const sessions = new Map(); // user → their session of Selo's; a column of the users' table, if you have several processes

app.post('/caf/token', signedIn, perUser(), async (req, res) => {
  const { name, cpf } = req.user; // from our records: nothing in the request says for whom
  const opened = await selo('/v1/sessions', { product: 'caf/face-authentication', purpose: 'new-device', subject: name, cpf });
  if (opened.status !== 201) return refused(res, opened);
  const { session_id: session, tokens } = await opened.json();
  sessions.set(name, session);
  res.json({ token: tokens.mobile, session });
});

app.post('/caf/response', signedIn, perUser(), express.json({ limit: '20kb' }), async (req, res) => {
  const { session, signedResponse } = req.body ?? {};
  if (typeof session !== 'string' || typeof signedResponse !== 'string') return refuse(res, 400);
  if (session !== sessions.get(req.user.name)) return refuse(res, 404); // somebody else's, or one given up
  const decided = await selo(`/v1/sessions/${session}/response`, { signed_response: signedResponse });
  if (decided.status !== 200) return refused(res, decided);
  // Granted, once. What the user wanted to do is done here and nowhere else.
  res.json({ approved: true });
});

app.use((req, res) => refuse(res, 404));
app.use((err, req, res, next) => {
  console.error(err.type ?? err.cause?.code ?? err.name); // not the message, which may quote the request
  refuse(res, err.status ?? 503);
});

const server = app.listen(Number(PORT), '127.0.0.1', (err) => {
  if (err) throw err;
  console.log(`http://127.0.0.1:${server.address().port}`);
});
process.stdin.resume().on('end', () => process.exit()); // so that no test can leave it behind
process.on('SIGTERM', () => process.exit());

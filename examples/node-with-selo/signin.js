// The sign-in, which your server has already and this example needs to be one: two users, whose passwords are in
// the environment, and a session token of 15 minutes. What the rest uses of it is req.user, {name, cpf}.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import jwt from 'jsonwebtoken';

const { APP_SECRET } = process.env;
if (!(APP_SECRET?.length >= 32)) throw new Error('APP_SECRET must have at least 32 characters');

const users = new Map(); // by name
const passwords = new Map(); // their hashes, by name
const hash = (text) => createHash('sha256').update(text).digest(); // your own sign-in has scrypt or argon2 here
for (const user of JSON.parse(readFileSync(new URL('users.json', import.meta.url)))) {
  const variable = `${user.name.toUpperCase()}_PASSWORD`;
  if (!process.env[variable]) throw new Error(`${variable} is not set`);
  users.set(user.name, Object.freeze(user));
  passwords.set(user.name, hash(process.env[variable]));
}

const ISSUER = 'example-bank';

// signIn answers with a session token, or undefined.
export function signIn({ user, password } = {}) {
  if (typeof user !== 'string' || typeof password !== 'string') return undefined;
  const right = timingSafeEqual(hash(password), passwords.get(user) ?? hash(''));
  if (!right || !users.has(user)) return undefined;
  return jwt.sign({}, APP_SECRET, { algorithm: 'HS256', subject: user, issuer: ISSUER, audience: ISSUER, expiresIn: '15m' });
}

// signedIn lets only signed-in users pass, and says who they are in req.user.
export function signedIn(req, res, next) {
  try {
    const [, token] = /^Bearer (\S+)$/i.exec(req.get('Authorization') ?? '') ?? [];
    const { sub } = jwt.verify(token, APP_SECRET, { algorithms: ['HS256'], issuer: ISSUER, audience: ISSUER });
    req.user = users.get(sub);
  } catch {
    req.user = undefined;
  }
  if (!req.user) return res.status(401).json({ error: 'Unauthorized' });
  next();
}

// The mobile token that starts Caf's face authentication, and the signed response that comes back. Both are JWTs under
// one secret, which is why so much of this is about telling one from the other.
import { createHmac, timingSafeEqual } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { Refused } from './refused.js';
import { readObject } from './strict-json.js';

// snippet: mint
// One token for one attempt of one person: issuer, CPF and an expiry of minutes. Nothing that a request says goes into
// it, for responses are signed with the same secret: whoever could choose a claim here could have us sign a response.
// For the same reason jsonwebtoken's iat is left out. Make one for each call; never keep or share one.
export function mint(clientId, clientSecret, cpf) {
  return jwt.sign({ peopleId: cpf }, clientSecret, {
    algorithm: 'HS256',
    issuer: clientId,
    expiresIn: 5 * 60, // seconds
    noTimestamp: true,
  });
}
// end

// snippet: verify
// Nothing of a response is parsed before its HMAC is right. Only HS256 is computed, whatever the header asks for, and
// a header that asks for anything else (crit, b64, jwk, jku, …) is refused. The comparison takes the same time for any
// wrong signature, and one token has one spelling: Buffer would pass over characters that are not base64url.
function decode(segment) {
  const bytes = Buffer.from(segment, 'base64url');
  if (bytes.toString('base64url') !== segment) throw new Refused(403, 'malformed');
  return bytes;
}

export function openResponse(response, clientSecret) {
  if (response.length > 16 * 1024) throw new Refused(413, 'too_large');
  const segments = response.split('.', 4);
  if (segments.length !== 3) throw new Refused(403, 'malformed');
  const [header, payload, signature] = segments.map(decode);
  const expected = createHmac('sha256', clientSecret).update(`${segments[0]}.${segments[1]}`).digest();
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) throw new Refused(403, 'signature_invalid');
  const { alg, typ = 'JWT', kid = '', ...others } = readObject(header); // strict JSON: no name twice
  if (alg !== 'HS256') throw new Refused(403, 'algorithm_refused');
  if (typ !== 'JWT' || typeof kid !== 'string' || Object.keys(others).length > 0) throw new Refused(403, 'header_refused');
  return readObject(payload);
}
// end

// snippet: claims
// A right signature says that Caf wrote it, or we: not that it is a yes, nor for whom, nor of which product. iss is only
// in our own mobile token. The other foreign names are of liveness on the web, the mobile API and Smart Auth. A name
// in another spelling (IsMatch, is_match, iſMatch) is refused, for a lenient parser elsewhere would take it for ours.
const ours = new Map(['requestId', 'isAlive', 'isMatch', 'personId', 'iat', 'exp', 'nbf'].map((name) => [fold(name), name]));
const foreign = new Set(['iss', 'peopleId', 'policyId', 'isAuthorized', 'isNewContext', 'attemptId', 'person', 'sessionId',
  'createdAt'].map(fold));
function fold(name) {
  return name.normalize('NFKD').toUpperCase().toLowerCase().replace(/[^a-z0-9]/g, '');
}

export function checkClaims(claims, cpf) {
  for (const name of Object.keys(claims)) {
    if (foreign.has(fold(name))) throw new Refused(403, name === 'iss' ? 'token_confusion' : 'product_mismatch');
    if ((ours.get(fold(name)) ?? name) !== name) throw new Refused(403, 'payload_invalid');
  }
  const { requestId, isAlive, isMatch, personId } = claims;
  if (typeof requestId !== 'string' || !/^[!-~]{1,256}$/.test(requestId)) throw new Refused(403, 'claim_type');
  if (typeof isAlive !== 'boolean' || typeof isMatch !== 'boolean') throw new Refused(403, 'claim_type'); // no "true", no 1
  if (typeof personId !== 'string' || personId === '') throw new Refused(403, 'subject_unproven');
  const bare = /^\d{3}\.\d{3}\.\d{3}-\d{2}$/.test(personId) ? personId.replace(/\D/g, '') : personId; // Caf may write either
  if (bare !== cpf) throw new Refused(403, 'subject_mismatch');
}
export const approved = (claims) => claims.isAlive === true && claims.isMatch === true;
// end

// snippet: freshness
// The response has no expiry and no nonce, so its age is ours to judge: it was made after we opened the attempt and not
// in the future. 5 seconds back and 30 ahead are for clocks that differ. jsonwebtoken does not ask for iat at all.
export function checkTimes(claims, openedAt, now = Date.now()) { // milliseconds; the claims are in seconds
  const time = (name) => {
    if (!Number.isSafeInteger(claims[name])) throw new Refused(403, 'claim_type');
    return claims[name] * 1000;
  };
  if (!Object.hasOwn(claims, 'iat')) throw new Refused(403, 'freshness_unproven');
  if (time('iat') < openedAt - 5_000) throw new Refused(403, 'stale');
  if (time('iat') > now + 30_000) throw new Refused(403, 'from_the_future');
  if (Object.hasOwn(claims, 'exp') && time('exp') <= now) throw new Refused(403, 'expired');
  if (Object.hasOwn(claims, 'nbf') && time('nbf') > now + 30_000) throw new Refused(403, 'from_the_future');
}
// end

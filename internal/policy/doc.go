// Package policy says who may ask.
//
// Every request carries one credential, and Authenticate turns it into a Caller or refuses it. There are
// two kinds of caller:
//
//   - An end user of one App, with a bearer token (a JWT) that the customer's identity provider signed.
//     The Caller says which subject that is and, when the token has the claim, whose CPF. Both come from
//     the verified token and from nowhere else.
//   - A Service, the customer's own backend, with an API key. It speaks for the users of one App, in the
//     scopes it was given, and asserts the subject itself: in a namespace of its own, unless it is trusted
//     with the issuer's.
//
// Nothing else is a caller. What is not understood is refused.
//
// # What a bearer token must be
//
// A compact JWS of at most selo.MaxTokenSize bytes, in canonical base64url, whose header and payload are
// strict JSON objects, signed with RS256, ES256 or EdDSA. The app is chosen by iss and aud, which must
// match exactly one; the key is chosen by kid among the keys of that app's issuer and of nobody else; the
// algorithm is the one the key is for, never the one the token would like. Keys inside the token (jwk,
// jku, x5c, x5u) are never used. Tokens that say they are something other than an access or ID token, a
// Selo receipt or a logout token for example, are refused by their typ.
//
// # The issuer's keys
//
// They are read from a file when the server starts, or fetched over HTTPS when first needed, so that the
// server starts while the identity provider is down. A fetched set is refreshed after 10 minutes. If that
// fails the last good set serves on until an hour after it was fetched, and then everybody of that issuer
// is refused: a key that was withdrawn must not live for ever because its issuer cannot be reached. The
// issuer is asked by one request at a time; a sender of tokens with random key ids makes us ask it once per
// 30 seconds and no more, and while it fails we try once per 5 seconds and no more.
//
// # Errors
//
// Every refusal is a *selo.Error with selo.ReasonCallerUnauthenticated. A genuine token whose CPF claim is
// no CPF authenticates, without a CPF and with Caller.CPFFault, so that the refusal that follows is on the
// record of who it was. No error contains the credential, a CPF or a subject. When
// the fault is not the caller's (the issuer's keys cannot be had), Err holds the cause; it is for the log
// and not for the reply.
package policy

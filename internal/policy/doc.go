// Package policy says who may ask, and what an app's rules say of it.
//
// Every request carries one credential, and Authenticate (or AuthenticateCertificate) turns it into a Caller or
// refuses it. There are three kinds of caller:
//
//   - An end user of one App, with a bearer token of the customer's identity provider: a JWT that it signed,
//     or an opaque token that it is asked about. The Caller says which subject that is, whose CPF when the
//     token has one, and the claims that rules may use. All come from the verified token or the answer about
//     it, and from nowhere else.
//   - A service, the customer's own backend, with an API key or a client certificate. It speaks for the users
//     of one App, in the scopes it was given, and asserts the subject itself: in a namespace of its own,
//     unless it is trusted with the issuer's.
//   - An operator, with an API key of another form, whose scopes have nothing to do with sessions.
//
// The credentials of the last two are in the store, which is asked each time: one that was revoked is refused
// from then on. Rules judge what a caller may have (CompileRules, Rules.Judge), and a Lookup asks the
// customer's backend for the CPF of a subject whose token has none.
//
// Nothing else is a caller. What is not understood is refused.
//
// # What a bearer token must be
//
// A compact JWS of at most selo.MaxTokenSize bytes, in canonical base64url, whose header and payload are
// strict JSON objects, signed with RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA (Ed25519). The app is
// chosen by iss and aud, which must match exactly one; the key is chosen by kid among the keys of that app's
// issuer and of nobody else; the algorithm is the one the key is for, never the one the token would like. An
// RSA key is for the alg that its JWK names, and for RS256 if it names none. Keys inside the token (jwk, jku,
// x5c, x5u) are never used. Tokens that say they are something other than an access or ID token, a Selo
// receipt or a logout token for example, are refused by their typ. A token with cnf is refused: it is bound
// to a key (DPoP, mutual TLS), and that its sender has the key is not proven here. Where an app has
// AuthorizedParties, azp and client_id, whichever are there, must be among them, and one must be there.
//
// # Claims
//
// Caller.Claims holds the StandardClaims and the ones that App.Claims declares. Each may be absent; one of
// another type than declared, null included, refuses the token. Names are compared exactly, and a token that
// has a name we read in another case, at the top or along a JSON pointer, is refused: another program may
// take it for the claim.
//
// # Opaque tokens
//
// Where apps have an Introspection, a bearer token that is neither a JWT nor like an API key is asked about
// there (RFC 7662), and the answer is held to what a JWT is held to, but that iss and exp may be absent. It
// must be active; of token_type only Bearer is taken, and of token_use only access tokens. An opaque token
// does not say who made it, so there is one endpoint for all. Requests that bring the same token at the same
// time ask once, no more than 16 are asked about at once, and it takes 5 seconds at the most.
//
// # The issuer's keys
//
// They are read from a file when the server starts, or fetched over HTTPS when first needed, so that the
// server starts while the identity provider is down. Their URL is configured, or it is discovered from the
// issuer's document (OpenID Connect Discovery) as a part of the fetch, and remembered for an hour or until a
// fetch fails. The document must be of exactly the app's issuer.
//
// A request that finds the fetched set older than 10 minutes is answered from it at once, and has it
// refreshed in the background. If that fails the last good set serves on until an hour after it was fetched,
// and then everybody of that issuer is refused: a key that was withdrawn must not live for ever because its
// issuer cannot be reached. The issuer is asked by one request at a time, also for several apps; a sender of
// tokens with random key ids makes us ask it once per 30 seconds and no more, and while it fails we try once
// per 5 seconds and no more. An Authenticator that is made with a Previous one takes its sets over.
//
// # What is remembered
//
// A token that was found good is not verified again for a minute, and an opaque one for 10 seconds, but never
// past its exp. It is found by the SHA-256 of the whole of it. A JWT is not remembered longer than its key:
// each time the key source is asked whether kid still means the same key for the same algorithm. At most 8192
// tokens are remembered, and no refusal is. Another configuration begins with none.
//
// # Errors
//
// Every refusal is a *selo.Error with selo.ReasonCallerUnauthenticated. A genuine token whose CPF claim is
// no CPF authenticates, without a CPF and with Caller.CPFFault, so that the refusal that follows is on the
// record of who it was. No error contains the credential, a CPF or a subject. When
// the fault is not the caller's (the issuer's keys cannot be had, or the token cannot be introspected), Err
// holds the cause; it is for the log and not for the reply.
package policy

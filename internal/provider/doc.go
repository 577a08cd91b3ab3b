// Package provider calls out to the real provider, Caf: bounded, retried once, and never trusting. It has
// three kinds of call, each of which may be configured or not:
//
//   - Exchange: our signed JWT for a session token, which then starts the SDK.
//   - SmartAuth: what the provider's own record says of a Smart Auth attempt (a re-check).
//   - Face: what it says of a face attempt (a re-check).
//
// The package asks and reports. What a session token is handed out for, and whether an attempt grants, is
// decided by who calls it.
//
// # What is sent
//
// One GET, with the credential in Authorization and, for the re-checks, the attempt id in the path. The id
// is the only thing that ever comes from a request of ours; it is 1 to 256 of A-Z a-z 0-9 . _ - and not a
// dot segment, or nothing is sent at all. No proxy of the environment is used and no redirect is followed:
// nobody but the configured host sees a credential.
//
// # What an answer must be
//
// Status 200, without a content encoding, at most 64 KiB, one strict JSON object: valid UTF-8, no name
// twice at any depth, nothing after it. Members that we do not read are passed over. A member that we read,
// in another spelling (Status, person_id), refuses the answer: a reader elsewhere might take it for the
// real one. A null where something may be absent is absent; a null for a decision is none. Whatever is not
// understood never means yes. So:
//
//   - The session token is three base64url segments with a strict JSON payload, at most selo.MaxTokenSize.
//     It is not what we sent, not that with another signature, and not issued by our own client ID: a
//     provider, or something in front of it, that echoes our credential would have us hand the app a token
//     made with its key. Its signature is the provider's own and is not checked.
//   - An attempt is about the id that was asked for. SmartAuth may leave the id out, Face may not.
//   - Smart Auth: status "approved" is selo.AttemptApproved; "pending", "processing" and "in_progress" are
//     selo.AttemptPending; any other string is selo.AttemptRefused. selo.AssuranceMatch needs one face
//     attempt in which isAlive and isMatch are both true, and else nothing is said of the assurance.
//   - Faces: approved when isMatch is true and nothing next to it (liveness.isAlive, faceMatch.isFaceMatch)
//     says otherwise; selo.AssuranceMatch only when isAlive is there too. Without isMatch, isAlive decides
//     and proves selo.AssurancePresence.
//   - A person is a CPF with correct check digits, or not named at all.
//
// # How long and how much
//
// A call ends within Config.Timeout, its retry included, or when its context does. There is one retry,
// after a random pause, of what may pass by itself: a 5xx, a connection that was refused or broke off, an
// answer that was cut. It is left out when there is not the time. Repeating an exchange is safe: a session
// token that nobody uses is worth nothing. At most 64 calls of a kind run at once, and the next is refused
// at once: a slow provider costs us 64 goroutines, not all of them.
//
// Five failures of one kind in a row open its circuit breaker. For 10 seconds nobody calls; then one call at
// a time does, without a retry, until one succeeds. A failure is an error of transport, a timeout, a 5xx, a
// 401 or 403 (our credentials are bad), any other status that is none of the call's, or an answer of the
// wrong shape. Neither failure nor success is what says nothing about the provider: a call that the caller's
// context ended, a 429, and what whoever picks the attempt id can bring about (an answer about another
// attempt, a person who is no CPF, a 400 to a re-check). Otherwise one app could close the re-check for all
// others. A 404 to a re-check is an answer like any other.
//
// After a 429 nobody calls until the time that Retry-After names, or for a second when it names none, and
// for five minutes at most.
//
// # Errors
//
// Every error is a *selo.Error:
//
//	provider_unavailable  nobody could be asked, or the answer cannot be used. Detail is for the caller, Err
//	                      for the log. When it is known how long to wait, errors.As finds a *RetryAfter.
//	not_final             the provider has no such attempt (a 404 to a re-check): it may not have it yet
//	request_invalid       the attempt id or the JWT cannot be one; nothing was sent
//
// No error and no log line contains a token, an attempt id, a CPF or a word of an answer: they are made of
// constants, status codes and sizes. For the same reason the errors of net/http are not wrapped, which
// quote URLs and what a server said.
//
// # What is known of the provider
//
// Stated: Caf's documentation says so. Assumed: it is silent, and we chose. Nothing here was tried against
// Caf's production service.
//
//	fact                                                             how known, source
//	GET {session}/bff/session-tokens, JWT {iss, exp} in Authorization  stated, SDK reference 2025 (session tokens)
//	  the raw JWT, or "Bearer <jwt>": Config.Bearer                  stated both ways, in two copies of the same;
//	                                                                 a public integration says raw works
//	  200 {"requestId": "<uuid>", "sessionToken": "<JWT>"}           stated, same
//	  401 for a bad token                                            stated, same
//	  429                                                            seen in practice, public integrations
//	  Retry-After with it                                            assumed as in RFC 9110; harmless if absent
//	  an unused session token is worth nothing; a repeat is safe     assumed
//	  the session token does not carry our client ID as iss          assumed; if wrong every exchange fails
//	  what else is in it, and its lifetime                           silent: ExpiresAt is a hint, never relied on
//	GET {identity}/authentications/{attemptId}, Bearer identity token  stated, Smart Auth reference
//	  status, identity.personId, policy.policyId,
//	  authenticationMethods.face_authentication.attempts[] with
//	  liveness.isAlive and faceMatch.isMatch                         stated, same
//	  status "approved"                                              stated, same
//	  other values of status                                         silent: pending, processing and in_progress
//	                                                                 are taken for "not yet", all others for no
//	  attemptId, id, createdAt in the answer                         assumed possible; checked when there
//	GET {faces}/v1/faces/attempts/{attemptId}, Bearer API token        stated, API reference
//	  {"requestId", "data": {"id", "createdAt", personId or peopleId,
//	  "liveness", "faceMatch", "isMatch"}}                           assumed: our notes of the API reference have
//	                                                                 the endpoint and not the answer
//	404 of a re-check means no such attempt (yet)                      assumed
//	times are RFC 3339                                                 assumed; the web SDK's createdAt is ISO 8601
//	a personId is a CPF, bare or as 000.000.000-00                     assumed, as everywhere in Selo
//
// There is no re-check by requestId: none is documented.
package provider

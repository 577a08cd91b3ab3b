// Package sandbox pretends to be the two parties that a server integrating Caf talks to, so that it can
// be built, tested and shown without an account, a phone or a face: the provider (Sandbox), and an
// identity provider whose users sign in by name alone (IdentityProvider). Both are http.Handlers. Neither
// has anything to do with a real person, and keys made for them are worth nothing elsewhere.
//
// Whoever reaches a Sandbox controls it: with a mobile token they have themselves approved, and below
// /_sandbox/ they need none to disturb it for everybody. Let it listen on a loopback address.
//
// # The provider
//
// A Sandbox stands for Caf's SDK on the phone together with Caf behind it. It takes the mobile token that
// your server made and what the camera is to have seen, and answers with the signed response that the SDK
// would hand to the app:
//
//	curl -s http://127.0.0.1:8402/sdk/caf/face-authentication \
//	     -H "Authorization: $MOBILE_TOKEN" \
//	     -d '{"personId":"52998224725","outcome":"approve"}'
//	{"signedResponse":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyZXF1ZXN0SWQiOi…"}
//
// An attempt that failed is signed all the same, as Caf does: a valid signature is not an approval. The
// products, which the key of the token must be activated for, and the outcomes that each has:
//
//	face-liveness        approve  not-alive
//	face-authentication  approve  not-alive  no-match
//	document-detection   approve  not-detected
//	smart-auth           approve  known-context  reauthenticated  pending  not-authorized
//
// Without an outcome, a CPF of TestPeople ends as it is meant to, where the product has that outcome; every
// other person is approved:
//
//	10000000108  not-alive         10000000442  reauthenticated
//	10000000280  no-match          10000000523  pending
//	10000000361  known-context     10000000604  not-authorized
//
// The responses have the shape of Caf's native SDKs of 2024 (FaceLivenessResponse,
// FaceAuthenticationResponse), without exp, aud or nonce, because theirs have none. For face-liveness,
// "shape":"web-2d" asks for that of the web SDK (WebLivenessResponse). "wrap":true puts the name of the module
// beside the signed response, as CafSDK does: {"moduleName":"faceLiveness","signedResponse":"…"}. Every answer
// to a run carries X-Sandbox-Attempt, the attempt ID for the re-check, which Caf does not put into every
// response.
//
// Caf signs nothing of document detection, and neither does the sandbox: it answers with a DocumentDetection,
// which anybody could have written, and there is no record of it to ask for.
//
// # Smart Auth
//
// It is started with two tokens, in which the person has two names, and with the ID of a policy:
//
//	curl -s http://127.0.0.1:8402/sdk/caf/smart-auth \
//	     -H "Authorization: $IDENTITY_TOKEN"  `# personId, key activated for caf/smart-auth` \
//	     -H "X-Face-Token: $FACE_TOKEN"       `# peopleId, key activated for caf/face-liveness` \
//	     -d '{"personId":"52998224725","policyId":"login","outcome":"pending"}'
//
// The response is a SmartAuthAttestation, signed with the secret of the identity key. What the outcomes come to:
//
//	                 isAuthorized  isNewContext  record says       face check in the record
//	approve          true          true          approved          alive, matches
//	known-context    true          false         approved          none
//	reauthenticated  true          true          approved          none: it was an SMS
//	pending          false         true          pending           none
//	not-authorized   no JWT, but a SmartAuthRefusal   reproved     none
//
// A pending attempt is finished, once, under a token of the same client and person, and keeps its ID:
//
//	curl -s http://127.0.0.1:8402/sdk/caf/smart-auth/$ATTEMPT -H "Authorization: $IDENTITY_TOKEN" \
//	     -d '{"outcome":"approve"}'      # or reauthenticated, or not-authorized
//
// # Session tokens
//
// In Caf's newest model the mobile token, with exp, stays on the server and is exchanged (SessionAnswer):
//
//	curl -s http://127.0.0.1:8402/bff/session-tokens -H "Authorization: $MOBILE_TOKEN"
//	{"requestId":"…","sessionToken":"eyJ…"}
//
// For 10 minutes the session token is as good as a mobile token for the SDK and the mobile API. It is for the
// client's products and for ANY person: Caf describes no CPF in the exchange, so the binding to a person is
// yours to keep. A restart makes session tokens invalid.
//
// # The mobile API
//
// The same products without an SDK; the body is JSON, or multipart/form-data with a file part image (4 MiB) and
// the fields peopleId and outcome. Images are not looked at and URLs not fetched. "outcome" may be there too:
//
//	curl -s 'http://127.0.0.1:8402/faces/liveness?shouldSignResponse=true' -H "Authorization: $MOBILE_TOKEN" \
//	     -d '{"imageUrl":"https://images.sandbox.invalid/1.jpg","person":{"cpf":"52998224725","name":"Ana"}}'
//	curl -s 'http://127.0.0.1:8402/faces/authenticate?shouldSignResponse=true' -H "Authorization: $MOBILE_TOKEN" \
//	     -F peopleId=52998224725 -F image=@face.jpg
//	curl -s http://127.0.0.1:8402/faces/register -H "Authorization: $MOBILE_TOKEN" \
//	     -d '{"peopleId":"52998224725","imageUrl":"https://images.sandbox.invalid/1.jpg"}'
//
// With shouldSignResponse=true the answer is the JWT alone (application/jwt), otherwise what would be in it:
// MobileLivenessResponse, MobileAuthenticationResponse. A MobileRegistration is never signed. peopleId is
// 11 digits, no punctuation. With Config.RequireRegistration, authenticate answers 404 until register.
//
// # Records and webhooks
//
// The latest 10,000 runs about a face or of Smart Auth can be asked after, server to server:
//
//	curl -s http://127.0.0.1:8402/authentications/$ATTEMPT -H "Authorization: Bearer $IDENTITY_TOKEN"
//	curl -s http://127.0.0.1:8402/v1/faces/attempts/$ATTEMPT -H "Authorization: Bearer $API_TOKEN"
//
// The first (AuthenticationRecord) wants a token with exp, and sees the attempts of its own client; the second
// (FaceAttemptAnswer) wants Config.APIToken, and sees the face runs of all clients.
//
// Config.Webhooks are sent a WebhookEvent after each run of face authentication, and after each attempt of Smart
// Auth that ended, while Run runs:
//
//	go provider.Run(ctx) // until ctx ends; wait for it to return, and nothing is left behind
//
// X-Caf-Signature is the lower-case hex HMAC-SHA256 of the body, as it is sent. Redirects are not followed;
// no answer within 5 s and answers of 5xx are tried again, three times, with the same event ID. Deliveries of
// one event may therefore be several. With Config.BadSignatureEvery, some come with a wrong signature before
// they come with the right one: Caf says that it does this on purpose.
//
// # Faults
//
// A fault is queued for the next requests of a path, or of what begins with it. A request meets one at most,
// the oldest that can happen to it:
//
//	curl -s http://127.0.0.1:8402/_sandbox/faults -d '{"path":"/bff/session-tokens","fault":"429","count":2}'
//
//	429  500  503  401    that status; 429 with Retry-After: 2
//	slow                  the usual answer after "delay", at most 30s; absent, 3s
//	empty                 200, and no body
//	wrong-shape           200, and JSON of no known shape
//	not-json              200, and HTML
//	huge                  the usual answer, followed by 1 MiB of spaces, which is still JSON
//	redirect              302 to /_sandbox/elsewhere
//	hang-up               the connection is closed without an answer; Go's client repeats a GET by itself when
//	                      the connection was used before, so give a count of 2
//	echo-token            /bff/session-tokens: the sessionToken is the mobile token itself
//	clock-skew            iat, exp and createdAt are off by "skew", such as "-10m": signed responses, records
//	duplicate             /sdk/caf/…: the request and attempt ID of the client's previous run
//	wrong-person          records: somebody else's CPF
//	refused               records: reproved, not alive, no match
//	out-of-order          what makes an event: it is delivered after the next one
//
// GET /_sandbox/faults lists what is queued, GET /_sandbox/requests counts requests by route ("counts"), and
// POST /_sandbox/reset forgets attempts, faults, registrations, counts and events held back.
//
// # What it refuses
//
// It is strict where Caf is or may be, so that what works here is not merely lucky. Each refusal is
// {"error": "<code>", "message": "<what is wrong and what would be right>"} and repeats nothing that was
// sent:
//
//	401 tokenException    no token or several; not three canonical base64url segments; over 16 KiB;
//	                      a header with more than alg, typ and kid; an alg that is not HS256; a payload
//	                      that is not strict JSON; an unknown client ID; a wrong signature; expired; an
//	                      exp that is not a plausible number of seconds; a CPF claim that is no CPF, or
//	                      peopleId and personId of two people; Smart Auth's two tokens the wrong way round
//	403 tokenException    the access key is not activated for this product
//	400 cpf_invalid       personId is not a CPF with correct check digits
//	403 cpf_mismatch      personId is not the CPF that the token was made for
//	400 request_invalid   the body is not exactly what it should be (a name unknown, missing or twice, …)
//	413 too_large         the body is longer than 8 KiB, or 4 MiB with an image
//	404 face_not_registered   409 attempt_not_pending
//	404 product_unknown   404 not_found   405 method_not_allowed
//
// Caf documents two names for a bad token: InvalidTokenReason in its classic SDKs, tokenException in the
// later ones, for a token that is invalid, expired or without permission. The error is tokenException
// throughout and the message tells the cases apart. The other codes are Selo's own reason codes or the
// sandbox's, since Caf names none.
//
// A token without exp is let through, except by the exchange and the re-check, because Caf lets it through; the
// answer then carries the header X-Sandbox-Warning: token has no exp. So is one without a CPF. Claims that Caf
// does not document are not looked at.
//
// # The identity provider
//
// An IdentityProvider issues access tokens to whoever asks, by name and WITHOUT A PASSWORD. It is for the
// demo and for tests, and must never be trusted by anything that guards anything.
//
//	curl -s http://127.0.0.1:8403/idp/token -d '{"user":"ana"}'
//	{"access_token":"eyJhbGciOiJFUzI1NiIs…","token_type":"Bearer","expires_in":900}
//
// "mfa": true signs in with a second factor, "audience" for another app, "age": "1h" an hour ago. With a LookupSecret it also plays the
// customer's backend, which Selo asks for a CPF at /backend/cpf.
//
// # The signer
//
// Sign signs any bytes at all with a client secret. Only a provider, or a test that plays a bad one, has
// business doing that; see its documentation before calling it.
package sandbox

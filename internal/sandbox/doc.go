// Package sandbox pretends to be the two parties that a server integrating Caf talks to, so that it can
// be built, tested and shown without an account, a phone or a face: the provider (Sandbox), and an
// identity provider whose users sign in by name alone (IdentityProvider). Both are http.Handlers. Neither
// has anything to do with a real person, and keys made for them are worth nothing elsewhere.
//
// # The provider
//
// A Sandbox stands for Caf's SDK on the phone together with Caf behind it. It takes the mobile token that
// your server made and what the camera is to have seen, and answers with the signed response that the SDK
// would hand to the app:
//
//	curl -s http://127.0.0.1:8087/sdk/caf/face-authentication \
//	     -H "Authorization: $MOBILE_TOKEN" \
//	     -d '{"personId":"52998224725","outcome":"approve"}'
//	{"signedResponse":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyZXF1ZXN0SWQiOi…"}
//
// The products are face-liveness and face-authentication, the outcomes approve, not-alive and no-match
// (which only face-authentication has). An attempt that failed is signed all the same, as Caf does: a
// valid signature is not an approval. The responses have the shape of Caf's native SDKs of 2024
// (FaceLivenessResponse, FaceAuthenticationResponse), without exp, aud or nonce, because theirs have none.
// Nothing is kept between two requests.
//
// # What it refuses
//
// It is strict where Caf is or may be, so that what works here is not merely lucky. Each refusal is
// {"error": "<code>", "message": "<what is wrong and what would be right>"} and repeats nothing that was
// sent:
//
//	401 tokenException    no mobile token or several; not three canonical base64url segments; over 16 KiB;
//	                      a header with more than alg, typ and kid; an alg that is not HS256; a payload
//	                      that is not strict JSON; an unknown client ID; a wrong signature; expired; an
//	                      exp that is not a plausible number of seconds; a CPF claim that is no CPF, or
//	                      peopleId and personId of two people
//	403 tokenException    the access key is not activated for this product
//	400 cpf_invalid       personId is not a CPF with correct check digits
//	403 cpf_mismatch      personId is not the CPF that the token was made for
//	400 request_invalid   the body is not exactly the object above (a name unknown, missing or twice, …)
//	413 too_large         the body is longer than 8 KiB
//	404 product_unknown   404 not_found   405 method_not_allowed
//
// Caf documents two names for a bad token: InvalidTokenReason in its classic SDKs, tokenException in the
// later ones, for a token that is invalid, expired or without permission. The responses here are those of
// the later ones, so the error is tokenException throughout and the message tells the cases apart. The
// other codes are Selo's own reason codes, since Caf names none.
//
// A token without exp is let through, because Caf lets it through; the answer then carries the header
// X-Sandbox-Warning: token has no exp. So is one without a CPF. Claims that Caf does not document are not
// looked at.
//
// # The identity provider
//
// An IdentityProvider issues access tokens to whoever asks, by name and WITHOUT A PASSWORD. It is for the
// demo and for tests, and must never be trusted by anything that guards anything.
//
//	curl -s http://127.0.0.1:8087/idp/token -d '{"user":"ana"}'
//	{"access_token":"eyJhbGciOiJFUzI1NiIs…","token_type":"Bearer","expires_in":900}
//
// # The signer
//
// Sign signs any bytes at all with a client secret. Only a provider, or a test that plays a bad one, has
// business doing that; see its documentation before calling it.
package sandbox

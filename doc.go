// Package selo is the server side of a mobile identity verification: it makes the short-lived token that
// starts the provider's SDK for one person, and decides whether the signed response that the SDK brings
// back lets that person in.
//
// # Mint
//
// A mobile token is made on the server, per attempt, from an access key that stays there:
//
//	secret, err := selo.ReadSecretFile("/run/secrets/caf-face-liveness")
//	key := selo.AccessKey{ClientID: "64b7f3c2a1d0e9f8b7a6c5d4", Secret: secret}
//	cpf, err := selo.ParseCPF(userRecord.CPF)        // from your records, never from the app
//	token, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: key, CPF: cpf})
//	// remember for the attempt: opened = now, which key, which CPF; send token.JWT to the app
//
// The token carries the client ID, the CPF and an expiry, and nothing that a request said. The expiry
// cannot be left out, nor be further away than the profile's ceiling.
//
// # Verify
//
// The SDK hands the app a signed response, the app hands it to the server, and only the server can tell
// whether it is true:
//
//	granted, err := selo.Verify(ctx, signedResponse, selo.Expectation{
//		Profile: selo.CafFaceLiveness(),
//		Key:     key,    // the one that made the token
//		CPF:     cpf,    // the person it was made for
//		Opened:  opened, // when it was made
//		Once:    once,   // remembers the ids that were used; share it between processes
//
//		Assurance: selo.AssurancePresence, // what is enough; a match, unless you say less
//	})
//	if err != nil {
//		return refuse(selo.ReasonsOf(err)) // any error at all is a no
//	}
//
// A valid signature is not an approval. Verify also asks that the response is of this product and not our
// own mobile token turned around (both are signed with the same secret), names this person, was made
// during this attempt, says yes, and was not used before. Its documentation gives the order.
// Denied tells the provider's no, which ends the attempt, from refusals that do not.
//
// A product that starts with two tokens lists them as Profile.Roles: mint one for each, as of its product, and
// verify with the key of the first. CafSmartAuth is one, and names a provider policy, which Expectation.Policy
// demands.
//
// # Re-check
//
// Some responses name nobody, carry no time, or prove too little. They grant when the provider, asked about the
// attempt, says the rest; and any response can be confirmed so:
//
//	want.Recheck = func(ctx context.Context, attemptID string) (*selo.Attempt, error) { … } // your call to the provider
//	want.RecheckAlways = true // otherwise only where the response is not enough
//
// MintServerToken makes the token that such a call shows to Caf. A record that contradicts the response denies it.
//
// # Webhooks
//
// VerifyWebhook says whether an event is the provider's, over the bytes that came.
//
// # Receipts
//
// A service that granted can tell the customer's other services so with a receipt, an Ed25519 token of at
// most two minutes: see ReceiptKey.Sign and VerifyReceipt. They then need no client secret.
//
// # What it refuses
//
// Every refusal of Mint, Verify, VerifyWebhook, VerifyReceipt and ParseCPF is an *Error with a stable Reason, tested with errors.Is(err, selo.ReasonStale). Whatever
// in a response is not understood is refused: more than 16 KiB, base64 that is not canonical, a header with
// crit, b64, zip, cty or another alg than HS256, JSON with a name twice or a claim in another spelling, a
// decision that is not JSON true. Secret and CPF values cannot print, log or marshal themselves.
//
// Secrets under 32 bytes work, since the provider issues them, but ask Secret.Weak and warn.
//
// The package imports the standard library and one strict JSON decoder, and is safe for concurrent use.
// The server built around it, with sessions, one-time use and an audit trail in a database, is the
// command github.com/selo-id/selo/cmd/selo.
package selo

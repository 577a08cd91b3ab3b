package selo

import (
	"crypto/subtle"
	"encoding/hex"
)

// WebhookSignatureHeader is the header in which Caf sends the signature of a webhook.
const WebhookSignatureHeader = "X-Caf-Signature"

// VerifyWebhook reports whether a webhook is the provider's: signature, as received in WebhookSignatureHeader,
// must be the lower-case hex HMAC-SHA256 of the body under secret. body is what came over the wire, byte for
// byte; parsed and written again it is another text. A signature that is missing fails like one that is
// wrong: the error is an *Error with ReasonSignatureInvalid.
//
// A signature says nothing of the time, and a webhook may come twice: remember the id of its event. Caf says
// that it may send wrong signatures on purpose, to see them refused: do not block the sender for one.
func VerifyWebhook(body []byte, signature string, secret Secret) error {
	if secret.IsZero() {
		return refuse(ReasonRequestInvalid, "secret", "is empty; anyone could sign with it")
	}
	want := hex.AppendEncode(make([]byte, 0, 64), secret.mac(nil, body))
	if subtle.ConstantTimeCompare(want, []byte(signature)) != 1 {
		return refuse(ReasonSignatureInvalid, WebhookSignatureHeader, "is not the lower-case hex HMAC-SHA256 of this body under the webhook's secret")
	}
	return nil
}

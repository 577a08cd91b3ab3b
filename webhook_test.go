package selo_test

import (
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// webhookBody and the signatures below are of another make than the library's: printf and openssl dgst -sha256 -hmac.
const (
	webhookBody      = `{"id":"evt_1","time":"2023-11-14T22:13:50Z","type":"FACEAUTHENTICATIONEVENT","data":{"attemptId":"a1","isMatch":true}}`
	webhookSignature = "e5cae7529ca0f1d471ccba67bfe23529ca169bc1bd7f94ca4a429bc35163c66a"
)

func TestVerifyWebhook(t *testing.T) {
	secret, another := secretOf(t, testSecret), secretOf(t, "another-secret-of-the-webhook-0123456789")
	const ofOne, ofAnother = "f3b0b5a8ec9ab407f67110b55fdff238205d60ad6b2c053821164b4e41404aea", "5257abc27d7c41a239508c95d02cd6dc6d29a4c160389664878459a86d490863"
	tests := []struct {
		name, body, signature string
		secret                selo.Secret
		want                  selo.Reason // "" is the provider's
	}{
		{"exact", webhookBody, webhookSignature, secret, ""},
		{"an empty body", "", "ee24b8079a1de8532a1ac68a638f09141bcebd3837616b8b67daa983a855c529", secret, ""},
		{"a body that is no text", "a\xff\x00\r\n", "3da46329b69930b15121fcffa76ce42c00af8d5a8df65ce790c91ed1c4440808", secret, ""},
		{"another secret, and its signature", webhookBody, ofAnother, another, ""},
		{"a weak secret", webhookBody, ofOne, secretOf(t, "x"), ""}, // Secret.Weak warns of it
		{"missing", webhookBody, "", secret, selo.ReasonSignatureInvalid},
		{"missing, of an empty body", "", "", secret, selo.ReasonSignatureInvalid},
		{"upper case", webhookBody, strings.ToUpper(webhookSignature), secret, selo.ReasonSignatureInvalid},
		{"one letter in upper case", webhookBody, "E" + webhookSignature[1:], secret, selo.ReasonSignatureInvalid},
		{"the scheme before it", webhookBody, "sha256=" + webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"a space before it", webhookBody, " " + webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"a line break after it", webhookBody, webhookSignature + "\n", secret, selo.ReasonSignatureInvalid},
		{"twice", webhookBody, webhookSignature + "," + webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"one digit less", webhookBody, webhookSignature[:63], secret, selo.ReasonSignatureInvalid},
		{"one digit more", webhookBody, webhookSignature + "0", secret, selo.ReasonSignatureInvalid},
		{"the first half", webhookBody, webhookSignature[:32], secret, selo.ReasonSignatureInvalid},
		{"one digit off at the end", webhookBody, webhookSignature[:63] + "b", secret, selo.ReasonSignatureInvalid},
		{"one digit off at the start", webhookBody, "f" + webhookSignature[1:], secret, selo.ReasonSignatureInvalid},
		{"the bytes themselves", webhookBody, string(macOf(testSecret, webhookBody)), secret, selo.ReasonSignatureInvalid},
		{"base64", webhookBody, segment(macOf(testSecret, webhookBody)), secret, selo.ReasonSignatureInvalid},
		{"zeros", webhookBody, strings.Repeat("0", 64), secret, selo.ReasonSignatureInvalid},
		{"under another secret", webhookBody, ofAnother, secret, selo.ReasonSignatureInvalid},
		{"the right one under another secret", webhookBody, webhookSignature, another, selo.ReasonSignatureInvalid},
		{"of another body", webhookBody + " ", webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"of the body parsed and written again", strings.ReplaceAll(webhookBody, `":`, `": `), webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"of the body in another order", strings.Replace(webhookBody, `"attemptId":"a1","isMatch":true`, `"isMatch":true,"attemptId":"a1"`, 1), webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"a body changed within", strings.Replace(webhookBody, "a1", "a2", 1), webhookSignature, secret, selo.ReasonSignatureInvalid},
		{"no secret", webhookBody, webhookSignature, selo.Secret{}, selo.ReasonRequestInvalid},
		{"no secret, signed with none", webhookBody, "ce148ac3a3e8fb8e332c9836a7baba2c9ff80053f4d3a43bc1603ffcda4b2877", selo.Secret{}, selo.ReasonRequestInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := selo.VerifyWebhook([]byte(tt.body), tt.signature, tt.secret)
			if rs := selo.ReasonsOf(err); (err == nil) != (tt.want == "") || err != nil && (len(rs) != 1 || rs[0] != tt.want) {
				t.Fatalf("VerifyWebhook = %v, want %q", err, tt.want)
			}
			if err == nil {
				return
			}
			checkSilent(t, err.Error(), webhookBody)
			// The right signature of a wrong body would let the sender mend it.
			if tt.signature != "" && strings.Contains(err.Error(), tt.signature) || strings.Contains(err.Error(), segment(macOf(testSecret, tt.body))) {
				t.Errorf("%v shows a signature", err)
			}
		})
	}
	if selo.WebhookSignatureHeader != "X-Caf-Signature" {
		t.Errorf("the header is %q", selo.WebhookSignatureHeader)
	}
}

// TestMintServerToken compares the whole token with one that openssl made: iss, exp, and nobody.
func TestMintServerToken(t *testing.T) {
	const want = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiI2NGI3ZjNjMmExZDBlOWY4YjdhNmM1ZDQiLCJleHAiOjE3MDAwMDAxMjB9.q4-0Hg86xvpRjkn0JWcoEbd5L9n9rw3sumLjdo07hjk"
	token, err := selo.MintServerToken(testKey(t), testOpened)
	if err != nil {
		t.Fatal(err)
	}
	if token.JWT != want || !token.ExpiresAt.Equal(time.Unix(1_700_000_120, 0)) {
		t.Errorf("%s until %v\nwant %s", token.JWT, token.ExpiresAt, want)
	}
	if token.ExpiresAt.Sub(testOpened) != selo.ServerTokenLifetime {
		t.Errorf("lives %v, want %v", token.ExpiresAt.Sub(testOpened), selo.ServerTokenLifetime)
	}

	before := time.Now()
	token, err = selo.MintServerToken(testKey(t), time.Time{})
	after := time.Now()
	if err != nil || token.ExpiresAt.Unix() < before.Unix()+120 || token.ExpiresAt.Unix() > after.Unix()+120 {
		t.Errorf("now: %v, %v", token, err)
	}
	if claims := readMobileToken(t, token.JWT); len(claims) != 2 {
		t.Errorf("claims %v, want iss and exp", claims)
	}

	for name, change := range map[string]func(k *selo.AccessKey, now *time.Time){
		"no key":              func(k *selo.AccessKey, _ *time.Time) { *k = selo.AccessKey{} },
		"no secret":           func(k *selo.AccessKey, _ *time.Time) { k.Secret = selo.Secret{} },
		"no client ID":        func(k *selo.AccessKey, _ *time.Time) { k.ClientID = "" },
		"long client ID":      func(k *selo.AccessKey, _ *time.Time) { k.ClientID = strings.Repeat("x", 257) },
		"client ID not UTF-8": func(k *selo.AccessKey, _ *time.Time) { k.ClientID = "a\xffb" },
		"unknown environment": func(k *selo.AccessKey, _ *time.Time) { k.Environment = "staging" },
		"a time before all":   func(_ *selo.AccessKey, now *time.Time) { *now = time.Unix(-121, 0) },
		"a time after all":    func(_ *selo.AccessKey, now *time.Time) { *now = time.Unix(1<<53, 0) },
		"a time that wraps":   func(_ *selo.AccessKey, now *time.Time) { *now = time.Unix(1<<63-1, 0) },
	} {
		key, now := testKey(t), testOpened
		change(&key, &now)
		token, err := selo.MintServerToken(key, now)
		if rs := selo.ReasonsOf(err); token != nil || len(rs) != 1 || rs[0] != selo.ReasonRequestInvalid {
			t.Errorf("%s: %v, %v; want request_invalid", name, token, err)
		}
	}
}

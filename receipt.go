package selo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// ReceiptType is the typ header of every receipt, so that no other token is taken for one.
	ReceiptType = "selo-receipt+jwt"
	// MaxReceiptLifetime is the longest that any receipt is valid.
	MaxReceiptLifetime = 2 * time.Minute

	receiptAlg = "EdDSA"
)

var errNoReceiptKey = refuse(ReasonRequestInvalid, "receipt key", "is the zero value; generate or parse one")

// Subject is an end user: who, according to whom. Two issuers with the same ID are two subjects.
type Subject struct {
	Issuer string // iss of the user's bearer token, or "service:NAME" for a subject that only a service of Selo names
	ID     string // sub
}

// Receipt is our statement that a session was granted, for the customer's other services: they then need
// no client secret and believe no app. It names no CPF, unless the issuer uses the CPF as sub.
type Receipt struct {
	Issuer    string // iss: this Selo
	App       string // aud: the app, as configured
	Subject   Subject
	Session   string // sid
	Product   string
	Purpose   string
	Assurance Assurance
	IssuedAt  time.Time // whole seconds
	ExpiresAt time.Time // at most MaxReceiptLifetime later
	ID        string    // jti
	SignUp    bool      // sign_up: no CPF was known of the subject, so that nothing ties the person who was alive to one
}

// receiptClaims is a Receipt on the wire. Its order is part of the signature.
type receiptClaims struct {
	Issuer        string    `json:"iss"`
	Audience      string    `json:"aud"`
	Subject       string    `json:"sub"`
	SubjectIssuer string    `json:"sub_iss"`
	Session       string    `json:"sid"`
	Product       string    `json:"product"`
	Purpose       string    `json:"purpose"`
	Assurance     Assurance `json:"assurance"`
	IssuedAt      int64     `json:"iat"`
	ExpiresAt     int64     `json:"exp"`
	ID            string    `json:"jti"`
	SignUp        bool      `json:"sign_up,omitzero"`
}

// ReceiptKey signs receipts. Like a Secret it cannot be printed, logged or marshalled. The zero value is no
// key and signs nothing; see GenerateReceiptKey and ParseReceiptKey.
type ReceiptKey struct {
	private func() ed25519.PrivateKey // a function, since fmt cannot print what one captures; see Secret
	kid     string
}

// GenerateReceiptKey makes a new key.
func GenerateReceiptKey() (*ReceiptKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating receipt key: %w", err)
	}
	return newReceiptKey(private), nil
}

// ParseReceiptKey reads an Ed25519 private key in PEM (PKCS #8), as written by
// "openssl genpkey -algorithm ed25519".
func ParseReceiptKey(pemBytes []byte) (*ReceiptKey, error) {
	block, _ := pem.Decode(pemBytes)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("receipt key: want a PEM block PRIVATE KEY (openssl genpkey -algorithm ed25519)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("receipt key: the PEM block is not PKCS #8")
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("receipt key: want an Ed25519 key, not %T", key)
	}
	return newReceiptKey(private), nil
}

// PEM returns the private key in the form that ParseReceiptKey reads, to be written to a file of mode
// 0600 and nowhere else.
func (k *ReceiptKey) PEM() ([]byte, error) {
	if k == nil || k.private == nil {
		return nil, errNoReceiptKey
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private())
	if err != nil {
		return nil, fmt.Errorf("encoding receipt key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func newReceiptKey(private ed25519.PrivateKey) *ReceiptKey {
	return &ReceiptKey{
		private: func() ed25519.PrivateKey { return private },
		kid:     thumbprint(private.Public().(ed25519.PublicKey)),
	}
}

// thumbprint is the RFC 7638 thumbprint of an Ed25519 key.
func thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64.EncodeToString(public) + `"}`))
	return b64.EncodeToString(sum[:])
}

// Format prints [secret] for every verb.
func (ReceiptKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (ReceiptKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails.
func (ReceiptKey) MarshalText() ([]byte, error) { return nil, errSecretMarshal }

// Sign makes the receipt of r. The same r and key give the same bytes, so that an answer that was lost
// can be given again. Times are cut to whole seconds.
func (k *ReceiptKey) Sign(r Receipt) (string, error) {
	c := receiptClaims{
		r.Issuer, r.App, r.Subject.ID, r.Subject.Issuer, r.Session, r.Product, r.Purpose, r.Assurance,
		r.IssuedAt.Unix(), r.ExpiresAt.Unix(), r.ID, r.SignUp,
	}
	if k == nil || k.private == nil {
		return "", errNoReceiptKey
	}
	if err := c.check(); err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", refuse(ReasonRequestInvalid, "receipt", "has a field that is not valid UTF-8")
	}
	header := `{"alg":"` + receiptAlg + `","kid":"` + k.kid + `","typ":"` + ReceiptType + `"}`
	signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString(payload)
	return signed + "." + b64.EncodeToString(ed25519.Sign(k.private(), []byte(signed))), nil
}

func (c *receiptClaims) check() *Error {
	for _, f := range []struct{ name, value string }{
		{"iss", c.Issuer}, {"aud", c.Audience}, {"sub", c.Subject}, {"sub_iss", c.SubjectIssuer},
		{"sid", c.Session}, {"product", c.Product}, {"purpose", c.Purpose}, {"jti", c.ID},
	} {
		if f.value == "" {
			return refuse(ReasonClaimMissing, f.name, "is empty")
		}
	}
	if c.Assurance < AssurancePresence || c.Assurance > AssuranceMatch {
		return refuse(ReasonClaimMissing, "assurance", "is not set")
	}
	if c.SignUp && c.Assurance != AssurancePresence {
		return refuse(ReasonClaimType, "assurance", "of a sign-up is presence and no more")
	}
	if c.IssuedAt < 0 || c.ExpiresAt <= c.IssuedAt || c.ExpiresAt-c.IssuedAt > int64(MaxReceiptLifetime/time.Second) {
		return refuse(ReasonClaimType, "exp", fmt.Sprintf("must be after iat, by at most %v", MaxReceiptLifetime))
	}
	return nil
}

// Public returns the keys that verify what k signs.
func (k *ReceiptKey) Public() *ReceiptKeys {
	if k == nil || k.private == nil {
		return &ReceiptKeys{}
	}
	return &ReceiptKeys{map[string]ed25519.PublicKey{k.kid: k.private().Public().(ed25519.PublicKey)}}
}

// ReceiptKeys are the public keys that may have signed a receipt.
type ReceiptKeys struct {
	byID map[string]ed25519.PublicKey
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Alg string `json:"alg,omitempty"`
	Use string `json:"use,omitempty"`
	Kid string `json:"kid"`
	X   string `json:"x"`
}

// ParseReceiptKeys reads the document at /.well-known/jwks.json of a Selo server. Keys of other kinds are
// passed over; a document without a usable key is an error.
func ParseReceiptKeys(document []byte) (*ReceiptKeys, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("receipt keys: not a JWKS document: %w", err)
	}
	keys := &ReceiptKeys{make(map[string]ed25519.PublicKey)}
	for _, raw := range set.Keys {
		var j jwk
		if err := json.Unmarshal(raw, &j); err != nil || j.Kty != "OKP" || j.Crv != "Ed25519" {
			continue
		}
		x, err := b64.DecodeString(j.X)
		// The decoder passes over line breaks.
		if err != nil || strings.ContainsAny(j.X, "\r\n") || len(x) != ed25519.PublicKeySize || j.Kid == "" ||
			j.Alg != "" && j.Alg != receiptAlg || j.Use != "" && j.Use != "sig" {
			continue
		}
		if _, twice := keys.byID[j.Kid]; twice {
			return nil, fmt.Errorf("receipt keys: two keys with kid %q", j.Kid)
		}
		keys.byID[j.Kid] = x
	}
	if len(keys.byID) == 0 {
		return nil, errors.New("receipt keys: the document holds no Ed25519 signing key")
	}
	return keys, nil
}

// JWKS returns the document that ParseReceiptKeys reads.
func (ks *ReceiptKeys) JWKS() ([]byte, error) {
	set := jwks{Keys: []jwk{}}
	for _, kid := range slices.Sorted(maps.Keys(ks.byID)) {
		public := ks.byID[kid]
		set.Keys = append(set.Keys, jwk{Kty: "OKP", Crv: "Ed25519", Alg: receiptAlg, Use: "sig", Kid: kid, X: b64.EncodeToString(public)})
	}
	return json.Marshal(set)
}

// ReceiptExpectation is what a receipt must agree with. Fields are required unless they say what
// zero means.
type ReceiptExpectation struct {
	Keys    *ReceiptKeys
	Issuer  string  // the Selo that is trusted
	App     string  // the app that this service serves
	Subject Subject // the user that is asking for something
	Purpose string  // what they are asking for
	Once    Once    // so that one receipt authorises one act

	// Assurance is the least that the receipt must prove. AssuranceUnset asks for AssuranceMatch.
	Assurance Assurance
	// SignUp also takes the receipt of a sign-up, of whom no CPF was known: somebody was alive, and nothing says
	// whose face that was. Without it such a receipt is refused.
	SignUp bool
	// Skew is how far the issuer's clock may be ahead of ours. Zero is DefaultSkew. It never
	// lengthens a receipt's life.
	Skew time.Duration
	// Now is the time of verification. Zero is now.
	Now time.Time
}

// VerifyReceipt checks a receipt against what the service is about to do: signed by one of Keys, for this
// app, this subject, this purpose, proving enough, still valid, and not used before. It returns the
// receipt or an *Error, never both, and uses the receipt up only when it returns it.
func VerifyReceipt(ctx context.Context, token string, want ReceiptExpectation) (*Receipt, error) {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"keys", want.Keys == nil}, {"issuer", want.Issuer == ""}, {"app", want.App == ""},
		{"subject", want.Subject.Issuer == "" || want.Subject.ID == ""}, {"purpose", want.Purpose == ""},
		{"once", want.Once == nil},
	} {
		if f.missing {
			return nil, refuse(ReasonRequestInvalid, f.name, "is required")
		}
	}
	if want.Assurance < AssuranceUnset || want.Assurance > AssuranceMatch {
		return nil, refuse(ReasonRequestInvalid, "assurance", "is none of the assurances")
	}
	if want.Skew < 0 {
		return nil, refuse(ReasonRequestInvalid, "skew", "must not be negative")
	}
	if want.Assurance == AssuranceUnset {
		want.Assurance = AssuranceMatch
	}
	if want.Skew == 0 {
		want.Skew = DefaultSkew
	}
	now := want.Now
	if now.IsZero() {
		now = time.Now()
	}

	r := jwsReaders.Get().(*jwsReader)
	defer r.release()
	if err := r.split(token); err != nil {
		return nil, err
	}
	if err := r.verifyEdDSA(want.Keys); err != nil {
		return nil, err
	}
	var c receiptClaims
	if err := json.Unmarshal(r.payload, &c); err != nil {
		return nil, refuse(ReasonPayloadInvalid, "payload", "is not the strict JSON object of a receipt")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	receipt := &Receipt{
		c.Issuer, c.Audience, Subject{c.SubjectIssuer, c.Subject}, c.Session, c.Product, c.Purpose,
		c.Assurance, time.Unix(c.IssuedAt, 0).UTC(), time.Unix(c.ExpiresAt, 0).UTC(), c.ID, c.SignUp,
	}
	switch {
	case receipt.Issuer != want.Issuer:
		return nil, refuse(ReasonTokenConfusion, "iss", "is another issuer")
	case receipt.App != want.App:
		return nil, refuse(ReasonTokenConfusion, "aud", "is another app")
	case receipt.Subject != want.Subject:
		return nil, refuse(ReasonSubjectMismatch, "sub", "is not the expected subject")
	case receipt.Purpose != want.Purpose:
		return nil, refuse(ReasonPurposeMismatch, "purpose", "is another purpose")
	case receipt.Assurance < want.Assurance:
		return nil, refuse(ReasonAssuranceTooLow, "assurance", fmt.Sprintf("%v, want at least %v", receipt.Assurance, want.Assurance))
	case receipt.SignUp && !want.SignUp:
		return nil, refuse(ReasonSubjectUnproven, "sign_up", "no CPF was known of this subject; say SignUp to take that")
	case receipt.IssuedAt.After(now.Add(want.Skew)):
		return nil, refuse(ReasonFromTheFuture, "iat", fmt.Sprintf("is more than %v ahead of now", want.Skew))
	case !now.Before(receipt.ExpiresAt):
		return nil, refuse(ReasonExpired, "exp", "has passed")
	}
	id := UsedID{Provider: "selo", Field: "jti", Value: receipt.Issuer + " " + receipt.ID}
	if err := useOnce(ctx, want.Once, []UsedID{id}, receipt.ExpiresAt); err != nil {
		return nil, err
	}
	return receipt, nil
}

// verifyEdDSA checks an Ed25519 signature. The header is read first, because its kid says under which of
// the trusted keys; it is small, bounded, and read strictly.
func (r *jwsReader) verifyEdDSA(keys *ReceiptKeys) *Error {
	kid, err := r.readHeader(receiptAlg, ReceiptType, false)
	if err != nil {
		return err
	}
	public, ok := keys.byID[kid]
	if !ok || !ed25519.Verify(public, r.signed, r.sig) {
		return refuse(ReasonSignatureInvalid, "signature", "is not by a trusted receipt key")
	}
	return nil
}

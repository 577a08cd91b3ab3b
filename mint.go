package selo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Environment says which of the provider's worlds an access key belongs to. The two never mix.
type Environment string

// The environments. The zero value of an AccessKey means EnvironmentProduction.
const (
	EnvironmentProduction Environment = "production"
	EnvironmentSandbox    Environment = "sandbox"
)

// AccessKey is what the provider's console issued: a client ID and the secret that goes with it. It never
// leaves the server.
type AccessKey struct {
	ClientID    string
	Secret      Secret
	Environment Environment // "" is EnvironmentProduction
}

func (k AccessKey) check() *Error {
	if k.Secret.IsZero() {
		return refuse(ReasonRequestInvalid, "secret", "is empty; a token signed with it could be made by anyone")
	}
	if k.Environment != "" && k.Environment != EnvironmentProduction && k.Environment != EnvironmentSandbox {
		return refuse(ReasonRequestInvalid, "environment", "must be production or sandbox")
	}
	return nil
}

func (k AccessKey) environment() Environment {
	if k.Environment == "" {
		return EnvironmentProduction
	}
	return k.Environment
}

// MintRequest says for whom and for how long Mint makes a token. Nothing in it may come from the body of
// an end user's request: with one secret for both directions, a mint that copies what it is told is an
// oracle for forged responses.
type MintRequest struct {
	Profile  *Profile      // the product; required
	Key      AccessKey     // required
	CPF      CPF           // of the person the token is for; required
	Now      time.Time     // when the token's life begins; leave it zero, which is now, outside of tests
	Lifetime time.Duration // zero is the profile's; more than its MaxLifetime is refused
}

// MobileToken starts the provider's SDK on one phone, for one person. Whoever holds it can use it: hand
// it to that person's app over TLS and do not store it.
type MobileToken struct {
	JWT       string
	ExpiresAt time.Time // whole seconds, as in the token
}

// Mint makes a mobile token: an HS256 JWT with iss (the client ID), exp, the profile's CPF claim, and
// nothing else. There is no way to make one without exp, nor one that lives longer than the profile's
// MaxLifetime.
func Mint(req MintRequest) (*MobileToken, error) {
	p, refused := req.Profile.check()
	if refused != nil {
		return nil, refused
	}
	if err := req.Key.check(); err != nil {
		return nil, err
	}
	if req.CPF.IsZero() {
		return nil, refuse(ReasonCPFMissing, "cpf", "a token is made for one person")
	}
	lifetime := req.Lifetime
	if lifetime == 0 {
		lifetime = p.Lifetime
	}
	if lifetime < time.Second || lifetime > p.MaxLifetime {
		return nil, refuse(ReasonRequestInvalid, "lifetime", fmt.Sprintf("must be between 1s and %v for %s", p.MaxLifetime, p.Product))
	}
	return sign(req.Key, req.Now, lifetime, p.TokenSubject, req.CPF)
}

// ServerTokenLifetime is how long a token of MintServerToken lives: one call, and clocks that differ.
const ServerTokenLifetime = 2 * time.Minute

// MintServerToken makes the token by which a server shows itself to the provider, to exchange it for a session
// token or to ask about an attempt: iss and exp, and nobody's CPF. It starts the SDK for anybody, so it goes
// to the provider and to nobody else, never to an app. now is zero outside of tests.
func MintServerToken(key AccessKey, now time.Time) (*MobileToken, error) {
	if err := key.check(); err != nil {
		return nil, err
	}
	return sign(key, now, ServerTokenLifetime, "", CPF{})
}

// sign makes a token of iss and exp, and of the subject's claim unless that is "".
func sign(key AccessKey, now time.Time, lifetime time.Duration, subject string, cpf CPF) (*MobileToken, error) {
	if key.ClientID == "" || len(key.ClientID) > 256 {
		return nil, refuse(ReasonRequestInvalid, "client_id", "must have 1 to 256 bytes")
	}
	if now.IsZero() {
		now = time.Now()
	}
	exp := now.Add(lifetime).Unix()
	if exp <= 0 || exp > maxSeconds {
		return nil, refuse(ReasonRequestInvalid, "now", "is out of range")
	}
	r := jwsReaders.Get().(*jwsReader)
	defer r.release()
	r.payload = append(r.payload[:0], `{"iss":`...)
	payload, err := jsontext.AppendQuote(r.payload, key.ClientID)
	if err != nil {
		return nil, refuse(ReasonRequestInvalid, "client_id", "is not valid UTF-8")
	}
	payload = append(payload, `,"exp":`...)
	payload = strconv.AppendInt(payload, exp, 10)
	if subject != "" {
		payload = append(payload, `,"`...)
		payload = append(payload, subject...)
		payload = append(payload, `":"`...)
		payload = append(payload, cpf.Digits()...)
		payload = append(payload, '"')
	}
	r.payload = append(payload, '}')

	r.token = append(r.token[:0], hs256Header...)
	r.token = append(r.token, '.')
	r.token = b64.AppendEncode(r.token, r.payload)
	r.mac = key.Secret.mac(r.mac[:0], r.token)
	r.token = append(r.token, '.')
	r.token = b64.AppendEncode(r.token, r.mac)
	return &MobileToken{JWT: string(r.token), ExpiresAt: time.Unix(exp, 0).UTC()}, nil
}

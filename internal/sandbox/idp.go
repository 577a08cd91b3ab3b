package sandbox

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// accessTokenLifetime is how long an access token lives.
const accessTokenLifetime = 15 * time.Minute

// IdentityProviderConfig is what an IdentityProvider is made of.
type IdentityProviderConfig struct {
	Issuer   string           // iss of every token; required
	Audience string           // aud of every token; required
	Users    map[string]User  // by name, which becomes sub; at least one (DemoUsers has two)
	Now      func() time.Time // nil is time.Now
}

// User is somebody who can sign in.
type User struct {
	CPF selo.CPF // claim cpf; of the zero value there is no claim
}

// DemoUsers returns the users of the demo, who are nobody: their numbers are the examples that every
// article on check digits uses.
func DemoUsers() map[string]User {
	return map[string]User{
		"ana":   {mustCPF("529.982.247-25")},
		"bruno": {mustCPF("111.444.777-35")},
	}
}

func mustCPF(s string) selo.CPF {
	cpf, err := selo.ParseCPF(s)
	if err != nil {
		panic(err) // a number in this file is wrong; any test finds it
	}
	return cpf
}

// IdentityProvider pretends to be the customer's identity provider: it signs access tokens (ES256) that
// say who somebody is and what their CPF is.
//
// THERE ARE NO PASSWORDS. Whoever can reach it is whoever they say they are, and it refuses nothing but a
// user it does not know. It is for the demo and for tests, on a loopback address; an issuer of this kind
// in a production configuration is a way in for everyone. It is an http.Handler:
//
//	POST /idp/token      {"user":"ana"} → {"access_token":"<JWT>","token_type":"Bearer","expires_in":900}
//	GET  /idp/jwks.json  the public key
//	GET  /healthz
//
// The key is made at the start and never leaves the process: a restart makes every token of before
// invalid. The claims are iss, aud, sub, iat, exp, jti and cpf (11 digits). It logs nothing.
type IdentityProvider struct {
	*door
	issuer, audience string
	users            map[string]User
	now              func() time.Time
	sign             func(payload []byte) (string, error) // holds the private key, where fmt cannot see it
	jwks             jose.JSONWebKeySet                   // public keys only
}

// accessClaims is the payload of an access token.
type accessClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	CPF      string `json:"cpf,omitzero"`
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// NewIdentityProvider checks cfg and makes an IdentityProvider with a new key.
func NewIdentityProvider(cfg IdentityProviderConfig) (*IdentityProvider, error) {
	switch {
	case cfg.Issuer == "" || cfg.Audience == "":
		return nil, errors.New("sandbox: identity provider: Issuer and Audience are required")
	case len(cfg.Users) == 0:
		return nil, errors.New("sandbox: identity provider: Users is empty, so nobody could ever sign in")
	}
	if _, ok := cfg.Users[""]; ok {
		return nil, errors.New("sandbox: identity provider: a user has no name")
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating identity provider key: %w", err)
	}
	public := jose.JSONWebKey{Key: &private.PublicKey, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("computing key thumbprint: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: public.KeyID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("making identity provider signer: %w", err)
	}
	p := &IdentityProvider{
		door:   newDoor(nil),
		issuer: cfg.Issuer, audience: cfg.Audience,
		users: maps.Clone(cfg.Users), now: cfg.Now,
		sign: signWith(signer), jwks: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}},
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.handle(http.MethodPost, "/idp/token", p.token)
	p.handle(http.MethodGet, "/idp/jwks.json", func(http.ResponseWriter, *http.Request) (any, *refusal) {
		return p.jwks, nil
	})
	return p, nil
}

func signWith(signer jose.Signer) func([]byte) (string, error) {
	return func(payload []byte) (string, error) {
		signed, err := signer.Sign(payload)
		if err != nil {
			return "", err
		}
		return signed.CompactSerialize()
	}
}

// token signs an access token for whoever is named.
func (p *IdentityProvider) token(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	var login struct {
		User string `json:"user"`
	}
	if no := readBody(w, r, &login, `{"user": "<name>"}`); no != nil {
		return nil, no
	}
	user, ok := p.users[login.User]
	if !ok {
		return nil, &refusal{http.StatusNotFound, codeUserUnknown, "this identity provider knows no user of that name"}
	}
	now := p.now()
	payload, err := json.Marshal(accessClaims{
		Issuer: p.issuer, Audience: p.audience, Subject: login.User,
		IssuedAt: now.Unix(), Expires: now.Add(accessTokenLifetime).Unix(),
		ID: newUUID(), CPF: user.CPF.Digits(),
	})
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, codeInternal, "the claims could not be written as JSON"}
	}
	signed, err := p.sign(payload)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, codeInternal, "the access token could not be signed"}
	}
	return tokenAnswer{signed, "Bearer", int64(accessTokenLifetime / time.Second)}, nil
}

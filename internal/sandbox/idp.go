package sandbox

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// DemoClient is the azp of every token: the one OAuth client that an IdentityProvider has.
const DemoClient = "demo-mobile"

// accessTokenLifetime is how long an access token lives.
const accessTokenLifetime = 15 * time.Minute

// IdentityProviderConfig is what an IdentityProvider is made of.
type IdentityProviderConfig struct {
	Issuer   string           // iss of every token; required
	Audience string           // aud of tokens that ask for no other; required
	Others   []string         // audiences that a token may be asked for
	Users    map[string]User  // by name, which becomes sub; at least one (see DemoUsers)
	Now      func() time.Time // nil is time.Now

	// LookupSecret is the secret under which Selo asks for a CPF at /backend/cpf. Without one the path is not there.
	LookupSecret []byte
}

// User is somebody who can sign in.
type User struct {
	CPF selo.CPF // claim cpf; of the zero value there is no claim

	// OnlyBackend keeps the CPF out of the tokens: it is told to whoever asks at /backend/cpf.
	OnlyBackend bool
}

// DemoUsers returns the users of the demo, who are nobody: their numbers are the examples that every
// article on check digits uses.
func DemoUsers() map[string]User {
	return map[string]User{
		"ana":   {CPF: mustCPF("529.982.247-25")},
		"bruno": {CPF: mustCPF("111.444.777-35")},
		"carla": {CPF: mustCPF("390.533.447-05")},
		"davi":  {CPF: mustCPF("123.456.789-09"), OnlyBackend: true},
		"eva":   {}, // who is just signing up

		// Counted up from 200000001: whoever attacks the demo needs some users, since none may be refused without end.
		"fabio": {CPF: mustCPF("200.000.001-08")},
		"gina":  {CPF: mustCPF("200.000.002-99")},
		"hugo":  {CPF: mustCPF("200.000.003-70")},
		"iris":  {CPF: mustCPF("200.000.004-50")},
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
//	POST /backend/cpf    the customer's backend, which knows whose CPF a subject has
//	GET  /healthz
//
// A sign-in with "mfa": true is one with a second factor, which its token says (acr, amr). "audience" asks for a
// token for another app, and "age": "1h" for one
// made so long ago, which is no longer good.
//
// The key is made at the start and never leaves the process: a restart makes every token of before
// invalid. The claims are iss, aud, azp, sub, iat, exp, jti, auth_time, acr, amr and cpf (11 digits). It logs nothing.
type IdentityProvider struct {
	*door
	issuer    string
	audiences []string // the first is that of tokens that ask for none
	users     map[string]User
	lookup    func(message []byte) []byte // holds the secret of lookups; nil without one
	now       func() time.Time
	sign      func(payload []byte) (string, error) // holds the private key, where fmt cannot see it
	jwks      jose.JSONWebKeySet                   // public keys only
}

// accessClaims is the payload of an access token.
type accessClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`

	AuthorizedParty string `json:"azp"`

	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`

	CPF string `json:"cpf,omitzero"`
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
		issuer: cfg.Issuer, audiences: append([]string{cfg.Audience}, cfg.Others...),
		users: maps.Clone(cfg.Users), now: cfg.Now,
		sign: signWith(signer), jwks: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}},
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.handle(http.MethodPost, "/idp/token", p.token)
	if len(cfg.LookupSecret) > 0 {
		secret := bytes.Clone(cfg.LookupSecret)
		p.lookup = func(message []byte) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write(message)
			return mac.Sum(nil)
		}
		p.handle(http.MethodPost, "/backend/cpf", p.cpf)
	}
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
		User     string `json:"user"`
		MFA      bool   `json:"mfa"`
		Audience string `json:"audience"`
		Age      string `json:"age"`
	}
	if no := readBody(w, r, &login, `{"user": "<name>", "mfa": false, "audience": "<app>", "age": "<duration>"}, all but the first optional,`); no != nil {
		return nil, no
	}
	audience := cmp.Or(login.Audience, p.audiences[0])
	if !slices.Contains(p.audiences, audience) {
		return nil, invalid("this identity provider knows no app of that audience")
	}
	user, ok := p.users[login.User]
	if !ok {
		return nil, &refusal{http.StatusNotFound, codeUserUnknown, "this identity provider knows no user of that name"}
	}
	age, err := time.ParseDuration(cmp.Or(login.Age, "0s"))
	if err != nil || age < 0 || age > 24*time.Hour {
		return nil, invalid("age must be a duration such as 1h, of a day at most")
	}
	now := p.now().Add(-age)
	claims := accessClaims{
		Issuer: p.issuer, Audience: audience, Subject: login.User,
		IssuedAt: now.Unix(), Expires: now.Add(accessTokenLifetime).Unix(), ID: NewUUID(),
		AuthorizedParty: DemoClient,
		AuthTime:        now.Unix(), ACR: "1", AMR: []string{"pwd"},
	}
	if login.MFA {
		claims.ACR, claims.AMR = "2", []string{"pwd", "otp"}
	}
	if !user.OnlyBackend {
		claims.CPF = user.CPF.Digits()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, codeInternal, "the claims could not be written as JSON"}
	}
	signed, err := p.sign(payload)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, codeInternal, "the access token could not be signed"}
	}
	return tokenAnswer{signed, "Bearer", int64(accessTokenLifetime / time.Second)}, nil
}

// lookupAge is how old a question for a CPF may be.
const lookupAge = 5 * time.Minute

// cpf answers as the customer's backend: it believes only what is signed with the shared secret, and not for long.
func (p *IdentityProvider) cpf(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodySize))
	if err != nil {
		return nil, unreadable(err, maxBodySize)
	}
	seconds, signature, ok := strings.Cut(r.Header.Get("Selo-Signature"), ",v1=")
	seconds, there := strings.CutPrefix(seconds, "t=")
	at, err := strconv.ParseInt(seconds, 10, 64)
	mac, wrong := hex.DecodeString(signature)
	if !ok || !there || err != nil || wrong != nil || !hmac.Equal(mac, p.lookup([]byte(seconds+"."+string(body)))) {
		return nil, &refusal{http.StatusUnauthorized, codeToken, "Selo-Signature is not that of this question"}
	}
	if age := p.now().Sub(time.Unix(at, 0)); age.Abs() > lookupAge {
		return nil, &refusal{http.StatusUnauthorized, codeToken, "the question is too old"}
	}
	var asked struct {
		App     string `json:"app"`
		Issuer  string `json:"issuer"`
		Subject string `json:"subject"`
	}
	if err := json.Unmarshal(body, &asked, json.RejectUnknownMembers(true)); err != nil || asked.Issuer != p.issuer {
		return nil, invalid("the body must name an app, this issuer and a subject")
	}
	var answer struct {
		CPF *string `json:"cpf"`
	}
	if user := p.users[asked.Subject]; !user.CPF.IsZero() {
		digits := user.CPF.Digits()
		answer.CPF = &digits
	}
	return answer, nil
}

package servers

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// identityProvider is the part of an OpenID provider that matters here: it signs users in, makes bearer tokens of them,
// and knows which of them were signed out. In the field it is another machine, and its public key comes from a URL that
// is configured, never from a token.
type identityProvider struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	people  map[string]person
	tell    func(string) string

	mu        sync.Mutex
	signedOut map[string]bool // by the id of the token
}

const (
	issuer   = "https://login.example.com"
	audience = "bank-app"
)

var errUnauthenticated = errors.New("no valid bearer token")

func newIdentityProvider(people map[string]person, tell func(string) string) (*identityProvider, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return &identityProvider{private: private, public: public, people: people, tell: tell, signedOut: make(map[string]bool)}, nil
}

// signIn answers POST /idp/token. A test asks it for tokens of another audience, and for some that have expired.
func (p *identityProvider) signIn(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		User     string `json:"user"`
		Password string `json:"password"`
		Audience string `json:"audience"`
		Lifetime string `json:"lifetime"` // seconds
	}
	if err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, 4<<10), &asked); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	seconds, err := strconv.Atoi(asked.Lifetime)
	if !p.people[asked.User].knows(asked.Password) || err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	claims := bearerClaims{Issuer: issuer, Audience: asked.Audience, Subject: asked.User, ID: randomID(), Expires: time.Now().Unix() + int64(seconds)}
	answer(w, http.StatusOK, map[string]any{"access_token": p.tell(p.sign(claims))})
}

func (p *identityProvider) sign(c bearerClaims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"EdDSA","typ":"at+jwt"}`)) + "." + b64.EncodeToString(payload)
	return signed + "." + b64.EncodeToString(ed25519.Sign(p.private, []byte(signed)))
}

// signOut answers POST /idp/logout.
func (p *identityProvider) signOut(w http.ResponseWriter, r *http.Request) {
	claims, err := readBearer(r, p.public)
	if err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	p.signedOut[claims.ID] = true
	p.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{})
}

// isSignedOut is what a resource server asks of a token that is otherwise good (RFC 7662).
func (p *identityProvider) isSignedOut(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signedOut[id]
}

type bearerClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	ID       string `json:"jti"`
	Expires  int64  `json:"exp"`
}

// snippet: identity
// Who asks is told by the bearer token of the identity provider, and the CPF by our record of that user: neither is ever
// read from a body, a query or a header, or anybody could have the SDK run for anybody. The algorithm is ours to choose and
// not the token's, so a token that names another, or none, does not verify. Audience matters as much as the signature: the
// same provider signs for other apps, whose users are not ours.
func readBearer(r *http.Request, key ed25519.PublicKey) (*bearerClaims, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	signed, last, found := cutLast(token, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(last)
	if !ok || !found || err != nil || !ed25519.Verify(key, []byte(signed), signature) {
		return nil, errUnauthenticated
	}
	_, payload, _ := strings.Cut(signed, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return nil, errUnauthenticated
	}
	var c bearerClaims
	if err := json.Unmarshal(text, &c); err != nil { // a decoder that refuses a name twice, or in other letters
		return nil, errUnauthenticated
	}
	if c.Issuer != issuer || c.Audience != audience || time.Now().Unix() >= c.Expires {
		return nil, errUnauthenticated
	}
	return &c, nil
}

// end

func cutLast(s string, separator byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

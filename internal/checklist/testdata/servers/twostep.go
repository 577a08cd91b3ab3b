package servers

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// TwoStep is an API of caf/smart-auth: a transaction is created, its two tokens are fetched, and the attestation is put back
// as a form or as the bare body. Callers have static API tokens. The provider's policy is fixed by the configuration.
//
// With Config.Exchanged the tokens stay here, and the app gets the session token that the provider gives for one.
type TwoStep struct {
	routes         http.Handler
	identity, face selo.AccessKey
	policy         string
	exchanged      bool
	tell           func(string) string
	once           selo.MemoryOnce
	limits         limits

	mu           sync.Mutex
	apiTokens    map[[sha256.Size]byte]apiToken // by hash: the table is no use to whoever reads it
	transactions map[string]*transaction
}

type apiToken struct {
	who      person
	audience string
	ends     time.Time
}

type transaction struct {
	session
	fetched bool // its tokens, once
}

// NewTwoStep makes the server.
func NewTwoStep(c Config) (*TwoStep, error) {
	identity, err := c.Key.accessKey()
	if err != nil {
		return nil, err
	}
	face, err := c.Face.accessKey()
	if err != nil {
		return nil, err
	}
	s := &TwoStep{identity: identity, face: face, policy: c.Policy, exchanged: c.Exchanged, tell: c.tell,
		limits: limits{counts: make(map[string]window)}, apiTokens: make(map[[sha256.Size]byte]apiToken), transactions: make(map[string]*transaction)}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /transactions", s.create)
	routes.HandleFunc("GET /transactions/{id}/tokens", s.fetch)
	routes.HandleFunc("PUT /transactions/{id}/attestation", s.attest)
	s.routes = noStore(routes)
	return s, nil
}

// Issue makes an API token of a user, for a test also one for another audience or one that has expired.
func (s *TwoStep) Issue(u User, audience string, lifetime time.Duration) (string, error) {
	who, err := people([]User{u})
	if err != nil {
		return "", err
	}
	token := s.tell(randomID())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apiTokens[sha256.Sum256([]byte(token))] = apiToken{who[u.Name], audience, time.Now().Add(lifetime)}
	return token, nil
}

func (s *TwoStep) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// caller is the user whose API token it is.
func (s *TwoStep) caller(r *http.Request) (person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.apiTokens[sha256.Sum256([]byte(r.Header.Get("X-Api-Token")))]
	return t.who, ok && t.audience == audience && time.Now().Before(t.ends)
}

// create answers POST /transactions. The policy that the body names must be the one that is configured: it is not a choice.
func (s *TwoStep) create(w http.ResponseWriter, r *http.Request) {
	who, ok := s.caller(r)
	if !ok {
		refuse(w, http.StatusUnauthorized)
		return
	}
	var asked struct {
		Policy string `json:"policy"`
	}
	err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, 4<<10), &asked, json.RejectUnknownMembers(true))
	if err != nil || asked.Policy != s.policy {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	if !s.limits.take(who.name, who.limit) {
		refuse(w, http.StatusTooManyRequests)
		return
	}
	id := randomID()
	s.mu.Lock()
	s.transactions[id] = &transaction{session: session{user: who.name, cpf: who.cpf, opened: time.Now()}}
	s.mu.Unlock()
	answer(w, http.StatusCreated, map[string]any{"id": id})
}

// of returns the caller's transaction of that id, or nil when there is none, whoever else has one.
func (s *TwoStep) of(w http.ResponseWriter, r *http.Request) *transaction {
	who, ok := s.caller(r)
	if !ok {
		refuse(w, http.StatusUnauthorized)
		return nil
	}
	s.mu.Lock()
	t := s.transactions[r.PathValue("id")]
	s.mu.Unlock()
	if t == nil || t.user != who.name || time.Since(t.opened) > sessionLifetime {
		refuse(w, http.StatusNotFound)
		return nil
	}
	return t
}

// fetch answers GET /transactions/{id}/tokens, once.
func (s *TwoStep) fetch(w http.ResponseWriter, r *http.Request) {
	t := s.of(w, r)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetched {
		refuse(w, http.StatusConflict)
		return
	}
	t.fetched = true
	if s.exchanged {
		answer(w, http.StatusOK, map[string]any{"session_token": s.exchange()})
		return
	}
	identity, face, err := s.mint(t.cpf)
	if err != nil {
		slog.Error("minting", "error", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, map[string]any{"identity": s.tell(identity), "face": s.tell(face)})
}

// snippet: mint
// Smart Auth starts with two tokens, since its policy may run a face check: one of the identity key and one of a key for
// face liveness, which is the one with the fewest products. Each is made of its own product, so that the CPF stands under
// the name that its SDK reads; both are of the same person, and neither has anything from the request.
func (s *TwoStep) mint(cpf selo.CPF) (identity, face string, err error) {
	first, err := selo.Mint(selo.MintRequest{Profile: selo.CafSmartAuth(), Key: s.identity, CPF: cpf})
	if err != nil {
		return "", "", err
	}
	second, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: s.face, CPF: cpf})
	if err != nil {
		return "", "", err
	}
	return first.JWT, second.JWT, nil
}

// end

// exchange stands for the call by which the provider gives a session token for one of MintServerToken, which stays here.
func (s *TwoStep) exchange() string { return s.tell("st_" + randomID()) }

// attest answers PUT /transactions/{id}/attestation.
func (s *TwoStep) attest(w http.ResponseWriter, r *http.Request) {
	t := s.of(w, r)
	if t == nil {
		return
	}
	response, ok := attestation(w, r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tries++
	if !ok || t.ended || t.tries > sessionTries {
		answer(w, http.StatusConflict, map[string]any{"granted": false})
		return
	}
	_, err := selo.Verify(r.Context(), response, selo.Expectation{
		Profile: selo.CafSmartAuth(), Key: s.identity, CPF: t.cpf, Opened: t.opened, Once: &s.once, Policy: s.policy,
		Assurance: selo.AssuranceReauthenticated, // a known device alone lets nobody in here
	})
	if err != nil {
		slog.Debug("refused", "reasons", selo.ReasonsOf(err))
		t.ended = selo.Denied(err)
		answer(w, http.StatusForbidden, map[string]any{"granted": false})
		return
	}
	t.ended = true
	answer(w, http.StatusOK, map[string]any{"granted": true})
}

// attestation reads the response out of a form, or takes the bare body for it.
func attestation(w http.ResponseWriter, r *http.Request) (string, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if form := r.ParseMultipartForm(64 << 10); form == nil {
		sent := r.MultipartForm.Value["attestation"]
		return firstOf(sent), len(sent) == 1
	}
	body, err := io.ReadAll(r.Body)
	return string(body), err == nil
}

func firstOf(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

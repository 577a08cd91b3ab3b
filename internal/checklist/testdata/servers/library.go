package servers

import (
	"context"
	"crypto/hmac"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// Library is a JSON API of caf/face-authentication that is built on the library: bearer tokens of an identity provider,
// and sessions on the server whose ids are in the path.
type Library struct {
	routes   http.Handler
	key      selo.AccessKey
	webhook  selo.Secret
	provider *identityProvider
	people   map[string]person
	tell     func(string) string
	once     selo.MemoryOnce // of several processes: a table with a unique key, and one INSERT
	limits   limits

	mu       sync.Mutex
	sessions map[string]*session
	events   map[string]bool
}

// NewLibrary makes the server. Its bad configuration is an error here and not at the first request.
func NewLibrary(c Config) (*Library, error) {
	key, err := c.Key.accessKey()
	if err != nil {
		return nil, err
	}
	webhook, err := selo.NewSecret([]byte(c.WebhookSecret))
	if err != nil {
		return nil, err
	}
	everybody, err := people(c.Users)
	if err != nil {
		return nil, err
	}
	provider, err := newIdentityProvider(everybody, c.tell)
	if err != nil {
		return nil, err
	}
	s := &Library{key: key, webhook: webhook, provider: provider, people: everybody, tell: c.tell,
		limits: limits{counts: make(map[string]window)}, sessions: make(map[string]*session), events: make(map[string]bool)}

	// snippet: cors
	// There is no Access-Control-Allow-Origin here. An app sends no Origin and needs none of these headers, and without
	// them no web page can read what the routes answer. A web front of your own is named, one origin by its full name.
	// Sending back whatever Origin asks, with credentials, lets any page act as its visitor.
	routes := http.NewServeMux()
	routes.HandleFunc("POST /v1/sessions", s.open) // the method too: another one has no handler, and so no way round
	routes.HandleFunc("POST /v1/sessions/{id}/response", s.decide)
	routes.HandleFunc("POST /webhooks/caf", s.event)
	s.routes = noStore(routes)
	// end
	routes.HandleFunc("POST /idp/token", provider.signIn)
	routes.HandleFunc("POST /idp/logout", provider.signOut)
	return s, nil
}

func (s *Library) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// caller is the user who asks.
func (s *Library) caller(r *http.Request) (person, error) {
	claims, err := readBearer(r, s.provider.public)
	if err != nil {
		return person{}, err
	}
	who, known := s.people[claims.Subject]
	if !known || s.provider.isSignedOut(claims.ID) {
		return person{}, errUnauthenticated
	}
	return who, nil
}

func (s *Library) open(w http.ResponseWriter, r *http.Request) {
	who, err := s.caller(r)
	if err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	if !s.limits.take(who.name, who.limit) {
		refuse(w, http.StatusTooManyRequests)
		return
	}
	id, token, err := s.openSession(who)
	if err != nil {
		slog.Error("opening a session", "error", err) // errors of the library hold no secret and no CPF
		refuse(w, http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusCreated, map[string]any{"session": id, "token": s.tell(token)})
}

// snippet: mint
// One token for one attempt of one person: Mint puts in the client ID, the CPF and an expiry of minutes. Nothing that the
// request says goes into it, since responses are signed with the same secret: whoever could choose a claim here could have
// us sign a response. The session is there before the token leaves, and is what the response will be held to.
func (s *Library) openSession(who person) (id, token string, err error) {
	opened := time.Now()
	made, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceAuthentication(), Key: s.key, CPF: who.cpf, Now: opened})
	if err != nil {
		return "", "", err
	}
	id = randomID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[id] = &session{user: who.name, cpf: who.cpf, opened: opened}
	return id, made.JWT, nil
}

// end

// snippet: session
// What a response is held to is this record, made when the token was: who asked, whose CPF, since when. It is found for its
// own user only, takes one response at a time and a few in all, and ends with the first that decides it.
type session struct {
	user   string
	cpf    selo.CPF
	opened time.Time

	mu    sync.Mutex // held while a response is judged
	tries int
	ended bool
}

const (
	sessionLifetime = 10 * time.Minute // the token's five to start the SDK, and as many to finish
	sessionTries    = 5
)

func (s *Library) sessionOf(user, id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.sessions[id]; one != nil && one.user == user && time.Since(one.opened) < sessionLifetime {
		return one
	}
	return nil // unknown, another's, or too old: the caller cannot tell which
}

// end

func (s *Library) decide(w http.ResponseWriter, r *http.Request) {
	who, err := s.caller(r)
	if err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	var sent struct {
		SignedResponse string `json:"signed_response"`
	}
	if err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, 2*selo.MaxTokenSize), &sent); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	attempt := s.sessionOf(who.name, r.PathValue("id"))
	if attempt == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	attempt.mu.Lock()
	defer attempt.mu.Unlock()
	if attempt.tries++; attempt.ended || attempt.tries > sessionTries {
		refuse(w, http.StatusConflict)
		return
	}
	if err := s.verify(r.Context(), attempt, sent.SignedResponse); err != nil {
		slog.Debug("refused", "reasons", selo.ReasonsOf(err))
		attempt.ended = selo.Denied(err) // the provider's own no; rubbish ends nobody's session
		refuse(w, http.StatusForbidden)
		return
	}
	attempt.ended = true
	answer(w, http.StatusOK, map[string]any{"granted": true})
}

// snippet: verify
// A response is believed when Verify says so and in no other case. It takes HS256 under our own key alone, one strict JSON
// object, this product and not our own token turned round, this person, made since the session was opened, a yes that is
// JSON true, and ids that were never used. Nothing that it compares with comes from the request: all of it is the session's.
func (s *Library) verify(ctx context.Context, attempt *session, response string) error {
	_, err := selo.Verify(ctx, response, selo.Expectation{
		Profile:   selo.CafFaceAuthentication(),
		Key:       s.key,
		CPF:       attempt.cpf,
		Opened:    attempt.opened,
		Once:      &s.once, // asks and notes down in one step, so of simultaneous posts one wins
		Assurance: selo.AssuranceMatch,
	})
	return err
}

// end

// snippet: webhook
// The signature is of the bytes that came, so they are read once and verified before anything parses them; a header that is
// missing is a wrong signature. An event may come twice, and counts once: its id is noted down where it is acted on. Who
// sent a wrong signature is refused and not blocked, since the provider sends some on purpose.
func (s *Library) event(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	if err := selo.VerifyWebhook(body, r.Header.Get(selo.WebhookSignatureHeader), s.webhook); err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &event); err != nil || event.ID == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	answer(w, http.StatusOK, map[string]any{"acted": s.firstTime(event.ID)}) // a repeat is taken too, or it would come again
}

// end

func (s *Library) firstTime(event string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.events[event]
	s.events[event] = true
	return !seen
}

// snippet: errors
// Whoever asked learns the status and nothing else: a message that helps is in the log. What is not a refusal of ours is a
// 500, which is a no as well: only the 200 that a route sends itself is a yes.
func refuse(w http.ResponseWriter, status int) {
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	answer(w, status, map[string]any{"error": http.StatusText(status)})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.MarshalWrite(w, body, json.Deterministic(true)); err != nil {
		slog.Debug("answering", "error", err) // the client has gone
	}
}

// end

// equal compares what an attacker must not learn byte by byte.
func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

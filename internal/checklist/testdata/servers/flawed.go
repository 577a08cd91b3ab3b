package servers

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	stdpath "path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Flawed is a JSON API in which everything is written by hand, as most are, and which has one mistake at most: each place
// at which it could be wrong asks whether it is. Without a flaw it is right.
type Flawed struct {
	c       Config
	flaw    string
	product product
	people  map[string]person
	appKey  []byte // signs credentials
	limits  limits
	fetcher *http.Client // of servers that fetch what they should not

	mu        sync.Mutex
	sessions  map[string]*handSession
	used      map[string]bool          // what a response is known by
	lately    []string                 // the same, of a guard that does not keep them for ever
	together  map[string]chan struct{} // of responses that are between check and set
	signedOut map[string]bool          // credentials, by id
	verified  map[string]credential    // credentials, by signature
	tokens    map[string]string        // mobile tokens that are kept, by user
	events    map[string]bool
	gone      bool
}

// product is what the server expects of a response.
type product struct {
	decisions          []string
	subject, id        string
	policy, tokenClaim string
	foreign            []string
}

var products = map[string]product{
	"caf/face-authentication": {[]string{"isAlive", "isMatch"}, "personId", "requestId", "", "peopleId", []string{"iss", "peopleId", "policyId", "isAuthorized", "isNewContext", "attemptId", "person", "sessionId"}},
	"caf/face-liveness":       {[]string{"isAlive"}, "personId", "requestId", "", "peopleId", []string{"iss", "peopleId", "policyId", "isAuthorized", "isNewContext", "attemptId", "person", "sessionId", "isMatch"}},
	"caf/smart-auth":          {[]string{"isAuthorized"}, "peopleId", "attemptId", "policyId", "personId", []string{"iss", "isAlive", "isMatch", "person", "sessionId", "personId"}},
}

// handSession is one attempt. Its fields are read and written under Flawed.mu.
type handSession struct {
	user, cpf string
	opened    time.Time
	tries     int
	ended     bool
	granted   string // the response that was
}

// object is a JSON object with its values as they are written.
type object map[string]jsontext.Value

// NewFlawed makes the server with one of the flaws that the tests of the checker list, or with "".
func NewFlawed(c Config, flaw string) (*Flawed, error) {
	p, known := products[c.Product]
	everybody, err := people(c.Users)
	if err != nil || !known {
		return nil, errors.Join(err, fmt.Errorf("product %s", c.Product))
	}
	s := &Flawed{c: c, flaw: flaw, product: p, people: everybody, appKey: []byte(rand.Text() + rand.Text()), limits: limits{counts: make(map[string]window)},
		fetcher:  &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		sessions: make(map[string]*handSession), used: make(map[string]bool), together: make(map[string]chan struct{}),
		signedOut: make(map[string]bool), verified: make(map[string]credential), tokens: make(map[string]string), events: make(map[string]bool)}
	switch {
	case s.is("default-credential-key"):
		s.appKey = []byte("your-256-bit-secret")
	case s.is("one-secret-for-both"):
		s.appKey = []byte(c.Key.Secret)
	}
	return s, nil
}

// is reports whether the server has one of these flaws.
func (s *Flawed) is(flaws ...string) bool { return slices.Contains(flaws, s.flaw) }

func (s *Flawed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch recover() {
		case nil:
			return
		case http.ErrAbortHandler: //nolint:errorlint // net/http asks for this comparison
			panic(http.ErrAbortHandler)
		}
		body := map[string]any{"error": "Internal Server Error"}
		if s.is("panic-shows-stack") {
			body["stack"] = string(debug.Stack())
		}
		answer(w, http.StatusInternalServerError, body)
	}()
	if s.restarting() {
		panic(http.ErrAbortHandler)
	}
	if !s.is("no-store-forgotten") {
		w.Header().Set("Cache-Control", "no-store")
	}
	if origin := r.Header.Get("Origin"); s.is("any-origin") && origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
	c := s.callerOf(r)
	path := r.URL.Path
	if s.is("path-cleaned-after-auth") {
		if c.who == nil && (path == "/caf/token" || path == "/caf/response") { // the guard reads the path as it came
			refuse(w, http.StatusUnauthorized)
			return
		}
		path = strings.ToLower(stdpath.Clean(path)) // the router is more forgiving
	}
	switch post := r.Method == http.MethodPost; {
	case path == "/login" && post:
		s.login(w, r)
	case path == "/logout" && post:
		s.logout(w, c)
	case path == "/caf/token", s.is("cpf-from-path") && strings.HasPrefix(path, "/caf/token/"):
		s.token(w, r, c)
	case path == "/caf/response" && (post || s.is("response-in-url")):
		s.response(w, r, c)
	case path == "/webhooks/caf" && post:
		s.event(w, r)
	default:
		refuse(w, http.StatusNotFound)
	}
}

// token opens a session and gives its token.
func (s *Flawed) token(w http.ResponseWriter, r *http.Request, c caller) {
	switch {
	case s.is("get-before-auth") && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		answer(w, http.StatusOK, map[string]any{"token": s.mint("", nil)}) // "is it up?"
		return
	case r.Method != http.MethodPost:
		refuse(w, http.StatusMethodNotAllowed)
		return
	case c.who == nil && !s.letsNobodyIn(c):
		refuse(w, http.StatusUnauthorized)
		return
	case c.who != nil && !s.is("no-limit") && !s.limits.take(c.who.name, c.who.limit):
		refuse(w, http.StatusTooManyRequests)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<10))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	var user string
	cpf := ""
	if c.who != nil {
		user = c.who.name
		if cpf, err = s.cpfFor(r, *c.who, text); err != nil {
			refuse(w, http.StatusForbidden)
			return
		}
	}
	id := randomID()
	s.mu.Lock()
	s.sessions[id] = &handSession{user: user, cpf: cpf, opened: time.Now()}
	s.mu.Unlock()
	token := s.tokenFor(user, cpf, text)
	body := map[string]any{"session": id, "token": token}
	if s.is("link-with-token") {
		body["start"] = "https://bank.example.com/start?token=" + token
	}
	answer(w, http.StatusCreated, body)
}

// letsNobodyIn says when a token is given to nobody in particular.
func (s *Flawed) letsNobodyIn(c caller) bool {
	return s.is("token-for-anyone") && !c.tried || s.is("authorization-present") && c.tried || s.is("path-cleaned-after-auth")
}

// response decides.
func (s *Flawed) response(w http.ResponseWriter, r *http.Request, c caller) {
	if s.is("credentials-decoded-at-submit") && c.who == nil { // "the token request has verified it"
		c.who = s.decodedOnly(r)
	}
	if c.who == nil && !(s.is("submit-open", "owner-checked-if-signed-in") && !c.tried) {
		refuse(w, http.StatusUnauthorized)
		return
	}
	most := int64(32 << 10)
	if s.is("dies-of-a-megabyte", "dies-of-depth") {
		most = 4 << 20 // no limit at all
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		s.no(w, map[bool]int{true: http.StatusInternalServerError, false: http.StatusRequestEntityTooLarge}[s.is("too-large-is-500")], "")
		return
	}
	h, err := s.handed(r, text)
	if err != nil {
		s.no(w, map[bool]int{true: http.StatusInternalServerError, false: http.StatusBadRequest}[s.is("type-is-500")], "")
		return
	}
	one := s.sessionOf(h.session, c.who)
	if one == nil {
		s.no(w, http.StatusNotFound, h.response)
		return
	}
	switch err := s.judge(r, one, h); {
	case errors.Is(err, errBroken):
		s.no(w, http.StatusInternalServerError, h.response)
	case err != nil:
		s.no(w, http.StatusForbidden, h.response)
	default:
		answer(w, http.StatusOK, map[string]any{"granted": true})
	}
}

// die is what nobody catches: the process ends, and another one is not there at once.
func (s *Flawed) die() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// restarting reports whether a request finds no process. The next one does.
func (s *Flawed) restarting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.gone
	s.gone = false
	return gone
}

// no refuses a response.
func (s *Flawed) no(w http.ResponseWriter, status int, response string) {
	body := map[string]any{"granted": false}
	switch {
	case s.is("refused-with-200"):
		status = http.StatusOK
	case s.is("stack-in-refusal"):
		body["stack"] = string(debug.Stack())
	case s.is("response-echoed"):
		body["received"] = response
	case s.is("secret-in-refusal"):
		body["debug"] = map[string]any{"clientId": s.c.Key.ClientID, "clientSecret": s.c.Key.Secret, "alg": "HS256"}
	case s.is("secret-in-base64"):
		body["debug"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.c.Key.ClientID+":"+s.c.Key.Secret))
	}
	answer(w, status, body)
}

// handed is what was handed in.
type handed struct {
	session, response string
	decoded           []byte // a payload that came without a signature
	fields            object // the whole request, and its query
}

func (s *Flawed) handed(r *http.Request, text []byte) (handed, error) {
	var h handed
	if q := r.URL.Query(); s.is("response-in-url") {
		return handed{session: q.Get("session"), response: q.Get("response")}, nil
	}
	if err := json.Unmarshal(text, &h.fields); err != nil || h.fields == nil {
		return h, errRefused("request_invalid")
	}
	var ok bool
	if h.session, ok = textOf(h.fields["session"]); !ok {
		return h, errRefused("request_invalid")
	}
	if h.response, ok = textOf(h.fields["response"]); !ok {
		if s.is("response-any-type") && h.fields["response"].Kind() == '{' { // "the app may have decoded it already"
			h.decoded = h.fields["response"]
			return h, nil
		}
		return h, errRefused("request_invalid")
	}
	for name, all := range r.URL.Query() {
		if h.fields[name] == nil {
			h.fields[name] = jsontext.Value(all[0])
		}
	}
	return h, nil
}

// textOf returns a JSON string.
func textOf(v jsontext.Value) (string, bool) {
	var text string
	ok := v.Kind() == '"' && json.Unmarshal(v, &text) == nil
	return text, ok
}

func (s *Flawed) sessionOf(id string, who *person) *handSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id]
	switch {
	case one == nil || time.Since(one.opened) > sessionLifetime:
		return nil
	case who == nil, s.is("session-by-id-alone", "submit-open"): // found by its id, whoever asks
		return one
	case one.user != who.name:
		return nil
	}
	return one
}

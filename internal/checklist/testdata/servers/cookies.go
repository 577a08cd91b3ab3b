package servers

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/selo-id/selo"
)

// Cookies is a web bank of caf/face-liveness: forms and a session cookie, one pending attempt for each user, and the token
// in a header of the answer. What it verifies it verifies by hand, with nothing but the standard library.
type Cookies struct {
	routes http.Handler
	key    selo.AccessKey
	secret []byte
	people map[string]person
	tell   func(string) string
	limits limits

	mu       sync.Mutex
	signedIn map[string]signIn // by the value of the cookie
	pending  map[string]*attempt
	used     map[string]bool // ids of responses, of everybody and for good
}

type signIn struct {
	user, app string
	ends      time.Time
}

// attempt is what a user has pending: at most one, and the next takes its place.
type attempt struct {
	cpf    selo.CPF
	opened time.Time
	tries  int
}

const (
	sessionCookie = "sid"
	webBank       = "web-bank" // the one app whose users this server serves; the store of sign-ins has others too
)

// NewCookies makes the server.
func NewCookies(c Config) (*Cookies, error) {
	key, err := c.Key.accessKey()
	if err != nil {
		return nil, err
	}
	everybody, err := people(c.Users)
	if err != nil {
		return nil, err
	}
	s := &Cookies{key: key, secret: []byte(c.Key.Secret), people: everybody, tell: c.tell, limits: limits{counts: make(map[string]window)},
		signedIn: make(map[string]signIn), pending: make(map[string]*attempt), used: make(map[string]bool)}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /login", s.login)
	routes.HandleFunc("POST /logout", s.logout)
	routes.HandleFunc("POST /liveness/token", s.token)
	routes.HandleFunc("POST /liveness/result", s.result)
	s.routes = noStore(routes)
	return s, nil
}

func (s *Cookies) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

func (s *Cookies) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	who := s.people[r.PostFormValue("user")]
	if !who.knows(r.PostFormValue("password")) {
		refuse(w, http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: s.SignIn(who.name, webBank, 15*time.Minute),
		Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
}

// SignIn is the sign-in of a user at an app, for a test also at another app or one that has expired already.
func (s *Cookies) SignIn(user, app string, lifetime time.Duration) (cookie string) {
	cookie = s.tell(randomID())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signedIn[cookie] = signIn{user: user, app: app, ends: time.Now().Add(lifetime)}
	return cookie
}

// caller is the user who asks: told by the cookie, and by nothing else in the request.
func (s *Cookies) caller(r *http.Request) (person, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return person{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, ok := s.signedIn[c.Value]
	who, known := s.people[in.user]
	return who, ok && known && in.app == webBank && time.Now().Before(in.ends)
}

func (s *Cookies) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.signedIn, c.Value) // here, and not only in the browser
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
}

// token opens an attempt. The form is not read: there is nothing in it that a user may choose.
func (s *Cookies) token(w http.ResponseWriter, r *http.Request) {
	who, ok := s.caller(r)
	if !ok {
		refuse(w, http.StatusForbidden)
		return
	}
	if !s.limits.take(who.name, who.limit) {
		refuse(w, http.StatusTooManyRequests)
		return
	}
	opened := time.Now()
	made, err := selo.Mint(selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: s.key, CPF: who.cpf, Now: opened})
	if err != nil {
		slog.Error("minting", "error", err)
		refuse(w, http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.pending[who.name] = &attempt{cpf: who.cpf, opened: opened}
	s.mu.Unlock()
	w.Header().Set("X-Caf-Token", s.tell(made.JWT))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Cookies) result(w http.ResponseWriter, r *http.Request) {
	who, ok := s.caller(r)
	if !ok {
		refuse(w, http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil || len(r.PostForm["response"]) != 1 {
		refuse(w, http.StatusForbidden)
		return
	}
	if err := s.judge(who.name, r.PostForm.Get("response")); err != nil {
		slog.Debug("refused", "reason", err)
		refuse(w, http.StatusForbidden)
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true})
}

// judge decides the user's pending attempt.
func (s *Cookies) judge(user, response string) error {
	pending := s.try(user)
	if pending == nil {
		return errRefused("nothing_pending")
	}
	claims, err := readResponse(response, s.secret)
	if err != nil {
		return err
	}
	id, yes, err := livenessClaims(claims, pending.cpf)
	if err != nil {
		return err
	}
	if err := checkTimes(claims, pending.opened, time.Now()); err != nil {
		return err
	}
	if err := s.useOnce(user, pending, id); err != nil || !yes {
		return errRefused("not_approved_or_replayed")
	}
	return nil
}

// try counts a try of the user's pending attempt, and returns nil when there is none that takes another.
func (s *Cookies) try(user string) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.pending[user]
	if pending == nil || time.Since(pending.opened) > sessionLifetime {
		return nil
	}
	if pending.tries++; pending.tries > sessionTries {
		return nil
	}
	return pending
}

// snippet: once
// A response is used once, by whomever and in whatever attempt, so what is noted down is the id that is signed, and not the
// text, which can be written in many ways. To ask and to note down is one step under one lock: of any number of simultaneous
// posts one wins. Of several processes it is one INSERT into a table where the id is unique, never a SELECT before it. It
// comes when all else is right, so that nobody can use up another's id with rubbish; and a no uses its id up as well.
func (s *Cookies) useOnce(user string, pending *attempt, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[user] != pending || s.used[id] {
		return errRefused("replayed")
	}
	s.used[id] = true
	delete(s.pending, user)
	return nil
}

// end

package policy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// LookupSignatureHeader carries t=SECONDS,v1=HEX on the question for a CPF: when it was asked, since 1970, and
// the HMAC-SHA256 of "SECONDS.BODY" under the shared secret. The backend that is asked must check both, and
// answer nothing to a question that is older than a few minutes.
const LookupSignatureHeader = "Selo-Signature"

// Bounds of a Lookup.
const (
	DefaultLookupTimeout = 2 * time.Second
	MaxLookupTimeout     = 5 * time.Second

	minLookupSecret  = 32
	maxLookupAnswer  = 4 << 10
	maxLookups       = 32 // at once
	lookupKept       = 30 * time.Second
	unknownKept      = 2 * time.Second // that nobody knows a CPF: who signs up may have one in a moment
	maxLookupEntries = 8192
)

// LookupConfig says where the CPF of a subject is asked for.
type LookupConfig struct {
	URL     string        // HTTPS, or HTTP on loopback
	Secret  []byte        // at least 32 bytes, shared with whoever answers there
	Timeout time.Duration // of one question; 0 is DefaultLookupTimeout
	Now     func() time.Time
}

// Lookup asks the customer's backend whose CPF a subject has. It may be used by many goroutines.
type Lookup struct {
	url     string
	sign    func(message []byte) []byte // holds the secret, where fmt cannot see it
	timeout time.Duration
	client  *http.Client
	now     func() time.Time
	running chan struct{}

	mu      sync.Mutex
	young   map[[sha256.Size]byte]knownCPF
	old     map[[sha256.Size]byte]knownCPF
	flights map[[sha256.Size]byte]*lookupFlight
}

type knownCPF struct {
	cpf   selo.CPF // zero: none was known
	since time.Time
}

// lookupFlight is a question that is under way. Whoever has the same waits for its answer: one user, however many
// requests they send, asks once at a time.
type lookupFlight struct {
	done chan struct{}
	cpf  selo.CPF
	err  error
}

// NewLookup checks c. Its secret may be cleared afterwards.
func NewLookup(c LookupConfig) (*Lookup, error) {
	if err := checkKeyURL(c.URL); err != nil {
		return nil, fmt.Errorf("url %w", err)
	}
	if len(c.Secret) < minLookupSecret {
		return nil, fmt.Errorf("the secret has %d bytes, needs at least %d random ones (openssl rand -hex 32)", len(c.Secret), minLookupSecret)
	}
	if c.Timeout < 0 || c.Timeout > MaxLookupTimeout {
		return nil, fmt.Errorf("timeout must be at most %v", MaxLookupTimeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultLookupTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	secret := bytes.Clone(c.Secret)
	return &Lookup{url: c.URL, timeout: c.Timeout, client: newClient(nil, maxLookups), now: c.Now, running: make(chan struct{}, maxLookups),
		sign: func(message []byte) []byte {
			h := hmac.New(sha256.New, secret)
			h.Write(message)
			return h.Sum(nil)
		},
		young: make(map[[sha256.Size]byte]knownCPF), old: make(map[[sha256.Size]byte]knownCPF), flights: make(map[[sha256.Size]byte]*lookupFlight)}, nil
}

type lookupQuestion struct {
	App     string `json:"app"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Format prints where it asks, and nothing of what it knows.
func (l *Lookup) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "{%s [secret]}", l.url) }

// CPF returns the CPF of a subject of an app, or the zero CPF when the backend says that it knows none yet. A
// CPF is remembered for 30 seconds, so that is how long one that changed may still be given, and that there is none for two.
// Whatever is not such an answer is a *selo.Error with cpf_unavailable.
func (l *Lookup) CPF(ctx context.Context, app string, s selo.Subject) (selo.CPF, error) {
	body, err := json.Marshal(lookupQuestion{app, s.Issuer, s.ID})
	if err != nil {
		return selo.CPF{}, lookupFailed(err)
	}
	id := sha256.Sum256(body)
	l.mu.Lock()
	if cpf, ok := l.known(id); ok {
		l.mu.Unlock()
		return cpf, nil
	}
	f, running := l.flights[id]
	if !running {
		f = &lookupFlight{done: make(chan struct{})}
		l.flights[id] = f
		// Not cancelled with the request that happened to come first: others wait for it too.
		go l.fly(context.WithoutCancel(ctx), id, body, f)
	}
	l.mu.Unlock()
	select {
	case <-f.done:
		return f.cpf, f.err
	case <-ctx.Done():
		return selo.CPF{}, lookupFailed(ctx.Err())
	}
}

// fly asks a question and remembers the answer.
func (l *Lookup) fly(ctx context.Context, id [sha256.Size]byte, body []byte, f *lookupFlight) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	began := l.now()
	select {
	case l.running <- struct{}{}:
		f.cpf, f.err = l.ask(ctx, body)
		<-l.running
	case <-ctx.Done():
		f.err = lookupFailed(ctx.Err())
	}
	defer close(f.done)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flights, id)
	if f.err != nil {
		return
	}
	if len(l.young) >= maxLookupEntries/2 {
		l.old, l.young = l.young, make(map[[sha256.Size]byte]knownCPF)
	}
	l.young[id] = knownCPF{f.cpf, began}
}

// known returns what is remembered. The caller holds mu.
func (l *Lookup) known(id [sha256.Size]byte) (selo.CPF, bool) {
	found, ok := l.young[id]
	if !ok {
		found, ok = l.old[id]
	}
	life := lookupKept
	if found.cpf.IsZero() {
		life = unknownKept
	}
	age := l.now().Sub(found.since)
	return found.cpf, ok && age >= 0 && age < life
}

// ask makes one call. There is no second try: the app's user is waiting, and can ask again.
func (l *Lookup) ask(ctx context.Context, body []byte) (selo.CPF, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return selo.CPF{}, lookupFailed(err)
	}
	at := strconv.FormatInt(l.now().Unix(), 10)
	mac := l.sign(append([]byte(at+"."), body...))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set(LookupSignatureHeader, "t="+at+",v1="+hex.EncodeToString(mac))
	answer, err := exchange(l.client, req, maxLookupAnswer)
	if err != nil {
		return selo.CPF{}, lookupFailed(withoutAnswer(err)) // the answer may be a CPF
	}
	// A null is an answer: nobody knows yet. A member that is not there is none.
	var found struct {
		CPF jsontext.Value `json:"cpf"`
	}
	if json.Unmarshal(answer, &found) != nil || found.CPF == nil {
		return selo.CPF{}, lookupFailed(errors.New(`its answer is not {"cpf":"…"} or {"cpf":null}`))
	}
	if found.CPF.Kind() == 'n' {
		return selo.CPF{}, nil
	}
	text, _ := unquote(found.CPF)
	cpf, err := selo.ParseCPF(text)
	if err != nil {
		return selo.CPF{}, lookupFailed(errors.New("what it gave is no CPF"))
	}
	return cpf, nil
}

func lookupFailed(cause error) *selo.Error {
	return &selo.Error{Reason: selo.ReasonCPFUnavailable, Field: "cpf_lookup", Detail: "the CPF could not be looked up; try again",
		Err: fmt.Errorf("asking for a CPF: %w", cause)}
}

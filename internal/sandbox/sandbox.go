package sandbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

const (
	productFaceLiveness       = "caf/face-liveness"
	productFaceAuthentication = "caf/face-authentication"

	maxClientIDSize = 256 // as in selo.AccessKey
	maxBodySize     = 8 << 10
)

// Key is an access key as the provider keeps it. Unlike selo.AccessKey it holds the secret as bytes,
// because the provider's side signs payloads of its own making.
//
// A Key prints and logs as [secret] and does not marshal. fmt cannot be stopped from walking into the
// unexported fields of a struct, so do not keep a Key in one that is printed.
type Key struct {
	ClientID string   // 1 to 256 bytes; the iss of mobile tokens
	Secret   []byte   // the UTF-8 bytes of the secret shown, of any length but 0
	Products []string // what the key is activated for: "caf/face-liveness", "caf/face-authentication"
}

const redacted = "[secret]"

var errKeyMarshal = errors.New("sandbox: a Key does not marshal")

// String prints [secret].
func (Key) String() string { return redacted }

// Format prints [secret] for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs [secret].
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, and with it JSON, XML and YAML.
func (Key) MarshalText() ([]byte, error) { return nil, errKeyMarshal }

// MarshalBinary always fails, and with it gob.
func (Key) MarshalBinary() ([]byte, error) { return nil, errKeyMarshal }

// check returns what contradicts itself in k, without its secret.
func (k Key) check() error {
	switch {
	case k.ClientID == "" || len(k.ClientID) > maxClientIDSize || !utf8.ValidString(k.ClientID):
		return fmt.Errorf("ClientID must have 1 to %d bytes of UTF-8", maxClientIDSize)
	case len(k.Secret) == 0:
		return fmt.Errorf("client %q: Secret is empty; anyone could sign with it", k.ClientID)
	case len(k.Products) == 0:
		return fmt.Errorf("client %q: no Products, so the key could never be used", k.ClientID)
	}
	for i, p := range k.Products {
		if p != productFaceLiveness && p != productFaceAuthentication {
			return fmt.Errorf("client %q: product %q is not one of %s, %s", k.ClientID, p, productFaceLiveness, productFaceAuthentication)
		}
		if slices.Contains(k.Products[:i], p) {
			return fmt.Errorf("client %q: product %q is named twice", k.ClientID, p)
		}
	}
	return nil
}

// Config is what a Sandbox is made of.
type Config struct {
	Keys []Key            // the access keys that were issued; at least one, no client ID twice
	Now  func() time.Time // the time by which tokens expire and responses are dated; nil is time.Now
	Log  *slog.Logger     // one line per attempt and per refusal, without token, secret or CPF; nil discards
}

// Sandbox is the pretend provider, an http.Handler for POST /sdk/caf/{product} and GET /healthz. It is
// safe for concurrent use and remembers nothing of a request.
type Sandbox struct {
	*door
	keys map[string]*issuedKey // by client ID
	now  func() time.Time
}

// issuedKey is a Key that was checked. Its secret is in the two functions and nowhere else, because fmt
// shows of a function only the address; of a struct, and of a pointer to one under %s, it shows it all.
type issuedKey struct {
	clientID string
	products []string
	sign     func(payload []byte) string
	verify   func(*jose.JSONWebSignature) error
}

func newIssuedKey(k Key) *issuedKey {
	secret := bytes.Clone(k.Secret)
	// go-jose verifies with no key under 32 bytes. HMAC pads every key with zero bytes to 64, so padding
	// it here changes nothing.
	padded := append(bytes.Clone(secret), make([]byte, max(0, sha256.Size-len(secret)))...)
	return &issuedKey{
		clientID: k.ClientID,
		products: slices.Clone(k.Products),
		sign:     func(payload []byte) string { return Sign(secret, []byte(HS256Header), payload) },
		verify: func(token *jose.JSONWebSignature) error {
			_, err := token.Verify(padded)
			return err
		},
	}
}

// New checks cfg and makes a Sandbox. It copies the keys, secrets included.
func New(cfg Config) (*Sandbox, error) {
	if len(cfg.Keys) == 0 {
		return nil, errors.New("sandbox: Keys is empty, so no token could ever be accepted")
	}
	s := &Sandbox{door: newDoor(cfg.Log), keys: make(map[string]*issuedKey), now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	for i, k := range cfg.Keys {
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("sandbox: key %d: %w", i, err)
		}
		if s.keys[k.ClientID] != nil {
			return nil, fmt.Errorf("sandbox: key %d: client %q is named twice", i, k.ClientID)
		}
		s.keys[k.ClientID] = newIssuedKey(k)
	}
	s.handle(http.MethodPost, "/sdk/caf/{product}", s.sdk)
	return s, nil
}

// door is what the two handlers of this package have in common: JSON in, JSON out, one form of refusal,
// nothing cached, nothing echoed.
type door struct {
	mux *http.ServeMux
	log *slog.Logger
}

// refusal is an answer that is not 200. Its texts are constants of this package: nothing that was sent
// gets into them, and so nothing secret into answers and logs.
type refusal struct {
	status        int
	code, message string
}

// action answers a request with a value to be sent as JSON, or refuses it; never both.
type action func(w http.ResponseWriter, r *http.Request) (any, *refusal)

// Codes of refusals; tokenException is Caf's (see the package documentation), the rest are Selo's or HTTP's.
const (
	codeToken          = "tokenException"
	codeRequestInvalid = string(selo.ReasonRequestInvalid)
	codeTooLarge       = string(selo.ReasonTooLarge)
	codeCPFInvalid     = string(selo.ReasonCPFInvalid)
	codeCPFMismatch    = string(selo.ReasonCPFMismatch)
	codeProductUnknown = string(selo.ReasonProductUnknown)
	codeUserUnknown    = "user_unknown"
	codeNotFound       = "not_found"
	codeMethod         = "method_not_allowed"
	codeInternal       = "internal"
)

func newDoor(log *slog.Logger) *door {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &door{http.NewServeMux(), log}
	d.handle(http.MethodGet, "/healthz", func(http.ResponseWriter, *http.Request) (any, *refusal) {
		return map[string]string{"status": "ok"}, nil
	})
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, &refusal{http.StatusNotFound, codeNotFound, "no such path here; GET /healthz is one"})
	})
	return d
}

// ServeHTTP answers one request.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	d.mux.ServeHTTP(w, r)
}

// handle registers a for method and path, and a 405 for every other method.
func (d *door) handle(method, path string, a action) {
	d.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
		answer, refused := a(w, r)
		if refused == nil {
			refused = d.send(w, http.StatusOK, answer)
		}
		if refused != nil {
			d.refuse(w, r, refused)
		}
	})
	d.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		d.refuse(w, r, &refusal{http.StatusMethodNotAllowed, codeMethod, "this path takes " + method + " only"})
	})
}

// refuse sends a refusal and logs it. It logs the pattern and not the path, which the sender chose.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	d.log.LogAttrs(r.Context(), slog.LevelInfo, "refused", slog.String("route", r.Pattern),
		slog.Int("status", no.status), slog.String("error", no.code), slog.String("why", no.message))
	d.send(w, no.status, struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{no.code, no.message})
}

// send writes v as JSON. The refusal it returns, when nothing was written, is for a v that does not marshal.
func (d *door) send(w http.ResponseWriter, status int, v any) *refusal {
	body, err := json.Marshal(v)
	if err != nil {
		return &refusal{http.StatusInternalServerError, codeInternal, "the answer could not be written as JSON"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// readBody reads exactly one JSON value of at most maxBodySize into v: exact names, none unknown, none
// twice, nothing after it. shape says what was expected.
func readBody(w http.ResponseWriter, r *http.Request, v any, shape string) *refusal {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodySize))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return &refusal{http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body must not be longer than %d bytes", maxBodySize)}
	}
	if err != nil {
		return &refusal{http.StatusBadRequest, codeRequestInvalid, "the body could not be read to its end"}
	}
	// The decoder's errors quote what was sent, so they go nowhere.
	if err := json.Unmarshal(body, v, json.RejectUnknownMembers(true)); err != nil {
		return &refusal{http.StatusBadRequest, codeRequestInvalid,
			"the body must be one JSON object " + shape + ", strings only, no other names, none twice, nothing after it"}
	}
	return nil
}

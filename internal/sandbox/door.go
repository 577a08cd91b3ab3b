package sandbox

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

const maxBodySize = 8 << 10

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

// action answers a request with a value to be sent as JSON, or a bareJWT, or refuses it; never both.
type action func(w http.ResponseWriter, r *http.Request) (any, *refusal)

// bareJWT is an answer that is a JWT and nothing else.
type bareJWT string

// Codes of refusals; tokenException is Caf's (see the package documentation), the rest are Selo's or HTTP's.
const (
	codeToken          = "tokenException"
	codeRequestInvalid = string(selo.ReasonRequestInvalid)
	codeTooLarge       = string(selo.ReasonTooLarge)
	codeCPFInvalid     = string(selo.ReasonCPFInvalid)
	codeCPFMismatch    = string(selo.ReasonCPFMismatch)
	codeProductUnknown = string(selo.ReasonProductUnknown)
	codeRateLimited    = string(selo.ReasonRateLimited)
	codeUnavailable    = string(selo.ReasonProviderUnavailable)
	codeUserUnknown    = "user_unknown"
	codeNoFace         = "face_not_registered"
	codeNotPending     = "attempt_not_pending"
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
	d.answer(method+" "+path, a)
	d.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		d.refuse(w, r, &refusal{http.StatusMethodNotAllowed, codeMethod, "this path takes " + method + " only"})
	})
}

// answer registers a for a pattern.
func (d *door) answer(pattern string, a action) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		answer, refused := a(w, r)
		if refused == nil {
			refused = d.send(w, http.StatusOK, answer)
		}
		if refused != nil {
			d.refuse(w, r, refused)
		}
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

// send writes v. The refusal it returns, when nothing was written, is for a v that does not marshal.
func (d *door) send(w http.ResponseWriter, status int, v any) *refusal {
	body, contentType := []byte(nil), "application/json"
	if jwt, ok := v.(bareJWT); ok {
		body, contentType = []byte(jwt), "application/jwt"
	} else {
		var no *refusal
		if body, no = marshal(v); no != nil {
			return no
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

func marshal(v any) ([]byte, *refusal) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, codeInternal, "the answer could not be written as JSON"}
	}
	return body, nil
}

func invalid(message string) *refusal {
	return &refusal{http.StatusBadRequest, codeRequestInvalid, message}
}

// readBody reads exactly one JSON value of at most maxBodySize into v: exact names, none unknown, none
// twice, nothing after it. shape says what was expected.
func readBody(w http.ResponseWriter, r *http.Request, v any, shape string) *refusal {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodySize))
	if err != nil {
		return unreadable(err, maxBodySize)
	}
	// The decoder's errors quote what was sent, so they go nowhere.
	if err := json.Unmarshal(body, v, json.RejectUnknownMembers(true)); err != nil {
		return invalid("the body must be one JSON object " + shape + ", of these types, no other names, none twice, nothing after it")
	}
	return nil
}

// unreadable is the refusal of a body whose reading failed with err, under a limit of limit bytes.
func unreadable(err error, limit int) *refusal {
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return &refusal{http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body must not be longer than %d bytes", limit)}
	}
	return invalid("the body could not be read to its end")
}

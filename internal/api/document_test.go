package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const documentURL = "https://selo.test/openapi.json"

// document is openapi.yaml, and what was seen of it in answers.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by JSON pointer
	seen    map[string]bool               // "METHOD template status"
}

var loadDocument = sync.OnceValues(func() (*document, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	root, err := fromYAML(text)
	if err != nil {
		return nil, err
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, errors.New("openapi.yaml is not an object")
	}
	d := &document{root: object, schemas: make(map[string]*jsonschema.Schema), seen: make(map[string]bool)}
	d.compiler = jsonschema.NewCompiler()
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	d.compiler.UseLoader(noLoader{})
	if err := d.compiler.AddResource(documentURL, root); err != nil {
		return nil, err
	}
	return d, nil
})

func theDocument(t testing.TB) *document {
	t.Helper()
	d, err := loadDocument()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// noLoader keeps schemas from being fetched.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside the document", url)
}

// fromYAML reads YAML, strictly, as the values that a JSON schema judges.
func fromYAML(text []byte) (any, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
}

// pointer escapes the steps of a JSON pointer.
func pointer(steps ...string) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
	}
	return b.String()
}

// at returns the value at a JSON pointer.
func (d *document) at(p string) (any, error) {
	var now any = d.root
	for step := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		object, ok := now.(map[string]any)
		if !ok || object[step] == nil {
			return nil, fmt.Errorf("openapi.yaml has nothing at %s", p)
		}
		now = object[step]
	}
	return now, nil
}

// resolve follows $ref and returns the object and where it is.
func (d *document) resolve(p string) (map[string]any, string, error) {
	for range 8 {
		value, err := d.at(p)
		if err != nil {
			return nil, "", err
		}
		object, ok := value.(map[string]any)
		if !ok {
			return nil, "", fmt.Errorf("openapi.yaml: %s is not an object", p)
		}
		ref, ok := object["$ref"].(string)
		if !ok {
			return object, p, nil
		}
		if p, ok = strings.CutPrefix(ref, "#"); !ok {
			return nil, "", fmt.Errorf("openapi.yaml: $ref %s leaves the document", ref)
		}
	}
	return nil, "", fmt.Errorf("openapi.yaml: $ref goes round at %s", p)
}

// schema compiles the schema at a JSON pointer.
func (d *document) schema(p string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.schemas[p]; s != nil {
		return s, nil
	}
	s, err := d.compiler.Compile(documentURL + "#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(p))
	if err != nil {
		return nil, err
	}
	d.schemas[p] = s
	return s, nil
}

// methods are the fields of a path item that are operations.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// operations are all of them, as "METHOD template".
func (d *document) operations() (all []string) {
	for path, item := range d.root["paths"].(map[string]any) {
		for _, m := range methods {
			if item.(map[string]any)[m] != nil {
				all = append(all, strings.ToUpper(m)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}

// template finds the documented path that a path is an instance of.
func (d *document) template(path string) string {
	have := strings.Split(path, "/")
	for template := range d.root["paths"].(map[string]any) {
		want := strings.Split(template, "/")
		if slices.EqualFunc(want, have, func(w, h string) bool { return w == h || strings.HasPrefix(w, "{") && h != "" }) {
			return template
		}
	}
	return ""
}

// check says what of an answer is not as documented.
func (d *document) check(r *http.Request, requestBody []byte, a answer) error {
	template := d.template(r.URL.EscapedPath())
	item, _ := d.root["paths"].(map[string]any)[template].(map[string]any)
	method := strings.ToLower(r.Method)
	var allowed []string
	for _, m := range methods {
		if item[m] != nil {
			allowed = append(allowed, strings.ToUpper(m))
		}
	}
	switch {
	case template == "": // said under info.description
		return errors.Join(wantStatus(a, http.StatusNotFound), d.checkContent("/components/responses/Problem", a, false))
	case item[method] == nil && (method != "head" || item["get"] == nil):
		var err error
		if allow := a.header.Get("Allow"); allow != strings.Join(allowed, ", ") {
			err = fmt.Errorf("Allow is %q, documented are %v", allow, allowed)
		}
		return errors.Join(err, wantStatus(a, http.StatusMethodNotAllowed), d.checkContent("/components/responses/Problem", a, false))
	case item[method] == nil:
		method = "get"
	}
	operation := pointer("paths", template, method)
	status := strconv.Itoa(a.status)
	if _, err := d.at(operation + "/responses/" + status); err != nil {
		return fmt.Errorf("status %s is not documented", status)
	}
	d.mu.Lock()
	d.seen[strings.ToUpper(method)+" "+template+" "+status] = true
	d.mu.Unlock()
	if a.status < 300 && method == "post" {
		s, err := d.schema(operation + "/requestBody/content/application~1json/schema")
		if err != nil {
			return err
		}
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(requestBody))
		if err != nil {
			return fmt.Errorf("the request was taken and is not JSON: %w", err)
		}
		if err := s.Validate(body); err != nil {
			return fmt.Errorf("the request was taken and is not as documented: %w", err)
		}
	}
	return d.checkContent(operation+"/responses/"+status, a, r.Method == http.MethodHead)
}

func wantStatus(a answer, want int) error {
	if a.status != want {
		return fmt.Errorf("status %d, want %d", a.status, want)
	}
	return nil
}

// checkContent compares headers, content type and body with a response object.
func (d *document) checkContent(at string, a answer, bodiless bool) error {
	response, at, err := d.resolve(at)
	if err != nil {
		return err
	}
	headers, _ := response["headers"].(map[string]any)
	for name := range headers {
		value := a.header.Get(name)
		if value == "" {
			continue
		}
		s, err := d.schema(at + pointer("headers", name, "schema"))
		if err != nil {
			return err
		}
		var instance any = value
		if number := json.Number(value); len(s.Types.ToStrings()) == 1 && s.Types.ToStrings()[0] == "integer" {
			instance = number
		}
		if err := s.Validate(instance); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	content, _ := response["content"].(map[string]any)
	kind := a.header.Get("Content-Type")
	if content[kind] == nil {
		return fmt.Errorf("content type %q is not documented, %v are", kind, slices.Collect(maps.Keys(content)))
	}
	if bodiless {
		return nil
	}
	s, err := d.schema(at + pointer("content", kind, "schema"))
	if err != nil {
		return err
	}
	var body any
	if kind == "application/yaml" {
		body, err = fromYAML(a.body)
	} else {
		body, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	}
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if err := s.Validate(body); err != nil {
		return fmt.Errorf("the body is not as documented: %w\n%s", err, a.body)
	}
	return nil
}

// promises are what every answer keeps, whatever it is.
func promises(r *http.Request, a answer) (errs []error) {
	want := func(name, value string) {
		if got := a.header.Values(name); len(got) != 1 || got[0] != value {
			errs = append(errs, fmt.Errorf("%s is %q, want %q", name, got, value))
		}
	}
	if r.URL.Path == "/.well-known/jwks.json" && a.status == http.StatusOK {
		want("Cache-Control", "public, max-age=300")
	} else {
		want("Cache-Control", "no-store")
	}
	want("X-Content-Type-Options", "nosniff")
	id := a.header.Get("X-Request-Id")
	if len(id) < 20 {
		errs = append(errs, fmt.Errorf("X-Request-Id is %q", id))
	}
	for status, name := range map[int]string{http.StatusUnauthorized: "WWW-Authenticate", http.StatusTooManyRequests: "Retry-After", http.StatusServiceUnavailable: "Retry-After"} {
		if a.status == status && a.header.Get(name) == "" {
			errs = append(errs, fmt.Errorf("%d without %s", status, name))
		}
	}
	if (a.header.Get("Location") != "") != (a.status == http.StatusCreated) {
		errs = append(errs, fmt.Errorf("%d with Location %q", a.status, a.header.Get("Location")))
	}
	if a.status >= 400 && r.Method != http.MethodHead {
		errs = append(errs, keepsProblem(a, id)...)
	}
	return errs
}

// keepsProblem checks that a problem agrees with its own answer and tells nothing of the inside.
func keepsProblem(a answer, id string) (errs []error) {
	var p struct {
		Type      string
		Status    int
		Reasons   []string
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		return []error{err}
	}
	anchor := "about:blank"
	if len(p.Reasons) > 0 {
		anchor = "https://github.com/selo-id/selo/blob/main/docs/errors.md#" + p.Reasons[0]
	}
	if p.Status != a.status || p.RequestID != id || p.Type != anchor {
		errs = append(errs, fmt.Errorf("a problem of status %d, request %q and type %q, want %d, %q and %q", p.Status, p.RequestID, p.Type, a.status, id, anchor))
	}
	for _, inside := range []string{"sql", "SELECT", "goroutine", "panic", ".go:", "database", "jsontext", "0x", panicMessage, `"receipt"`, `"tokens"`} {
		if bytes.Contains(a.body, []byte(inside)) {
			errs = append(errs, fmt.Errorf("the problem tells of the inside: %q", inside))
		}
	}
	return errs
}

// checked holds every answer that comes through it to the document.
type checked struct {
	t    *testing.T
	base http.RoundTripper
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.GetBody != nil {
		if body, err := r.GetBody(); err == nil {
			sent, _ = io.ReadAll(body)
		}
	}
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	d, err := loadDocument()
	if err != nil {
		return nil, err
	}
	a := answer{resp.StatusCode, resp.Header, body}
	if err := errors.Join(append(promises(r, a), d.check(r, sent, a))...); err != nil {
		c.t.Errorf("%s %s answered %d: %v", r.Method, r.URL.Path, a.status, err)
	}
	return resp, nil
}

package api_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The document is OpenAPI 3.1 by the schema that the OpenAPI Initiative publishes
// (https://spec.openapis.org/oas/3.1/schema/2022-10-07, Apache-2.0).
func TestDocumentIsOpenAPI(t *testing.T) {
	d := theDocument(t)
	text, err := os.ReadFile("testdata/oas-3.1-2022-10-07.json")
	if err != nil {
		t.Fatal(err)
	}
	official, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource("https://spec.openapis.org/oas/3.1/schema/2022-10-07", official); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://spec.openapis.org/oas/3.1/schema/2022-10-07")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(d.root); err != nil {
		t.Errorf("%v", err)
	}
	broken := maps.Clone(d.root)
	broken["path"] = broken["paths"]
	if s.Validate(broken) == nil {
		t.Error("the schema of OpenAPI takes anything")
	}
}

// walk visits every object of the document with its JSON pointer.
func walk(value any, at string, visit func(at string, object map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		visit(at, v)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			walk(v[name], at+pointer(name), visit)
		}
	case []any:
		for i, one := range v {
			walk(one, at+"/"+strconv.Itoa(i), visit)
		}
	}
}

// Every $ref leads somewhere, every schema is one, every component is used, and every operation has a name.
func TestDocumentHangsTogether(t *testing.T) {
	d := theDocument(t)
	used := map[string]bool{}
	schemas := 0
	names := map[string]string{}
	walk(d.root, "", func(at string, object map[string]any) {
		if ref, ok := object["$ref"].(string); ok {
			used[ref] = true
			if _, _, err := d.resolve(strings.TrimPrefix(ref, "#")); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
		if id, ok := object["operationId"].(string); ok {
			if names[id] != "" {
				t.Errorf("%s: operationId %s is that of %s", at, id, names[id])
			}
			names[id] = at
		}
		isSchema := strings.HasSuffix(at, "/schema") || regexp.MustCompile(`^/components/schemas/[^/]+$`).MatchString(at)
		if !isSchema {
			return
		}
		schemas++
		if _, err := d.schema(at); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	})
	for kind, members := range d.root["components"].(map[string]any) {
		for name := range members.(map[string]any) {
			if kind != "securitySchemes" && !used["#/components/"+kind+"/"+name] {
				t.Errorf("components/%s/%s is used by nothing", kind, name)
			}
		}
	}
	if len(names) != len(d.operations()) || schemas < 10 {
		t.Errorf("%d operations of %d have a name, %d schemas", len(names), len(d.operations()), schemas)
	}
}

// Every example is what its schema says. Tokens in examples are only text.
func TestDocumentExamples(t *testing.T) {
	d := theDocument(t)
	found := 0
	walk(d.root, "", func(at string, object map[string]any) {
		if object["schema"] == nil {
			return
		}
		examples := map[string]any{}
		if one, ok := object["example"]; ok {
			examples["example"] = one
		}
		if many, ok := object["examples"].(map[string]any); ok {
			for name, example := range many {
				examples[name] = example.(map[string]any)["value"]
			}
		}
		s, err := d.schema(at + "/schema")
		if err != nil {
			t.Errorf("%s: %v", at, err)
			return
		}
		for name, value := range examples {
			found++
			if err := s.Validate(value); err != nil {
				t.Errorf("%s: example %s: %v", at, name, err)
			}
		}
		if len(examples) == 0 && strings.Contains(at, "/content/application~1json") {
			t.Errorf("%s has no example", at)
		}
	})
	if found < 12 {
		t.Errorf("found %d examples", found)
	}
}

// routes reads the table of routes out of api.go, and checks that there is no other way to add one.
func routes(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	registered := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if len(n.Elts) == 3 {
					method, path := text(n.Elts[0]), text(n.Elts[1])
					if method == strings.ToUpper(method) && strings.HasPrefix(path, "/") {
						all = append(all, method+" "+path)
					}
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Handle" || f.Sel.Name == "HandleFunc") {
					registered++
				}
			}
			return true
		})
	}
	if registered != 3 { // each route, the same path with another method, and everything else
		t.Errorf("%d calls register handlers, want the 3 of New: this test knows no other routes", registered)
	}
	slices.Sort(all)
	return all
}

// text is the value of a string literal, or "".
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return s
}

// The routes of the handler and the operations of the document are the same.
func TestDocumentAndRoutes(t *testing.T) {
	d := theDocument(t)
	if diff := cmp.Diff(d.operations(), routes(t)); diff != "" {
		t.Errorf("operations (-documented +handled):\n%s", diff)
	}
	h := newHouse(t, settings{})
	for _, operation := range d.operations() {
		method, path, _ := strings.Cut(operation, " ")
		r := httptest.NewRequestWithContext(t.Context(), method, strings.ReplaceAll(path, "{id}", "x"), nil)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code == http.StatusMethodNotAllowed || strings.Contains(w.Body.String(), "No such path") {
			t.Errorf("%s is not served: %d %s", operation, w.Code, w.Body)
		}
	}
}

// What is served is the document.
func TestDocumentIsServed(t *testing.T) {
	h := newHouse(t, settings{})
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a := h.send("GET", "/openapi.yaml", "", "", nil); !bytes.Equal(a.body, want) {
		t.Error("/openapi.yaml is not openapi.yaml")
	}
}

// reasonCodes reads the constants of type Reason out of the root package.
func reasonCodes(t *testing.T) (all []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), "../../errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				all = append(all, text(spec.Values[0]))
			}
		}
		return true
	})
	return all
}

// The codes of the document are those of the library, in the same order.
func TestDocumentAndReasons(t *testing.T) {
	d := theDocument(t)
	enum, err := d.at("/components/schemas/Reason/enum")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, one := range enum.([]any) {
		documented = append(documented, one.(string))
	}
	if diff := cmp.Diff(reasonCodes(t), documented); diff != "" || len(documented) < 38 {
		t.Errorf("reasons (-library +document):\n%s", diff)
	}
}

// The type of each problem is an address in docs/errors.md, where there is a heading for it.
func TestProblemTypesAreExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^#+ +`?([a-z_]+)`?\\s*$").FindAllSubmatch(page, -1) {
		headings[string(m[1])] = true
	}
	for _, reason := range reasonCodes(t) {
		if !headings[reason] {
			t.Errorf("docs/errors.md has no heading %s", reason)
		}
	}
}

// example is how a documented request is sent, and what it comes to.
type example struct {
	who    string // "" is nobody
	status int
	reason string // the first one, of a problem
}

// examples are the documented requests, by operation and name. One without a body has no name. A request
// for {id} goes to the example of the parameter, which is nobody's session, unless open.
var examples = map[string]example{
	"POST /v1/sessions endUser":                                       {"ana", 201, ""},
	"POST /v1/sessions service":                                       {"backend", 201, ""},
	"POST /v1/sessions endUserWithCPF":                                {"ana", 400, "request_invalid"},
	"POST /v1/sessions assuranceTooLow":                               {"ana", 403, "assurance_too_low"},
	"POST /v1/sessions unknownPurpose":                                {"ana", 400, "purpose_unknown"},
	"GET /v1/sessions/{id}":                                           {"ana", 404, "session_unknown"},
	"POST /v1/sessions/{id}/response signedResponse":                  {"ana", 404, "session_unknown"},
	"POST /v1/sessions/{id}/response signedResponse, of ours":         {"ana", 403, "malformed"},
	"POST /v1/sessions/{id}/response module":                          {"ana", 404, "session_unknown"},
	"POST /v1/sessions/{id}/response module, of ours":                 {"ana", 403, "malformed"},
	"POST /v1/sessions/{id}/response refusedWithoutResponse":          {"ana", 404, "session_unknown"},
	"POST /v1/sessions/{id}/response refusedWithoutResponse, of ours": {"ana", 403, "signature_invalid"},
	"POST /v1/webhooks/caf/{name} faceAuthentication":                 {"", 401, "caller_unauthenticated"},
	"GET /v1/admin/credentials":                                       {"viewer", 200, ""},
	"POST /v1/admin/credentials service":                              {"admin", 400, "request_invalid"}, // this house has no bank-app
	"POST /v1/admin/credentials unknownScope":                         {"admin", 400, "request_invalid"},
	"DELETE /v1/admin/credentials/{kind}/{id}":                        {"operator", 404, "credential_unknown"},
	"GET /v1/admin/trail":                                             {"viewer", 400, "request_invalid"}, // without a query
	"GET /v1/admin/keys":                                              {"viewer", 200, ""},
	"POST /v1/admin/keys withoutProducts":                             {"admin", 400, "request_invalid"},
	"POST /v1/admin/keys/rewrap all":                                  {"admin", 200, ""},
	"GET /v1/admin/keys/{environment}/{client_id}":                    {"viewer", 404, "key_unknown"},
	"POST /v1/admin/keys/{environment}/{client_id} revoke":            {"operator", 404, "key_unknown"},
	"GET /.well-known/jwks.json":                                      {"", 200, ""},
	"GET /healthz":                                                    {"", 200, ""},
	"GET /readyz":                                                     {"", 200, ""},
	"GET /openapi.yaml":                                               {"", 200, ""},
}

// Every documented request is sent as it stands; client holds every answer to the document.
func TestDocumentedRequests(t *testing.T) {
	d := theDocument(t)
	h := newHouse(t, settings{})
	sent := map[string]bool{}
	for _, operation := range d.operations() {
		method, template, _ := strings.Cut(operation, " ")
		path := strings.NewReplacer("{name}", "console", "{kind}", "service", "{environment}", "production", "{client_id}", "64b7f3c2a1d0e9f8b7a6c5d4").Replace(template) // as their examples have it
		if strings.Contains(path, "{id}") {
			id, err := d.at("/components/parameters/session/example")
			if err != nil {
				t.Fatal(err)
			}
			path = strings.ReplaceAll(path, "{id}", id.(string))
		}
		send := func(name, path, body string) {
			e, ok := examples[name]
			if !ok {
				t.Errorf("%s has no row in examples", name)
				return
			}
			sent[name] = true
			a := h.send(method, path, e.who, body, nil)
			if a.status != e.status {
				t.Errorf("%s: status %d, want %d\n%s", name, a.status, e.status, a.body)
				return
			}
			if e.status >= 400 && a.json(t)["reasons"].([]any)[0] != e.reason {
				t.Errorf("%s: %s, want %s", name, a.body, e.reason)
			}
			if e.status < 400 && e.reason != "" {
				t.Errorf("%s: has a reason for success", name)
			}
		}
		if _, err := d.at(pointer("paths", template, strings.ToLower(method), "requestBody")); err != nil {
			send(operation, path, "")
			continue
		}
		bodies, err := d.at(pointer("paths", template, strings.ToLower(method), "requestBody", "content", "application/json", "examples"))
		if err != nil {
			t.Error(err)
			continue
		}
		for name, one := range bodies.(map[string]any) {
			body, err := json.Marshal(one.(map[string]any)["value"])
			if err != nil {
				t.Fatal(err)
			}
			send(operation+" "+name, path, string(body))
			if strings.Contains(template, "{id}") {
				id, _ := h.opened("ana", "caf/face-liveness", "login")
				send(operation+" "+name+", of ours", strings.ReplaceAll(template, "{id}", id), string(body))
			}
		}
	}
	for name := range examples {
		if !sent[name] {
			t.Errorf("examples has a row %s, and the document no such request", name)
		}
	}
}

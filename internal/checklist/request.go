package checklist

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/selo-id/selo/internal/sandbox"
)

// The names of the values that stand in requests by themselves.
const (
	valueUser       = "user"
	valueCPF        = "cpf"
	valueCredential = "credential"
	valueToken      = "token"
	valueFaceToken  = "face_token" // of Smart Auth, whose SDK starts with two
	valueResponse   = "response"
	valueProduct    = "product"
	valuePolicy     = "policy_id"
	valueUUID       = "uuid" // another one in each request
	valueEvent      = "event"
	valueSignature  = "signature"
)

var placeholder = regexp.MustCompile(`\{\{\s*([a-z][a-z0-9_]*)\s*\}\}`)

// values are what stands for the placeholders of a request.
type values map[string]string

// with returns the values and others that go before them.
func (v values) with(more values) values {
	all := make(values, len(v)+len(more))
	maps.Copy(all, v)
	maps.Copy(all, more)
	return all
}

func (v values) without(name string) values {
	less := maps.Clone(v)
	delete(less, name)
	return less
}

// fill puts values in the place of placeholders, escaped for where they stand. A value that is not there is empty.
func (v values) fill(text string, escape func(string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		return escape(v[placeholder.FindStringSubmatch(p)[1]])
	})
}

func asItIs(s string) string { return s }

// oneLine keeps a value from ending its header.
func oneLine(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }

// names returns the placeholders of a text.
func names(text string) []string {
	var all []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func uses(text, name string) bool { return slices.Contains(names(text), name) }

type bodyKind int

const (
	noBody bodyKind = iota
	jsonBody
	formBody
	multipartBody
	rawBody
)

// request is a step filled in, in a form that probes can change.
type request struct {
	method string
	url    *url.URL
	header http.Header
	kind   bodyKind
	body   []byte
}

// edit is what a probe does to a request.
type edit func(*request)

// build fills a step in. A header that would carry a value which is not there, such as the credential of nobody, is left
// out whole.
func (s *Step) build(base *url.URL, v values) (*request, error) {
	v = v.with(values{valueUUID: sandbox.NewUUID()})
	target, query, _ := strings.Cut(s.URL, "?")
	r := &request{method: s.method(), url: new(url.URL), header: make(http.Header)}
	// What is filled in cannot change where a request goes: a host has no placeholders, and a path is never read as a URL.
	if rest, absolute := cutHost(target); absolute != nil {
		r.url, target = absolute, rest
	} else {
		*r.url = *base
		r.url.Path, r.url.RawPath = "", ""
		target = strings.TrimSuffix(base.EscapedPath(), "/") + target
	}
	r.url.RawPath = v.fill(target, url.PathEscape)
	path, err := url.PathUnescape(r.url.RawPath)
	if err != nil {
		return nil, fmt.Errorf("the URL of a step is none once its values stand in it")
	}
	r.url.Path = path
	r.url.RawQuery = v.fill(query, url.QueryEscape)
	for name, value := range s.Headers {
		if !slices.ContainsFunc(names(value), func(n string) bool { return v[n] == "" }) {
			r.header.Set(name, oneLine(v.fill(value, asItIs)))
		}
	}
	contentType := ""
	switch {
	case s.JSON != nil:
		r.kind, contentType = jsonBody, "application/json"
		if r.body, err = json.Marshal(fillTree(s.JSON, v), json.Deterministic(true)); err != nil {
			return nil, fmt.Errorf("the JSON of a step cannot be written: %w", err)
		}
	case s.Form != nil:
		r.kind, contentType = formBody, "application/x-www-form-urlencoded"
		form := make(url.Values)
		for name, value := range s.Form {
			form.Set(name, v.fill(value, asItIs))
		}
		r.body = []byte(form.Encode())
	case s.Multipart != nil:
		r.kind = multipartBody
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, name := range slices.Sorted(maps.Keys(s.Multipart)) {
			_ = w.WriteField(name, v.fill(s.Multipart[name], asItIs)) // a Buffer takes everything
		}
		_ = w.Close()
		r.body, contentType = b.Bytes(), w.FormDataContentType()
	case s.Raw != "":
		r.kind, contentType, r.body = rawBody, "text/plain", []byte(v.fill(s.Raw, asItIs))
	}
	if contentType != "" && r.header.Get("Content-Type") == "" {
		r.header.Set("Content-Type", contentType)
	}
	return r, nil
}

// cutHost takes scheme and host off an absolute URL; absolute is nil for a path.
func cutHost(target string) (path string, absolute *url.URL) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.ContainsAny(scheme, "/{") {
		return target, nil
	}
	host, path, _ := strings.Cut(rest, "/")
	return "/" + path, &url.URL{Scheme: strings.ToLower(scheme), Host: host}
}

func (s *Step) method() string {
	switch {
	case s.Method != "":
		return strings.ToUpper(s.Method)
	case s.JSON != nil || s.Form != nil || s.Multipart != nil || s.Raw != "":
		return http.MethodPost
	}
	return http.MethodGet
}

// fillTree fills in every text of a JSON value.
func fillTree(tree any, v values) any {
	switch t := tree.(type) {
	case string:
		return v.fill(t, asItIs)
	case map[string]any:
		m := make(map[string]any, len(t))
		for name, value := range t {
			m[name] = fillTree(value, v)
		}
		return m
	case []any:
		l := make([]any, len(t))
		for i, value := range t {
			l[i] = fillTree(value, v)
		}
		return l
	}
	return tree
}

// texts calls f with each text of the step in which placeholders may stand, and where it is.
func (s *Step) texts(f func(where, text string)) {
	f("url", s.URL)
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		f("headers."+name, s.Headers[name])
	}
	treeTexts("json", s.JSON, f)
	for _, name := range slices.Sorted(maps.Keys(s.Form)) {
		f("form."+name, s.Form[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Multipart)) {
		f("multipart."+name, s.Multipart[name])
	}
	f("raw", s.Raw)
}

func treeTexts(where string, tree any, f func(where, text string)) {
	switch t := tree.(type) {
	case string:
		f(where, t)
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(t)) {
			treeTexts(where+"."+name, t[name], f)
		}
	case []any:
		for i, value := range t {
			treeTexts(fmt.Sprintf("%s[%d]", where, i), value, f)
		}
	}
}

// usesIn reports whether a value stands in a part of the step: "url", "headers" or "" for all of it.
func (s *Step) usesIn(part, name string) (yes bool) {
	s.texts(func(where, text string) {
		yes = yes || strings.HasPrefix(where, part) && uses(text, name)
	})
	return yes
}

// fields are the names of the step's body and their texts, nil when it is not a flat list of them.
func (s *Step) fields() map[string]string {
	switch {
	case s.Form != nil:
		return s.Form
	case s.Multipart != nil:
		return s.Multipart
	}
	object, ok := s.JSON.(map[string]any)
	if !ok {
		return nil
	}
	all := make(map[string]string)
	for name, value := range object {
		text, ok := value.(string)
		if !ok {
			return nil
		}
		all[name] = text
	}
	return all
}

// asFields writes a flat body anew as another kind.
func asFields(kind bodyKind) edit {
	return func(r *request) {
		fields := make(map[string]string)
		switch r.kind {
		case jsonBody:
			_ = json.Unmarshal(r.body, &fields) // flat, as fields says
		case formBody:
			form, _ := url.ParseQuery(string(r.body)) // ours
			for name := range form {
				fields[name] = form.Get(name)
			}
		default:
			return
		}
		step := Step{Method: r.method}
		switch kind {
		case jsonBody:
			object := make(map[string]any)
			for name, value := range fields {
				object[name] = value
			}
			step.JSON = object
		case formBody:
			step.Form = fields
		default:
			step.Multipart = fields
		}
		if made, err := step.build(r.url, nil); err == nil {
			r.kind, r.body = made.kind, made.body
			r.header.Set("Content-Type", made.header.Get("Content-Type"))
		}
	}
}

// setHeader, addQuery and addField are edits that put something into a request beside what belongs there.
func setHeader(name, value string) edit {
	return func(r *request) { r.header.Set(name, value) }
}

func setMethod(method string) edit {
	return func(r *request) {
		r.method = method
		if method == http.MethodGet || method == http.MethodHead {
			r.body, r.kind = nil, noBody
			r.header.Del("Content-Type")
		}
	}
}

func addQuery(name, value string) edit {
	return func(r *request) {
		if r.url.RawQuery != "" {
			r.url.RawQuery += "&"
		}
		r.url.RawQuery += url.QueryEscape(name) + "=" + url.QueryEscape(value)
	}
}

// asForm gives a request that has no body the kind of one that a form has, so that what is added becomes a field of it.
func asForm(r *request) {
	if r.kind == noBody {
		r.kind = formBody
		r.header.Set("Content-Type", "application/x-www-form-urlencoded")
		if r.method == http.MethodGet {
			r.method = http.MethodPost
		}
	}
}

// addField puts a field with a JSON value into the body, at its front or its end, whether or not it is there already.
// A request without a body gets one.
func addField(name string, value jsontext.Value, front bool) edit {
	return func(r *request) {
		plain := string(value)
		if value.Kind() == '"' {
			_ = json.Unmarshal(value, &plain) // a JSON string is one
		}
		switch r.kind {
		case noBody, jsonBody:
			r.body = addMember(r.body, name, value, front)
			r.kind = jsonBody
			r.header.Set("Content-Type", "application/json")
			if r.method == http.MethodGet {
				r.method = http.MethodPost
			}
		case formBody:
			field := url.QueryEscape(name) + "=" + url.QueryEscape(plain)
			r.body = addPair(field, string(r.body), front)
		case multipartBody:
			r.body, _ = addPart(r.body, r.header.Get("Content-Type"), name, plain)
		case rawBody:
		}
	}
}

func addPair(field, body string, front bool) []byte {
	switch {
	case body == "":
		return []byte(field)
	case front:
		return []byte(field + "&" + body)
	}
	return []byte(body + "&" + field)
}

// addMember puts a member into a JSON object, as text, so that a name can be there twice.
func addMember(object []byte, name string, value jsontext.Value, front bool) []byte {
	quoted, err := jsontext.AppendQuote(nil, name)
	if err != nil {
		return object
	}
	member := slices.Concat(quoted, []byte(":"), value)
	object = bytes.TrimSpace(object)
	switch {
	case len(object) == 0 || string(object) == "{}":
		return slices.Concat([]byte("{"), member, []byte("}"))
	case object[0] != '{':
		return object
	case front:
		return slices.Concat([]byte("{"), member, []byte(","), object[1:])
	}
	return slices.Concat(object[:len(object)-1], []byte(","), member, []byte("}"))
}

// addPart puts a field before the others of a multipart body.
func addPart(body []byte, contentType, name, value string) ([]byte, error) {
	_, boundary, ok := strings.Cut(contentType, "boundary=")
	if !ok {
		return body, io.ErrUnexpectedEOF
	}
	part := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	return append([]byte(part), body...), nil
}

// replaceJSON puts another JSON value in the place of a text of the body.
func replaceJSON(text string, value jsontext.Value) edit {
	return func(r *request) {
		quoted, err := jsontext.AppendQuote(nil, text)
		if err == nil && r.kind == jsonBody {
			r.body = bytes.ReplaceAll(r.body, quoted, value)
		}
	}
}

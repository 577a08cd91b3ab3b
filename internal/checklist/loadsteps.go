package checklist

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// loadSteps checks every request: that its values are there when it is sent, and its expressions.
func (b *bench) loadSteps(f *Faults) {
	env, err := expressionEnv()
	if err != nil {
		f.add("expressions", "%v", err)
		return
	}
	known := []string{valueUUID}
	if len(b.users) > 0 {
		known = slices.Concat(known, slices.Collect(maps.Keys(b.users[0].values)))
		for i, u := range b.users[1:] {
			if !slices.Equal(slices.Sorted(maps.Keys(u.values)), slices.Sorted(maps.Keys(b.users[0].values))) {
				f.add(fmt.Sprintf("users[%d]", i+1), "must have values and secrets of the same names as the first user")
			}
		}
	}
	t := b.target
	known = b.loadFlow(f, env, "login", t.Login, known)
	switch {
	case len(t.Login) == 0:
		known = append(known, valueCredential)
	case !slices.Contains(known, valueCredential):
		f.add("login", "no step takes credential")
	}
	if len(t.Token) == 0 {
		f.add("token", "is required: the requests that give the app its token")
	} else if last := t.Token[len(t.Token)-1]; last.Take[valueToken] == "" {
		f.add(fmt.Sprintf("token[%d].take.token", len(t.Token)-1), "is required: an expression that finds the token in the answer, such as body.token")
	}
	afterToken := b.loadFlow(f, env, "token", t.Token, known)
	b.loadFlow(f, env, "logout", t.Logout, known)
	if len(t.Logout) > 0 && len(t.Login) == 0 {
		f.add("logout", "needs steps of login: what is signed out must be signed in first")
	}
	if t.Submit.Request.URL == "" {
		if t.Environment != environmentProduction {
			f.add("submit", "is required: the request that hands in {{response}}")
		}
		return
	}
	b.loadFlow(f, env, "submit.request", []Step{t.Submit.Request}, append(afterToken, valueResponse))
	if !t.Submit.Request.usesIn("", valueResponse) {
		f.add("submit.request", "must have {{response}} somewhere: the signed response")
	}
	if t.Submit.Granted == "" {
		f.add("submit.granted", "is required: an expression such as status == 200")
		return
	}
	b.granted, err = compile(env, t.Submit.Granted, cel.BoolType)
	if err != nil {
		f.add("submit.granted", "%v; for example status == 200", err)
	}
}

// loadFlow returns the names that are known after the steps.
func (b *bench) loadFlow(f *Faults, env *cel.Env, field string, steps []Step, known []string) []string {
	for i := range steps {
		s, at := &steps[i], field
		if field != "submit.request" && field != "webhook.request" {
			at = fmt.Sprintf("%s[%d]", field, i)
		}
		b.loadStep(f, at, s, known)
		b.takes[s] = make(map[string]*expression)
		for _, name := range slices.Sorted(maps.Keys(s.Take)) {
			e, err := compile(env, s.Take[name], cel.StringType)
			if err != nil {
				f.add(at+".take."+name, "%v", err)
			}
			if !valueName.MatchString(name) || slices.Contains(given, name) && !slices.Contains([]string{valueCredential, valueToken, valueFaceToken}, name) {
				f.add(at+".take."+name, "this name is taken, or is none: lower-case letters, digits and _")
			}
			b.takes[s][name] = e
			known = append(slices.Clone(known), name)
		}
	}
	return known
}

func (b *bench) loadStep(f *Faults, at string, s *Step, known []string) {
	bodies := 0
	for _, there := range []bool{s.JSON != nil, s.Form != nil, s.Multipart != nil, s.Raw != ""} {
		if there {
			bodies++
		}
	}
	if bodies > 1 {
		f.add(at, "must have one body at most: json, form, multipart or raw")
	}
	if s.Method != "" && !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, s.method()) {
		f.add(at+".method", "must be GET, POST, PUT, PATCH or DELETE")
	}
	s.texts(func(where, text string) {
		for _, name := range names(text) {
			if !slices.Contains(known, name) {
				f.add(at+"."+where, "{{%s}} is not known here", name)
			}
		}
	})
	u, err := url.Parse(placeholder.ReplaceAllString(s.URL, "x"))
	switch {
	case s.URL == "":
		f.add(at+".url", "is required")
	case err != nil || u.User != nil || u.Fragment != "":
		f.add(at+".url", "must be a path such as /v1/sessions, or an absolute URL")
	case strings.HasPrefix(s.URL, "//") || u.Host == "" && !strings.HasPrefix(s.URL, "/") || u.Host != "" && u.Scheme != "https" && u.Scheme != "http":
		f.add(at+".url", "must begin with one /, or with https://")
	case u.Host != "" && len(names(strings.Join(strings.SplitAfterN(s.URL, "/", 4)[:3], ""))) > 0:
		f.add(at+".url", "no value may stand in the host")
	}
	for name, value := range s.Headers {
		if !validHeaderName(name) || strings.ContainsAny(value, "\r\n") {
			f.add(at+".headers", "a header has a name of letters, digits and -, and a value of one line")
		}
		if strings.EqualFold(name, "Host") {
			f.add(at+".headers", "Host is that of the URL")
		}
	}
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func validHeaderName(s string) bool { return headerName.MatchString(s) }

package checklist

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// watch looks at every answer of the whole check for what no answer may hold. Some probes only read it.
type watch struct {
	secrets []encoding
	hidden  *redactor                // of the client secrets alone, for other spellings of them
	tokens  func(answer string) bool // a token of the access key stands in it

	mu          sync.Mutex
	answers     int
	disclosed   map[string]sent // by the name of the encoding
	traces      *sent
	echoes      *sent // of a response that was handed in
	urlTokens   *sent // a token of ours in a URL of an answer
	serverError *sent // a 5xx to a response that was handed in
	lenient     *sent // a 2xx to a response that was refused
	serverErrs  int
	lenients    int
	refusals    int
}

// traceMarks are what the error pages of many languages and frameworks have in common with nothing else.
var traceMarks = regexp.MustCompile(strings.Join([]string{
	`(?m)^\s*at [^\n]{1,200}:\d+:\d+\)?`, // JavaScript
	`\bat [^\n"\\]{1,200}\.[cm]?[jt]s:\d+:\d+`,
	`Traceback \(most recent call last\)`,
	`File "[^"\n]{1,200}", line \d+`,
	`\bgoroutine \d+ \[`,
	`\.go:\d+ \+0x[0-9a-f]+`,
	`\bat [\w.$<>]{3,200}\([\w.]{1,100}\.(?:java|kt|scala):\d+\)`,
	`\b(?:java|javax|org\.springframework|io\.jsonwebtoken|kotlin)\.[\w.$]{3,100}(?:Exception|Error)\b`,
	`\bSystem\.[A-Z][\w.]{2,100}Exception\b`,
	`\.rb:\d+:in `,
	`(?:PHP )?(?:Fatal error|Uncaught \w+):? [^\n]{1,300} in /`,
	`/node_modules/`,
	`\bSQLSTATE\[?`,
}, "|"))

// traceHints are such that one of them stands in whatever traceMarks finds: most answers have none, and need not be
// searched for the rest.
var traceHints = []string{"at ", "Traceback", `File "`, "goroutine ", ".go:", "Exception", "Error", ".rb:", "Fatal error", "Uncaught ", "/node_modules/", "SQLSTATE"}

// traced reports whether there is a trace in a text.
func traced(text []byte) bool {
	return slices.ContainsFunc(traceHints, func(h string) bool { return bytes.Contains(text, []byte(h)) }) && traceMarks.Match(text)
}

var urlWithToken = regexp.MustCompile(`https?://[^\s"'<>\\]*[?&#/=](eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,})`)

// look is told of every answer.
func (w *watch) look(r *request, a *answer) {
	var all bytes.Buffer
	for name, values := range a.header {
		for _, v := range values {
			all.WriteString(name + ": " + v + "\n")
		}
	}
	all.Write(a.body)
	text := all.String()
	x := sent{request: r, answer: a}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers++
	for _, e := range w.secrets {
		if strings.Contains(text, e.text) {
			if _, ok := w.disclosed[e.name]; !ok {
				w.disclosed[e.name] = x
			}
		}
	}
	if w.traces == nil && traced(a.body) {
		w.traces = &x
	}
	if w.urlTokens == nil && strings.Contains(text, "://") {
		for _, m := range urlWithToken.FindAllStringSubmatch(text, 8) {
			if w.tokens(m[1]) {
				w.urlTokens = &x
			}
		}
	}
}

// name tells what stands in an answer that was looked at, so that evidence does not show it.
func (w *watch) name(a *answer, v values) {
	if w == nil || a == nil {
		return // a plan watches nothing
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range []*sent{w.traces, w.urlTokens} {
		if x != nil && x.answer == a {
			x.values = v
		}
	}
	for name, x := range w.disclosed {
		if x.answer == a {
			x.values = v
			w.disclosed[name] = x
		}
	}
}

// decided is told of every response that was handed in.
func (w *watch) decided(x sent, granted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if response := x.values[valueResponse]; w.echoes == nil && len(response) > 40 && bytes.Contains(x.answer.body, []byte(response)) {
		w.echoes = &x
	}
	if x.answer.status >= 500 {
		w.serverErrs++
		if w.serverError == nil {
			w.serverError = &x
		}
	}
	if granted {
		return
	}
	w.refusals++
	if x.answer.status < 300 {
		w.lenients++
		if w.lenient == nil {
			w.lenient = &x
		}
	}
}

package checklist

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxExpressionCost is in CEL's units; an expression over an answer needs some dozens.
const maxExpressionCost = 100_000

// expression is one of check.yaml, over an answer: status (int), headers (by lower-case name, the first of each),
// cookies (that were set, by name), body (the JSON, or null) and text. It is CEL, with its string functions.
type expression struct {
	text    string
	program cel.Program
}

func expressionEnv() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("status", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("cookies", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType),
		cel.Variable("text", cel.StringType),
		ext.Strings(),
	)
}

// compile compiles an expression of the type: "bool" is for those that judge, "string" for those that take.
func compile(env *cel.Env, text string, want *cel.Type) (*expression, error) {
	if len(text) > 2048 {
		return nil, errors.New("is longer than 2048 bytes")
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		why, _, _ := strings.Cut(issues.Err().Error(), "\n")
		return nil, fmt.Errorf("is no expression over status, headers, cookies, body and text: %s", strings.TrimPrefix(why, "ERROR: "))
	}
	if t := ast.OutputType(); !t.IsExactType(want) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("gives %s, and must give %s", t, want)
	}
	program, err := env.Program(ast, cel.CostLimit(maxExpressionCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, errors.New("is no expression that can be run")
	}
	return &expression{text, program}, nil
}

// evaluate returns the value, or nil when the answer does not have what the expression reads.
func (e *expression) evaluate(a *answer) any {
	v, _, err := e.program.Eval(map[string]any{
		"status": a.status, "headers": a.firstHeaders(), "cookies": a.cookies(), "body": a.json(), "text": string(a.body),
	})
	if err != nil {
		return nil
	}
	return v.Value()
}

// holds reports whether the expression is true of an answer. One that cannot be evaluated is not.
func (e *expression) holds(a *answer) bool {
	yes, ok := e.evaluate(a).(bool)
	return ok && yes
}

// take returns the text that the expression finds in an answer, "" when there is none.
func (e *expression) take(a *answer) string {
	switch v := e.evaluate(a).(type) {
	case string:
		return v
	case int64, uint64, float64:
		return fmt.Sprint(v)
	}
	return ""
}

func (a *answer) firstHeaders() map[string]string {
	m := make(map[string]string, len(a.header))
	for name, values := range a.header {
		m[strings.ToLower(name)] = values[0]
	}
	return m
}

func (a *answer) cookies() map[string]string {
	m := make(map[string]string)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		m[c.Name] = c.Value
	}
	return m
}

// json returns the body as values, read as loosely as the least strict app would, or nil.
func (a *answer) json() any {
	var v any
	if err := json.Unmarshal(a.body, &v, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil
	}
	return v
}

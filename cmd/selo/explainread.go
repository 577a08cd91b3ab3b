package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
)

// unwrapped is what stood around a token, or instead of one.
type unwrapped struct {
	token    string
	form     string     // what was around it
	what     string     // what it is, when there is no token in it
	unsigned *explained // its claims, then
	fault    string     // why it cannot be read
}

// unwrap takes the token out of the forms in which apps and SDKs hand it on.
func unwrap(input string) unwrapped {
	text := strings.TrimSpace(input)
	if !strings.HasPrefix(text, "{") {
		if len(input) > len(bearer) && strings.EqualFold(input[:len(bearer)], bearer) {
			input = input[len(bearer):]
		}
		return unwrapped{token: input}
	}
	if len(text) > selo.MaxTokenSize+wrapperSize {
		return unwrapped{fault: fmt.Sprintf("longer than %d bytes (too_large)", selo.MaxTokenSize)}
	}
	e := new(explained)
	if err := e.readClaims([]byte(text)); err != nil {
		return unwrapped{fault: "looks like JSON, and is not one strict JSON object"}
	}
	for _, w := range []struct{ member, form string }{
		{"signedResponse", e.wrapper()},
		{"signed_response", "the body that an app posts to a session; explained is its signed_response"},
		{"sessionToken", "the provider's answer to a session exchange; explained is its sessionToken"},
	} {
		value, there := e.payload[w.member]
		if !there {
			continue
		}
		token, isText := textOf(value)
		switch {
		case isText && token != "":
			return unwrapped{form: w.form, token: token}
		case isText || value.Kind() == 'n':
			return unwrapped{what: "an answer of the SDK with an empty " + w.member + ": nobody signed it; it counts as an attempt and decides nothing", unsigned: e}
		}
		return unwrapped{form: w.form, fault: w.member + " is no text (request_invalid)"}
	}
	switch {
	case e.has("attemptId") && e.payload["isAuthorized"].Kind() == 'f':
		return unwrapped{what: "a refused attempt without a signed response: nobody signed it; it counts as an attempt and decides nothing", unsigned: e}
	case e.hasAny(decisions...):
		return unwrapped{what: "a decision that nobody signed, which anybody can write: it decides nothing, whatever it says", unsigned: e}
	}
	return unwrapped{fault: "JSON without a signedResponse, signed_response or sessionToken in it"}
}

const (
	bearer      = "Bearer "
	wrapperSize = 1 << 10 // of what stands around a token
)

// wrapper is what has a member signedResponse.
func (e *explained) wrapper() string {
	if !e.has("moduleName") {
		return "a wrapper like CafSDK's, without a moduleName; explained is its signedResponse"
	}
	if module := e.word(e.payload["moduleName"]); module != "" && module != notShown {
		return "CafSDK's wrapper for the module " + module + ", which nobody signed; explained is its signedResponse"
	}
	return "CafSDK's wrapper for a module; explained is its signedResponse"
}

// explained is what could be read of a token.
type explained struct {
	token     string
	alg, typ  string
	signature signatureState
	header    []byte
	content   []byte // the payload as it is written
	payload   map[string]jsontext.Value
	order     []string // of the claims
	times     map[string]timeSeen
	people    []person
	kind      kind
	at        time.Time
}

type timeSeen struct {
	at     time.Time
	millis bool // it is milliseconds
	bad    bool // it is no time
}

// person is one claim that should name somebody.
type person struct {
	claim string
	cpf   selo.CPF // zero when it does not
}

// signatureState is what is known of a signature.
type signatureState int

const (
	notChecked signatureState = iota
	holds
	doesNotHold
)

// readToken reads header and payload as Verify would: what is malformed for it is malformed here.
func readToken(ctx context.Context, token string, secret selo.Secret) (*explained, *selo.Error) {
	key := selo.AccessKey{ClientID: "x", Secret: secret}
	if secret.IsZero() {
		key, _ = throwaway()
	}
	_, err := selo.Verify(ctx, token, anybody(selo.CafFaceLiveness(), key, time.Now(), ""))
	if errors.Is(err, selo.ReasonTooLarge) || errors.Is(err, selo.ReasonMalformed) {
		return nil, asError(err)
	}
	e := &explained{token: token}
	switch {
	case secret.IsZero():
	case errors.Is(err, selo.ReasonSignatureInvalid):
		e.signature = doesNotHold
	default:
		e.signature = holds
	}
	segments := strings.Split(token, ".")
	if e.header, err = base64.RawURLEncoding.DecodeString(segments[0]); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonMalformed, Field: "header", Detail: "is not base64url"}
	}
	if e.content, err = base64.RawURLEncoding.DecodeString(segments[1]); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonMalformed, Field: "payload", Detail: "is not base64url"}
	}
	var header struct {
		Alg jsontext.Value `json:"alg"`
		Typ jsontext.Value `json:"typ"`
	}
	if err := json.Unmarshal(e.header, &header); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonHeaderRefused, Field: "header", Detail: "is not one strict JSON object"}
	}
	e.alg, e.typ = e.word(header.Alg), e.word(header.Typ)
	if err := e.readClaims(e.content); err != nil {
		return nil, &selo.Error{Reason: selo.ReasonPayloadInvalid, Field: "payload", Detail: "is not one strict JSON object"}
	}
	e.kind = e.classify()
	return e, nil
}

// readClaims reads one JSON object, and what of it says who and when.
func (e *explained) readClaims(object []byte) error {
	if err := json.Unmarshal(object, &e.payload); err != nil {
		return err
	}
	if e.payload == nil {
		return errors.New("null")
	}
	d := jsontext.NewDecoder(strings.NewReader(string(object)))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		e.order = append(e.order, name.String())
		if err := d.SkipValue(); err != nil {
			return err
		}
	}
	e.times = make(map[string]timeSeen)
	for _, name := range []string{"iat", "nbf", "exp"} {
		if value, there := e.payload[name]; there {
			e.times[name] = readTime(value)
		}
	}
	for _, name := range []string{"personId", "peopleId", "cpf", "sub"} {
		e.readPerson(name, e.payload[name])
	}
	var inner map[string]jsontext.Value
	if value := e.payload["person"]; value.Kind() == '{' && json.Unmarshal(value, &inner) == nil {
		e.readPerson("person.cpf", inner["cpf"])
	}
	return nil
}

func (e *explained) readPerson(name string, value jsontext.Value) {
	if value == nil {
		return
	}
	text, _ := textOf(value)
	cpf, _ := selo.ParseCPF(text)
	if !cpf.IsZero() || name != "sub" {
		e.people = append(e.people, person{name, cpf})
	}
}

// readTime takes seconds as Verify does, and knows milliseconds, which it does not.
func readTime(value jsontext.Value) timeSeen {
	var number float64
	switch {
	case value.Kind() != '0' || json.Unmarshal(value, &number) != nil || number < 0 || number >= 1e14:
		return timeSeen{bad: true}
	case number >= 1e11: // seconds of the year 5138
		return timeSeen{at: time.UnixMilli(int64(number)), millis: true}
	}
	return timeSeen{at: time.Unix(int64(number), 0)}
}

func (e *explained) has(name string) bool {
	_, there := e.payload[name]
	return there
}

func (e *explained) hasAny(names ...string) bool {
	for _, n := range names {
		if e.has(n) {
			return true
		}
	}
	return false
}

// claimNames lists the claims, without their values.
func (e *explained) claimNames() string {
	const most = 40
	var names []string
	for i, name := range e.order {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(e.order)-most))
			break
		}
		names = append(names, e.safe(name)+together+"("+kindOf(e.payload[name])+")")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func kindOf(v jsontext.Value) string {
	switch v.Kind() {
	case 't', 'f':
		return string(v)
	case '"':
		return "text"
	case '0':
		return "number"
	case 'n':
		return "null"
	case '{':
		return "object"
	}
	return "list"
}

const notShown = "(not shown)"

// word returns a JSON string if it can be shown, and "" for what is no string.
func (e *explained) word(v jsontext.Value) string {
	text, ok := textOf(v)
	if !ok {
		return ""
	}
	return e.safe(text)
}

// safe returns text that the token holds if it can be shown: short, plain, with too few digits for a CPF, no
// token, and no copy of the signature.
func (e *explained) safe(text string) string {
	digits := 0
	for _, r := range text {
		if r <= ' ' || r > '~' {
			return notShown
		}
		if '0' <= r && r <= '9' {
			digits++
		}
	}
	signature := e.token[strings.LastIndexByte(e.token, '.')+1:]
	if digits >= 11 || len(text) > 40 || text == "" || strings.Count(text, ".") > 1 || len(signature) >= 8 && strings.Contains(text, signature) {
		return notShown
	}
	return text
}

func textOf(v jsontext.Value) (string, bool) {
	var text string
	if v.Kind() != '"' || json.Unmarshal(v, &text) != nil {
		return "", false
	}
	return text, true
}

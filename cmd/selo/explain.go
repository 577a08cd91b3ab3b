package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

type explainCommand struct {
	Token      string  `arg:"" help:"A mobile token, signed response, receipt or bearer token; - for standard input."`
	SecretFile string  `name:"secret-file" placeholder:"FILE" type:"path" help:"File with a client secret; says whether the signature holds under it."`
	At         *string `placeholder:"RFC3339" help:"Time to judge expiry and age at; default now."`
}

// Help is shown below the flags.
func (explainCommand) Help() string {
	return `Says in plain words what a token is, whom it is for, when it expires, which products it is a response of, and
what is wrong with it. It never shows the signature or a whole CPF, and it grants nothing: use verify for that.

Exit status: 0 it could be read, 1 it could not, 2 usage.`
}

// explained is what could be read of a token.
type explained struct {
	header, payload []byte
	alg, typ        string
	claims          []claimSeen
	times           map[string]time.Time
	person          string // the claim that names one
	cpf             selo.CPF
}

type claimSeen struct {
	name string
	kind string
}

// Run explains one token.
func (cmd *explainCommand) Run(ctx context.Context, std streams) error {
	at, err := parseTime("--at", cmd.At)
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	var secret selo.Secret
	if cmd.SecretFile != "" {
		if secret, err = selo.ReadSecretFile(cmd.SecretFile); err != nil {
			return usagef("--secret-file: %w", withoutPath(err))
		}
	}
	token := cmd.Token
	if token == "-" {
		text, err := io.ReadAll(io.LimitReader(std.in, 2*selo.MaxTokenSize))
		if err != nil {
			return usagef("reading standard input: %w", err)
		}
		token = strings.TrimSuffix(string(text), "\n")
	}
	out := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	err = explain(ctx, out, token, secret, at)
	return errors.Join(err, out.Flush())
}

func explain(ctx context.Context, out io.Writer, token string, secret selo.Secret, at time.Time) error {
	e, fault := readToken(ctx, token)
	if fault != nil {
		fmt.Fprintf(out, "what\tnothing that is a token here\nwrong\t%v\n", fault)
		return errNotGranted
	}
	fmt.Fprintf(out, "what\t%s\n", e.what())
	fmt.Fprintf(out, "signed\t%s, %s\n", orNone(e.alg), e.signature(ctx, token, secret))
	if e.person != "" {
		fmt.Fprintf(out, "for\t%s (%s)\n", e.cpf, e.person)
	} else {
		fmt.Fprintf(out, "for\tnobody that could be read: no claim holds a CPF\n")
	}
	for _, t := range []struct{ claim, label string }{{"iat", "issued"}, {"nbf", "not before"}, {"exp", "expires"}} {
		if when, ok := e.times[t.claim]; ok {
			fmt.Fprintf(out, "%s\t%s, %s\n", t.label, when.UTC().Format(time.RFC3339), relative(when.Sub(at)))
		}
	}
	if _, ok := e.times["exp"]; !ok {
		fmt.Fprintf(out, "expires\tnever: it has no exp\n")
	}
	names := make([]string, len(e.claims))
	for i, c := range e.claims {
		names[i] = c.name + " (" + c.kind + ")"
	}
	fmt.Fprintf(out, "claims\t%s\n", strings.Join(names, ", "))
	for _, p := range selo.Profiles() {
		fmt.Fprintf(out, "%s\t%s\n", p.Product, e.asResponse(ctx, p, at))
	}
	return nil
}

// readToken reads header and payload as Verify would: what is malformed for it is malformed here.
func readToken(ctx context.Context, token string) (*explained, error) {
	_, err := selo.Verify(ctx, token, anybody(selo.Profiles()[0], throwaway(), time.Now(), nil))
	if errors.Is(err, selo.ReasonTooLarge) || errors.Is(err, selo.ReasonMalformed) {
		return nil, err
	}
	segments := strings.Split(token, ".")
	e := &explained{times: make(map[string]time.Time)}
	for i, into := range []*[]byte{&e.header, &e.payload} {
		if *into, err = base64.RawURLEncoding.DecodeString(segments[i]); err != nil {
			return nil, errors.New("malformed: not base64url")
		}
	}
	var header struct {
		Alg jsontext.Value `json:"alg"`
		Typ jsontext.Value `json:"typ"`
	}
	if err := json.Unmarshal(e.header, &header); err != nil {
		return nil, errors.New("header_refused: the header is not strict JSON")
	}
	e.alg, e.typ = word(header.Alg), word(header.Typ)
	var payload map[string]jsontext.Value
	if err := json.Unmarshal(e.payload, &payload); err != nil || payload == nil {
		return nil, errors.New("payload_invalid: the payload is not one strict JSON object")
	}
	e.readClaims(payload)
	return e, nil
}

func (e *explained) readClaims(payload map[string]jsontext.Value) {
	d := jsontext.NewDecoder(strings.NewReader(string(e.payload)))
	if _, err := d.ReadToken(); err != nil {
		return
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return
		}
		text := name.String()
		if err := d.SkipValue(); err != nil {
			return
		}
		value := payload[text]
		e.claims = append(e.claims, claimSeen{word(jsontext.Value(quoted(text))), kindOf(value)})
		switch text {
		case "iat", "nbf", "exp":
			var seconds float64
			if value.Kind() == '0' && json.Unmarshal(value, &seconds) == nil && seconds >= 0 && seconds < 1<<38 {
				e.times[text] = time.Unix(int64(seconds), 0)
			}
		case "personId", "peopleId", "cpf", "sub":
			var id string
			if value.Kind() == '"' && json.Unmarshal(value, &id) == nil {
				if cpf, err := selo.ParseCPF(id); err == nil {
					e.person, e.cpf = text, cpf
				}
			}
		}
	}
}

func (e *explained) has(name string) bool {
	for _, c := range e.claims {
		if c.name == name {
			return true
		}
	}
	return false
}

// what names the kind of token, by its shape alone.
func (e *explained) what() string {
	switch {
	case strings.EqualFold(e.typ, selo.ReceiptType):
		return "a receipt of Selo: the statement that a session was granted"
	case e.has("isAlive") || e.has("isMatch") || e.has("isAuthorized"):
		return "a signed response: what an SDK brings back"
	case e.alg == "HS256" && e.has("iss") && (e.has("peopleId") || e.has("personId")):
		return "a mobile token: it starts the SDK for one person"
	case e.alg == "HS256" && e.has("iss"):
		return "a mobile token without a person: it starts the SDK for anybody"
	case e.has("iss") && e.has("sub"):
		return "a token of an identity provider, such as a bearer token"
	}
	return "no token that Selo knows"
}

// signature says whether the signature holds, never what it is.
func (e *explained) signature(ctx context.Context, token string, secret selo.Secret) string {
	switch {
	case secret.IsZero():
		return "signature not checked (give --secret-file)"
	case strings.HasSuffix(token, "."):
		return "not signed at all"
	}
	_, err := selo.Verify(ctx, token, anybody(selo.Profiles()[0], selo.AccessKey{ClientID: "x", Secret: secret}, time.Now(), nil))
	if errors.Is(err, selo.ReasonSignatureInvalid) {
		return "the signature does NOT hold under this secret"
	}
	return "the signature holds under this secret"
}

// asResponse says what is wrong with the content as a response of a product. The content is signed anew with
// a secret that exists for this call alone, so that Verify looks beyond the signature.
func (e *explained) asResponse(ctx context.Context, p *selo.Profile, at time.Time) string {
	key, sign := throwawayPair()
	_, err := selo.Verify(ctx, sign(e.header, e.payload), anybody(p, key, at, func(selo.CPF) bool { return true }))
	if err != nil {
		return "no: " + err.Error()
	}
	return "fits, and approves"
}

// anybody expects a response for whoever it names.
func anybody(p *selo.Profile, key selo.AccessKey, at time.Time, same func(selo.CPF) bool) selo.Expectation {
	if same == nil {
		same = func(selo.CPF) bool { return false }
	}
	return selo.Expectation{Profile: p, Key: key, SameCPF: same, Once: new(selo.MemoryOnce), Now: at, Assurance: selo.AssurancePresence}
}

func throwaway() selo.AccessKey {
	key, _ := throwawayPair()
	return key
}

func throwawayPair() (selo.AccessKey, func(header, payload []byte) string) {
	raw := []byte(randomHex(32))
	secret, err := selo.NewSecret(raw)
	if err != nil {
		panic(err) // of 64 characters
	}
	return selo.AccessKey{ClientID: "x", Secret: secret}, func(header, payload []byte) string { return sandbox.Sign(raw, header, payload) }
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

// word returns a JSON string if it can be shown: short, plain, and with too few digits for a CPF.
func word(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	digits := 0
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return "(not shown)"
		}
		if '0' <= r && r <= '9' {
			digits++
		}
	}
	if digits >= 11 || len(s) > 40 {
		return "(not shown)"
	}
	return s
}

func quoted(s string) []byte {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return []byte(`""`)
	}
	return b
}

func orNone(s string) string {
	if s == "" {
		return "no alg"
	}
	return s
}

func relative(d time.Duration) string {
	if d = d.Round(time.Second); d < 0 {
		return fmt.Sprintf("%v ago", -d)
	}
	return fmt.Sprintf("in %v", d)
}

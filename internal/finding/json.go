package finding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// format names the JSON form, so that a later one is told from this.
const format = "selo-report/1"

// maxReport bounds what ReadJSON reads.
const maxReport = 32 << 20

type document struct {
	Format string `json:"format"`
	Report
}

var (
	// The decoder has no form of its own for durations.
	writeDuration = json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, d time.Duration) error {
		return e.WriteToken(jsontext.Int(int64(d)))
	}))
	readDuration = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *time.Duration) error {
		return json.UnmarshalDecode(d, (*int64)(v))
	}))
)

// WriteJSON takes a report and writes all of it as indented JSON, which ReadJSON reads. Strings are what they were,
// but for bytes that are no UTF-8, which JSON cannot hold: they become U+FFFD. What a terminal would obey is escaped.
func WriteJSON(w io.Writer, r *Report) error {
	doc := document{format, *r}
	doc.Started = r.Started.UTC()
	out, err := marshal(&doc)
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	_, err = w.Write(out)
	return err
}

// marshal returns v as JSON for people and programs, with a line feed at its end.
func marshal(v any) ([]byte, error) {
	out, err := json.Marshal(v, writeDuration, jsontext.AllowInvalidUTF8(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return append(escapeJSON(out), '\n'), nil
}

// escapeJSON writes as \u escapes what visible would not show. JSON itself escapes C0 only, and lets through C1 (a
// terminal's other escapes), DEL and marks of direction. These can stand within strings only, where an escape is the
// same.
func escapeJSON(in []byte) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(in); {
		r, size := utf8.DecodeRune(in[i:])
		if !shows(r) {
			out = append(out, in[done:i]...)
			if r < 0x10000 {
				out = fmt.Appendf(out, `\u%04x`, r)
			} else {
				out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
			}
			done = i + size
		}
		i += size
	}
	return append(out, in[done:]...)
}

// ReadJSON takes what WriteJSON wrote, of at most 32 MiB, and returns the report. It refuses another format, fields
// and values it does not know, names that stand twice, and a report that contradicts itself; the error names the field
// as a JSON pointer.
func ReadJSON(r io.Reader) (*Report, error) {
	in, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	if len(in) > maxReport {
		return nil, fmt.Errorf("reading report: it is longer than %d MiB", maxReport>>20)
	}
	// The format first: of a later one, its new fields are not what is wrong.
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(in, &head); err != nil {
		return nil, readingError(err)
	}
	if head.Format != format {
		return nil, fmt.Errorf("reading report: /format: %s, and only %s is known", quote(head.Format), quote(format))
	}
	var doc document
	if err := json.Unmarshal(in, &doc, json.RejectUnknownMembers(true), readDuration); err != nil {
		return nil, readingError(err)
	}
	if err := doc.check(); err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	return &doc.Report, nil
}

// readingError says what the decoder found, and where, without names of Go.
func readingError(err error) error {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic) && errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("reading report: %s: no such field", pointer(semantic.JSONPointer))
	case errors.As(err, &semantic):
		return fmt.Errorf("reading report: %s: %s does not fit", pointer(semantic.JSONPointer), kindName(semantic.JSONKind))
	case errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("reading report: %s: stands twice", pointer(syntactic.JSONPointer))
	case errors.As(err, &syntactic):
		return fmt.Errorf("reading report: no JSON at byte %d", syntactic.ByteOffset)
	}
	return fmt.Errorf("reading report: no JSON: %s", quote(err.Error()))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindFalse, jsontext.KindTrue:
		return "a boolean"
	case jsontext.KindString:
		return "this string"
	case jsontext.KindNumber:
		return "this number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "this value"
}

// pointer returns p for an error: it holds names from the file.
func pointer(p jsontext.Pointer) string {
	if p == "" {
		return "/"
	}
	return cut(oneLine(visible(string(p))), 200)
}

func quote(s string) string { return `"` + cut(oneLine(visible(s)), 100) + `"` }

// check refuses what no Report that a program made says.
func (r *Report) check() error {
	switch {
	case r.Tool == "":
		return errors.New("/tool: is missing")
	case r.Started.IsZero():
		return errors.New("/started: is missing")
	case !plausible(r.Started):
		return errors.New("/started: is not of this millennium")
	case r.Took < 0:
		return errors.New("/took_ns: is negative")
	}
	topics, rules := make(map[int]bool), make(map[string]bool)
	for i, t := range r.Topics {
		if topics[t.Number] {
			return fmt.Errorf("/topics/%d/number: %d stands twice", i, t.Number)
		}
		topics[t.Number] = true
	}
	for i, rule := range r.Rules {
		switch {
		case rule.ID == "":
			return fmt.Errorf("/rules/%d/id: is missing", i)
		case rules[rule.ID]:
			return fmt.Errorf("/rules/%d/id: %s stands twice", i, quote(rule.ID))
		case !topics[rule.Topic]:
			return fmt.Errorf("/rules/%d/topic: there is no topic %d", i, rule.Topic)
		case !slices.Contains(severities, rule.Severity):
			return fmt.Errorf("/rules/%d/severity: %s is none of %s", i, quote(string(rule.Severity)), list(severities))
		}
		rules[rule.ID] = true
	}
	for i, f := range r.Findings {
		switch {
		case !rules[f.Rule]:
			return fmt.Errorf("/findings/%d/rule: there is no rule %s", i, quote(f.Rule))
		case !slices.Contains(outcomes, f.Outcome):
			return unknownOutcome(fmt.Sprintf("/findings/%d/outcome", i), f.Outcome)
		}
	}
	if r.Changes == nil {
		return nil
	}
	if !plausible(r.Changes.Since) {
		return errors.New("/changes/since: is not of this millennium")
	}
	for i, c := range r.Changes.Changed {
		at := fmt.Sprintf("/changes/changed/%d", i)
		switch {
		case c.Rule == "":
			return fmt.Errorf("%s/rule: is missing", at)
		case c.From == c.To:
			return fmt.Errorf("%s: nothing changed", at)
		case c.From != "" && !slices.Contains(outcomes, c.From):
			return unknownOutcome(at+"/from", c.From)
		case c.To != "" && !slices.Contains(outcomes, c.To):
			return unknownOutcome(at+"/to", c.To)
		}
	}
	return nil
}

// plausible refuses times that JSON and SARIF could not write again.
func plausible(at time.Time) bool { return at.UTC().Year() >= 2000 && at.UTC().Year() < 3000 }

func unknownOutcome(at string, o Outcome) error {
	return fmt.Errorf("%s: %s is none of %s", at, quote(string(o)), list(outcomes))
}

var severities = []Severity{Critical, High, Medium, Low}

func list[T ~string](of []T) string {
	names := make([]string, len(of))
	for i, v := range of {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}

// write makes a form in memory first, so that what could not be made is not half written.
func write(w io.Writer, form string, make func(*bytes.Buffer) error) error {
	var b bytes.Buffer
	if err := make(&b); err != nil {
		return fmt.Errorf("writing report as %s: %w", form, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

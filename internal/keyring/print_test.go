package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	jsonv1 "encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// holder has a T wherever a printer could find one; fmt asks no methods of what is in its hidden fields, and
// with %s it walks to what their pointers point to.
type holder[T any] struct {
	Field     T
	Pointer   *T
	List      []T
	Any       any
	hidden    T
	hiddenPtr *T
	hiddenAny any
	hiddenMap map[string]*T
	inner     struct{ deeper []struct{ deepest *T } }
}

func holding[T any](v T) holder[T] {
	h := holder[T]{v, &v, []T{v}, v, v, &v, &v, map[string]*T{"k": &v}, struct{ deeper []struct{ deepest *T } }{}}
	h.inner.deeper = []struct{ deepest *T }{{&v}}
	return h
}

// outputs is what comes of v, and of things that hold it, by every way of printing, by the name of the way.
func outputs[T any](v T) map[string]string {
	h := holding(v)
	out := make(map[string]string)
	for name, x := range map[string]any{
		"value": v, "pointer": &v, "holder": h, "holder pointer": &h, "hidden": struct{ x T }{v}, "hidden pointer": struct{ x *T }{&v},
		"pointer to hidden pointer": &struct{ x *T }{&v}, "list": []any{v, &v, h}, "map": map[string]any{"k": &h},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%T", "%w", "%200.100s"} {
			out[name+" by "+verb] = fmt.Sprintf(verb, x)
		}
		out[name+" by Errorf"] = fmt.Errorf("failing with %v", x).Error()
		for way, write := range map[string]func(*bytes.Buffer) error{
			"slog text": func(b *bytes.Buffer) error { slog.New(slog.NewTextHandler(b, nil)).Info("m", "x", x); return nil },
			"slog JSON": func(b *bytes.Buffer) error { slog.New(slog.NewJSONHandler(b, nil)).Info("m", "x", x); return nil },
			"json v1":   func(b *bytes.Buffer) error { return jsonv1.NewEncoder(b).Encode(x) },
			"json v2":   func(b *bytes.Buffer) error { return json.MarshalWrite(b, x) },
			"xml":       func(b *bytes.Buffer) error { return xml.NewEncoder(b).Encode(x) },
			"gob":       func(b *bytes.Buffer) error { return gob.NewEncoder(b).Encode(x) },
		} {
			var b bytes.Buffer
			err := write(&b)
			out[name+" by "+way] = fmt.Sprint(b.String(), err)
		}
	}
	return out
}

// shownForms are how nine bytes from within raw would look. A part is enough of a leak.
func shownForms(raw []byte) map[string]string {
	part := raw[9:18] // at a multiple of three, for base64
	each := func(format, sep string) string {
		var s []string
		for _, c := range part {
			s = append(s, fmt.Sprintf(format, c))
		}
		return strings.Join(s, sep)
	}
	return map[string]string{
		"raw": string(part), "hex": hex.EncodeToString(part), "HEX": each("%02X", ""), "spaced hex": each("%02x", " "), "Go bytes": each("%#x", ", "),
		"hex numbers": each("%x", " "), "decimal": each("%d", " "), "decimal, commas": each("%d", ","), "octal": each("%o", " "), "binary": each("%b", " "),
		"characters": each("%c", " "), "code points": each("%U", " "), "Go string": strings.Trim(fmt.Sprintf("%q", part), `"`),
		"base64": base64.StdEncoding.EncodeToString(part), "base64url": base64.RawURLEncoding.EncodeToString(part),
	}
}

// shown returns the ways of printing v that show a form of any of the values.
func shown[T any](v T, values map[string][]byte) (ways []string) {
	for way, text := range outputs(v) {
		for what, raw := range values {
			for form, look := range shownForms(raw) {
				if strings.Contains(text, look) {
					ways = append(ways, fmt.Sprintf("%s of %s, %s", form, what, way))
				}
			}
		}
	}
	return ways
}

// Nothing that holds a pepper, or keys made of it, or an access key shows them, however it is printed. Bug:
// %s printed what a pointer in a hidden field of a holder points to, the keys derived from the pepper.
func TestPrintNothing(t *testing.T) {
	derive := func(info string) []byte {
		k, err := hkdf.Key(sha256.New, material, nil, info, 32)
		if err != nil {
			t.Fatal(err)
		}
		return transcript.Secret(k)
	}
	values := map[string][]byte{
		"pepper": material, "pseudonym key": derive("selo pseudonym v1"), "seal key": derive("selo subject seal v1"), "client secret": []byte(clientSecret),
	}
	p := newPepper(t, 1, material)
	ps, err := NewPeppers(p)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	k := key(t, "id", selo.EnvironmentSandbox, Active, liveness)
	r := newRing(t, k)
	for name, ways := range map[string][]string{
		"Pepper": shown(*p, values), "*Pepper": shown(p, values), "*Peppers": shown(ps, values),
		"Key": shown(k, values), "[]Key": shown([]Key{k}, values), "*Ring": shown(r, values), "Secret": shown(k.Secret, values),
	} {
		if len(ways) > 0 {
			t.Errorf("%s shows itself in %d ways, as %q", name, len(ways), ways[:min(4, len(ways))])
		}
	}
	for _, text := range outputs(p) {
		fmt.Fprintln(transcript.Log(), text)
	}
	for _, text := range outputs(r) {
		fmt.Fprintln(transcript.Log(), text)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, p); got != "[secret]" {
			t.Errorf("%s of a *Pepper is %q", verb, got)
		}
		if got := fmt.Sprintf(verb, *p); got != "[secret]" {
			t.Errorf("%s of a Pepper is %q", verb, got)
		}
	}
}

// The search finds what is there to be found: a type that protects itself with Format alone, as Pepper
// once did, shows itself from within a hidden field.
func TestPrintNothingCatches(t *testing.T) {
	open := []byte("an open text of more than thirty bytes")
	ways := shown(formatted{&inside{open}}, map[string][]byte{"text": open})
	if want := "decimal of text, hidden by %s"; !slices.Contains(ways, want) {
		t.Errorf("not found: %s, among %q", want, ways)
	}
	if ways := shown(open, map[string][]byte{"text": open}); len(ways) < 50 {
		t.Errorf("bytes in the open were found in %d ways only: %q", len(ways), ways)
	}
}

type formatted struct{ *inside }
type inside struct{ text []byte }

func (formatted) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

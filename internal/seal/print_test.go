package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	jsonv1 "encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo/internal/transcript"
)

// holder has a T wherever a printer could find one; fmt asks no methods of what is in hidden fields.
type holder[T any] struct {
	Field     T
	Any       any
	List      []T
	hidden    T
	hiddenPtr *T
	hiddenAny any
	hiddenMap map[string]*T
	inner     struct{ deeper []struct{ deepest *T } }
}

// outputs is what comes of v, and of things that hold it, by every way of printing, by the name of the way.
func outputs[T any](v T) map[string]string {
	h := holder[T]{Field: v, Any: v, List: []T{v}, hidden: v, hiddenPtr: &v, hiddenAny: v, hiddenMap: map[string]*T{"k": &v}}
	h.inner.deeper = []struct{ deepest *T }{{&v}}
	out := make(map[string]string)
	for name, x := range map[string]any{"value": v, "pointer": &v, "holder": h, "holder pointer": &h, "hidden": struct{ x T }{v}, "hidden pointer": &struct{ x *T }{&v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U"} {
			out[name+" by "+verb] = fmt.Sprintf(verb, x)
		}
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

// shown returns the ways of printing v that show six bytes from within one of the values.
func shown[T any](v T, values ...[]byte) (ways []string) {
	for way, text := range outputs(v) {
		fmt.Fprintln(transcript.Log(), text)
		for _, value := range values {
			part := value[6:12]
			dec := strings.Trim(fmt.Sprint(part), "[]")
			for _, look := range []string{string(part), hex.EncodeToString(part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), dec, strings.ReplaceAll(dec, " ", ","), strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}")} {
				if strings.Contains(text, look) {
					ways = append(ways, way)
				}
			}
		}
	}
	return ways
}

// checkUnprintable prints what holds keys, and looks for values.
func checkUnprintable[T any](t *testing.T, v T, values ...[]byte) {
	t.Helper()
	if ways := shown(v, values...); len(ways) > 0 {
		t.Errorf("%T shows a value %q", v, ways)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, v); got != redacted {
			t.Errorf("%s of %T is %q", verb, v, got)
		}
	}
	if got := slog.AnyValue(v).Resolve().String(); got != redacted {
		t.Errorf("slog has %q", got)
	}
	var b bytes.Buffer
	if err := json.MarshalWrite(&b, v); err == nil {
		t.Errorf("%T marshals as JSON: %s", v, b.String())
	}
	if err := gob.NewEncoder(&b).Encode(v); err == nil {
		t.Errorf("%T encodes as gob", v)
	}
}

func TestPrintNothing(t *testing.T) {
	derived, err := hkdf.Key(sha256.New, material, nil, "selo kek wrap v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	transcript.Secret(derived)
	kek := newKEK(t, material)
	checkUnprintable(t, kek, material, derived)
	checkUnprintable(t, *kek.(*materialKEK), material, derived)
	k := newKeeper(t, kek, newKEK(t, otherMaterial))
	checkUnprintable(t, k, material, otherMaterial, derived)
	checkUnprintable(t, *k, material, otherMaterial, derived)
}

// The search finds what is there to be found.
func TestPrintNothingCatches(t *testing.T) {
	open := []byte("an open text of some bytes")
	if ways := shown(struct{ text []byte }{open}, open); len(ways) < 20 {
		t.Errorf("bytes in the open were found in %d ways only: %q", len(ways), ways)
	}
}

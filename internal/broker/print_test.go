package broker_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/transcript"
)

// TestNothingPrintsASecret walks everything that a broker at work holds, hidden fields too, and prints all that is of our
// own types. What came of it is searched for secrets and people with the rest of what the tests said; see package transcript.
func TestNothingPrintsASecret(t *testing.T) {
	h := newLiveHouse(t)
	h.addActive("gen-0", sandboxEnv, "", liveness)
	s := h.opened(ana(), liveness, "login")
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("gen-0"))
	if err != nil {
		t.Fatal(err)
	}
	granted.Receipt = "" // it is for whoever asked
	keys, err := h.AccessKeys(t.Context(), policy.LocalOperator(), thisTest)
	if err != nil {
		t.Fatal(err)
	}
	w := walker{seen: make(map[visit]bool), types: make(map[string]int)}
	for _, v := range []any{h.Broker, &h.cfg, h.store, keeper(t), h.cfg.Keys.All(), granted, keys, ana(), backend(), &broker.NewKey{}, &selo.Expectation{}} {
		w.walk(reflect.ValueOf(v))
	}
	for _, name := range []string{
		"selo.AccessKey", "selo.Secret", "selo.ReceiptKey", "selo.CPF", "keyring.Ring", "keyring.Key", "keyring.Pepper", "keyring.Peppers",
		"seal.Keeper", "store.Store", "store.AccessKey", "broker.Broker", "broker.Config", "broker.Session", "policy.Caller",
	} {
		if w.types[name] == 0 {
			t.Errorf("no %s was met: the walk shows less than it says", name)
		}
	}
}

type visit struct {
	at unsafe.Pointer
	of reflect.Type
}

type walker struct {
	seen  map[visit]bool
	types map[string]int // how many of each were printed
}

// enough of one type have been printed; the walk goes on through others.
const enough = 50

func (w *walker) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		at := visit{v.UnsafePointer(), v.Type()}
		if v.IsNil() || w.seen[at] {
			return
		}
		w.seen[at] = true
		w.print(v)
		w.walk(v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			w.walk(v.Elem())
		}
	case reflect.Struct:
		w.print(v)
		for i := range v.NumField() {
			w.walk(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range min(v.Len(), enough) {
			w.walk(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			w.walk(it.Key())
			w.walk(it.Value())
		}
	}
}

func (w *walker) print(v reflect.Value) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !strings.HasPrefix(t.PkgPath(), "github.com/selo-id/selo") || w.types[t.String()] >= enough {
		return
	}
	w.types[t.String()]++
	x := v
	switch {
	case v.CanInterface():
	case v.CanAddr(): // of a hidden field
		x = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	case v.Kind() == reflect.Pointer:
		x = reflect.NewAt(t, v.UnsafePointer())
	default:
		return // its holder was printed
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(transcript.Log(), verb+"\n", x.Interface())
	}
}

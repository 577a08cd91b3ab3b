package scan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestReadSecrets(t *testing.T) {
	t.Parallel()
	one, two := string(textOf(1, 32, mixed)), string(textOf(2, 12, mixed))
	for _, tc := range []struct {
		name, text string
		names      []string
		fault      string
	}{
		{"one", one, []string{"f"}, ""},
		{"one, with a line break", one + "\n", []string{"f"}, ""},
		{"two", one + "\r\n\n" + two + "\n", []string{"f line 1", "f line 3"}, ""},
		{"none", "\n\n", nil, "f: has no secret in it"},
		{"empty", "", nil, "f: has no secret in it"},
		{"short", one + "\n" + two[:11], nil, "f: line 2: has 11 bytes"},
		{"one letter", strings.Repeat("a", 40), nil, "f: line 1: has less than 5 different characters"},
		{"blank before", " " + one, nil, "f: line 1: begins or ends with a blank"},
		{"blank after", one + "\t\n", nil, "f: line 1: begins or ends with a blank"},
		{"byte order mark", "\ufeff" + one, nil, "byte order mark"},
		{"too long", strings.Repeat(one, 200), nil, "f: line 1 has more than 4096 bytes"},
		{"a fingerprint", NewFingerprints([]Secret{{"x", []byte(one)}})[0].String(), nil, "is a fingerprint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			secrets, err := ReadSecrets("f", strings.NewReader(tc.text))
			var names []string
			for _, s := range secrets {
				names = append(names, s.name)
				if p := fmt.Sprintf("%v %+v %#v %s", s, s, s, &s); strings.Contains(p, string(s.value)) {
					t.Errorf("prints itself: %s", p)
				}
			}
			if !slices.Equal(names, tc.names) {
				t.Errorf("names %q, want %q", names, tc.names)
			}
			if tc.fault == "" && err != nil || tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)) {
				t.Errorf("error %v, want %q", err, tc.fault)
			}
			if err != nil && strings.Contains(err.Error(), one) {
				t.Error("the error has the secret in it")
			}
		})
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	value := textOf(3, 40, mixed)
	a, b := NewFingerprints([]Secret{{"a name", value}})[0], NewFingerprints([]Secret{{"b", value}})[0]
	if a.String() == b.String() || strings.Contains(a.String(), string(value)) {
		t.Errorf("two fingerprints: %s and %s", a, b)
	}
	text := "# made for CI\n\n" + a.String() + "\n" + b.String() + "\n"
	list, err := ReadFingerprints("f", strings.NewReader(text))
	if err != nil || len(list) != 2 {
		t.Fatalf("%d fingerprints, %v", len(list), err)
	}
	f := newFingerprints(list)
	if name, ok := f.name(value); !ok || name != "a name" {
		t.Errorf("recognised as %q, %v", name, ok)
	}
	if _, ok := f.name(value[1:]); ok {
		t.Error("a part is recognised")
	}
	for _, bad := range []string{"", "# only this", string(value), "selo-fp1:x", "selo-fp1:aaaa:aaaa n", a.String()[:40], "selo-fp2" + a.String()[8:]} {
		if _, err := ReadFingerprints("f", strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), string(value)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadSecrets(f *testing.F) {
	f.Add([]byte("a secret of mine\nselo-fp1:00112233445566778899aabbccddeeff:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		secrets, err := ReadSecrets("f", bytes.NewReader(data))
		if (err == nil) != (len(secrets) > 0) {
			t.Errorf("%d secrets and %v", len(secrets), err)
		}
		prints, err := ReadFingerprints("f", bytes.NewReader(data))
		if (err == nil) != (len(prints) > 0) {
			t.Errorf("%d fingerprints and %v", len(prints), err)
		}
		for _, s := range secrets {
			if !bytes.Contains(data, s.value) || len(s.value) < minSecret {
				t.Errorf("a secret of %d bytes that is not there", len(s.value))
			}
		}
	})
}

func TestFragments(t *testing.T) {
	t.Parallel()
	secret := textOf(4, 40, mixed)
	f := newFragments([][]byte{textOf(5, 40, mixed), secret})
	var got []piece
	for _, b := range [][]byte{secret[:10], secret[8:20], secret[30:40], secret[25:30], secret, secret[:6], []byte("nothing of it")} {
		f.pieces(b, func(p piece) { got = append(got, p) })
	}
	want := []piece{{1, 0, 10}, {1, 8, 20}, {1, 30, 40}, {1, 0, 6}}
	if !slices.Equal(got, want) {
		t.Errorf("pieces %v, want %v", got, want)
	}
	if n := coverage(got); n != 30 {
		t.Errorf("coverage %d, want 30", n)
	}
}

func TestMarker(t *testing.T) {
	t.Parallel()
	a, b := Secret{"a", textOf(6, 32, mixed)}, Secret{"b", textOf(7, 32, mixed)}
	one, two := newMarker([]Secret{a, b}), newMarker([]Secret{b, a})
	if one.mark([]byte("x")) != two.mark([]byte("x")) {
		t.Error("marks depend on the order of the secrets")
	}
	random, again := newMarker(nil), newMarker(nil)
	if one.mark([]byte("x")) == newMarker([]Secret{a}).mark([]byte("x")) || random.mark([]byte("x")) == again.mark([]byte("x")) {
		t.Error("marks are not keyed")
	}
}

package selo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

func TestParseCPF(t *testing.T) {
	tests := []struct {
		in, want string // want "" is refused
	}{
		{"52998224725", "52998224725"},
		{"529.982.247-25", "52998224725"},
		{"11144477735", "11144477735"},
		{"00000000191", "00000000191"}, // leading zeros are digits
		{"000.000.001-91", "00000000191"},
		{"01234567890", "01234567890"}, // both check digits by the rule for a small remainder
		{"00011122233", ""},            // the example in the provider's own documentation
		{"000.111.222-33", ""},
		{"52998224724", ""}, // second check digit
		{"52998224735", ""}, // first check digit
		{"25998224725", ""}, // two digits swapped
		{"", ""},
		{"5299822472", ""},
		{"529982247250", ""},
		{"191", ""},
		{" 52998224725", ""},
		{"52998224725 ", ""},
		{"52998224725\n", ""},
		{"529.982.247-2", ""},
		{"529.982.247.25", ""},
		{"529-982-247-25", ""},
		{"529982.247-25", ""},
		{"529.982.24725", ""},
		{"52.9982.247-25", ""},
		{"529-982.247-25", ""},
		{"529.982-247-25", ""},
		{"529.982.247/25", ""},
		{"529.982.247−25", ""}, // a minus sign, not a hyphen
		{"529 982 247 25", ""},
		{"5299822472a", ""},
		{"+5299822472", ""},
		{"５２９９８２２４７２５", ""},
		{"5299822472\x00", ""},
		{"52998224725\x00\x00\x00", ""},
		{"***.***.***-25", ""},
	}
	for d := '0'; d <= '9'; d++ {
		tests = append(tests, struct{ in, want string }{strings.Repeat(string(d), 11), ""})
	}
	for _, tt := range tests {
		c, err := selo.ParseCPF(tt.in)
		if c.Digits() != tt.want || (err == nil) != (tt.want != "") || c.IsZero() != (tt.want == "") {
			t.Errorf("ParseCPF(%q) = %q, %v; want %q", tt.in, c.Digits(), err, tt.want)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, selo.ReasonCPFInvalid) {
			t.Errorf("ParseCPF(%q): %v, want cpf_invalid", tt.in, err)
		}
		if len(tt.in) > 9 && strings.Contains(err.Error(), tt.in) {
			t.Errorf("the error repeats %q", tt.in)
		}
	}
}

// TestCPFCheckDigits changes every digit of a CPF to every other: the check finds all of it, as a sum mod
// 11 must, except where a remainder of ten counts as zero.
func TestCPFCheckDigits(t *testing.T) {
	for i := range testCPF {
		for d := byte('0'); d <= '9'; d++ {
			changed := testCPF[:i] + string(d) + testCPF[i+1:]
			want, ok := oracleCPF(changed)
			if c, err := selo.ParseCPF(changed); (err == nil) != ok || c.Digits() != want {
				t.Errorf("ParseCPF(%s) = %q, %v; oracle says %v", changed, c.Digits(), err, ok)
			}
		}
	}
}

func TestCPFCompares(t *testing.T) {
	bare, dotted, other := cpfOf(t, testCPF), cpfOf(t, "529.982.247-25"), cpfOf(t, otherCPF)
	if bare != dotted {
		t.Error("two spellings of one CPF differ")
	}
	if bare == other || bare == (selo.CPF{}) {
		t.Error("two CPFs are the same")
	}
	if m := map[selo.CPF]int{bare: 1, other: 2}; m[dotted] != 1 {
		t.Error("a CPF is not found in a map under its other spelling")
	}
}

func TestCPFMasked(t *testing.T) {
	c := cpfOf(t, testCPF)
	for _, verb := range verbs {
		// Of these three fmt asks no method; TestCPFUnprinted sees that they show nothing.
		if verb == "%T" || verb == "%p" || verb == "%w" {
			continue
		}
		if got := fmt.Sprintf(verb, c); got != "***.***.***-25" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if c.String() != c.Masked() || c.Masked() != "***.***.***-25" {
		t.Errorf("String %q, Masked %q", c, c.Masked())
	}
	var zero selo.CPF
	if fmt.Sprint(zero) != "(no cpf)" || zero.Digits() != "" || !zero.IsZero() {
		t.Errorf("the zero CPF is %v, %q", zero, zero.Digits())
	}
	if _, err := c.MarshalText(); err == nil || strings.Contains(err.Error(), "529") {
		t.Errorf("MarshalText: %v", err)
	}
}

func TestCPFUnprinted(t *testing.T) {
	c := cpfOf(t, testCPF)
	must := map[string]string{"digits": testCPF, "masking": "529.982", "middle": "98224"}
	for form, s := range forms([]byte(testCPF + testCPF)) { // long enough to take a part from
		must[form] = s
	}
	for form, s := range forms([]byte("xxxxxxxxx" + testCPF)) {
		must["start as "+form] = s
	}
	checkUnprinted(t, c, must)
	checkUnprinted(t, map[selo.CPF]selo.CPF{c: c}, must)
	checkUnprinted(t, selo.MintRequest{CPF: c}, must)
	checkUnprinted(t, selo.Expectation{CPF: c}, must)
	checkUnprinted(t, selo.Attempt{CPF: c}, must)
	type embedding struct{ selo.CPF }
	checkUnprinted(t, embedding{c}, must)
}

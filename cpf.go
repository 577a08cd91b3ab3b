package selo

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// CPF is a Brazilian taxpayer number with correct check digits. The zero value is no CPF.
//
// A CPF is personal data (LGPD), so it does not print, log or marshal itself: every such path shows
// ***.***.***-NN or fails. Digits is the one way to the whole number. Two CPFs may be compared with ==.
type CPF struct {
	// A handle, not the digits: fmt walks into unexported fields by reflection without asking
	// Format, and would show the number of a CPF inside somebody's struct.
	digits unique.Handle[string]
}

// ParseCPF takes eleven ASCII digits, bare or as 000.000.000-00, and nothing else: no spaces, no other
// punctuation, no number. Both check digits must be right, and the ten repeated-digit numbers, which
// pass the arithmetic, are refused. The error is an *Error with ReasonCPFInvalid and does not repeat
// the input.
func ParseCPF(s string) (CPF, error) {
	d, ok := normalizeCPF(s)
	if !ok {
		return CPF{}, refuse(ReasonCPFInvalid, "cpf", "must be 11 digits, bare or as 000.000.000-00")
	}
	if !validCPF(d) {
		return CPF{}, refuse(ReasonCPFInvalid, "cpf", "the check digits do not match")
	}
	return CPF{unique.Make(string(d[:]))}, nil
}

// IsZero reports whether c is the zero value, which is no CPF.
func (c CPF) IsZero() bool { return c == CPF{} }

// Digits returns the whole number, eleven digits. It is personal data from here on.
func (c CPF) Digits() string {
	if c.IsZero() {
		return ""
	}
	return c.digits.Value()
}

// Masked returns ***.***.***-NN, which is enough to tell two people on one screen apart and not enough
// to look either of them up.
func (c CPF) Masked() string {
	if c.IsZero() {
		return "(no cpf)"
	}
	return "***.***.***-" + c.digits.Value()[9:]
}

// String is Masked.
func (c CPF) String() string { return c.Masked() }

// Format prints Masked for every verb.
func (c CPF) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.Masked()) }

// LogValue logs Masked.
func (c CPF) LogValue() slog.Value { return slog.StringValue(c.Masked()) }

// MarshalText always fails: a record that needs the number must say Digits, one that does not must say
// Masked or keep a keyed pseudonym.
func (c CPF) MarshalText() ([]byte, error) {
	return nil, errors.New("selo: a CPF does not marshal; use Digits, Masked or a keyed pseudonym")
}

// normalizeCPF returns the eleven digits of either accepted spelling.
func normalizeCPF(s string) (d [11]byte, ok bool) {
	switch len(s) {
	case 11:
		copy(d[:], s)
	case 14:
		if s[3] != '.' || s[7] != '.' || s[11] != '-' {
			return d, false
		}
		copy(d[0:], s[0:3])
		copy(d[3:], s[4:7])
		copy(d[6:], s[8:11])
		copy(d[9:], s[12:14])
	default:
		return d, false
	}
	for _, c := range d {
		if c < '0' || c > '9' {
			return d, false
		}
	}
	return d, true
}

func validCPF(d [11]byte) bool {
	repeated := true
	for _, c := range d[1:] {
		repeated = repeated && c == d[0]
	}
	return !repeated && d[9] == checkDigit(d[:9]) && d[10] == checkDigit(d[:10])
}

// checkDigit is the mod-11 digit over ds with weights len(ds)+1 down to 2.
func checkDigit(ds []byte) byte {
	sum := 0
	for i, c := range ds {
		sum += int(c-'0') * (len(ds) + 1 - i)
	}
	if r := sum % 11; r >= 2 {
		return byte('0' + 11 - r)
	}
	return '0'
}

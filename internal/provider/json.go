package provider

import (
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// members is what we read of one JSON object, by name. What is absent is not in it, nor, but for decisions,
// what is null.
type members map[string]jsontext.Value

// decisions are the members in which the provider decides: null is not the same as absent there.
var decisions = []string{"isAlive", "isMatch", "isFaceMatch"}

// readMembers reads value as one strict JSON object: valid UTF-8, no name twice at any depth, nothing after
// it. It keeps the members that are named. A name that a careless reader would take for one of them refuses
// the object.
func readMembers(value jsontext.Value, names ...string) (members, bool) {
	var all map[string]jsontext.Value
	if value.Kind() != '{' || json.Unmarshal(value, &all) != nil {
		return nil, false
	}
	folded := make([]string, len(names))
	for i, name := range names {
		folded[i] = fold(name)
	}
	m := make(members, len(names))
	for name, v := range all {
		switch {
		case !slices.Contains(names, name):
			if slices.Contains(folded, fold(name)) {
				return nil, false
			}
		case v.Kind() != 'n' || slices.Contains(decisions, name):
			m[name] = v
		}
	}
	return m, true
}

// text returns a member that is a string; "" when it is absent.
func (m members) text(name string) (s string, there, ok bool) {
	v, there := m[name]
	if !there {
		return "", false, true
	}
	if v.Kind() != '"' {
		return "", true, false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), true, err == nil
}

// decision returns a member that is a boolean; false when it is absent.
func (m members) decision(name string) (yes, there, ok bool) {
	v, there := m[name]
	if !there {
		return false, false, true
	}
	return v.Kind() == 't', true, v.Kind() == 't' || v.Kind() == 'f'
}

// fold maps the spellings of a name that some JSON reader or other would take for it to one: any case, also
// by Unicode's folding, with and without _ and -.
func fold(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r == '_' || r == '-':
		case r == 'İ' || r == 'ı':
			b.WriteByte('i')
		case foldsToMany[r] != "":
			b.WriteString(foldsToMany[r])
		default:
			least := r
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				least = min(least, f)
			}
			b.WriteRune(unicode.ToLower(least))
		}
	}
	return b.String()
}

// foldsToMany is the letters that full case folding makes several ASCII letters of.
var foldsToMany = map[rune]string{
	'ß': "ss", 'ẞ': "ss", 'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "st", 'ﬆ': "st",
}

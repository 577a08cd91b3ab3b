package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// readConfig parses a file strictly. Unknown fields are kept among the mistakes that build reports; of what
// has the wrong type nothing more can be said.
func readConfig(path string) (*Config, error) {
	c := &Config{file: path, dir: filepath.Dir(path)}
	unknown, err := readYAML(path, c)
	if err != nil {
		return nil, err
	}
	c.unknown = unknown
	return c, nil
}

// readYAML parses a file into what c points to, and returns the fields that this does not have.
func readYAML(path string, c any) (unknown faults, _ error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	// What the decoder says of a mistake quotes the file, which may be a key, or have one pasted into it.
	// So of its errors only the place is passed on.
	var tree, more any
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if err := documents.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: is not YAML%s; a text that begins with a quote, ! or & stands in quotes as a whole, and no tab indents", path, place(err))
	}
	if err := documents.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: must be one YAML document; there is a second after ---", path)
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, fmt.Errorf("%s: is no configuration, which is a YAML mapping", path)
	}
	unknown, wrong := mismatches("", tree, reflect.TypeOf(c))
	if len(wrong) == 0 {
		if err := yaml.Unmarshal(data, c); err != nil {
			wrong.add("a value", "has the wrong type%s", place(err))
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s:\n%w", path, errors.Join(append(unknown, wrong...)...))
	}
	return unknown, nil
}

// place says where a YAML error is, and nothing of what is there.
func place(err error) string {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		p := at.GetToken().Position
		return fmt.Sprintf(" (line %d, column %d)", p.Line, p.Column)
	}
	return ""
}

// withoutPath takes the path out of a file error: where a path belongs somebody may have pasted the secret.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// mismatches walks what was parsed beside the type that it is for. The decoder's own strict mode stops at
// the first unknown field, and makes text of a number: a client ID such as 0012 would become another.
func mismatches(path string, tree any, t reflect.Type) (unknown, wrong faults) {
	inner := func(path string, tree any, t reflect.Type) {
		u, w := mismatches(path, tree, t)
		unknown, wrong = append(unknown, u...), append(wrong, w...)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Interface {
		return nil, nil // any value, which is judged later
	}
	switch node := tree.(type) {
	case map[string]any:
		if t.Kind() != reflect.Map && t.Kind() != reflect.Struct {
			wrong.add(short(path), "must not be a mapping")
			return unknown, wrong
		}
		for _, name := range slices.Sorted(maps.Keys(node)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			switch t.Kind() {
			case reflect.Map:
				inner(at, node[name], t.Elem())
			case reflect.Struct:
				if f, ok := fieldByTag(t, name); ok {
					inner(at, node[name], f.Type)
				} else {
					unknown.add(short(at), "%s", unknownField(at))
				}
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			wrong.add(short(path), "must not be a list")
			return unknown, wrong
		}
		for i, value := range node {
			inner(fmt.Sprintf("%s[%d]", path, i), value, t.Elem())
		}
	case nil:
	default:
		_, isText := node.(string)
		_, isBool := node.(bool)
		_, isWhole := node.(uint64)
		switch t.Kind() {
		case reflect.String:
			if !isText {
				wrong.add(short(path), "must be text; put it in quotes")
			}
		case reflect.Bool:
			if !isBool {
				wrong.add(short(path), "must be true or false")
			}
		case reflect.Int:
			if !isWhole {
				wrong.add(short(path), "must be a whole number")
			}
		case reflect.Slice:
			wrong.add(short(path), "must be a list")
		default:
			wrong.add(short(path), "must be a mapping of fields")
		}
	}
	return unknown, wrong
}

// unknownField says what to do about a field that is none, or is none any more.
func unknownField(at string) string {
	if at == "access_keys" || at == "peppers" {
		return "is in the database now: selo key import takes it over from this file; see docs/operating.md"
	}
	return "unknown field"
}

// short repeats the place of a field, unless it is too long to be a slip of the pen.
func short(place string) string {
	if len(place) > 60 {
		return "(a long name)"
	}
	// What seals everything is pasted where its file should be named.
	if where, name, _ := strings.Cut(place, "."); (strings.HasPrefix(where, "kek") || strings.HasPrefix(where, "previous_keks")) && len(name) > 24 {
		return where + ".(a long name)"
	}
	return place
}

// readSecretFile reads key material that is ours to hold as bytes: a pepper, or the sandbox's own copy of a
// client secret. As selo.ReadSecretFile does, it takes one trailing line break off.
func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	const most = 4 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(b) > most {
		return nil, fmt.Errorf("is longer than %d bytes", most)
	}
	if trimmed, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b, _ = bytes.CutSuffix(trimmed, []byte("\r"))
	}
	return b, nil
}

func fieldByTag(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); tag == name && f.IsExported() {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

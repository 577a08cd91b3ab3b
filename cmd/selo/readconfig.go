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

// readConfig parses a file strictly. Every unknown field is named.
func readConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := &Config{dir: filepath.Dir(path)}
	// What the decoder says of a mistake quotes the file, which may be a key, or have one pasted into it.
	// So of its errors only the place is passed on.
	var tree, more any
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if err := documents.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: is not YAML%s", path, place(err))
	}
	if err := documents.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: must be one YAML document; there is a second after ---", path)
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, fmt.Errorf("%s: is no configuration, which is a YAML mapping", path)
	}
	var errs []error
	for _, m := range mismatches("", tree, reflect.TypeOf(*c)) {
		errs = append(errs, errors.New(m))
	}
	if len(errs) == 0 {
		if err := yaml.Unmarshal(data, c); err != nil {
			errs = append(errs, fmt.Errorf("a value has the wrong type%s", place(err)))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%s:\n%w", path, errors.Join(errs...))
	}
	return c, nil
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
func mismatches(path string, tree any, t reflect.Type) (all []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch node := tree.(type) {
	case map[string]any:
		if t.Kind() != reflect.Map && t.Kind() != reflect.Struct {
			return []string{path + ": must not be a mapping"}
		}
		for _, name := range slices.Sorted(maps.Keys(node)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			switch t.Kind() {
			case reflect.Map:
				all = append(all, mismatches(at, node[name], t.Elem())...)
			case reflect.Struct:
				if f, ok := fieldByTag(t, name); ok {
					all = append(all, mismatches(at, node[name], f.Type)...)
				} else {
					all = append(all, unknownField(path, name))
				}
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			return []string{path + ": must not be a list"}
		}
		for i, value := range node {
			all = append(all, mismatches(fmt.Sprintf("%s[%d]", path, i), value, t.Elem())...)
		}
	case nil:
	default:
		_, isText := node.(string)
		_, isBool := node.(bool)
		_, isWhole := node.(uint64)
		switch t.Kind() {
		case reflect.String:
			if !isText {
				all = append(all, path+": must be text; put it in quotes")
			}
		case reflect.Bool:
			if !isBool {
				all = append(all, path+": must be true or false")
			}
		case reflect.Int:
			if !isWhole {
				all = append(all, path+": must be a whole number")
			}
		case reflect.Slice:
			all = append(all, path+": must be a list")
		default:
			all = append(all, path+": must be a mapping of fields")
		}
	}
	return all
}

// unknownField names a field, unless it is too long to be a slip of the pen.
func unknownField(path, name string) string {
	if len(name) > 32 {
		name = "(a long name)"
	}
	return strings.TrimPrefix(path+"."+name, ".") + ": unknown field"
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

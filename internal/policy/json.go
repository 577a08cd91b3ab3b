package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth is how deeply objects and arrays may nest, the outermost object counted.
	maxDepth = 32
	// maxSeconds bounds times: up to here every whole second is exact in a float64, and none wraps a Time.
	maxSeconds = 1 << 53
)

// match finds name among the known ones, exactly or in another case.
func match(known []string, name string) (as string, exact bool) {
	for _, k := range known {
		if k == name {
			return k, true
		}
	}
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k, false
		}
	}
	return "", false
}

var (
	errNotJSON   = errors.New("is not strict JSON (one value, valid UTF-8, no name twice, nothing after it)")
	errNotObject = errors.New("is not a JSON object")
	errTooDeep   = fmt.Errorf("nests deeper than %d", maxDepth)
)

// readObject reads data as exactly one JSON object and calls member for each of its members in order, with
// the unescaped name. The value is only valid during the call. The errors say nothing of the data.
func readObject(data []byte, member func(name string, value jsontext.Value)) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	// Without options: refuses duplicate names, at every level, and invalid UTF-8.
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return errNotJSON
		}
		return errNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return errNotJSON
		}
		text := name.String() // before the next read, which overwrites it
		value, err := d.ReadValue()
		if err != nil {
			return errNotJSON
		}
		member(text, value)
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNotJSON
	}
	return nil
}

// checkDepth bounds nesting before anything recurses into data.
func checkDepth(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	for {
		switch _, err := d.ReadToken(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return errNotJSON
		case d.StackDepth() > maxDepth:
			return errTooDeep
		}
	}
}

// unquote returns the unescaped content of a JSON string.
func unquote(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, value)
	return string(b), err == nil
}

// parseSeconds reads a NumericDate: a JSON number of seconds since 1970 within [0, 2^53], whole or not.
// A fraction is cut off.
func parseSeconds(value jsontext.Value) (time.Time, bool) {
	if value.Kind() != '0' {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(f >= 0 && f <= maxSeconds) {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// readStrings reads a string or an array of strings.
func readStrings(value jsontext.Value) ([]string, bool) {
	if text, ok := unquote(value); ok {
		return []string{text}, true
	}
	if value.Kind() != '[' {
		return nil, false
	}
	all := []string{}
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	for d.PeekKind() != ']' {
		one, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		text, ok := unquote(one)
		if !ok {
			return nil, false
		}
		all = append(all, text)
	}
	return all, true
}

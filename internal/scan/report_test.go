package scan

import (
	"bytes"
	"encoding/xml"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/selo-id/selo/internal/finding"
)

// TestReportForms: a report with something of every tier, and something unread, is valid in the forms that have a schema.
func TestReportForms(t *testing.T) {
	t.Parallel()
	whole := zipOf(t, file{"a.txt", bytes.Repeat([]byte("hello "), 1000)}, file{"b.txt", testSecret.value},
		file{"c.js", []byte("t = '" + hs256("k", plainHeader, `{"iss":"`+clientHex+`"}`) + "'; apiSecret = '" + string(textOf(4, 40, hexAlphabet)) + "'")})
	whole[40] ^= 0xff
	r := scanned(t, Options{Secrets: []Secret{testSecret}}, file{"a.zip", whole})
	for _, o := range []finding.Outcome{finding.Fail, finding.Warn, finding.Inconclusive, finding.Pass, finding.NotApplicable} {
		if r.Count(o) == 0 {
			t.Errorf("no rule is %s", o)
		}
	}

	schema, err := jsonschema.NewCompiler().Compile("../finding/testdata/sarif-2.1.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var sarif bytes.Buffer
	if err := finding.WriteSARIF(&sarif, r); err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(&sarif)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}

	var junit bytes.Buffer
	if err := finding.WriteJUnit(&junit, r); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(junit.Bytes(), new(struct {
		XMLName xml.Name `xml:"testsuites"`
	})); err != nil {
		t.Error(err)
	}

	var text bytes.Buffer
	if err := finding.WriteJSON(&text, r); err != nil {
		t.Fatal(err)
	}
	again, err := finding.ReadJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	if c := finding.Compare(again, r); len(c.Changed) > 0 {
		t.Errorf("a report differs from itself as a baseline: %v", c.Changed)
	}
}

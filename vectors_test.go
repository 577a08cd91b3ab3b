package selo_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

var update = flag.Bool("update", false, "write testdata/vectors from the tables in vectors_*_test.go")

// vector is one row of testdata/vectors; README.md there explains the fields.
type vector struct {
	Name     string   `json:"name"`
	Why      string   `json:"why"`
	Product  string   `json:"product"`
	ClientID string   `json:"client_id"`
	Secret   string   `json:"secret"`
	Encoding string   `json:"secret_encoding"`
	CPF      string   `json:"cpf"`
	Opened   string   `json:"opened,omitempty"`
	At       string   `json:"at"`
	MaxAge   int      `json:"max_age,omitempty"`
	Policy   string   `json:"policy,omitempty"`
	Least    string   `json:"assurance,omitempty"`
	Token    string   `json:"token"`
	Expected expected `json:"expected"`
}

type expected struct {
	Decision string        `json:"decision"`
	Reasons  []selo.Reason `json:"reasons"`
}

type vectorFile struct {
	About   string   `json:"about"`
	Vectors []vector `json:"vectors"`
}

// row is a vector as written by hand. What is left out is that of an honest liveness attempt.
type row struct {
	name, why string
	token     string
	want      []selo.Reason // nil is granted
	product   string
	opened    string // RFC 3339 or "unknown"
	at        string
	maxAge    int
	policy    string         // for a product that has one; "" is testPolicy
	assurance selo.Assurance // the least required; unset is presence
}

// no lists the reasons that the design gives for refusing a row.
func no(rs ...selo.Reason) []selo.Reason { return rs }

var yes []selo.Reason

type topic struct {
	file, about string
	rows        []row
}

func topics() []topic {
	return []topic{
		{"encoding.json", "Size, segments and base64url: what is refused before any cryptography.", encodingRows()},
		{"header.json", "The JOSE header. Unless the row says otherwise the MAC is valid.", headerRows()},
		{"signature.json", "The MAC, and that it comes before any JSON.", signatureRows()},
		{"payload.json", "One strict JSON object, with every claim spelled exactly.", payloadRows()},
		{"subject.json", "The response names the person the attempt is for.", subjectRows()},
		{"freshness.json", "iat, exp, nbf and the age of a response.", freshnessRows()},
		{"confusion.json", "Authentic tokens of another kind or another product.", confusionRows()},
		{"shapes.json", "The forms of a product's response: web and mobile API, Smart Auth, and the product that has none.", shapeRows()},
		{"decision.json", "Only JSON true is a yes.", decisionRows()},
		{"ids.json", "The provider's id of the attempt.", idRows()},
		{"honest.json", "Unusual but honest responses, which must be granted.", honestRows()},
	}
}

func (r row) vector() vector {
	v := vector{
		Name: r.name, Why: r.why, Product: r.product, ClientID: testClientID, Secret: testSecret,
		Encoding: "utf-8", CPF: testCPF, Opened: r.opened, At: r.at, MaxAge: r.maxAge, Token: r.token,
		Expected: expected{Decision: "granted", Reasons: []selo.Reason{}},
	}
	if v.Product == "" {
		v.Product = liveness
	}
	if v.Product == smartAuth {
		v.Policy = cmp.Or(r.policy, testPolicy)
	}
	if r.assurance != selo.AssuranceUnset {
		v.Least = r.assurance.String()
	}
	switch v.Opened {
	case "":
		v.Opened = testOpened.Format(time.RFC3339)
	case "unknown":
		v.Opened = ""
	}
	if v.At == "" {
		v.At = testNow.Format(time.RFC3339)
	}
	if len(r.want) > 0 {
		v.Expected = expected{Decision: "denied", Reasons: r.want}
	}
	return v
}

func (f topic) encode(t *testing.T) []byte {
	t.Helper()
	out := vectorFile{About: f.about}
	for _, r := range f.rows {
		out.Vectors = append(out.Vectors, r.vector())
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestVectorFiles keeps the files and the tables the same, so that a row is never fixed in one only.
func TestVectorFiles(t *testing.T) {
	var made []string
	for _, f := range topics() {
		path := filepath.Join("testdata", "vectors", f.file)
		made = append(made, path)
		want := f.encode(t)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the tables make; run go test -run TestVectorFiles -update .", path)
		}
	}
	found, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(made)
	if !slices.Equal(found, made) {
		t.Errorf("files %v, tables for %v", found, made)
	}
}

// readVectors reads the files as somebody else would: nothing unknown, nothing missing.
func readVectors(t testing.TB) []vector {
	t.Helper()
	paths, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	names := make(map[string]string)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var f vectorFile
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, v := range f.Vectors {
			if names[v.Name] != "" {
				t.Errorf("%s: name %q is used in %s too", path, v.Name, names[v.Name])
			}
			names[v.Name] = path
			if v.Name == "" || v.Why == "" || v.Product == "" || v.ClientID == "" || v.Secret == "" ||
				v.Encoding != "utf-8" || v.CPF == "" || v.At == "" || f.About == "" {
				t.Errorf("%s: %q lacks a field", path, v.Name)
			}
			if (v.Policy != "") != (v.Product == smartAuth) {
				t.Errorf("%s: %q of %s has policy %q", path, v.Name, v.Product, v.Policy)
			}
			if least := v.assurance(t); (v.Least != "") != (least > selo.AssurancePresence) {
				t.Errorf("%s: %q says assurance %q, which is what its absence means", path, v.Name, v.Least)
			}
			if granted := len(v.Expected.Reasons) == 0; granted != (v.Expected.Decision == "granted") ||
				!granted && v.Expected.Decision != "denied" {
				t.Errorf("%s: %q expects %+v", path, v.Name, v.Expected)
			}
			all = append(all, v)
		}
	}
	if len(all) < 500 {
		t.Fatalf("%d vectors, want at least 500", len(all))
	}
	return all
}

func (v vector) times(t testing.TB) (opened, at time.Time) {
	t.Helper()
	var err error
	if v.Opened != "" {
		if opened, err = time.Parse(time.RFC3339, v.Opened); err != nil {
			t.Fatal(err)
		}
	}
	if at, err = time.Parse(time.RFC3339, v.At); err != nil {
		t.Fatal(err)
	}
	return opened, at
}

func (v vector) assurance(t testing.TB) selo.Assurance {
	t.Helper()
	least := selo.AssurancePresence
	if v.Least != "" {
		if err := least.UnmarshalText([]byte(v.Least)); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
	}
	return least
}

func (v vector) expectation(t testing.TB) selo.Expectation {
	t.Helper()
	opened, at := v.times(t)
	return selo.Expectation{
		Profile: profileOf(t, v.Product),
		Key:     selo.AccessKey{ClientID: v.ClientID, Secret: secretOf(t, v.Secret)},
		CPF:     cpfOf(t, v.CPF),
		Opened:  opened,
		Now:     at,
		MaxAge:  time.Duration(v.MaxAge) * time.Second,
		Once:    new(selo.MemoryOnce),

		Assurance: v.assurance(t),
		Policy:    v.Policy,
	}
}

func TestMain(m *testing.M) {
	transcript.Secret(testSecret)
	transcript.Secret(testSandboxSecret)
	transcript.CPF(testCPF)
	transcript.CPF(otherCPF)
	os.Exit(transcript.Main(m))
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			r, err := selo.Verify(context.Background(), v.Token, v.expectation(t))
			if (r == nil) == (err == nil) {
				t.Fatalf("Verify = %v, %v; want exactly one nil", r, err)
			}
			if got := selo.ReasonsOf(err); !slices.Equal(got, v.Expected.Reasons) {
				t.Errorf("%s\nVerify: %v (%v)\n  want: %v", v.Why, got, err, v.Expected.Reasons)
			}
			if err != nil && selo.ReasonsOf(err) == nil {
				t.Errorf("error without a reason: %v", err)
			}
			if err != nil {
				checkSilent(t, transcript.Error(err).Error(), v.Token)
			}
			if got := refVerify(v.Token, refOf(t, v), 0); !slices.Equal(got, v.Expected.Reasons) {
				t.Errorf("%s\nreference: %v\n     want: %v", v.Why, got, v.Expected.Reasons)
			}
		})
	}
}

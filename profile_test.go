package selo_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// document is a made-up product that uses every field of a profile.
func document() selo.Profile {
	return selo.Profile{
		Product: "fake/document", Provider: "fake", TokenSubject: "personRef",
		Lifetime: time.Minute, MaxLifetime: 10 * time.Minute,
		Marks: []string{"docKind"}, Foreign: []string{"faceId"},
		Shapes: []selo.Shape{{
			Name: "only", Decision: []string{"isOk", "kept"}, Subject: "subjectId", IDs: []string{"docId", "taskId"}, Policy: "rulesId",
			Assurance: selo.AssuranceReauthenticated,
		}},
	}
}

func TestNewProfile(t *testing.T) {
	many := strings.Fields("a b c d e f g h i") // nine
	tests := []struct {
		name   string
		change func(p *selo.Profile)
		ok     bool
	}{
		{"as it is", func(*selo.Profile) {}, true},
		{"no policy", func(p *selo.Profile) { p.Shapes[0].Policy = "" }, true},
		{"no marks", func(p *selo.Profile) { p.Marks = nil }, true},
		{"no foreign", func(p *selo.Profile) { p.Foreign = nil }, true},
		{"a mark that decides", func(p *selo.Profile) { p.Marks = []string{"isOk"} }, true},
		{"eight ids", func(p *selo.Profile) { p.Shapes[0].IDs = many[:8] }, true},
		{"one lifetime", func(p *selo.Profile) { p.MaxLifetime = p.Lifetime }, true},
		{"no product", func(p *selo.Profile) { p.Product = "" }, false},
		{"no provider", func(p *selo.Profile) { p.Provider = "" }, false},
		{"no token subject", func(p *selo.Profile) { p.TokenSubject = "" }, false},
		{"no lifetime", func(p *selo.Profile) { p.Lifetime = 0 }, false},
		{"negative lifetime", func(p *selo.Profile) { p.Lifetime = -time.Minute }, false},
		{"no ceiling", func(p *selo.Profile) { p.MaxLifetime = 0 }, false},
		{"lifetime over the ceiling", func(p *selo.Profile) { p.Lifetime = p.MaxLifetime + 1 }, false},
		{"no decision", func(p *selo.Profile) { p.Shapes[0].Decision = nil }, false},
		{"no subject", func(p *selo.Profile) { p.Shapes[0].Subject = "" }, true},
		{"no ids", func(p *selo.Profile) { p.Shapes[0].IDs = nil }, false},
		{"nine decisions", func(p *selo.Profile) { p.Shapes[0].Decision = many }, false},
		{"nine ids", func(p *selo.Profile) { p.Shapes[0].IDs = many }, false},
		{"no assurance", func(p *selo.Profile) { p.Shapes[0].Assurance = selo.AssuranceUnset }, false},
		{"assurance too high", func(p *selo.Profile) { p.Shapes[0].Assurance = selo.AssuranceMatch + 1 }, false},
		{"negative assurance", func(p *selo.Profile) { p.Shapes[0].Assurance = -1 }, false},
		{"decision twice", func(p *selo.Profile) { p.Shapes[0].Decision = []string{"isOk", "isOk"} }, false},
		{"decision twice by case", func(p *selo.Profile) { p.Shapes[0].Decision = []string{"isOk", "isOK"} }, false},
		{"decision twice by mark", func(p *selo.Profile) { p.Shapes[0].Decision = []string{"isOk", "is_ok"} }, false},
		{"decision twice by folding", func(p *selo.Profile) { p.Shapes[0].Decision = []string{"isOk", "isO\u212a"} }, false},
		{"subject is the decision", func(p *selo.Profile) { p.Shapes[0].Subject = "isOk" }, false},
		{"id is the subject", func(p *selo.Profile) { p.Shapes[0].IDs = []string{"subjectId"} }, false},
		{"subject is a time", func(p *selo.Profile) { p.Shapes[0].Subject = "iat" }, false},
		{"id is the expiry", func(p *selo.Profile) { p.Shapes[0].IDs = []string{"EXP"} }, false},
		{"decision is the issuer", func(p *selo.Profile) { p.Shapes[0].Decision = []string{"iss"} }, false},
		{"policy is an id", func(p *selo.Profile) { p.Shapes[0].Policy = "docId" }, false},
		{"foreign is the decision", func(p *selo.Profile) { p.Foreign = []string{"isOk"} }, false},
		{"foreign is a time", func(p *selo.Profile) { p.Foreign = []string{"nbf"} }, false},
		{"mark is the decision by case", func(p *selo.Profile) { p.Marks = []string{"ISOK"} }, false},
		// With these the mobile token would have one name twice, or no JSON at all.
		{"token subject is the issuer", func(p *selo.Profile) { p.TokenSubject = "iss" }, false},
		{"token subject is the expiry", func(p *selo.Profile) { p.TokenSubject = "exp" }, false},
		{"token subject is the expiry by case", func(p *selo.Profile) { p.TokenSubject = "Exp" }, false},
		{"token subject with a quote", func(p *selo.Profile) { p.TokenSubject = `a":1,"b` }, false},
		{"token subject not UTF-8", func(p *selo.Profile) { p.TokenSubject = "\xff" }, false},
		// A claim without a name is a mistake in a list.
		{"empty decision", func(p *selo.Profile) { p.Shapes[0].Decision = []string{""} }, false},
		{"empty id", func(p *selo.Profile) { p.Shapes[0].IDs = []string{""} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := document()
			tt.change(&p)
			if made, err := selo.NewProfile(p); (err == nil) != tt.ok || (made == nil) != (err != nil) {
				t.Errorf("NewProfile = %v, %v; want ok %v", made, err, tt.ok)
			}
		})
	}
}

func documentExpectation(t *testing.T, p *selo.Profile) selo.Expectation {
	want := expecting(t, liveness)
	want.Profile, want.Policy = p, "rules-1"
	return want
}

const documentPayload = `{"isOk":true,"kept":true,"subjectId":"` + testCPF + `","docId":"d1","taskId":"t1","rulesId":"rules-1","docKind":"cnh","iat":1700000030}`

// TestProfileFolding takes names that some decoder takes for a claim, from the claim's own letters.
func TestProfileFolding(t *testing.T) {
	p, err := selo.NewProfile(document())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selo.Verify(context.Background(), sign(documentPayload), documentExpectation(t, p)); err != nil {
		t.Fatalf("the honest response: %v", err)
	}
	for _, name := range []string{
		"ISOK", "isok", "is_ok", "is-ok", "i_s_o_k_", "isO\u212a", `isO\u212A`, "\u0131sOk", "\u0130sOk", "i\u017fOk", "_-IS-_OK-_",
		"\u212aept", "KEPT", "subject_id", "\u017fubjectId", "DocID", "task-id", "rule\u017fid", "faceid", "FACE_ID", "doc_kind", "doc\u212aind",
		"I-A-T", "\u0131at", "nbF", "_exp", "is\u017f", "\u0130\u017f\u017f",
	} {
		_, err := selo.Verify(context.Background(), sign(twice(documentPayload, name, "true")), documentExpectation(t, p))
		if !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonPayloadInvalid)) {
			t.Errorf("a claim %q: %v, want payload_invalid", name, err)
		}
	}
	for _, name := range []string{"isOkay", "is.ok", "is ok", "isΟk" /* a Greek omicron */, "ｉｓＯｋ", "is\u00adok", "", "_", "tokenId"} {
		if _, err := selo.Verify(context.Background(), sign(twice(documentPayload, name, "true")), documentExpectation(t, p)); err != nil {
			t.Errorf("a claim %q, which no decoder takes for another: %v", name, err)
		}
	}
}

func TestPolicy(t *testing.T) {
	p, err := selo.NewProfile(document())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		policy string
		want   []selo.Reason
	}{
		{`"rulesId":"rules-1",`, yes},
		{`"rulesId":"rules-2",`, no(selo.ReasonPolicyMismatch)},
		{`"rulesId":"",`, no(selo.ReasonPolicyMismatch)},
		{`"rulesId":"RULES-1",`, no(selo.ReasonPolicyMismatch)},
		{`"rulesId":1,`, no(selo.ReasonClaimType)},
		{`"rulesId":null,`, no(selo.ReasonClaimType)},
		{``, no(selo.ReasonClaimMissing)},
	} {
		payload := strings.Replace(documentPayload, `"rulesId":"rules-1",`, tt.policy, 1)
		_, err := selo.Verify(context.Background(), sign(payload), documentExpectation(t, p))
		if got := selo.ReasonsOf(err); !slices.Equal(got, tt.want) {
			t.Errorf("%s %v, want %v", tt.policy, err, tt.want)
		}
	}
}

func TestAllIDsAreUsed(t *testing.T) {
	p, err := selo.NewProfile(document())
	if err != nil {
		t.Fatal(err)
	}
	want := documentExpectation(t, p)
	r, err := selo.Verify(context.Background(), sign(documentPayload), want)
	if err != nil {
		t.Fatal(err)
	}
	ids := []selo.UsedID{
		{Provider: "fake", Environment: selo.EnvironmentProduction, Field: "docId", Value: "d1"},
		{Provider: "fake", Environment: selo.EnvironmentProduction, Field: "taskId", Value: "t1"},
	}
	if !slices.Equal(r.IDs, ids) {
		t.Errorf("ids %v, want %v", r.IDs, ids)
	}
	for _, one := range []string{`"d1"`, `"t1"`} {
		payload := strings.Replace(documentPayload, one, `"new"`, 1)
		if _, err := selo.Verify(context.Background(), sign(payload), want); !errors.Is(err, selo.ReasonReplayed) {
			t.Errorf("one id of two used again: %v", err)
		}
	}
}

// TestProfileDoesNotChange holds the promise that a profile is what NewProfile checked.
func TestProfileDoesNotChange(t *testing.T) {
	denied := strings.Replace(documentPayload, `"isOk":true`, `"isOk":false`, 1)
	for name, change := range map[string]func(p *selo.Profile){
		"no decision":         func(p *selo.Profile) { p.Shapes[0].Decision = nil },
		"fewer decisions":     func(p *selo.Profile) { p.Shapes[0].Decision = p.Shapes[0].Decision[1:] },
		"other decision":      func(p *selo.Profile) { p.Shapes[0].Decision[0] = "docKind" },
		"no ids":              func(p *selo.Profile) { p.Shapes[0].IDs = nil },
		"more ids":            func(p *selo.Profile) { p.Shapes[0].IDs = append(p.Shapes[0].IDs, "docKind") },
		"higher ceiling":      func(p *selo.Profile) { p.MaxLifetime = time.Hour },
		"other token subject": func(p *selo.Profile) { p.TokenSubject = "isOk" },
		"no policy":           func(p *selo.Profile) { p.Shapes[0].Policy = "" },
		"higher assurance":    func(p *selo.Profile) { p.Assurance, p.Shapes[0].Assurance = selo.AssuranceMatch, selo.AssuranceMatch },
	} {
		changed, err := selo.NewProfile(document())
		if err != nil {
			t.Fatal(err)
		}
		change(changed)
		copied := *changed
		for way, p := range map[string]*selo.Profile{"changed": changed, "copied": &copied} {
			t.Run(name+", "+way, func(t *testing.T) {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("panic: %v", r)
					}
				}()
				once := new(countingOnce)
				want := documentExpectation(t, p)
				want.Once = once
				if r, err := selo.Verify(context.Background(), sign(denied), want); err == nil {
					t.Errorf("a denial is granted: %+v", r)
				}
				want.Assurance = selo.AssuranceMatch
				if r, err := selo.Verify(context.Background(), sign(documentPayload), want); err == nil {
					t.Errorf("granted with more than the product proves: %+v", r)
				}
				for _, ids := range once.asked {
					if len(ids) != 2 {
						t.Errorf("used up %v, want both ids", ids)
					}
				}
				token, err := selo.Mint(selo.MintRequest{Profile: p, Key: testKey(t), CPF: cpfOf(t, testCPF), Now: testOpened, Lifetime: 11 * time.Minute})
				if err == nil {
					t.Errorf("a token of 11 minutes under a ceiling of 10: %v", token.ExpiresAt)
				}
				if token, err := selo.Mint(selo.MintRequest{Profile: p, Key: testKey(t), CPF: cpfOf(t, testCPF), Now: testOpened}); err == nil {
					if claims := readMobileToken(t, token.JWT); claims["personRef"] != any(testCPF) {
						t.Errorf("claims %v, want personRef", claims)
					}
				}
			})
		}
	}
}

func TestNewProfileCopies(t *testing.T) {
	in := document()
	p, err := selo.NewProfile(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Shapes[0].Decision[0], in.Shapes[0].IDs[0], in.Marks[0], in.Foreign[0] = "x", "x", "x", "x"
	if p.Shapes[0].Decision[0] != "isOk" || p.Shapes[0].IDs[0] != "docId" || p.Marks[0] != "docKind" || p.Foreign[0] != "faceId" {
		t.Errorf("the caller's slices are shared: %v %v %v %v", p.Shapes[0].Decision, p.Shapes[0].IDs, p.Marks, p.Foreign)
	}
}

func TestAssurance(t *testing.T) {
	names := map[selo.Assurance]string{
		selo.AssurancePresence: "presence", selo.AssuranceKnownContext: "known-context",
		selo.AssuranceReauthenticated: "reauthenticated", selo.AssuranceMatch: "match",
	}
	for a, name := range names {
		if a.String() != name {
			t.Errorf("%d prints %q, want %q", int(a), a, name)
		}
		b, err := json.Marshal(map[string]selo.Assurance{"a": a})
		if err != nil || string(b) != `{"a":"`+name+`"}` {
			t.Errorf("%q marshals to %s, %v", name, b, err)
		}
		var back selo.Assurance
		if err := back.UnmarshalText([]byte(name)); err != nil || back != a {
			t.Errorf("%q reads as %v, %v", name, back, err)
		}
	}
	if !(selo.AssuranceUnset < selo.AssurancePresence && selo.AssurancePresence < selo.AssuranceKnownContext &&
		selo.AssuranceKnownContext < selo.AssuranceReauthenticated && selo.AssuranceReauthenticated < selo.AssuranceMatch) {
		t.Error("the order is wrong")
	}
	for _, bad := range []string{"", "Match", "MATCH", " match", "match\n", "none", "4", "known_context"} {
		a := selo.AssurancePresence
		if err := a.UnmarshalText([]byte(bad)); err == nil || a != selo.AssurancePresence {
			t.Errorf("%q reads as %v, %v; want an error and no change", bad, a, err)
		}
	}
	for _, a := range []selo.Assurance{-1, 5, 1000} {
		if got := a.String(); !strings.Contains(got, "Assurance(") {
			t.Errorf("%d prints %q", int(a), got)
		}
	}
}

func TestProfiles(t *testing.T) {
	var products []string
	for _, p := range selo.Profiles() {
		products = append(products, p.Product)
		if got, err := selo.LookupProfile(p.Product); err != nil || got.Product != p.Product {
			t.Errorf("LookupProfile(%s) = %v, %v", p.Product, got, err)
		}
		if p.MaxLifetime > 30*time.Minute || p.Lifetime > 5*time.Minute {
			t.Errorf("%s lives %v, at most %v", p.Product, p.Lifetime, p.MaxLifetime)
		}
		p.Product, p.Roles[0].Name = "changed", "changed" // which is the caller's own
		if len(p.Shapes) > 0 {
			p.Shapes[0].Decision[0] = "changed"
		}
	}
	if want := []string{liveness, authentication, smartAuth, documents}; !slices.Equal(products, want) {
		t.Errorf("products %v, want %v", products, want)
	}
	if selo.CafFaceLiveness().Assurance != selo.AssurancePresence || selo.CafFaceAuthentication().Assurance != selo.AssuranceMatch {
		t.Error("liveness proves a match, or authentication does not")
	}
	for _, name := range []string{"", "caf/face-Liveness", "face-liveness", "caf/face-liveness "} {
		if p, err := selo.LookupProfile(name); p != nil || !errors.Is(err, selo.ReasonProductUnknown) {
			t.Errorf("LookupProfile(%q) = %v, %v", name, p, err)
		}
	}
}

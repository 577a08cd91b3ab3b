package selo_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// parcel is a made-up product of two shapes that overlap: a response that has a mark of both is of both.
func parcel() selo.Profile {
	return selo.Profile{
		Product: "fake/parcel", Provider: "fake", TokenSubject: "personRef",
		Lifetime: time.Minute, MaxLifetime: 10 * time.Minute,
		Roles: []selo.Role{{Name: "sender", Product: "fake/parcel"}, {Name: "courier", Product: "fake/courier"}},
		Shapes: []selo.Shape{{
			Name: "counter", Decision: []string{"isOk"}, Subject: "subjectId", IDs: []string{"parcelId"},
			Marks: []string{"counterNo"}, Assurance: selo.AssurancePresence,
		}, {
			Name: "door", Decision: []string{"isOk", "isHome"}, Subject: "whom.ref", IDs: []string{"parcelId", "visitId"},
			Marks: []string{"doorNo"}, Challenged: "rang", Assurance: selo.AssuranceReauthenticated,
		}},
		Recheck: selo.AssuranceMatch, Attempt: "visitId",
	}
}

func TestNewProfileShapes(t *testing.T) {
	claims := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("claim", i))
		}
		return names
	}
	of := func(c ...string) []string { return c }
	// The profile reads isOk, subjectId, parcelId, isHome, whom, visitId, rang, and iat, exp, nbf, iss; its marks are two more.
	const read = 13
	tests := []struct {
		name   string
		change func(p *selo.Profile)
		ok     bool
	}{
		{"as it is", func(*selo.Profile) {}, true},
		{"no shapes", func(p *selo.Profile) { p.Shapes, p.Recheck, p.Attempt = nil, 0, "" }, true},
		{"no roles", func(p *selo.Profile) { p.Roles = nil }, true},
		{"one role of another name", func(p *selo.Profile) { p.Roles = p.Roles[:1] }, true},
		{"two roles of one product", func(p *selo.Profile) { p.Roles[1].Product = p.Product }, true},
		{"a role without a name", func(p *selo.Profile) { p.Roles[1].Name = "" }, false},
		{"a role without a product", func(p *selo.Profile) { p.Roles[1].Product = "" }, false},
		{"two roles of one name", func(p *selo.Profile) { p.Roles[1].Name = "sender" }, false},
		{"the first role is of another product", func(p *selo.Profile) { slices.Reverse(p.Roles) }, false},

		{"a shape without a name", func(p *selo.Profile) { p.Shapes[1].Name = "" }, false},
		{"two shapes of one name", func(p *selo.Profile) { p.Shapes[1].Name = "counter" }, false},
		{"a shape without a decision", func(p *selo.Profile) { p.Shapes[1].Decision = nil }, false},
		{"a shape without ids", func(p *selo.Profile) { p.Shapes[1].IDs = nil }, false},
		{"a shape that proves nothing", func(p *selo.Profile) { p.Shapes[0].Assurance = selo.AssuranceUnset }, true},
		{"no shape proves anything, a re-check does", func(p *selo.Profile) {
			p.Shapes[0].Assurance, p.Shapes[1].Assurance, p.Shapes[1].Challenged = 0, 0, ""
		}, true},
		{"nothing proves anything", func(p *selo.Profile) {
			p.Shapes[0].Assurance, p.Shapes[1].Assurance, p.Shapes[1].Challenged, p.Recheck, p.Attempt = 0, 0, "", 0, ""
		}, false},
		{"an assurance of the product's own", func(p *selo.Profile) { p.Assurance = selo.AssurancePresence }, false},
		{"an assurance below all", func(p *selo.Profile) { p.Shapes[0].Assurance = -1 }, false},
		{"an assurance above all", func(p *selo.Profile) { p.Shapes[0].Assurance = selo.AssuranceMatch + 1 }, false},
		{"challenged, and proves presence", func(p *selo.Profile) { p.Shapes[1].Assurance = selo.AssurancePresence }, false},
		{"challenged, and proves a known context", func(p *selo.Profile) { p.Shapes[1].Assurance = selo.AssuranceKnownContext }, true},

		{"a re-check without an attempt", func(p *selo.Profile) { p.Attempt = "" }, false},
		{"an attempt without a re-check", func(p *selo.Profile) { p.Recheck = selo.AssuranceUnset }, false},
		{"a re-check below all", func(p *selo.Profile) { p.Recheck = -1 }, false},
		{"a re-check above all", func(p *selo.Profile) { p.Recheck = selo.AssuranceMatch + 1 }, false},
		{"a re-check that proves less", func(p *selo.Profile) { p.Recheck = selo.AssuranceKnownContext }, false},
		{"a re-check that proves the same", func(p *selo.Profile) { p.Recheck = selo.AssuranceReauthenticated }, true},
		{"an attempt that no shape carries", func(p *selo.Profile) { p.Attempt = "attemptId" }, true},

		{"a decision that is an id elsewhere", func(p *selo.Profile) { p.Shapes[0].Decision = of("visitId") }, false},
		{"an id that is a decision elsewhere", func(p *selo.Profile) { p.Shapes[1].IDs = of("isOk") }, false},
		{"a subject that is an id elsewhere", func(p *selo.Profile) { p.Shapes[0].Subject = "visitId" }, false},
		{"challenged is a decision", func(p *selo.Profile) { p.Shapes[1].Challenged = "isOk" }, false},
		{"challenged is a decision elsewhere", func(p *selo.Profile) {
			p.Shapes[0].Decision, p.Shapes[1].Decision, p.Shapes[1].Challenged = of("isOk"), of("isHome"), "isOk"
		}, false},
		{"a claim of two shapes in two spellings", func(p *selo.Profile) { p.Shapes[1].IDs = of("parcel_id", "visitId") }, false},
		{"an id twice", func(p *selo.Profile) { p.Shapes[1].IDs = of("visitId", "visitId") }, false},
		{"a policy of one shape only", func(p *selo.Profile) { p.Shapes[1].Policy = "rulesId" }, false},
		{"a policy of both", func(p *selo.Profile) { p.Shapes[0].Policy, p.Shapes[1].Policy = "rulesId", "rulesId" }, true},
		{"a policy that is a time", func(p *selo.Profile) { p.Shapes[0].Policy, p.Shapes[1].Policy = "iat", "iat" }, false},

		{"one object for both persons", func(p *selo.Profile) { p.Shapes[0].Subject = "whom.ref" }, true},
		{"two members of one object", func(p *selo.Profile) { p.Shapes[0].Subject = "whom.cpf" }, false},
		{"an object here, a string there", func(p *selo.Profile) { p.Shapes[0].Subject = "whom" }, false},
		{"a member of an id", func(p *selo.Profile) { p.Shapes[1].Subject = "visitId.ref" }, false},
		{"a member of a time", func(p *selo.Profile) { p.Shapes[1].Subject = "iat.ref" }, false},
		{"a member without a name", func(p *selo.Profile) { p.Shapes[1].Subject = "whom." }, false},
		{"an object without a name", func(p *selo.Profile) { p.Shapes[1].Subject = ".ref" }, false},
		{"a member with a quote", func(p *selo.Profile) { p.Shapes[1].Subject = `whom."` }, false},
		{"a dot", func(p *selo.Profile) { p.Shapes[1].Subject = "." }, false},

		{"a shape's own id is foreign to it", func(p *selo.Profile) { p.Shapes[1].Foreign = of("visitId") }, false},
		{"a shape's own decision is foreign to the product", func(p *selo.Profile) { p.Foreign = of("isHome") }, false},
		{"a shape's own person is foreign to it", func(p *selo.Profile) { p.Shapes[1].Foreign = of("whom") }, false},
		{"challenged is foreign", func(p *selo.Profile) { p.Shapes[1].Foreign = of("rang") }, false},
		{"another shape's id is foreign", func(p *selo.Profile) { p.Shapes[0].Foreign = of("visitId") }, true},
		{"a mark is foreign", func(p *selo.Profile) { p.Shapes[0].Foreign = of("counterNo") }, false},
		{"one mark of two is foreign", func(p *selo.Profile) {
			p.Shapes[0].Marks, p.Shapes[0].Foreign = of("counterNo", "queueNo"), of("queueNo")
		}, false},
		{"the product's only mark is foreign to a shape", func(p *selo.Profile) { p.Marks, p.Shapes[0].Foreign = of("stamp"), of("stamp") }, false},
		{"one of the product's marks is foreign to a shape", func(p *selo.Profile) { p.Marks, p.Shapes[0].Foreign = of("stamp", "seal"), of("stamp") }, true},
		{"iat tells a shape", func(p *selo.Profile) { p.Shapes[0].Marks, p.Shapes[1].Foreign = of("iat"), of("iat") }, true},
		{"exp tells a shape", func(p *selo.Profile) { p.Shapes[0].Marks = of("exp") }, false},
		{"iss tells a shape", func(p *selo.Profile) { p.Shapes[0].Foreign = of("iss") }, false},
		{"a mark of another shape's in another spelling", func(p *selo.Profile) { p.Shapes[0].Marks = of("DoorNo") }, false},
		{"an empty mark", func(p *selo.Profile) { p.Shapes[0].Marks = of("") }, false},
		{"an empty foreign claim", func(p *selo.Profile) { p.Shapes[0].Foreign = of("") }, false},

		{"64 claims", func(p *selo.Profile) { p.Foreign = claims(64 - read) }, true},
		{"65 claims", func(p *selo.Profile) { p.Foreign = claims(65 - read) }, false},
		{"200 claims", func(p *selo.Profile) { p.Foreign = claims(200) }, false},
		{"eight ids in two shapes", func(p *selo.Profile) { p.Shapes[0].IDs = claims(6) }, true},
		{"nine ids in two shapes", func(p *selo.Profile) { p.Shapes[0].IDs = claims(7) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := parcel()
			tt.change(&p)
			made, err := selo.NewProfile(p)
			if (err == nil) != tt.ok || (made == nil) != (err != nil) {
				t.Fatalf("NewProfile = %v, %v; want ok %v", made, err, tt.ok)
			}
			if err != nil && !strings.Contains(err.Error(), p.Product) {
				t.Errorf("%v does not say of which profile", err)
			}
		})
	}
}

func parcelExpectation(t *testing.T, p *selo.Profile) selo.Expectation {
	want := expecting(t, liveness)
	want.Profile = p
	return want
}

const (
	counterPayload = `{"isOk":true,"subjectId":"` + testCPF + `","parcelId":"p1","counterNo":4,"iat":1700000030}`
	doorPayload    = `{"isOk":true,"isHome":true,"whom":{"ref":"` + testCPF + `"},"parcelId":"p2","visitId":"v2","doorNo":9,"rang":true,"iat":1700000030}`
)

// TestShapes tells the shapes of a product apart by names alone, and refuses what is of both or of none.
func TestShapes(t *testing.T) {
	p, err := selo.NewProfile(parcel())
	if err != nil {
		t.Fatal(err)
	}
	with := func(payload, members string) string { return strings.TrimSuffix(payload, "}") + "," + members + "}" }
	neither := strings.Replace(counterPayload, `"counterNo":4,`, "", 1)
	for _, tt := range []struct {
		name, payload string
		want          []selo.Reason
		shapes        []string
		says          []string // in the error
	}{
		{"counter", counterPayload, yes, []string{"counter"}, nil},
		{"door", doorPayload, yes, []string{"door"}, nil},
		{"door, a mark of any value", strings.Replace(doorPayload, `"doorNo":9`, `"doorNo":null`, 1), yes, []string{"door"}, nil},
		{"both, good as a counter's", with(counterPayload, `"doorNo":9`), no(selo.ReasonProductMismatch), []string{"counter", "door"}, []string{"counter", "door", "two shapes"}},
		{"both, good as both", with(doorPayload, `"counterNo":4,"subjectId":"`+testCPF+`"`), no(selo.ReasonProductMismatch), []string{"counter", "door"}, []string{"counter", "door"}},
		{"both, good as a door's", with(doorPayload, `"counterNo":4`), no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven), []string{"counter", "door"}, []string{"counter", "door"}},
		{"neither", neither, no(selo.ReasonProductMismatch), nil, []string{"counterNo"}},
		{"neither, but every other claim", with(neither, `"isHome":true,"whom":{"ref":"`+testCPF+`"},"visitId":"v2","rang":true`), no(selo.ReasonProductMismatch), nil, []string{"counterNo"}},
		{"a door's person at the counter is passed over", with(counterPayload, `"whom":{"ref":"`+otherCPF+`"}`), yes, []string{"counter"}, nil},
		{"a counter's decision at the door is not enough", strings.Replace(doorPayload, `"isHome":true,`, "", 1), no(selo.ReasonClaimMissing), []string{"door"}, nil},
		{"a door's second decision", strings.Replace(doorPayload, `"isHome":true`, `"isHome":false`, 1), no(selo.ReasonNotApproved), []string{"door"}, nil},
		{"a mark within another claim", strings.Replace(counterPayload, `"counterNo":4`, `"x":{"counterNo":4}`, 1), no(selo.ReasonProductMismatch), nil, nil},
		{"a mark, and no decision", `{"doorNo":9}`, no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing), nil, nil},
		{"nothing", `{}`, no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing), nil, nil},
		{"no object", `[]`, no(selo.ReasonPayloadInvalid), nil, nil},
		{"twice", twice(counterPayload, "isOk", "true"), no(selo.ReasonPayloadInvalid), nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			once := new(countingOnce)
			want := parcelExpectation(t, p)
			want.Once = once
			r, err := selo.Verify(context.Background(), sign(tt.payload), want)
			if !slices.Equal(selo.ReasonsOf(err), tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if r != nil && r.Shape != tt.shapes[0] {
				t.Errorf("shape %q, want %v", r.Shape, tt.shapes)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v does not say %q", err, s)
				}
			}
			if slices.Contains(tt.want, selo.ReasonProductMismatch) && len(once.asked) > 0 {
				t.Errorf("used up %v", once.asked)
			}
			if got := p.ShapesOf([]byte(tt.payload)); !slices.Equal(got, tt.shapes) {
				t.Errorf("ShapesOf = %v, want %v", got, tt.shapes)
			}
		})
	}
}

// TestShapesDoNotChange is TestProfileDoesNotChange for what a profile of several shapes has more.
func TestShapesDoNotChange(t *testing.T) {
	mixed := strings.TrimSuffix(counterPayload, "}") + `,"doorNo":9}`
	refusals := map[string]string{
		"of both": mixed, "of neither": strings.Replace(counterPayload, `"counterNo":4,`, "", 1),
		"not home": strings.Replace(doorPayload, `"isHome":true`, `"isHome":false`, 1), "of another person": strings.Replace(doorPayload, testCPF, otherCPF, 1),
	}
	for name, change := range map[string]func(p *selo.Profile){
		"no shapes":        func(p *selo.Profile) { p.Shapes = nil },
		"one shape":        func(p *selo.Profile) { p.Shapes = p.Shapes[:1] },
		"other order":      func(p *selo.Profile) { slices.Reverse(p.Shapes) },
		"other names":      func(p *selo.Profile) { p.Shapes[0].Name, p.Shapes[1].Name = "x", "x" },
		"no marks":         func(p *selo.Profile) { p.Shapes[0].Marks, p.Shapes[1].Marks = nil, nil },
		"other marks":      func(p *selo.Profile) { p.Shapes[0].Marks[0], p.Shapes[1].Marks[0] = "isOk", "x" },
		"less decisions":   func(p *selo.Profile) { p.Shapes[1].Decision = p.Shapes[1].Decision[:1] },
		"other decision":   func(p *selo.Profile) { p.Shapes[1].Decision[1] = "isOk" },
		"other person":     func(p *selo.Profile) { p.Shapes[1].Subject = "" },
		"no challenge":     func(p *selo.Profile) { p.Shapes[1].Challenged = "" },
		"more assurance":   func(p *selo.Profile) { p.Shapes[0].Assurance, p.Assurance = selo.AssuranceMatch, selo.AssuranceMatch },
		"another re-check": func(p *selo.Profile) { p.Recheck, p.Attempt = selo.AssuranceUnset, "isOk" },
		"interim":          func(p *selo.Profile) { p.Shapes[0].Interim, p.Shapes[1].Interim = true, true },
		"no roles":         func(p *selo.Profile) { p.Roles = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := selo.NewProfile(parcel())
			if err != nil {
				t.Fatal(err)
			}
			change(p)
			for why, payload := range refusals {
				if r, err := selo.Verify(context.Background(), sign(payload), parcelExpectation(t, p)); err == nil {
					t.Errorf("a response %s is granted: %+v", why, r)
				}
			}
			for shape, tt := range map[string]struct {
				payload string
				most    selo.Assurance
			}{"counter": {counterPayload, selo.AssurancePresence}, "door": {strings.Replace(doorPayload, `"rang":true`, `"rang":false`, 1), selo.AssuranceKnownContext}} {
				if r, err := selo.Verify(context.Background(), sign(tt.payload), parcelExpectation(t, p)); err != nil || r.Shape != shape || r.Assurance != tt.most {
					t.Errorf("%s: %+v, %v; want its name and %v", shape, r, err, tt.most)
				}
			}
			want, caf := parcelExpectation(t, p), &provider{a: record(t, nil)}
			want.Recheck, want.Assurance = caf.recheck, selo.AssuranceMatch
			if r, err := selo.Verify(context.Background(), sign(doorPayload), want); err != nil || r.Assurance != selo.AssuranceMatch || !slices.Equal(caf.asked, []string{"v2"}) {
				t.Errorf("re-checked: %+v, %v, asked about %v", r, err, caf.asked)
			}
		})
	}
}

func TestNewProfileCopiesShapes(t *testing.T) {
	in := parcel()
	p, err := selo.NewProfile(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Roles[0].Name, in.Shapes[0].Name, in.Shapes[0].Marks[0], in.Shapes[1].IDs[1] = "x", "x", "x", "x"
	if p.Roles[0].Name != "sender" || p.Shapes[0].Name != "counter" || p.Shapes[0].Marks[0] != "counterNo" || p.Shapes[1].IDs[1] != "visitId" {
		t.Errorf("the caller's slices are shared: %+v %+v", p.Roles, p.Shapes)
	}
	if p.Assurance != selo.AssuranceReauthenticated {
		t.Errorf("Assurance %v, want that of the strongest shape", p.Assurance)
	}
}

func TestRoles(t *testing.T) {
	roles := map[string][]selo.Role{
		liveness: {{Name: "mobile", Product: liveness}}, authentication: {{Name: "mobile", Product: authentication}},
		documents: {{Name: "mobile", Product: documents}}, smartAuth: {{Name: "identity", Product: smartAuth}, {Name: "face", Product: liveness}},
	}
	for _, p := range selo.Profiles() {
		if !slices.Equal(p.Roles, roles[p.Product]) {
			t.Errorf("%s: roles %v, want %v", p.Product, p.Roles, roles[p.Product])
		}
		for _, r := range p.Roles {
			profileOf(t, r.Product) // each role's token can be minted
		}
		if p.HasPolicy() != (p.Product == smartAuth) {
			t.Errorf("%s: HasPolicy %v", p.Product, p.HasPolicy())
		}
	}
}

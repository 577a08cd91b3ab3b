package selo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

// A test for each bug that a reading of profile.go and recheck.go found, before they were released.

// TestFoundTypedNilRecheck is the mistake of a Recheck that returns a nil *Error. It is refused, but the nil stays in
// the chain, and whoever prints or asks the refusal panics.
func TestFoundTypedNilRecheck(t *testing.T) {
	for name, err := range map[string]error{"bare": (*selo.Error)(nil), "wrapped": fmt.Errorf("asking: %w", (*selo.Error)(nil))} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			want := expecting(t, liveness)
			want.Recheck = (&provider{err: err}).recheck
			_, err := selo.Verify(context.Background(), sign(apiLive()), want)
			if !slices.Equal(selo.ReasonsOf(err), no(selo.ReasonProviderUnavailable)) || errors.Is(err, selo.ReasonStale) || err.Error() == "" {
				t.Errorf("%v, want provider_unavailable", err)
			}
		})
	}
}

// TestFoundDottedClaims uses names of claims with a dot, as of JWT's collision-resistant names. Only a Subject's dot means
// a member.
func TestFoundDottedClaims(t *testing.T) {
	const url = "https://fake.example/isOk"
	for name, change := range map[string]func(p *selo.Profile){
		"decision": func(p *selo.Profile) { p.Shapes[0].Decision = []string{url} },
		"id":       func(p *selo.Profile) { p.Shapes[0].IDs = []string{url} },
		"policy":   func(p *selo.Profile) { p.Shapes[0].Policy = url },
		"mark":     func(p *selo.Profile) { p.Marks = []string{url} },
		"foreign":  func(p *selo.Profile) { p.Foreign = []string{url} },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("NewProfile panics: %v", p)
				}
			}()
			p := document()
			change(&p)
			_, _ = selo.NewProfile(p) // refused or not
		})
	}
}

// TestFoundDottedDecision grants a no: the decision kept.sure is looked up as kept.
func TestFoundDottedDecision(t *testing.T) {
	in := document()
	in.Shapes[0].Decision = []string{"kept", "kept.sure"}
	p, err := selo.NewProfile(in)
	if err != nil {
		return // refused is as good
	}
	payload := strings.Replace(documentPayload, `"isOk":true`, `"kept.sure":false`, 1)
	if r, err := selo.Verify(context.Background(), sign(payload), documentExpectation(t, p)); err == nil {
		t.Errorf("granted though kept.sure is false: %+v", r)
	}
}

// TestFoundDottedID lets a response be used twice: the id docId.part is looked up as docId.
func TestFoundDottedID(t *testing.T) {
	in := document()
	in.Shapes[0].IDs = []string{"docId", "docId.part"}
	p, err := selo.NewProfile(in)
	if err != nil {
		return
	}
	payload := strings.Replace(documentPayload, `"taskId":"t1"`, `"docId.part":""`, 1)
	if r, err := selo.Verify(context.Background(), sign(payload), documentExpectation(t, p)); err == nil {
		t.Errorf("granted with an empty id: %v", r.IDs)
	}
}

// TestFoundUnsignedProvesNothing confirms a response by an attempt that only the app names, and whose record says neither
// who it was about nor when: it could be anybody's, of any day. Expectation.AttemptID says that it must fit both.
func TestFoundUnsignedProvesNothing(t *testing.T) {
	for _, c := range []recheckCase{
		{name: "of nobody", payload: live(), always: true, id: appAttemptID, record: nobody, asked: appAttemptID, want: no(selo.ReasonSubjectUnproven)},
		{name: "at no time", payload: live(), always: true, id: appAttemptID, record: undated, asked: appAttemptID, want: no(selo.ReasonFreshnessUnproven)},
		// It ends the session by a no that may be about somebody else.
		{name: "nobody refused", payload: live(), always: true, id: appAttemptID, record: all(refused, nobody), asked: appAttemptID, want: no(selo.ReasonSubjectUnproven, selo.ReasonNotApproved)},
		// The response lacks the person alone, so a record of no time is as good as one of now. With a signed time
		// this one is at least bound by it; without a tie between the two nothing is.
		{name: "at no time, and the person is the record's", payload: live("personId", ""), id: appAttemptID, record: undated, asked: appAttemptID, want: no(selo.ReasonFreshnessUnproven)},
		{name: "of nobody, and the time is the record's", payload: live("iat", ""), id: appAttemptID, record: nobody, asked: appAttemptID, want: no(selo.ReasonSubjectUnproven)},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, liveness) })
	}

	// A profile can prove a match by it.
	in := document()
	in.Shapes[0].Policy, in.Recheck, in.Attempt = "", selo.AssuranceMatch, "attemptId"
	p, err := selo.NewProfile(in)
	if err != nil {
		t.Fatal(err)
	}
	want := documentExpectation(t, p)
	want.Policy, want.Assurance, want.AttemptID = "", selo.AssuranceMatch, "anybody's, of last year"
	want.Recheck = (&provider{a: &selo.Attempt{Outcome: selo.AttemptApproved, Assurance: selo.AssuranceMatch}}).recheck
	if r, err := selo.Verify(context.Background(), sign(documentPayload), want); err == nil {
		t.Errorf("a match was granted on a record of nobody at no time, which the app chose: %+v", r)
	}
}

// TestFoundOthersIDsBurnt uses up the ids of somebody else's response that names nobody: they are its owner's, who then
// is refused as replayed. The response says nothing that the record contradicts, and is not good by itself.
func TestFoundOthersIDsBurnt(t *testing.T) {
	for _, c := range []struct {
		product string
		recheckCase
	}{
		{liveness, recheckCase{payload: apiLive("person", "{}"), record: other(t), asked: testAttemptID, want: no(selo.ReasonSubjectMismatch)}},
		{liveness, recheckCase{payload: apiLive("person", "{}"), record: all(refused, other(t)), asked: testAttemptID, want: no(selo.ReasonSubjectMismatch, selo.ReasonNotApproved)}},
		{smartAuth, recheckCase{payload: attest("peopleId", ""), record: other(t), asked: testAttemptID, want: no(selo.ReasonSubjectMismatch)}},
	} {
		t.Run(c.product, func(t *testing.T) { c.run(t, c.product) })
	}
}

// TestFoundAttemptMisspelt takes an attempt in another spelling than the claim of the shapes: then what the response says
// is not seen, and the app may name another.
func TestFoundAttemptMisspelt(t *testing.T) {
	for _, attempt := range []string{"VisitId", "visit_id", "isOk", "whom", "iss", `a"b`} {
		p := parcel()
		p.Attempt = attempt
		if made, err := selo.NewProfile(p); err == nil {
			t.Errorf("Attempt %q: %v", attempt, made.Attempt)
		}
	}
}

// TestFoundDeepSubject takes a path of two dots for a member with a dot in its name, which nobody means.
func TestFoundDeepSubject(t *testing.T) {
	p := parcel()
	p.Shapes[1].Subject = "whom.person.ref"
	if _, err := selo.NewProfile(p); err == nil {
		t.Error("a subject two objects deep is accepted, and never found")
	}
}

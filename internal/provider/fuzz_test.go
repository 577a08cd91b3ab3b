package provider

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// The fuzz targets hold every answer that is taken against another JSON reader, which folds the case of
// names and keeps the last of two: where the two would read different things, we must have refused.

func checkFault(t *testing.T, f *fault, given string) {
	t.Helper()
	if f.cause == nil || f.detail == "" || f.retry || f.reason != "" && (f.reason != selo.ReasonNotFinal || f.verdict != unjudged) {
		t.Fatalf("got %+v", f)
	}
	if err := f.refusal("x"); len(given) >= 60 && strings.Contains(err.Error(), given) {
		t.Fatalf("the error repeats the answer: %v", err)
	}
}

func FuzzExchangeAnswer(f *testing.F) {
	for _, a := range exchangeAnswers {
		if len(a.answer) < 4096 {
			f.Add([]byte(a.answer))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		st, fault := readSessionToken(answer, ourJWT, ourClientID, start())
		if (st == nil) == (fault == nil) {
			t.Fatalf("got %v and %v", st, fault)
		}
		if st == nil {
			checkFault(t, fault, string(answer))
			return
		}
		var other struct{ SessionToken string }
		if json.Unmarshal(answer, &other) != nil || other.SessionToken != st.JWT || !utf8.Valid(answer) {
			t.Fatalf("took %q for %q", answer, st.JWT)
		}
		segments := strings.Split(st.JWT, ".")
		if len(segments) != 3 || segments[2] == "" || len(st.JWT) > selo.MaxTokenSize || strings.HasPrefix(ourJWT, segments[0]+"."+segments[1]+".") {
			t.Fatalf("took %q", st.JWT)
		}
		payload, err := base64.RawURLEncoding.DecodeString(segments[1])
		var claims struct{ Iss any }
		if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Iss == ourClientID {
			t.Fatalf("took a token with the payload %q", payload)
		}
		if !st.ExpiresAt.IsZero() && (!st.ExpiresAt.After(start()) || st.ExpiresAt.After(start().Add(plausibleLife))) {
			t.Fatalf("expires %v", st.ExpiresAt)
		}
	})
}

// FuzzSessionToken: what a provider may put into a well-formed answer.
func FuzzSessionToken(f *testing.F) {
	for _, payload := range []string{`{}`, `{"iss":"caf","exp":1772370000}`, `{"iss":"` + ourClientID + `"}`, `{"iss":null,"exp":1e300}`, `{"Exp":1}`, `[]`} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		jwt := jwtOf(payload, "s")
		st, fault := readSessionToken([]byte(token(jwt)), ourJWT, ourClientID, start())
		if (st == nil) == (fault == nil) {
			t.Fatalf("got %v and %v", st, fault)
		}
		if st == nil {
			checkFault(t, fault, payload)
			return
		}
		var claims struct{ Iss any }
		if st.JWT != jwt || json.Unmarshal([]byte(payload), &claims) != nil || claims.Iss == ourClientID {
			t.Fatalf("took %q", payload)
		}
	})
}

func checkAttempt(t *testing.T, a *selo.Attempt, fault *fault, answer []byte) bool {
	t.Helper()
	if (a == nil) == (fault == nil) {
		t.Fatalf("got %v and %v", a, fault)
	}
	if a == nil {
		checkFault(t, fault, string(answer))
		return false
	}
	if a.Outcome < selo.AttemptApproved || a.Outcome > selo.AttemptPending || a.Outcome != selo.AttemptApproved && a.Assurance != selo.AssuranceUnset {
		t.Fatalf("got %+v", a)
	}
	return true
}

func samePerson(t *testing.T, a *selo.Attempt, said ...*string) {
	t.Helper()
	var want selo.CPF
	for _, s := range said {
		if s != nil {
			cpf, err := selo.ParseCPF(*s)
			if err != nil || !want.IsZero() && cpf != want {
				t.Fatalf("took the person %q", *s)
			}
			want = cpf
		}
	}
	if a.CPF != want {
		t.Fatalf("got %v, want %v", a.CPF, want)
	}
}

func isTrue(v any) bool { return v == true }

func FuzzSmartAuthAnswer(f *testing.F) {
	for _, a := range smartAuthAnswers() {
		f.Add([]byte(a.answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, fault := readSmartAuth(answer, attemptID)
		if !checkAttempt(t, a, fault, answer) {
			return
		}
		var other struct {
			Status                string
			AttemptID, ID         *string
			Identity              struct{ PersonID *string }
			Policy                struct{ PolicyID string }
			AuthenticationMethods struct {
				Face struct {
					Attempts []struct {
						Liveness  struct{ IsAlive any }
						FaceMatch struct{ IsMatch any }
					}
				} `json:"face_authentication"`
			}
		}
		if err := json.Unmarshal(answer, &other); err != nil || !utf8.Valid(answer) {
			t.Fatalf("took %q: %v", answer, err)
		}
		for _, id := range []*string{other.AttemptID, other.ID} {
			if id != nil && *id != attemptID {
				t.Fatalf("took an answer about %q", *id)
			}
		}
		samePerson(t, a, other.Identity.PersonID)
		matched := false
		for _, one := range other.AuthenticationMethods.Face.Attempts {
			matched = matched || isTrue(one.Liveness.IsAlive) && isTrue(one.FaceMatch.IsMatch)
		}
		approved := other.Status == "approved"
		if (a.Outcome == selo.AttemptApproved) != approved || (a.Assurance == selo.AssuranceMatch) != (approved && matched) || a.Policy != other.Policy.PolicyID {
			t.Fatalf("took %q for %+v", answer, a)
		}
	})
}

func FuzzFaceAnswer(f *testing.F) {
	for _, a := range faceAnswers() {
		f.Add([]byte(a.answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, fault := readFace(answer, attemptID)
		if !checkAttempt(t, a, fault, answer) {
			return
		}
		var other struct {
			Data struct {
				ID                 *string
				PersonID, PeopleID *string
				IsMatch            any
				Liveness           struct{ IsAlive any }
				FaceMatch          struct{ IsFaceMatch any }
			}
		}
		if err := json.Unmarshal(answer, &other); err != nil || !utf8.Valid(answer) {
			t.Fatalf("took %q: %v", answer, err)
		}
		d := other.Data
		if d.ID == nil || *d.ID != attemptID {
			t.Fatal("took an answer about another attempt")
		}
		samePerson(t, a, d.PersonID, d.PeopleID)
		var want selo.Assurance
		yes := true
		switch match, alive := d.IsMatch, d.Liveness.IsAlive; {
		case isTrue(match) && isTrue(alive):
			want = selo.AssuranceMatch
		case isTrue(match) && alive == nil:
		case match == nil && isTrue(alive):
			want = selo.AssurancePresence
		default:
			yes = false
		}
		if face := d.FaceMatch.IsFaceMatch; face != nil && !isTrue(face) {
			yes, want = false, selo.AssuranceUnset
		}
		decided := d.IsMatch != nil || d.Liveness.IsAlive != nil || d.FaceMatch.IsFaceMatch != nil && !isTrue(d.FaceMatch.IsFaceMatch)
		if (a.Outcome == selo.AttemptApproved) != yes || (a.Outcome == selo.AttemptPending) == decided || a.Assurance != want {
			t.Fatalf("took %q for %+v", answer, a)
		}
	})
}

func FuzzAttemptID(f *testing.F) {
	for _, id := range []string{"", ".", "..", attemptID, "a/b", "%2e", "a?b"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if isAttemptID(id) && (id == "." || id == ".." || id == "" || len(id) > 256 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "") {
			t.Fatalf("let %q through", id)
		}
	})
}

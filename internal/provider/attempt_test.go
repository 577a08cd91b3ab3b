package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

func TestRecheckRequests(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{attemptID, "a", "...", "-", "A_b.9", strings.Repeat("x", maxAttemptID)} {
		b.caf.status(404)
		_, err := b.SmartAuth(t.Context(), ourJWT, id)
		wantRefused(t, err, selo.ReasonNotFinal, "no such attempt (yet)", "")
		r := b.caf.request()
		if r.Method != "GET" || r.RequestURI != "/authentications/"+id || r.Header.Get("Authorization") != "Bearer "+ourJWT {
			t.Errorf("sent %s %s with %q", r.Method, r.RequestURI, r.Header)
		}
		_, err = b.Face(t.Context(), id)
		wantRefused(t, err, selo.ReasonNotFinal, "no such attempt (yet)", "")
		r = b.caf.request()
		if r.Method != "GET" || r.RequestURI != "/v1/faces/attempts/"+id || r.Header.Get("Authorization") != "Bearer "+apiToken {
			t.Errorf("sent %s %s with %q", r.Method, r.RequestURI, r.Header)
		}
		b.caf.wantHits(t, 2, "two re-checks")
	}
	for _, id := range []string{"", ".", "..", "a/b", "../x", "a?b", "a#b", "a%2fb", "a b", "a\n", "é", "a;b", "a:b", "a\x00", "\xff", strings.Repeat("x", maxAttemptID+1)} {
		for name, ask := range map[string]func() (*selo.Attempt, error){
			"smart-auth": func() (*selo.Attempt, error) { return b.SmartAuth(t.Context(), ourJWT, id) },
			"faces":      func() (*selo.Attempt, error) { return b.Face(t.Context(), id) },
		} {
			_, err := ask()
			if e := wantRefused(t, err, selo.ReasonRequestInvalid, "must be 1 to 256", ""); e.Field != "attempt_id" {
				t.Errorf("%s %q: field %q", name, id, e.Field)
			}
		}
	}
	b.caf.wantHits(t, 0, "ids that could change the path")
}

// anAnswer is what a re-check is answered, and what is made of it.
type anAnswer struct {
	name, answer string
	want         selo.Attempt // if it is to be taken
	cause        string       // if not
	counts       bool         // against the provider
}

func taken(name, answer string, want selo.Attempt) anAnswer {
	return anAnswer{name: name, answer: answer, want: want}
}
func shape(name, answer, cause string) anAnswer {
	return anAnswer{name: name, answer: answer, cause: cause, counts: true}
}
func matter(name, answer, cause string) anAnswer {
	return anAnswer{name: name, answer: answer, cause: cause}
}

// faceAttempts is an approved Smart Auth attempt with this list of face attempts.
func faceAttempts(list string) string {
	return `{"id":"` + attemptID + `","status":"approved","authenticationMethods":{"face_authentication":{"attempts":` + list + `}}}`
}

var (
	approved = selo.Attempt{Outcome: selo.AttemptApproved}
	refused  = selo.Attempt{Outcome: selo.AttemptRefused}
	pending  = selo.Attempt{Outcome: selo.AttemptPending}
	presence = selo.Attempt{Outcome: selo.AttemptApproved, Assurance: selo.AssurancePresence}
	match    = selo.Attempt{Outcome: selo.AttemptApproved, Assurance: selo.AssuranceMatch}
	at       = time.Date(2026, 3, 1, 11, 59, 30, 0, time.UTC)
)

func about(a selo.Attempt, cpf string) selo.Attempt {
	a.CPF, _ = selo.ParseCPF(cpf)
	return a
}

func began(a selo.Attempt) selo.Attempt { a.At = at; return a }

const bothTrue = `{"liveness":{"isAlive":true},"faceMatch":{"isMatch":true}}`

func smartAuthAnswers() []anAnswer {
	whole := approved
	whole.CPF, whole.At, whole.Policy, whole.Assurance = about(approved, ana).CPF, at, "policy-1", selo.AssuranceMatch
	policy := approved
	policy.Policy = "p"
	return []anAnswer{
		taken("whole", `{"requestId":"1","attemptId":"`+attemptID+`","status":"approved","identity":{"personId":"529.982.247-25","name":"Ana"},
			"policy":{"policyId":"policy-1"},"createdAt":"2026-03-01T08:59:30-03:00","authenticationMethods":{"sms":{},"face_authentication":{"attempts":[`+bothTrue+`]}}}`, whole),
		taken("the least", `{"id":"`+attemptID+`","status":"approved"}`, approved),
		taken("its id", `{"status":"approved","id":"`+attemptID+`","attemptId":"`+attemptID+`"}`, approved),
		taken("nulls", `{"id":"`+attemptID+`","status":"approved","identity":null,"policy":{"policyId":null},"authenticationMethods":null,"createdAt":null}`, approved),
		taken("pending", `{"id":"`+attemptID+`","status":"pending"}`, pending),
		taken("processing", `{"id":"`+attemptID+`","status":"processing"}`, pending),
		taken("in progress", `{"id":"`+attemptID+`","status":"in_progress"}`, pending),
		taken("rejected", `{"id":"`+attemptID+`","status":"rejected"}`, refused),
		taken("another case", `{"id":"`+attemptID+`","status":"APPROVED"}`, refused),
		taken("almost", `{"id":"`+attemptID+`","status":"approved "}`, refused),
		taken("empty status", `{"id":"`+attemptID+`","status":""}`, refused),
		taken("a letter like it", `{"id":"`+attemptID+`","status":"аpproved"}`, refused),
		taken("person", `{"status":"approved","identity":{"personId":"`+ana+`"}}`, about(approved, ana)),
		taken("policy", `{"id":"`+attemptID+`","status":"approved","policy":{"policyId":"p"}}`, policy),
		taken("time", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01T11:59:30.000Z"}`, began(approved)),

		taken("match", faceAttempts(`[`+bothTrue+`]`), match),
		taken("the second matches", faceAttempts(`[{"liveness":{"isAlive":false}},`+bothTrue+`]`), match),
		taken("one given up", faceAttempts(`[{"liveness":{"isAlive":null},"faceMatch":null},{},`+bothTrue+`]`), match),
		taken("no attempts", faceAttempts(`[]`), approved),
		taken("alive one time, matched another", faceAttempts(`[{"liveness":{"isAlive":true},"faceMatch":{"isMatch":false}},{"liveness":{"isAlive":false},"faceMatch":{"isMatch":true}}]`), approved),
		taken("only alive", faceAttempts(`[{"liveness":{"isAlive":true}}]`), approved),
		taken("only matched", faceAttempts(`[{"faceMatch":{"isMatch":true}}]`), approved),
		taken("isMatch elsewhere", faceAttempts(`[{"isMatch":true,"liveness":{"isAlive":true,"isMatch":true}}]`), approved),
		taken("match, not approved", strings.Replace(faceAttempts(`[`+bothTrue+`]`), "approved", "denied", 1), refused),
		taken("match, pending", strings.Replace(faceAttempts(`[`+bothTrue+`]`), "approved", "pending", 1), pending),

		shape("of nobody and nothing", `{"status":"approved"}`, "neither which attempt it is nor whose"),
		shape("a no of nobody and nothing", `{"status":"error"}`, "neither which attempt it is nor whose"),
		shape("nulls in their place", `{"id":null,"attemptId":null,"status":"approved","identity":null}`, "neither which attempt it is nor whose"),
		shape("nothing", ``, "not one strict JSON object"),
		shape("page", `<html>`+said, "not one strict JSON object"),
		shape("list", `[{"status":"approved"}]`, "not one strict JSON object"),
		shape("cut", `{"id":"`+attemptID+`","status":"approved"`, "not one strict JSON object"),
		shape("something after", `{"id":"`+attemptID+`","status":"approved"}{}`, "not one strict JSON object"),
		shape("status twice", `{"id":"`+attemptID+`","status":"denied","status":"approved"}`, "not one strict JSON object"),
		shape("Status", `{"Status":"approved"}`, "not one strict JSON object"),
		shape("Status besides", `{"id":"`+attemptID+`","status":"approved","STATUS":"denied"}`, "not one strict JSON object"),
		shape("Id besides", `{"id":"`+attemptID+`","status":"approved","ID":"x"}`, "not one strict JSON object"),
		shape("no status", `{"state":"approved"}`, "status is not there"),
		shape("null status", `{"id":"`+attemptID+`","status":null}`, "status is not there"),
		shape("status true", `{"id":"`+attemptID+`","status":true}`, "status is not there"),
		shape("status list", `{"id":"`+attemptID+`","status":["approved"]}`, "status is not there"),
		shape("status twice inside", `{"status":"approved","identity":{"personId":"`+ana+`","personId":"`+bruno+`"}}`, "not one strict JSON object"),
		shape("identity is a string", `{"id":"`+attemptID+`","status":"approved","identity":"`+ana+`"}`, "identity is not an object"),
		shape("PersonID besides", `{"status":"approved","identity":{"personId":"`+ana+`","PersonID":"`+bruno+`"}}`, "identity is not an object"),
		shape("person is a number", `{"id":"`+attemptID+`","status":"approved","identity":{"personId":`+ana+`}}`, "personId is not a string"),
		shape("policy is a string", `{"id":"`+attemptID+`","status":"approved","policy":"p"}`, "policy is not an object"),
		shape("policy is a number", `{"id":"`+attemptID+`","status":"approved","policy":{"policyId":1}}`, "policyId is not a string"),
		shape("policy is huge", `{"id":"`+attemptID+`","status":"approved","policy":{"policyId":"`+strings.Repeat("p", maxPolicy+1)+`"}}`, "policyId is not a string of"),
		shape("id is a number", `{"status":"approved","id":1}`, "id is not a string"),
		shape("time is a number", `{"id":"`+attemptID+`","status":"approved","createdAt":1772366370}`, "createdAt is not an RFC 3339"),
		shape("time is a date", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01"}`, "createdAt is not an RFC 3339"),
		shape("time without a zone", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01T11:59:30"}`, "createdAt is not an RFC 3339"),
		shape("time with a comma", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01T11:59:30,5Z"}`, "createdAt is not an RFC 3339"),
		shape("time with an hour of one digit", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01T1:59:30Z"}`, "createdAt is not an RFC 3339"),
		shape("time in February", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-02-30T11:59:30Z"}`, "createdAt is not an RFC 3339"),
		shape("time in a wrong zone", `{"id":"`+attemptID+`","status":"approved","createdAt":"2026-03-01T11:59:30+99:00"}`, "createdAt is not an RFC 3339"),
		shape("time empty", `{"id":"`+attemptID+`","status":"approved","createdAt":""}`, "createdAt is not an RFC 3339"),
		shape("time zero", `{"id":"`+attemptID+`","status":"approved","createdAt":"0001-01-01T00:00:00Z"}`, "createdAt is not an RFC 3339"),
		shape("no list", faceAttempts(bothTrue), "is not an array"),
		shape("null in the list", faceAttempts(`[null,`+bothTrue+`]`), "one of face_authentication.attempts is not"),
		shape("string for true", faceAttempts(`[{"liveness":{"isAlive":"true"},"faceMatch":{"isMatch":true}}]`), "is not a boolean"),
		shape("one for true", faceAttempts(`[{"liveness":{"isAlive":true},"faceMatch":{"isMatch":1}}]`), "is not a boolean"),
		shape("liveness is true", faceAttempts(`[{"liveness":true,"faceMatch":{"isMatch":true}}]`), "liveness is not an object"),
		shape("IsMatch besides", faceAttempts(`[{"liveness":{"isAlive":true},"faceMatch":{"isMatch":true,"ismatch":false}}]`), "faceMatch is not an object"),
		shape("faceAuthentication", `{"id":"`+attemptID+`","status":"approved","authenticationMethods":{"faceAuthentication":{}}}`, "authenticationMethods is not an object"),

		matter("another attempt", `{"id":"`+attemptID+`","status":"approved","attemptId":"x"}`, "about another attempt"),
		matter("another attempt, id", `{"status":"approved","id":"x","attemptId":"`+attemptID+`"}`, "about another attempt"),
		matter("another case of id", `{"status":"approved","id":"`+strings.ToUpper(attemptID)+`"}`, "about another attempt"),
		matter("no CPF", `{"id":"`+attemptID+`","status":"approved","identity":{"personId":"ana@bank.example"}}`, "personId is not a CPF"),
		matter("wrong check digits", `{"id":"`+attemptID+`","status":"approved","identity":{"personId":"00011122233"}}`, "personId is not a CPF"),
		matter("empty person", `{"id":"`+attemptID+`","status":"approved","identity":{"personId":""}}`, "personId is not a CPF"),
	}
}

// data is an answer of faces, about our attempt.
func data(rest string) string {
	return `{"requestId":"1","data":{"id":"` + attemptID + `",` + rest + `}}`
}

func faceAnswers() []anAnswer {
	whole := began(about(match, ana))
	return []anAnswer{
		taken("whole", data(`"createdAt":"2026-03-01T11:59:30Z","personId":"`+ana+`","liveness":{"isAlive":true,"score":0.9},"faceMatch":{"isFaceMatch":true},"isMatch":true,"imageUrl":"x"`), whole),
		taken("match", data(`"isMatch":true,"liveness":{"isAlive":true}`), match),
		taken("match without liveness", data(`"isMatch":true`), approved),
		taken("match, liveness null", data(`"isMatch":true,"liveness":null`), approved),
		taken("match, face match", data(`"isMatch":true,"faceMatch":{"isFaceMatch":true}`), approved),
		taken("match, empty face match", data(`"isMatch":true,"liveness":{"isAlive":true},"faceMatch":{}`), match),
		taken("liveness only", data(`"liveness":{"isAlive":true}`), presence),
		taken("liveness and face match", data(`"liveness":{"isAlive":true},"faceMatch":{"isFaceMatch":true}`), presence),
		taken("peopleId", data(`"isMatch":true,"peopleId":"529.982.247-25"`), about(approved, ana)),
		taken("both, the same", data(`"isMatch":true,"peopleId":"529.982.247-25","personId":"`+ana+`"`), about(approved, ana)),
		taken("peopleId null", data(`"isMatch":true,"peopleId":null,"personId":"`+ana+`"`), about(approved, ana)),
		taken("time", data(`"isMatch":true,"createdAt":"2026-03-01T11:59:30Z"`), began(approved)),

		taken("no match", data(`"isMatch":false`), refused),
		taken("no match, alive", data(`"isMatch":false,"liveness":{"isAlive":true},"faceMatch":{"isFaceMatch":true}`), refused),
		taken("no match, empty liveness", data(`"isMatch":false,"liveness":{}`), refused),
		taken("match, not alive", data(`"isMatch":true,"liveness":{"isAlive":false}`), refused),
		taken("match, face does not", data(`"isMatch":true,"liveness":{"isAlive":true},"faceMatch":{"isFaceMatch":false}`), refused),
		taken("not alive", data(`"liveness":{"isAlive":false}`), refused),
		taken("alive, face does not match", data(`"liveness":{"isAlive":true},"faceMatch":{"isFaceMatch":false}`), refused),

		shape("nothing", ``, "not one strict JSON object"),
		shape("no data", `{"requestId":"1"}`, "data is not there"),
		shape("null data", `{"data":null}`, "data is not there"),
		shape("data is a list", `{"data":[{"id":"`+attemptID+`","isMatch":true}]}`, "data is not an object"),
		shape("Data", `{"Data":{"id":"`+attemptID+`","isMatch":true}}`, "not one strict JSON object"),
		shape("without data", `{"id":"`+attemptID+`","isMatch":true}`, "data is not there"),
		shape("no id", `{"data":{"isMatch":true}}`, "data.id is not there"),
		shape("null id", `{"data":{"id":null,"isMatch":true}}`, "data.id is not there"),
		shape("id is a number", `{"data":{"id":1,"isMatch":true}}`, "id is not a string"),
		taken("no decision", data(`"faceMatch":{"isFaceMatch":true}`), pending),
		taken("empty liveness", data(`"liveness":{}`), pending),
		shape("match, empty liveness", data(`"isMatch":true,"liveness":{}`), "without isAlive"),
		shape("isMatch null", data(`"isMatch":null,"liveness":{"isAlive":true}`), "is not a boolean"),
		shape("isMatch string", data(`"isMatch":"true"`), "is not a boolean"),
		shape("isAlive null", data(`"isMatch":true,"liveness":{"isAlive":null}`), "is not a boolean"),
		shape("isAlive one", data(`"isMatch":true,"liveness":{"isAlive":1}`), "is not a boolean"),
		shape("isFaceMatch string", data(`"isMatch":true,"faceMatch":{"isFaceMatch":"yes"}`), "is not a boolean"),
		shape("liveness is true", data(`"isMatch":true,"liveness":true`), "liveness is not an object"),
		shape("isMatch twice", data(`"isMatch":false,"isMatch":true`), "not one strict JSON object"),
		shape("IsMatch besides", data(`"isMatch":true,"IsMatch":false`), "data is not an object"),
		shape("is_match besides", data(`"isMatch":true,"is_match":false`), "data is not an object"),
		shape("isalive besides", data(`"liveness":{"isAlive":true,"isalive":false}`), "liveness is not an object"),
		shape("time is wrong", data(`"isMatch":true,"createdAt":"yesterday"`), "createdAt is not an RFC 3339"),
		shape("person is a number", data(`"isMatch":true,"personId":`+ana), "personId is not a string"),

		matter("another attempt", `{"data":{"id":"x","isMatch":true}}`, "about another attempt"),
		matter("empty id", `{"data":{"id":"","isMatch":true}}`, "about another attempt"),
		matter("two people", data(`"isMatch":true,"personId":"`+ana+`","peopleId":"`+bruno+`"`), "name two people"),
		matter("no CPF", data(`"isMatch":true,"personId":"1"`), "personId is not a CPF"),
		matter("one no CPF", data(`"isMatch":true,"personId":"`+ana+`","peopleId":"`+said+`"`), "peopleId is not a CPF"),
	}
}

func TestRecheckAnswers(t *testing.T) {
	for lane, answers := range map[string][]anAnswer{"smart-auth": smartAuthAnswers(), "faces": faceAnswers()} {
		for _, tc := range answers {
			t.Run(lane+"/"+tc.name, func(t *testing.T) {
				b := newBench(t)
				b.caf.says(tc.answer)
				got, err := calls[lane](t.Context(), b.Client)
				b.caf.wantHits(t, 1, "an answer, whatever it is")
				if tc.cause == "" {
					if err != nil {
						t.Fatal(err)
					}
					if *got.(*selo.Attempt) != tc.want {
						t.Errorf("got %+v, want %+v", got, tc.want)
					}
					return
				}
				// What is wrong with a record that is the one asked for is that attempt's fault, not the provider's.
				whole := strings.Contains(tc.cause, "strict JSON object") || strings.HasPrefix(tc.cause, "data ")
				counts := tc.counts && (whole || !strings.Contains(tc.answer, attemptID))
				if counts {
					wantRetryAfter(t, wantUnavailable(t, err, detailUnusable, tc.cause), 0)
				} else {
					wantRetryAfter(t, wantRefused(t, err, selo.ReasonNotFinal, detailNoRecord, tc.cause), 0)
				}

				failures := map[string]*gate{"smart-auth": &b.smartAuth.gate, "faces": &b.faces.gate}[lane].failures
				if want := map[bool]int{true: 1}[counts]; failures != want {
					t.Errorf("%d failures counted, want %d", failures, want)
				}
			})
		}
	}
}

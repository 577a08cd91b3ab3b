package selo_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	jsonv1 "encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

var verbs = []string{
	"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "% X", "%d", "%+d", "%o", "%O", "%b", "%c", "%U", "%#U",
	"%e", "%E", "%f", "%F", "%g", "%G", "%t", "%T", "%p", "%w", "%z", "%200v", "%-9s", "%.3s", "%09d",
}

// holder has a T everywhere that a printer could find one. The hidden fields are where fmt does not ask
// for methods.
type holder[T any] struct {
	Field     T
	hidden    T
	Pointer   *T
	hiddenPtr *T
	List      []T
	hiddenArr [2]T
	Map       map[string]T
	hiddenMap map[string]*T
	Any       any
	hiddenAny any
	Inner     struct{ deeper struct{ deepest T } }
	hiddenFn  func() T
	hiddenCh  chan T
}

func holding[T any](v T) *holder[T] {
	h := &holder[T]{
		Field: v, hidden: v, Pointer: &v, hiddenPtr: &v, List: []T{v}, hiddenArr: [2]T{v, v},
		Map: map[string]T{"k": v}, hiddenMap: map[string]*T{"k": &v}, Any: v, hiddenAny: v,
		hiddenFn: func() T { return v }, hiddenCh: make(chan T, 1),
	}
	h.Inner.deeper.deepest = v
	h.hiddenCh <- v
	return h
}

// printed is everything that can be got out of v by printing, logging and marshalling it and whatever
// holds it, by a name for each way.
func printed[T any](v T) map[string]string {
	h := holding(v)
	hidden := reflect.ValueOf(h).Elem().FieldByName("hidden")
	out := make(map[string]string)
	for name, x := range map[string]any{
		"value": v, "pointer": &v, "holder": *h, "holder pointer": h, "list": []T{v}, "list of pointers": []*T{&v},
		"map": map[string]T{"k": v}, "map of holders": map[string]holder[T]{"k": *h}, "array": [1]T{v},
		"any": []any{v, &v}, "hidden": struct{ x T }{v}, "hidden list": struct{ x []T }{[]T{v}},
		"hidden map": struct{ x map[string]T }{map[string]T{"k": v}}, "hidden any": struct{ x any }{v},
		"hidden holder": struct{ x holder[T] }{*h}, "reflect value": reflect.ValueOf(v), "reflect hidden": hidden,
	} {
		put := func(way, text string) { out[name+" by "+way] = text }
		for _, verb := range verbs {
			put(verb, fmt.Sprintf(verb, x))
		}
		put("Sprintln", fmt.Sprintln(x))
		put("Errorf", fmt.Errorf("failing with %v", x).Error())

		var b bytes.Buffer
		result := func(err error) string { return b.String() + fmt.Sprint(err) }
		slog.New(slog.NewTextHandler(&b, nil)).With("a", x).WithGroup("g").Info("m", "b", x, slog.Group("h", "c", x))
		put("slog text", b.String())
		b.Reset()
		slog.New(slog.NewJSONHandler(&b, nil)).With("a", x).WithGroup("g").Info("m", "b", x, slog.Group("h", "c", x))
		put("slog json", b.String())
		b.Reset()
		put("json v1", result(jsonv1.NewEncoder(&b).Encode(x)))
		b.Reset()
		put("json v2", result(json.MarshalWrite(&b, x)))
		b.Reset()
		put("gob", result(gob.NewEncoder(&b).Encode(x)))
		b.Reset()
		put("xml", result(xml.NewEncoder(&b).Encode(x)))
	}
	return out
}

// forms are the ways in which a printer might write nine bytes of secret material, taken from within it
// so that a part shows as well as the whole.
func forms(raw []byte) map[string]string {
	part := raw[9:18] // at a multiple of three, for base64
	each := func(format, sep string) string {
		var s []string
		for _, c := range part {
			s = append(s, fmt.Sprintf(format, c))
		}
		return strings.Join(s, sep)
	}
	return map[string]string{
		"raw": string(part), "hex": hex.EncodeToString(part), "upper hex": each("%02X", ""), "spaced hex": each("%02x", " "),
		"spaced upper hex": each("%02X", " "), "Go bytes": each("%#x", ", "), "hex numbers": each("%#x", " "), "plain hex": each("%x", " "),
		"decimal": each("%d", " "), "signed": each("%+d", " "), "decimal JSON": each("%d", ","), "decimal Go": each("%d", ", "),
		"octal": each("%o", " "), "binary": each("%b", " "), "characters": each("%c", " "), "code points": each("%U", " "),
		"quoted": each("%q", " "), "escaped": each(`\x%02x`, ""), "escaped octal": each(`\%03o`, ""), "Go string": strings.Trim(fmt.Sprintf("%q", part), `"`),
		"base64": base64.StdEncoding.EncodeToString(part), "base64url": base64.URLEncoding.EncodeToString(part),
		"base64 of the text after one": base64.StdEncoding.EncodeToString(raw[10:19]), "base64 of the text after two": base64.StdEncoding.EncodeToString(raw[11:20]),
	}
}

// checkUnprinted fails for every way in which printing v shows one of the forms.
func checkUnprinted[T any](t *testing.T, v T, forms map[string]string) {
	t.Helper()
	var shown []string
	for way, text := range printed(v) {
		for form, secret := range forms {
			if strings.Contains(text, secret) {
				shown = append(shown, fmt.Sprintf("%s, in the form %q: %.120q", way, form, text))
				break
			}
		}
	}
	if len(shown) > 0 {
		slices.Sort(shown)
		t.Errorf("%T is shown in %d ways, among them\n%s", v, len(shown), strings.Join(shown[:min(3, len(shown))], "\n"))
	}
}

// TestForms holds the checks above against what they must catch.
func TestForms(t *testing.T) {
	raw := []byte("an open text of more than twenty bytes")
	leaks := 0
	for _, text := range printed(raw) {
		for _, form := range forms(raw) {
			if strings.Contains(text, form) {
				leaks++
				break
			}
		}
	}
	if all := len(printed(raw)); leaks < all/2 {
		t.Errorf("only %d of %d ways show bytes that anyone may print", leaks, all)
	}
}

// TestErrorsUnprinted plants people, attempts and policies in responses, records and what the app says, refuses them
// for every reason that names one, and looks for them in all that is said.
func TestErrorsUnprinted(t *testing.T) {
	const appID, badPolicy, signed = "attempt-named-by-the-app", "policy-named-by-the-token", "attempt-named-by-the-token"
	hidden := []string{appID, badPolicy, signed, otherCPF, "111.444.777-35", testCPF, testSecret}
	person := cpfOf(t, otherCPF)
	records := []*selo.Attempt{
		{Outcome: selo.AttemptApproved, CPF: person, At: testNow, Policy: badPolicy},
		{Outcome: selo.AttemptRefused, CPF: person}, {Outcome: selo.AttemptPending, CPF: person}, {Outcome: selo.AttemptApproved},
	}
	id := `"` + signed + `"`
	said := make(map[selo.Reason]int)
	hear := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("granted")
			return
		}
		for _, r := range selo.ReasonsOf(err) {
			said[r]++
		}
		text := fmt.Sprintf("%v %+v %#v %q", transcript.Error(err), err, err, err)
		for _, s := range hidden {
			if strings.Contains(text, s) {
				t.Errorf("%q is in %s", s, text)
			}
		}
	}
	for product, payloads := range map[string][]string{
		liveness: {apiLive("attemptId", id), apiLive("attemptId", id, "person", "{}"), apiLive("attemptId", id, "person", `{"CPF":"`+otherCPF+`"}`),
			apiLive("person", `{"cpf":"111.444.777-35"}`), live("personId", ""), web("sessionId", "7", "requestId", id)},
		authentication: {apiMatch(), apiMatch("attemptId", id)},
		smartAuth: {attest("attemptId", id, "isNewContext", "false"), attest("attemptId", id, "policyId", `"`+badPolicy+`"`), attest("attemptId", id, "isAuthorized", "false"),
			attest("peopleId", `"`+otherCPF+`"`, "attemptId", "7")},
		documents: {live()},
	} {
		for _, payload := range payloads {
			for _, a := range records {
				for _, app := range []string{"", appID, strings.Repeat(appID, 20)} {
					want := expecting(t, product)
					want.Recheck, want.AttemptID = (&provider{a: a}).recheck, app
					want.Assurance = max(want.Profile.Recheck, want.Assurance)
					_, err := selo.Verify(context.Background(), sign(payload), want)
					hear(err)
				}
			}
		}
	}
	want := expecting(t, smartAuth)
	want.Assurance, want.Recheck = selo.AssuranceMatch, (&provider{}).recheck
	_, err := selo.Verify(context.Background(), sign(attest("attemptId", id)), want)
	hear(err)
	hear(selo.VerifyWebhook([]byte(otherCPF), badPolicy, secretOf(t, testSecret)))

	for _, r := range []selo.Reason{
		selo.ReasonRecheckDisagrees, selo.ReasonNotFinal, selo.ReasonNotApproved, selo.ReasonPolicyMismatch, selo.ReasonSubjectMismatch, selo.ReasonSubjectUnproven,
		selo.ReasonRequestInvalid, selo.ReasonProviderUnavailable, selo.ReasonProductMismatch, selo.ReasonAssuranceTooLow, selo.ReasonClaimType, selo.ReasonSignatureInvalid,
	} {
		if said[r] == 0 {
			t.Errorf("nothing was refused as %s", r)
		}
	}
}

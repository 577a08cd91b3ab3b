package provider

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

func TestExchange(t *testing.T) {
	for name, bearer := range map[string]bool{"raw": false, "bearer": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Bearer = bearer; c.SessionURL += "/caf/" })
			b.caf.wellExchanging()
			st, err := b.Exchange(t.Context(), ourJWT)
			if err != nil {
				t.Fatal(err)
			}
			if want := (SessionToken{theirJWT, time.Unix(1772370000, 0).UTC()}); *st != want {
				t.Errorf("got %v, want %v", st, want)
			}
			want := ourJWT
			if bearer {
				want = "Bearer " + ourJWT
			}
			r := b.caf.request()
			if r.Method != "GET" || r.RequestURI != "/caf/bff/session-tokens" || r.Header.Get("Authorization") != want || r.ContentLength != 0 {
				t.Errorf("sent %s %s with %q", r.Method, r.RequestURI, r.Header)
			}
			for name := range r.Header {
				if !strings.Contains(" Authorization Accept Accept-Encoding User-Agent ", " "+name+" ") {
					t.Errorf("sent %s: %s", name, r.Header[name])
				}
			}
			b.caf.wantHits(t, 1, "one exchange")
		})
	}
}

func TestExchangeOfWhatIsNoJWT(t *testing.T) {
	b := newBench(t)
	for name, jwt := range map[string]string{
		"empty": "", "opaque": "x", "two segments": "a.b", "no payload": "e30..e30", "a line break": ourJWT + "\n", "a header": ourJWT + "\r\nX: y",
		"no iss": jwtOf(`{}`, "s"), "iss is a number": jwtOf(`{"iss":1}`, "s"), "huge": jwtOf(`{"iss":"`+strings.Repeat("a", selo.MaxTokenSize)+`"}`, "s"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Exchange(t.Context(), jwt)
			if e := wantRefused(t, err, selo.ReasonRequestInvalid, "must be a signed JWT", ""); e.Field != "jwt" {
				t.Errorf("field %q", e.Field)
			}
			_, err = b.SmartAuth(t.Context(), jwt, attemptID)
			wantRefused(t, err, selo.ReasonRequestInvalid, "must be a signed JWT", "")
		})
	}
	b.caf.wantHits(t, 0, "nothing that could be sent")
}

// token is an answer with this session token.
func token(jwt string) string { return `{"requestId":"1","sessionToken":"` + jwt + `"}` }

var exchangeAnswers = []struct {
	name, answer string
	cause        string // "" if the answer is to be taken
}{
	{"plain", token(theirJWT), ""},
	{"no requestId", `{"sessionToken":"` + theirJWT + `"}`, ""},
	{"more", `{"sessionToken":"` + theirJWT + `","x":{"sessionToken":"y"},"requestId":[null]}`, ""},
	{"space", " \r\n{ \"sessionToken\" : \"" + theirJWT + "\" } ", ""},
	{"escapes", strings.Replace(token(theirJWT), "eyJ", `ey\u004a`, 1), ""},
	{"no iss", token(jwtOf(`{}`, "s")), ""},
	{"another header", token(b64(`{"alg":"RS256"}`) + "." + b64(`{"iss":"caf"}`) + "." + b64("s")), ""},

	{"nothing", "", "not one strict JSON object"},
	{"page", "<html>" + said, "not one strict JSON object"},
	{"a string", `"` + theirJWT + `"`, "not one strict JSON object"},
	{"an array", `[` + token(theirJWT) + `]`, "not one strict JSON object"},
	{"null", `null`, "not one strict JSON object"},
	{"cut", token(theirJWT)[:40], "not one strict JSON object"},
	{"two objects", token(theirJWT) + token(theirJWT), "not one strict JSON object"},
	{"something after", token(theirJWT) + "x", "not one strict JSON object"},
	{"comment", "/**/" + token(theirJWT), "not one strict JSON object"},
	{"byte order mark", "\ufeff" + token(theirJWT), "not one strict JSON object"},
	{"twice", `{"sessionToken":"` + theirJWT + `","sessionToken":"` + theirJWT + `"}`, "not one strict JSON object"},
	{"twice, escaped", `{"sessionToken":"` + theirJWT + `","session\u0054oken":"` + theirJWT + `"}`, "not one strict JSON object"},
	{"twice, elsewhere", `{"sessionToken":"` + theirJWT + `","x":{"y":[{"z":1,"z":1}]}}`, "not one strict JSON object"},
	{"no UTF-8", `{"sessionToken":"` + theirJWT + `","x":"` + "\xff" + `"}`, "not one strict JSON object"},
	{"half a surrogate", `{"sessionToken":"` + theirJWT + `","x":"\ud800"}`, "not one strict JSON object"},
	{"deep", `{"sessionToken":"` + theirJWT + `","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "not one strict JSON object"},
	{"another case", `{"SessionToken":"` + theirJWT + `"}`, "not one strict JSON object"},
	{"another case besides", `{"sessionToken":"` + theirJWT + `","SESSIONTOKEN":"x"}`, "not one strict JSON object"},
	{"another spelling besides", `{"sessionToken":"` + theirJWT + `","session_token":"x"}`, "not one strict JSON object"},
	{"another letter besides", `{"sessionToken":"` + theirJWT + `","seßionToken":"x"}`, "not one strict JSON object"},

	{"missing", `{"requestId":"1"}`, "not a string, or empty"},
	{"null token", `{"sessionToken":null}`, "not a string, or empty"},
	{"empty", token(""), "not a string, or empty"},
	{"number", `{"sessionToken":1}`, "not a string, or empty"},
	{"object", `{"sessionToken":{"sessionToken":"` + theirJWT + `"}}`, "not a string, or empty"},
	{"huge", token(jwtOf(`{}`, strings.Repeat("a", selo.MaxTokenSize))), "longer than 16384 bytes"},
	{"opaque", token("abcdef"), "not a JWT"},
	{"two segments", token("e30.e30"), "not a JWT"},
	{"four segments", token(theirJWT + ".e30"), "not a JWT"},
	{"no header", token("." + b64(`{}`) + "." + b64("s")), "not a JWT"},
	{"no payload", token(b64(`{}`) + ".." + b64("s")), "not a JWT"},
	{"no signature", token(b64(`{"alg":"none"}`) + "." + b64(`{}`) + "."), "not a JWT"},
	{"padding", token(jwtOf(`{}`, "s") + "=="), "not a JWT"},
	{"bits in the padding", token(b64(`{}`) + "." + b64(`{}`) + ".eB"), "not a JWT"},
	{"standard base64", token(b64(`{}`) + "." + b64(`{}`) + ".+/+/"), "not a JWT"},
	{"space inside", token(theirJWT + " "), "not a JWT"},
	{"line break inside", token(theirJWT + `\n`), "not a JWT"},
	{"a header injected", token(theirJWT + `\r\nX-Evil: 1`), "not a JWT"},
	{"beyond ASCII", token(theirJWT + "é"), "not a JWT"},
	{"a page in it", token("<script>." + b64(`{}`) + ".x"), "not a JWT"},
	{"payload is no object", token(jwtOf(`"x"`, "s")), "not a JWT"},
	{"iss twice", token(jwtOf(`{"iss":"caf","iss":"`+ourClientID+`"}`, "s")), "not a JWT"},
	{"iss in another case", token(jwtOf(`{"iss":"caf","ISS":"`+ourClientID+`"}`, "s")), "not a JWT"},
	{"iss is a number", token(jwtOf(`{"iss":1}`, "s")), "not a JWT"},

	{"our own JWT", token(ourJWT), "the JWT that we sent"},
	{"ours, signed anew", token(ourJWT[:strings.LastIndex(ourJWT, ".")+1] + b64("x")), "the JWT that we sent"},
	{"ours, with another header", token(b64(`{"typ":"JWT","alg":"HS256"}`) + ourJWT[strings.Index(ourJWT, "."):]), "our own client ID"},
	{"ours, for another time", token(jwtOf(`{"exp":1900000001,"iss":"`+ourClientID+`"}`, "s")), "our own client ID"},
	{"our client ID, escaped", token(jwtOf(`{"iss":"\u0035`+ourClientID[1:]+`"}`, "s")), "our own client ID"},
}

func TestExchangeAnswers(t *testing.T) {
	for _, tc := range exchangeAnswers {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.caf.says(tc.answer)
			got, err := calls["exchange"](t.Context(), b.Client)
			b.caf.wantHits(t, 1, "an answer, whatever it is")
			if tc.cause == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(strings.ReplaceAll(tc.answer, `\u004a`, "J"), got.(*SessionToken).JWT) {
					t.Error("not the token of the answer")
				}
				return
			}
			wantRetryAfter(t, wantUnavailable(t, err, detailUnusable, tc.cause), 0)
		})
	}
}

func TestSessionTokenExpiry(t *testing.T) {
	now := start()
	in := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	for _, tc := range []struct {
		name, exp string
		want      time.Time
	}{
		{"in a minute", in(time.Minute), now.Add(time.Minute)},
		{"a fraction", in(time.Minute) + ".75", now.Add(time.Minute)},
		{"as a float", "1.77237e9", time.Unix(1772370000, 0)},
		{"in 365 days", in(365 * 24 * time.Hour), now.Add(365 * 24 * time.Hour)},
		{"in 367 days", in(367 * 24 * time.Hour), time.Time{}},
		{"now", in(0), time.Time{}},
		{"past", in(-time.Second), time.Time{}},
		{"milliseconds", in(time.Minute) + "000", time.Time{}},
		{"negative", "-1", time.Time{}},
		{"huge", "1e400", time.Time{}},
		{"a string", `"` + in(time.Minute) + `"`, time.Time{}},
		{"null", "null", time.Time{}},
		{"an object", "{}", time.Time{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st, f := readSessionToken([]byte(token(jwtOf(`{"exp":`+tc.exp+`}`, "s"))), ourJWT, ourClientID, now)
			if f != nil {
				t.Fatal(f.cause)
			}
			if !st.ExpiresAt.Equal(tc.want) {
				t.Errorf("got %v, want %v", st.ExpiresAt, tc.want)
			}
		})
	}
}

func TestFold(t *testing.T) {
	for _, name := range []string{"sessiontoken", "SESSIONTOKEN", "session-token", "_session_token_", "ſesſionToken", "seßionToken", "sessionTo\u212aen", "SESS\u0130ONTOKEN", "sess\u0131onToken"} {
		if fold(name) != fold("sessionToken") {
			t.Errorf("%q is not taken for sessionToken", name)
		}
	}
	for _, name := range []string{"sessionTokens", "session token", "session.token", "token", ""} {
		if fold(name) == fold("sessionToken") {
			t.Errorf("%q is taken for sessionToken", name)
		}
	}
	if got := fold("\ufb06atus"); got != "status" {
		t.Errorf("a ligature: %q", got)
	}
}

package selo_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// What every vector and most tests are about, unless they say otherwise.
const (
	testClientID      = "64b7f3c2a1d0e9f8b7a6c5d4"
	testSecret        = "fake-test-secret-never-used-anywhere-0123456789"
	testSandboxSecret = "fake-sandbox-secret-never-used-anywhere-98765432"
	testCPF           = "52998224725"
	otherCPF          = "11144477735"
	testRequestID     = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
	testAttemptID     = "65537f2e9dc011d1b2455ffd"
	testPolicy        = "policy-1" // expected wherever a product has one

	plainHeader = `{"alg":"HS256","typ":"JWT"}`

	liveness       = "caf/face-liveness"
	authentication = "caf/face-authentication"
	smartAuth      = "caf/smart-auth"
	documents      = "caf/document-detection"
)

var (
	testOpened = time.Unix(1_700_000_000, 0).UTC()
	testNow    = time.Unix(1_700_000_060, 0).UTC()
)

// segment and sign are the other side of the wire, written without the library so that a mistake in it
// does not cancel itself out.
func segment[T ~string | ~[]byte](raw T) string {
	return base64.RawURLEncoding.EncodeToString([]byte(raw))
}

func macOf(secret, signed string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(signed))
	return h.Sum(nil)
}

// seal appends the signature to two segments that are already encoded, canonically or not.
func seal(secret, signed string) string { return signed + "." + segment(macOf(secret, signed)) }

// sign makes a token of any payload under the usual header and the test secret.
func sign(payload string) string { return signWith(plainHeader, payload) }

// signWith makes a token of any header and payload under the test secret.
func signWith(header, payload string) string {
	return seal(testSecret, segment(header)+"."+segment(payload))
}

// member is one member of a JSON object as it is written: the name without its quotes, the raw value.
type member struct{ name, value string }

var livenessMembers = []member{
	{"requestId", `"` + testRequestID + `"`},
	{"isAlive", "true"},
	{"token", `"5ffdce74-9dc0-11d1-b245-7d444840fad2"`},
	{"userId", `"ana"`},
	{"imageUrl", `"https://images.example/1.jpg"`},
	{"personId", `"` + testCPF + `"`},
	{"sdkVersion", `"7.1.0"`},
	{"iat", "1700000030"},
}

var authenticationMembers = append(append([]member(nil), livenessMembers...),
	member{"isMatch", "true"}, member{"message", `"ok"`})

var webMembers = []member{
	{"sessionId", `"5ffdce74-9dc0-11d1-b245-7d444840fad2"`},
	{"personId", `"` + testCPF + `"`},
	{"isAlive", "true"},
	{"imageUrl", `"https://images.example/1.jpg"`},
	{"createdAt", `"2023-11-14T22:13:50Z"`},
	{"iat", "1700000030"},
}

var apiLivenessMembers = []member{
	{"requestId", `"` + testRequestID + `"`},
	{"isAlive", "true"},
	{"attemptId", `"` + testAttemptID + `"`},
	{"person", `{"cpf":"` + testCPF + `","name":"Ana"}`},
	{"message", `"ok"`},
}

var apiMatchMembers = []member{{"requestId", `"` + testRequestID + `"`}, {"isMatch", "true"}}

var attestationMembers = []member{
	{"attemptId", `"` + testAttemptID + `"`},
	{"peopleId", `"` + testCPF + `"`},
	{"policyId", `"` + testPolicy + `"`},
	{"isAuthorized", "true"},
	{"isNewContext", "true"},
	{"iat", "1700000030"},
	{"exp", "1700000150"},
}

// live is the payload of an approved liveness response with changes: pairs of a name and its raw value,
// which replaces the member, deletes it when empty, and is appended when there is no such member.
func live(changes ...string) string { return object(livenessMembers, changes...) }

// auth is the same for face authentication.
func auth(changes ...string) string { return object(authenticationMembers, changes...) }

// web is the same for the web's liveness (2D), apiLive for the mobile API's, apiMatch for its authentication, which
// names nobody, and attest for a Smart Auth attestation of a new context.
func web(changes ...string) string      { return object(webMembers, changes...) }
func apiLive(changes ...string) string  { return object(apiLivenessMembers, changes...) }
func apiMatch(changes ...string) string { return object(apiMatchMembers, changes...) }
func attest(changes ...string) string   { return object(attestationMembers, changes...) }

func object(base []member, changes ...string) string {
	ms := append([]member(nil), base...)
change:
	for ; len(changes) > 0; changes = changes[2:] {
		for i, m := range ms {
			if m.name == changes[0] {
				ms[i].value = changes[1]
				continue change
			}
		}
		ms = append(ms, member{changes[0], changes[1]})
	}
	var parts []string
	for _, m := range ms {
		if m.value != "" {
			parts = append(parts, `"`+m.name+`":`+m.value)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// twice appends a member without looking whether there is one of that name.
func twice(payload, name, value string) string {
	return strings.TrimSuffix(payload, "}") + `,"` + name + `":` + value + "}"
}

func secretOf(t testing.TB, raw string) selo.Secret {
	t.Helper()
	s, err := selo.NewSecret([]byte(raw))
	if err != nil {
		t.Fatalf("NewSecret: %v", err)
	}
	return s
}

func testKey(t testing.TB) selo.AccessKey {
	t.Helper()
	return selo.AccessKey{ClientID: testClientID, Secret: secretOf(t, testSecret)}
}

func cpfOf(t testing.TB, s string) selo.CPF {
	t.Helper()
	c, err := selo.ParseCPF(s)
	if err != nil {
		t.Fatalf("ParseCPF(%q): %v", s, err)
	}
	return c
}

func profileOf(t testing.TB, product string) *selo.Profile {
	t.Helper()
	p, err := selo.LookupProfile(product)
	if err != nil {
		t.Fatalf("LookupProfile(%q): %v", product, err)
	}
	return p
}

// expecting is what the server of an honest attempt expects.
func expecting(t testing.TB, product string) selo.Expectation {
	t.Helper()
	p := profileOf(t, product)
	return selo.Expectation{
		Profile: p,
		Key:     testKey(t),
		CPF:     cpfOf(t, testCPF),
		Opened:  testOpened,
		Now:     testNow,
		Once:    new(selo.MemoryOnce),

		Assurance: selo.AssurancePresence,
		Policy:    map[bool]string{true: testPolicy}[p.HasPolicy()],
	}
}

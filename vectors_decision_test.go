package selo_test

import (
	"strings"

	"github.com/selo-id/selo"
)

func decisionRows() []row {
	denied, kind, missing := no(selo.ReasonNotApproved), no(selo.ReasonClaimType), no(selo.ReasonClaimMissing)
	rows := []row{
		{name: "alive", why: "An approved liveness response.", token: sign(live())},
		{name: "not-alive", why: "A failed liveness is signed as well as a passed one.", token: sign(live("isAlive", "false")), want: denied},
		{name: "alive-missing", why: "A response without its decision decides nothing.", token: sign(live("isAlive", "")), want: missing},
		{name: "alive-nested", why: "A decision within another claim is none.", token: sign(live("isAlive", "", "result", `{"isAlive":true}`)), want: missing},
		{name: "alive-name-with-space", why: "A name with a space is another name.", token: sign(live("isAlive", "", "isAlive ", "true")), want: missing},
		{name: "alive-name-with-nul", why: "A name with a NUL is another name, though C ends it there.", token: sign(live("isAlive", "", `isAlive\u0000`, "true")), want: missing},
		{name: "alive-message-says-no", why: "A message is for people and decides nothing.", token: sign(live("message", `"spoof detected"`))},
		{name: "alive-approved-claim", why: "Claims that sound like a decision are none.", token: sign(live("isAlive", "false", "approved", "true", "status", `"APPROVED"`)), want: denied},
		{name: "match", why: "An approved authentication response.", product: authentication, token: sign(auth())},
		{name: "match-without-message", why: "message is optional.", product: authentication, token: sign(auth("message", ""))},
		{name: "not-match", why: "A live face of somebody else.", product: authentication, token: sign(auth("isMatch", "false")), want: denied},
		{name: "match-not-alive", why: "A photograph of the right person matches and is not alive.", product: authentication, token: sign(auth("isAlive", "false")), want: denied},
		{name: "neither", why: "Both false is one reason.", product: authentication, token: sign(auth("isAlive", "false", "isMatch", "false")), want: denied},
		{name: "match-missing", why: "Alive alone does not match a face.", product: authentication, token: sign(auth("isMatch", "")), want: missing},
		{name: "match-alive-missing", why: "A match alone may be one of a photograph.", product: authentication, token: sign(auth("isAlive", "")), want: missing},
		{name: "match-missing-not-alive", why: "One decision is not there and the other is no: not a plain denial.", product: authentication, token: sign(auth("isAlive", "false", "isMatch", "")), want: no(selo.ReasonNotApproved, selo.ReasonClaimMissing)},
		{name: "match-wrong-type-not-alive", why: "One decision is not understood and the other is no: not a plain denial.", product: authentication, token: sign(auth("isAlive", "false", "isMatch", `"false"`)), want: no(selo.ReasonNotApproved, selo.ReasonClaimType)},
	}
	for _, v := range []struct{ name, value string }{
		{"string-true", `"true"`}, {"string-false", `"false"`}, {"string-upper", `"TRUE"`}, {"string-empty", `""`}, {"string-yes", `"yes"`},
		{"one", "1"}, {"zero", "0"}, {"fraction", "1.0"}, {"null", "null"}, {"array", "[]"}, {"array-true", "[true]"}, {"object", "{}"},
		{"object-value", `{"value":true}`},
	} {
		why := "Only JSON true is a yes and only JSON false is a no; languages disagree about the rest."
		rows = append(rows,
			row{name: "alive-" + v.name, why: why, token: sign(live("isAlive", v.value)), want: kind},
			row{name: "match-" + v.name, why: why, product: authentication, token: sign(auth("isMatch", v.value)), want: kind})
	}
	return rows
}

func idRows() []row {
	kind := no(selo.ReasonClaimType)
	rows := []row{
		{name: "id-missing", why: "Without an id a response can be used again.", token: sign(live("requestId", "")), want: no(selo.ReasonClaimMissing)},
		{name: "id-missing-authentication", why: "Without an id a response can be used again.", product: authentication, token: sign(auth("requestId", "")), want: no(selo.ReasonClaimMissing)},
		{name: "id-256", why: "256 bytes are the longest id.", token: sign(live("requestId", `"`+strings.Repeat("x", 256)+`"`))},
		{name: "id-257", why: "One byte more is refused.", token: sign(live("requestId", `"`+strings.Repeat("x", 257)+`"`)), want: kind},
		{name: "id-256-bytes-of-letters", why: "Bytes count, not letters: 128 letters of two.", token: sign(live("requestId", `"`+strings.Repeat("é", 128)+`"`))},
		{name: "id-258-bytes-of-letters", why: "Bytes count, not letters: 129 letters of two.", token: sign(live("requestId", `"`+strings.Repeat("é", 129)+`"`)), want: kind},
		{name: "id-escaped-256", why: "Bytes count after escapes are undone.", token: sign(live("requestId", `"`+strings.Repeat(`\u0078`, 256)+`"`))},
		{name: "id-one-byte", why: "One byte is an id.", token: sign(live("requestId", `"x"`))},
		{name: "id-not-a-uuid", why: "Nothing says that an id is a UUID.", token: sign(live("requestId", `"../../etc/passwd' OR 1=1"`))},
		{name: "id-number-authentication", why: "Two numbers may be one to a reader and two to another.", product: authentication, token: sign(auth("requestId", "1")), want: kind},
	}
	for _, v := range []struct{ name, value string }{
		{"empty", `""`}, {"number", "7"}, {"null", "null"}, {"true", "true"}, {"array", `["x"]`}, {"object", `{"id":"x"}`},
	} {
		rows = append(rows, row{name: "id-" + v.name, why: "An id is a string of 1 to 256 bytes.", token: sign(live("requestId", v.value)), want: kind})
	}
	return rows
}

func honestRows() []row {
	reversed := func(ms []member) string {
		var back []member
		for _, m := range ms {
			back = append([]member{m}, back...)
		}
		return object(back)
	}
	spread := strings.NewReplacer(`":`, "\" :\t", ",\"", ",\r\n  \"").Replace
	return []row{
		{name: "honest-liveness", why: "Face liveness as the provider signs it.", token: sign(live())},
		{name: "honest-authentication", why: "Face authentication as the provider signs it.", product: authentication, token: sign(auth())},
		{name: "honest-unknown-claims", why: "The provider adds claims over the years.", token: sign(live("livenessScore", "0.998", "device", `{"model":"x","os":["android",14]}`, "tags", "[]", "extra", "null"))},
		{name: "honest-jti-sub-aud", why: "Registered claims that the provider may add.", token: sign(live("jti", `"j1"`, "sub", `"ana"`, "aud", `"bank"`))},
		{name: "honest-minimum", why: "Only what is read.", token: sign(`{"requestId":"r1","isAlive":true,"personId":"` + testCPF + `","iat":1700000030}`)},
		{name: "honest-minimum-authentication", why: "Only what is read.", product: authentication, token: sign(`{"requestId":"r1","isAlive":true,"isMatch":true,"personId":"` + testCPF + `","iat":1700000030}`)},
		{name: "honest-reversed", why: "The order of members means nothing.", token: sign(reversed(livenessMembers))},
		{name: "honest-reversed-authentication", why: "The order of members means nothing.", product: authentication, token: sign(reversed(authenticationMembers))},
		{name: "honest-white-space", why: "White space in JSON means nothing.", token: sign("\n\t " + spread(live()) + " \r\n")},
		{name: "honest-escaped-names", why: "Escapes in a name are the same name.", token: sign(strings.NewReplacer("isAlive", `\u0069s\u0041live`, "personId", `person\u0049d`, "iat", `\u0069\u0061\u0074`, "requestId", `request\u0049\u0064`).Replace(live()))},
		{name: "honest-escaped-slashes", why: "PHP escapes slashes.", token: sign(live("imageUrl", `"https:\/\/images.example\/1.jpg"`))},
		{name: "honest-escaped-id", why: "Escapes in a value are the same value.", token: sign(live("requestId", `"7d444840\u002d9dc0"`))},
		{name: "honest-non-ascii", why: "Names of people are not ASCII.", token: sign(live("userId", `"João 😀 \ud83d\ude00 é"`))},
		{name: "honest-empty-values", why: "Claims that are not read may be empty.", token: sign(live("token", `""`, "userId", "null", "imageUrl", `""`, "sdkVersion", `""`))},
		{name: "honest-empty-name", why: "An empty name is a name.", token: sign(live("", `"x"`))},
		{name: "honest-big-numbers", why: "Numbers in claims that are not read may be anything JSON can write.", token: sign(live("x", "[1e400,-0,123456789012345678901234567890,1E-999]"))},
		{name: "honest-kid", why: "A header with kid.", token: signWith(`{"alg":"HS256","kid":"64b7","typ":"JWT"}`, live())},
		{name: "honest-header-order", why: "Other libraries write typ first.", token: signWith(`{"typ":"JWT","alg":"HS256"}`, live())},
		{name: "honest-exp", why: "A response with its own expiry, as the attestation has.", token: sign(live("exp", "1700000150"))},
		{name: "honest-cpf-masked", why: "The provider may write the CPF as people do.", product: authentication, token: sign(auth("personId", `"529.982.247-25"`))},
		{name: "honest-all-foldings-of-nothing", why: "Names outside ASCII that fold to none of the claims read.", token: sign(live("ſtraße", "1", "ΣΑΣ", "2", "İ", "3"))},
	}
}

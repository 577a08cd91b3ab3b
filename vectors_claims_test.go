package selo_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/selo-id/selo"
)

func subjectRows() []row {
	mismatch, kind := no(selo.ReasonSubjectMismatch), no(selo.ReasonClaimType)
	rows := []row{
		{name: "subject-digits", why: "Eleven digits.", token: sign(live())},
		{name: "subject-masked", why: "The same number as 000.000.000-00.", token: sign(live("personId", `"529.982.247-25"`))},
		{name: "subject-escaped", why: "Escapes in the value are the same value.", token: sign(live("personId", `"5299822472\u0035"`))},
		{name: "subject-missing", why: "A response that names nobody could be anybody's.", token: sign(live("personId", "")), want: no(selo.ReasonSubjectUnproven)},
		{name: "subject-empty", why: "An empty name is nobody's.", token: sign(live("personId", `""`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "subject-other", why: "Another person's authentic response.", token: sign(live("personId", `"`+otherCPF+`"`)), want: mismatch},
		{name: "subject-other-masked", why: "Another person's authentic response.", token: sign(live("personId", `"111.444.777-35"`)), want: mismatch},
		{name: "subject-authentication-other", why: "A match of another face to another CPF.", product: authentication, token: sign(auth("personId", `"`+otherCPF+`"`)), want: mismatch},
		{name: "subject-only-in-user-id", why: "userId is the app's own name for the user and proves nobody.", token: sign(live("personId", "", "userId", `"`+testCPF+`"`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "subject-other-not-approved", why: "Whose response it is comes before what it says, and both are reported.", token: sign(live("personId", `"`+otherCPF+`"`, "isAlive", "false")), want: no(selo.ReasonSubjectMismatch, selo.ReasonNotApproved)},
	}
	for _, v := range []struct{ name, value string }{
		{"one-digit-off", "52998224724"}, {"first-digit-off", "62998224725"}, {"ten-digits", "5299822472"}, {"twelve-digits", "529982247250"},
		{"leading-zero-added", "052998224725"}, {"leading-space", " 52998224725"}, {"trailing-space", "52998224725 "}, {"inner-spaces", "529 982 247 25"},
		{"trailing-newline", `52998224725\n`}, {"trailing-nul", `52998224725\u0000`}, {"masking-half", "529982.247-25"}, {"masking-dots", "529.982.247.25"},
		{"masking-dashes", "529-982-247-25"}, {"masking-no-dash", "529.982.24725"}, {"masking-moved", "52.9982.247-25"}, {"masking-slash", "529.982.247/25"},
		{"fullwidth", "５２９９８２２４７２５"}, {"arabic-digits", "٥٢٩٩٨٢٢٤٧٢٥"}, {"prefix", "cpf:52998224725"}, {"list", "52998224725,11144477735"},
		{"redacted", "***.***.***-25"}, {"zero-width", "5299822\u200b4725"}, {"plus", "+52998224725"},
	} {
		rows = append(rows, row{name: "subject-" + v.name, why: "A CPF is eleven ASCII digits, bare or masked in one way; anything else is somebody else.", token: sign(live("personId", `"`+v.value+`"`)), want: mismatch})
	}
	for _, v := range []struct{ name, value string }{
		{"number", "52998224725"}, {"null", "null"}, {"true", "true"}, {"array", `["52998224725"]`}, {"object", `{"cpf":"52998224725"}`},
	} {
		rows = append(rows, row{name: "subject-" + v.name, why: "The subject is a string: a number loses leading zeros, and the rest is not understood.", token: sign(live("personId", v.value)), want: kind})
	}
	return rows
}

func freshnessRows() []row {
	stale, future, kind, expired := no(selo.ReasonStale), no(selo.ReasonFromTheFuture), no(selo.ReasonClaimType), no(selo.ReasonExpired)
	iat := func(v string) string { return sign(live("iat", v)) }
	rows := []row{
		{name: "iat-missing", why: "Without a time of issue an old response is as good as a new one.", token: iat(""), want: no(selo.ReasonFreshnessUnproven)},
		{name: "iat-missing-exp-there", why: "An expiry does not say when the response was made.", token: sign(live("iat", "", "exp", "1700000120")), want: no(selo.ReasonFreshnessUnproven)},
		{name: "iat-missing-created-there", why: "createdAt belongs to the web product and is no time of issue.", token: sign(live("iat", "", "createdAt", `"2023-11-14T22:13:50Z"`)), want: no(selo.ReasonProductMismatch, selo.ReasonFreshnessUnproven)},
		{name: "iat-opened-minus-5", why: "Five seconds before the attempt began is the earliest, inclusive.", token: iat("1699999995")},
		{name: "iat-opened-minus-5-fraction", why: "Half a second earlier is stale.", token: iat("1699999994.5"), want: stale},
		{name: "iat-opened-minus-6", why: "A second earlier is stale.", token: iat("1699999994"), want: stale},
		{name: "iat-opened", why: "Made in the second in which the attempt began.", token: iat("1700000000")},
		{name: "iat-now", why: "Made just now.", token: iat("1700000060")},
		{name: "iat-now-plus-30", why: "Thirty seconds ahead is the latest, inclusive.", token: iat("1700000090")},
		{name: "iat-now-plus-30-fraction", why: "Half a second later is from the future.", token: iat("1700000090.5"), want: future},
		{name: "iat-now-plus-31", why: "A second later is from the future.", token: iat("1700000091"), want: future},
		{name: "iat-zero", why: "1970 is before the attempt began.", token: iat("0"), want: stale},
		{name: "iat-fraction", why: "NumericDate may have a fraction.", token: iat("1700000030.25")},
		{name: "iat-zero-fraction", why: "A fraction of nothing.", token: iat("1700000030.000")},
		{name: "iat-tiny-fraction", why: "A very small time is 1970.", token: iat("1e-300"), want: stale},
		{name: "iat-exponent", why: "The same second with an exponent.", token: iat("1.70000003e9")},
		{name: "iat-exponent-upper", why: "The same second with another exponent.", token: iat("170000003E+1")},
		{name: "iat-exponent-negative", why: "The same second with a negative exponent.", token: iat("17000000300e-1")},
		{name: "iat-exponent-small", why: "1e3 is a time, of 1970.", token: iat("1e3"), want: stale},
		{name: "iat-milliseconds", why: "Milliseconds are seconds of the year 55840.", token: iat("1700000030000"), want: future},
		{name: "iat-2-53", why: "2^53 is the largest that is a time at all.", token: iat("9007199254740992"), want: future},
		{name: "iat-after-expiry", why: "Issued and expired are judged each for itself.", token: sign(live("iat", "1699999000", "exp", "1699999120")), want: no(selo.ReasonStale, selo.ReasonExpired)},
		{name: "opened-later", why: "A response of an earlier attempt does not answer a later one.", token: sign(live()), opened: "2023-11-14T22:14:00Z", want: stale},
		{name: "old-but-opened-known", why: "When it is known when the attempt began, a slow user may take an hour.", token: sign(live()), at: "2023-11-14T23:13:50Z"},
		{name: "max-age-exact", why: "Exactly as old as allowed.", token: sign(live()), maxAge: 30},
		{name: "max-age-passed", why: "A second older than allowed, though made during the attempt.", token: sign(live()), maxAge: 29, want: stale},
		{name: "max-age-fraction", why: "A quarter of a second older than allowed.", token: iat("1700000029.75"), maxAge: 30, want: stale},
		{name: "max-age-does-not-help", why: "A generous age does not make a response part of the attempt.", token: iat("1699999994"), maxAge: 3600, want: stale},
		{name: "opened-unknown", why: "Without the time of opening the age alone counts: five minutes unless it is said.", token: sign(live()), opened: "unknown"},
		{name: "opened-unknown-exact", why: "Exactly five minutes old.", token: sign(live()), opened: "unknown", at: "2023-11-14T22:18:50Z"},
		{name: "opened-unknown-passed", why: "Five minutes and a second old.", token: sign(live()), opened: "unknown", at: "2023-11-14T22:18:51Z", want: stale},
		{name: "opened-unknown-max-age", why: "Another age than five minutes, passed.", token: sign(live()), opened: "unknown", maxAge: 10, want: stale},
		{name: "opened-unknown-longer", why: "Another age than five minutes, kept.", token: sign(live()), opened: "unknown", at: "2023-11-14T22:19:50Z", maxAge: 360},
		{name: "exp-future", why: "An expiry that has not passed.", token: sign(live("exp", "1700000061"))},
		{name: "exp-far", why: "A far expiry changes nothing.", token: sign(live("exp", "4000000000"))},
		{name: "exp-now", why: "At its expiry a token is expired (RFC 7519: on or after).", token: sign(live("exp", "1700000060")), want: expired},
		{name: "exp-now-fraction", why: "Half a second before its expiry.", token: sign(live("exp", "1700000060.5"))},
		{name: "exp-passed", why: "No skew makes an expired response good.", token: sign(live("exp", "1700000059")), want: expired},
		{name: "exp-zero", why: "Zero is 1970 and not 'never'.", token: sign(live("exp", "0")), want: expired},
		{name: "exp-milliseconds", why: "A far expiry in milliseconds is a far expiry in seconds.", token: sign(live("exp", "1700000120000"))},
		{name: "nbf-passed", why: "Valid since the attempt began.", token: sign(live("nbf", "1700000000"))},
		{name: "nbf-now-plus-30", why: "Thirty seconds ahead is within the skew.", token: sign(live("nbf", "1700000090"))},
		{name: "nbf-now-plus-31", why: "Not valid yet.", token: sign(live("nbf", "1700000091")), want: future},
		{name: "nbf-far", why: "Not valid in this life; libraries wrap this to the past.", token: sign(live("nbf", "9007199254740992")), want: future},
		{name: "nbf-2-63", why: "Libraries wrap this to the past.", token: sign(live("nbf", "9223372036854775808")), want: kind},
		{name: "stale-not-approved", why: "An old refusal is not this attempt's refusal; both are reported.", token: sign(live("iat", "1699990000", "isAlive", "false")), want: no(selo.ReasonStale, selo.ReasonNotApproved)},
	}
	for _, v := range []struct{ name, value string }{
		{"string", `"1700000030"`}, {"iso", `"2023-11-14T22:13:50Z"`}, {"null", "null"}, {"true", "true"}, {"array", "[1700000030]"},
		{"object", `{"seconds":1700000030}`}, {"negative", "-1"}, {"minus-zero", "-0"}, {"minus-zero-fraction", "-0.0"}, {"negative-now", "-1700000030"},
		{"2-53-plus-1", "9007199254740993"}, {"2-63", "9223372036854775808"}, {"2-64", "18446744073709551616"}, {"2-64-plus-iat", "18446744075409551646"},
		{"1e400", "1e400"}, {"1e16", "1e16"}, {"huge-exponent", "1e99999999999999999999"}, {"hundred-digits", strings.Repeat("9", 100)},
	} {
		rows = append(rows, row{name: "iat-" + v.name, why: "A time is a JSON number of seconds of [0, 2^53], written without a minus.", token: iat(v.value), want: kind})
	}
	for _, v := range []struct{ name, value string }{
		{"nan", "NaN"}, {"infinity", "Infinity"}, {"hex", "0x6553f100"}, {"leading-zero", "01700000030"}, {"plus", "+1700000030"},
		{"bare-fraction", ".5"}, {"bare-point", "1700000030."}, {"underscore", "1_700_000_030"}, {"bare-exponent", "17e"},
	} {
		rows = append(rows, row{name: "iat-" + v.name, why: "Not a number of JSON.", token: iat(v.value), want: no(selo.ReasonPayloadInvalid)})
	}
	for _, name := range []string{"exp", "nbf"} {
		for _, v := range []struct{ name, value string }{{"string", `"1700000120"`}, {"null", "null"}, {"false", "false"}, {"negative", "-1"}, {"object", "{}"}, {"2-53-plus-1", "9007199254740993"}} {
			rows = append(rows, row{name: name + "-" + v.name, why: "A limit that is not understood is not one that is kept.", token: sign(live(name, v.value)), want: kind})
		}
	}
	return rows
}

func confusionRows() []row {
	confused, other := no(selo.ReasonTokenConfusion), no(selo.ReasonProductMismatch)
	expiry := fmt.Sprint(testOpened.Add(5 * time.Minute).Unix())
	mobile := `{"iss":"` + testClientID + `","exp":` + expiry + `,"peopleId":"` + testCPF + `"}`
	attestation := `{"attemptId":"a1","peopleId":"` + testCPF + `","policyId":"p1","isAuthorized":true,"isNewContext":true,"iat":1700000030,"exp":1700000150}`
	rows := []row{
		{name: "mobile-token", why: "Our own mobile token is signed with the same secret and is in the app's hands.", token: minted(liveness), want: confused},
		{name: "mobile-token-authentication", why: "Our own mobile token is signed with the same secret and is in the app's hands.", product: authentication, token: minted(authentication), want: confused},
		{name: "mobile-token-by-hand", why: "A mobile token as another server makes it.", token: sign(mobile), want: confused},
		{name: "mobile-token-without-cpf", why: "The CPF is optional for the provider.", token: sign(`{"iss":"` + testClientID + `","exp":` + expiry + `}`), want: confused},
		{name: "mobile-token-identity", why: "The mobile token of an identity key has personId.", token: sign(`{"iss":"` + testClientID + `","exp":` + expiry + `,"personId":"` + testCPF + `"}`), want: confused},
		{name: "mobile-token-without-iss", why: "What remains of a mobile token names claims of another product and proves nothing.", token: sign(`{"exp":` + expiry + `,"peopleId":"` + testCPF + `"}`), want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},
		{name: "mobile-token-with-decision", why: "A mint that copies claims from a request makes this: everything a response has, and iss.", token: sign(live("iss", `"`+testClientID+`"`, "exp", expiry, "peopleId", `"`+testCPF+`"`)), want: confused},
		{name: "mobile-token-with-decision-authentication", why: "A mint that copies claims from a request makes this: everything a response has, and iss.", product: authentication, token: sign(auth("iss", `"`+testClientID+`"`, "exp", expiry, "peopleId", `"`+testCPF+`"`)), want: confused},
		{name: "iss-ours", why: "Responses carry no iss; mobile tokens do.", token: sign(live("iss", `"`+testClientID+`"`)), want: confused},
		{name: "iss-other", why: "Responses carry no iss, whoever it names.", token: sign(live("iss", `"caf"`)), want: confused},
		{name: "iss-empty", why: "Responses carry no iss, not even an empty one.", token: sign(live("iss", `""`)), want: confused},
		{name: "iss-null", why: "Responses carry no iss, not even null.", token: sign(live("iss", "null")), want: confused},
		{name: "iss-object", why: "Responses carry no iss of any type.", token: sign(live("iss", "{}")), want: confused},
		{name: "iss-escaped", why: "An escape in the name does not hide it.", token: sign(live(`i\u0073s`, `"caf"`)), want: confused},
		{name: "empty-object", why: "A signed nothing is not a response.", token: sign("{}"), want: no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},

		{name: "authentication-as-liveness", why: "A match is not what was started.", token: sign(auth()), want: other},
		{name: "authentication-as-liveness-denied", why: "A match that failed is still another product's; the decision is not what refuses it.", token: sign(auth("isMatch", "false")), want: other},
		{name: "liveness-as-authentication", why: "Alive is not matched: the attack that swaps the weak product for the strong one.", product: authentication, token: sign(live()), want: no(selo.ReasonProductMismatch, selo.ReasonClaimMissing)},
		{name: "liveness-as-authentication-denied", why: "A liveness response is another product's whatever it says.", product: authentication, token: sign(live("isAlive", "false")), want: no(selo.ReasonProductMismatch, selo.ReasonNotApproved, selo.ReasonClaimMissing)},
		{name: "attestation-as-liveness", why: "A Smart Auth attestation may come of a pass without any biometric.", token: sign(attestation), want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, selo.ReasonClaimMissing)},
		{name: "attestation-with-liveness", why: "An attestation with all that liveness needs is still an attestation.", token: sign(live("attemptId", `"a1"`, "policyId", `"p1"`, "isAuthorized", "true", "isNewContext", "false")), want: other},
		{name: "attestation-with-authentication", why: "An attestation with all that authentication needs is still an attestation.", product: authentication, token: sign(auth("attemptId", `"a1"`, "policyId", `"p1"`, "isAuthorized", "true", "isNewContext", "false")), want: other},
		{name: "module-envelope", why: "The envelope around a signed response is not one.", token: sign(`{"moduleName":"faceLiveness","signedResponse":"` + sign(live()) + `"}`), want: no(selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonClaimMissing)},
		{name: "foreign-null", why: "Another product's claim is one, whatever its value.", token: sign(live("isMatch", "null")), want: other},
		{name: "foreign-escaped", why: "An escape in the name does not hide it.", token: sign(live(`session\u0049d`, `"s1"`)), want: other},
		{name: "foreign-nested", why: "A name within an unread claim is not a claim.", token: sign(live("x", `{"sessionId":"s1","iss":"x"}`))},
		{name: "foreign-and-not-approved", why: "All that is wrong is reported, in the order of the checks.", token: sign(live("person", "{}", "isAlive", "false")), want: no(selo.ReasonProductMismatch, selo.ReasonNotApproved)},
	}
	for _, name := range []string{"isAuthorized", "isNewContext", "policyId", "peopleId", "sessionId", "createdAt", "attemptId", "person"} {
		why := "A single claim of another product is enough to refuse."
		rows = append(rows,
			row{name: "foreign-liveness-" + name, why: why, token: sign(live(name, `"x"`)), want: other},
			row{name: "foreign-authentication-" + name, why: why, product: authentication, token: sign(auth(name, `"x"`)), want: other})
	}
	return rows
}

// minted is a token of the library's own making.
func minted(product string) string {
	p, err := selo.LookupProfile(product)
	if err != nil {
		panic(err)
	}
	s, err := selo.NewSecret([]byte(testSecret))
	if err != nil {
		panic(err)
	}
	cpf, err := selo.ParseCPF(testCPF)
	if err != nil {
		panic(err)
	}
	token, err := selo.Mint(selo.MintRequest{Profile: p, Key: selo.AccessKey{ClientID: testClientID, Secret: s}, CPF: cpf, Now: testOpened})
	if err != nil {
		panic(err)
	}
	return token.JWT
}

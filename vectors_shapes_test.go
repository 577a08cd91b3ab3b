package selo_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selo-id/selo"
)

// shapeRows are the responses that do not look like the native SDK's. Every shape gets each of its faults once: a
// verifier that reads one shape right may read another with the first one's eyes.
func shapeRows() []row {
	return slices.Concat(webRows(), apiLivenessRows(), apiMatchRows(), attestationRows(), attestationMixRows(), documentRows())
}

// named is one value of a claim and what the row about it is called.
type named struct{ name, value string }

func webRows() []row {
	// What is of no form is judged as a native response, whose id the web's has not.
	otherID := no(selo.ReasonProductMismatch, selo.ReasonClaimMissing)
	missing, kind, other := no(selo.ReasonClaimMissing), no(selo.ReasonClaimType), no(selo.ReasonProductMismatch)
	rows := []row{
		{name: "web", why: "Liveness from the web SDK: the same product in another form.", token: sign(web())},
		{name: "web-minimum", why: "Only what is read.", token: sign(`{"sessionId":"s1","personId":"` + testCPF + `","isAlive":true,"iat":1700000030}`)},
		{name: "web-masked", why: "The same number as 000.000.000-00.", token: sign(web("personId", `"529.982.247-25"`))},
		{name: "web-created-at-unread", why: "createdAt tells the form and is no time of issue, so it may say anything.", token: sign(web("createdAt", `"1999-01-01T00:00:00Z"`))},
		{name: "web-created-at-number", why: "createdAt is not read, so its type means nothing.", token: sign(web("createdAt", "1"))},
		{name: "web-without-created-at", why: "sessionId alone tells the form.", token: sign(web("createdAt", ""))},
		{name: "web-message", why: "Claims that no form of the product has are passed over.", token: sign(web("message", `"ok"`))},
		{name: "web-assurance-match", why: "Liveness says that somebody was alive, not who.", token: sign(web()), assurance: selo.AssuranceMatch, want: no(selo.ReasonAssuranceTooLow)},
		{name: "web-not-alive", why: "A failed liveness is signed as well as a passed one.", token: sign(web("isAlive", "false")), want: no(selo.ReasonNotApproved)},
		{name: "web-alive-missing", why: "A response without its decision decides nothing.", token: sign(web("isAlive", "")), want: missing},
		{name: "web-session-missing", why: "createdAt tells the form, which then lacks its id.", token: sign(web("sessionId", "")), want: missing},
		{name: "web-no-marks", why: "Without the claims of the web it is a native response without an id.", token: sign(web("sessionId", "", "createdAt", "")), want: missing},
		{name: "web-person-missing", why: "A response that names nobody could be anybody's.", token: sign(web("personId", "")), want: no(selo.ReasonSubjectUnproven)},
		{name: "web-person-other", why: "Another person's authentic response.", token: sign(web("personId", `"`+otherCPF+`"`)), want: no(selo.ReasonSubjectMismatch)},
		{name: "web-person-object", why: "The person of the mobile API under the name of the web's.", token: sign(web("personId", `{"cpf":"`+testCPF+`"}`)), want: kind},
		{name: "web-iat-missing", why: "createdAt does not stand in for iat.", token: sign(web("iat", "")), want: no(selo.ReasonFreshnessUnproven)},
		{name: "web-iat-iso", why: "A time in the form of createdAt is none for iat.", token: sign(web("iat", `"2023-11-14T22:13:50Z"`)), want: kind},
		{name: "web-stale", why: "A fresh createdAt does not refresh an old iat.", token: sign(web("iat", "1699999994")), want: no(selo.ReasonStale)},
		{name: "web-future", why: "Made later than the clocks may differ.", token: sign(web("iat", "1700000091")), want: no(selo.ReasonFromTheFuture)},
		{name: "web-with-request-id", why: "The ids of two forms at once: one reader uses up the first, another the other.", token: sign(web("requestId", `"r1"`)), want: other},
		{name: "web-with-request-id-null", why: "A claim of another form is one, whatever its value.", token: sign(web("requestId", "null")), want: no(selo.ReasonProductMismatch, selo.ReasonClaimType)},
		{name: "web-with-attempt-id", why: "The web's form with a claim of the mobile API's.", token: sign(web("attemptId", `"a1"`)), want: otherID},
		{name: "web-with-person", why: "Two persons, one for each form: each reader takes its own.", token: sign(web("person", `{"cpf":"`+otherCPF+`"}`)), want: otherID},
		{name: "web-with-match", why: "A match is not what was started.", token: sign(web("isMatch", "true")), want: otherID},
		{name: "web-with-policy", why: "The claim of an attestation.", token: sign(web("policyId", `"`+testPolicy+`"`)), want: otherID},
		{name: "web-misspelt-session", why: "A lenient decoder takes session_id for sessionId.", token: sign(web("session_id", `"s2"`)), want: no(selo.ReasonPayloadInvalid)},
		{name: "web-misspelt-created-at", why: "Spelling is judged before the form.", token: sign(web("createdAt", "", "CreatedAt", `"x"`)), want: no(selo.ReasonPayloadInvalid)},
		{name: "web-session-twice", why: "Of two ids one reader uses up the first and another the last.", token: sign(twice(web(), "sessionId", `"s2"`)), want: no(selo.ReasonPayloadInvalid)},
		{name: "web-as-authentication", why: "Alive on the web is not matched.", product: authentication, token: sign(web()), want: no(selo.ReasonProductMismatch, selo.ReasonClaimMissing)},
		{name: "web-as-smart-auth", why: "Alive on the web is not an attestation.", product: smartAuth, token: sign(web()), want: no(selo.ReasonProductMismatch, selo.ReasonClaimMissing, selo.ReasonSubjectUnproven)},
		{name: "web-and-match-as-authentication", why: "Authentication has no form of the web.", product: authentication, token: sign(auth("sessionId", `"s1"`, "createdAt", `"2023-11-14T22:13:50Z"`)), want: other},
	}
	for _, v := range []named{{"empty", `""`}, {"number", "7"}, {"null", "null"}, {"object", "{}"}, {"long", `"` + strings.Repeat("x", 257) + `"`}} {
		rows = append(rows, row{name: "web-session-" + v.name, why: "An id is a string of 1 to 256 bytes.", token: sign(web("sessionId", v.value)), want: kind})
	}
	for _, v := range []named{{"string", `"true"`}, {"one", "1"}, {"null", "null"}, {"object", `{"isAlive":true}`}} {
		rows = append(rows, row{name: "web-alive-" + v.name, why: "Only JSON true is a yes and only JSON false is a no.", token: sign(web("isAlive", v.value)), want: kind})
	}
	return rows
}

func apiLivenessRows() []row {
	const fresh = selo.ReasonFreshnessUnproven
	misspelt, other := no(selo.ReasonPayloadInvalid), no(selo.ReasonProductMismatch)
	person := func(object string) string { return sign(apiLive("person", object)) }
	rows := []row{
		{name: "api-liveness", why: "The mobile API's liveness names the person and no time: by itself it is as good as an old one.", token: sign(apiLive()), want: no(fresh)},
		{name: "api-liveness-with-time", why: "With a time it would say all that is needed.", token: sign(apiLive("iat", "1700000030"))},
		{name: "api-liveness-exp", why: "An expiry does not say when it was made.", token: sign(apiLive("exp", "1700000120")), want: no(fresh)},
		{name: "api-liveness-stale", why: "With a time it is held to it.", token: sign(apiLive("iat", "1699999994")), want: no(selo.ReasonStale)},
		{name: "api-liveness-created-at", why: "createdAt belongs to the web's form.", token: sign(apiLive("createdAt", `"2023-11-14T22:13:50Z"`)), want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-masked", why: "The same number as 000.000.000-00.", token: person(`{"cpf":"529.982.247-25"}`), want: no(fresh)},
		{name: "api-person-escaped", why: "Escapes in an inner name are the same name.", token: person(`{"\u0063pf":"5299822472\u0035"}`), want: no(fresh)},
		{name: "api-person-white-space", why: "White space in JSON means nothing.", token: sign(strings.Replace(apiLive("iat", "1700000030"), `"person":{`, "\"person\" \t:\r\n { ", 1))},
		{name: "api-person-more", why: "Other members of the person are passed over, whatever they hold.", token: sign(apiLive("iat", "1700000030", "person", `{"name":"João","cpfs":["`+otherCPF+`"],"spouse":{"cpf":"`+otherCPF+`"},"cpf":"`+testCPF+`"}`))},
		{name: "api-person-missing", why: "attemptId tells the form, which then names nobody.", token: sign(apiLive("person", "")), want: no(selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-empty-object", why: "A person without a CPF is nobody.", token: person("{}"), want: no(selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-name-only", why: "A name proves nobody.", token: person(`{"name":"Ana"}`), want: no(selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-empty", why: "An empty CPF is nobody's.", token: person(`{"cpf":""}`), want: no(selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-deeper", why: "A CPF one object deeper is another claim.", token: person(`{"person":{"cpf":"` + testCPF + `"}}`), want: no(selo.ReasonSubjectUnproven, fresh)},
		{name: "api-person-outside", why: "A CPF beside the person is another claim.", token: sign(apiLive("iat", "1700000030", "person", "{}", "cpf", `"`+testCPF+`"`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "api-person-dotted", why: "A name with a dot is a name with a dot, and no path.", token: sign(apiLive("iat", "1700000030", "person", "", "person.cpf", `"`+testCPF+`"`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "api-person-other", why: "Another person's authentic response.", token: person(`{"cpf":"` + otherCPF + `"}`), want: no(selo.ReasonSubjectMismatch, fresh)},
		{name: "api-person-other-with-time", why: "Another person's authentic response.", token: sign(apiLive("iat", "1700000030", "person", `{"cpf":"`+otherCPF+`"}`)), want: no(selo.ReasonSubjectMismatch)},
		{name: "api-person-upper", why: "A lenient decoder takes CPF for cpf.", token: person(`{"CPF":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-title", why: "A lenient decoder takes Cpf for cpf.", token: person(`{"Cpf":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-underscore", why: "A lenient decoder takes c_p_f for cpf.", token: person(`{"c_p_f":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-both", why: "Beside the right spelling another person in another one.", token: person(`{"cpf":"` + testCPF + `","CPF":"` + otherCPF + `"}`), want: misspelt},
		{name: "api-person-upper-escaped", why: "An escape does not hide a spelling.", token: person(`{"\u0043pf":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-misspelt-outside", why: "A lenient decoder takes Person for person.", token: sign(apiLive("Person", "{}")), want: misspelt},
		{name: "api-person-twice", why: "Of two persons one reader takes the first and another the last.", token: person(`{"cpf":"` + testCPF + `","cpf":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-twice-other", why: "Of two persons one reader takes the first and another the last.", token: person(`{"cpf":"` + otherCPF + `","cpf":"` + testCPF + `"}`), want: misspelt},
		{name: "api-person-twice-escaped", why: "An escape does not hide that a name is there twice.", token: person(`{"cpf":"` + testCPF + `","\u0063pf":"` + otherCPF + `"}`), want: misspelt},
		{name: "api-person-name-twice", why: "Every name is unique at every depth, also of members that are not read.", token: person(`{"cpf":"` + testCPF + `","name":"a","name":"b"}`), want: misspelt},
		{name: "api-person-object-twice", why: "Of two persons one reader takes the first and another the last.", token: sign(twice(apiLive(), "person", `{"cpf":"`+testCPF+`"}`)), want: misspelt},
		{name: "api-request-missing", why: "Both ids are always there.", token: sign(apiLive("requestId", "")), want: no(fresh, selo.ReasonClaimMissing)},
		{name: "api-attempt-missing", why: "Both ids are always there.", token: sign(apiLive("attemptId", "")), want: no(fresh, selo.ReasonClaimMissing)},
		{name: "api-attempt-missing-with-time", why: "A native response with a person is of neither form's kind until it has both ids.", token: sign(apiLive("attemptId", "", "iat", "1700000030")), want: no(selo.ReasonClaimMissing)},
		{name: "api-attempt-number", why: "An id is a string of 1 to 256 bytes.", token: sign(apiLive("attemptId", "1")), want: no(fresh, selo.ReasonClaimType)},
		{name: "api-attempt-empty", why: "An id is a string of 1 to 256 bytes.", token: sign(apiLive("attemptId", `""`)), want: no(fresh, selo.ReasonClaimType)},
		{name: "api-not-alive", why: "A failed liveness that may be an old one is no denial of this attempt.", token: sign(apiLive("isAlive", "false")), want: no(fresh, selo.ReasonNotApproved)},
		{name: "api-alive-string", why: "Only JSON true is a yes.", token: sign(apiLive("isAlive", `"true"`)), want: no(fresh, selo.ReasonClaimType)},
		{name: "api-alive-missing", why: "A response without its decision decides nothing.", token: sign(apiLive("isAlive", "")), want: no(fresh, selo.ReasonClaimMissing)},
		{name: "api-with-person-id", why: "Two persons, one for each form: each reader takes its own.", token: sign(apiLive("iat", "1700000030", "personId", `"`+testCPF+`"`)), want: other},
		{name: "api-with-person-id-only", why: "The native person beside the API's id.", token: sign(apiLive("person", "", "personId", `"`+testCPF+`"`)), want: no(selo.ReasonProductMismatch, fresh)},
		{name: "native-with-person", why: "A native response with another person in the API's way.", token: sign(live("person", `{"cpf":"`+otherCPF+`"}`)), want: other},
		{name: "native-with-all-forms", why: "All forms at once are none.", token: sign(live("sessionId", `"s1"`, "createdAt", `"x"`, "attemptId", `"a1"`, "person", `{"cpf":"`+testCPF+`"}`)), want: other},
		{name: "api-liveness-as-authentication", why: "Alive is not matched; message alone would tell a native match.", product: authentication, token: sign(apiLive("iat", "1700000030")), want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, selo.ReasonClaimMissing)},
		{name: "api-liveness-as-smart-auth", why: "attemptId alone makes no attestation.", product: smartAuth, token: sign(apiLive()), want: no(selo.ReasonProductMismatch, selo.ReasonClaimMissing, selo.ReasonSubjectUnproven, fresh)},
	}
	for _, v := range []named{{"null", "null"}, {"string", `"` + testCPF + `"`}, {"array", `[{"cpf":"` + testCPF + `"}]`}, {"number", testCPF}, {"true", "true"}} {
		rows = append(rows,
			row{name: "api-person-is-" + v.name, why: "The person is an object.", token: person(v.value), want: no(selo.ReasonClaimType, fresh)},
			row{name: "api-cpf-is-" + v.name, why: "The CPF within is a string of one.", token: person(`{"cpf":` + v.value + `}`), want: map[bool][]selo.Reason{true: no(fresh), false: no(selo.ReasonClaimType, fresh)}[v.name == "string"]})
	}
	return rows
}

func apiMatchRows() []row {
	const who, when, little, missing = selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow, selo.ReasonClaimMissing
	cpf := `"` + testCPF + `"`
	rows := []row{
		{name: "api-match", why: "The mobile API's match names no person and no time, and does not say that the face was alive.", token: sign(apiMatch()), want: no(who, when, little)},
		{name: "api-match-refused", why: "A no about nobody is no denial of anybody.", token: sign(apiMatch("isMatch", "false")), want: no(who, when, little, selo.ReasonNotApproved)},
		{name: "api-match-string", why: "Only JSON true is a yes.", token: sign(apiMatch("isMatch", `"true"`)), want: no(who, when, little, selo.ReasonClaimType)},
		{name: "api-match-null", why: "Only JSON true is a yes.", token: sign(apiMatch("isMatch", "null")), want: no(who, when, little, selo.ReasonClaimType)},
		{name: "api-match-id-missing", why: "Without an id a response can be used again.", token: sign(apiMatch("requestId", "")), want: no(who, when, little, missing)},
		{name: "api-match-id-number", why: "An id is a string of 1 to 256 bytes.", token: sign(apiMatch("requestId", "1")), want: no(who, when, little, selo.ReasonClaimType)},
		{name: "api-match-exp", why: "An expiry does not say when it was made.", token: sign(apiMatch("exp", "1700000120")), want: no(who, when, little)},
		{name: "api-match-expired", why: "An expiry that has passed counts in every form.", token: sign(apiMatch("exp", "1700000060")), want: no(who, when, selo.ReasonExpired, little)},
		{name: "api-match-other-names", why: "Claims that sound like a person or a time are none.", token: sign(apiMatch("userId", cpf, "cpf", cpf, "sub", cpf, "timestamp", "1700000030")), want: no(who, when, little)},
		{name: "api-match-required-match", why: "What proves nothing proves no match.", token: sign(apiMatch()), assurance: selo.AssuranceMatch, want: no(who, when, little)},
		// One claim of the native form makes it a native response, which then lacks the others.
		{name: "api-match-with-alive", why: "Alive and matched, but nobody, at no time.", token: sign(apiMatch("isAlive", "true")), want: no(who, when)},
		{name: "api-match-with-not-alive", why: "A photograph of somebody matches.", token: sign(apiMatch("isAlive", "false")), want: no(who, when, selo.ReasonNotApproved)},
		{name: "api-match-with-person-id", why: "A match alone may be one of a photograph.", token: sign(apiMatch("personId", cpf)), want: no(when, missing)},
		{name: "api-match-with-iat", why: "A match now, of nobody.", token: sign(apiMatch("iat", "1700000030")), want: no(who, missing)},
		{name: "api-match-with-person-and-iat", why: "All but that the face was alive.", token: sign(apiMatch("personId", cpf, "iat", "1700000030")), want: no(missing)},
		{name: "api-match-with-message", why: "message makes it a native response without all the rest.", token: sign(apiMatch("message", `"ok"`)), want: no(who, when, missing)},
		{name: "api-match-with-alive-and-person", why: "All but the time.", token: sign(apiMatch("isAlive", "true", "personId", cpf)), want: no(when)},
		{name: "api-match-with-attempt-id", why: "The signed match has no attempt; a claim of another product's is refused.", token: sign(apiMatch("attemptId", `"a1"`)), want: no(selo.ReasonProductMismatch, who, when, missing)},
		{name: "api-match-with-person", why: "The person of the mobile API's liveness is none of its match.", token: sign(apiMatch("person", `{"cpf":`+cpf+`}`)), want: no(selo.ReasonProductMismatch, who, when, missing)},
		{name: "api-match-misspelt", why: "A lenient decoder takes ismatch for isMatch.", token: sign(apiMatch("isMatch", "false", "ismatch", "true")), want: no(selo.ReasonPayloadInvalid)},
		{name: "api-match-iss", why: "Responses carry no iss; mobile tokens do.", token: sign(apiMatch("iss", `"`+testClientID+`"`)), want: no(selo.ReasonTokenConfusion)},
	}
	for i := range rows {
		rows[i].product = authentication
	}
	return append(rows,
		row{name: "api-match-as-liveness", why: "A match is not what was started.", token: sign(apiMatch()), want: no(selo.ReasonProductMismatch, who, when, missing)},
		row{name: "api-match-as-smart-auth", why: "A match is not what was started.", product: smartAuth, token: sign(apiMatch()), want: no(selo.ReasonProductMismatch, missing, who, when)})
}

func attestationRows() []row {
	missing, kind, mismatch, little := no(selo.ReasonClaimMissing), no(selo.ReasonClaimType), no(selo.ReasonSubjectMismatch), no(selo.ReasonAssuranceTooLow)
	const refused, interim = selo.ReasonNotApproved, selo.ReasonNotFinal
	rows := []row{
		{name: "attestation", why: "A new context in which the person passed a challenge.", token: sign(attest())},
		{name: "attestation-known", why: "A known context let the person pass: enough where presence is.", token: sign(attest("isNewContext", "false"))},
		{name: "attestation-known-enough", why: "A known context is all that is required.", token: sign(attest("isNewContext", "false")), assurance: selo.AssuranceKnownContext},
		{name: "attestation-known-too-low", why: "A known context passed no challenge at all.", token: sign(attest("isNewContext", "false")), assurance: selo.AssuranceReauthenticated, want: little},
		{name: "attestation-new-enough", why: "A new context passed a challenge.", token: sign(attest()), assurance: selo.AssuranceReauthenticated},
		{name: "attestation-new-no-match", why: "The challenge may have been an SMS.", token: sign(attest()), assurance: selo.AssuranceMatch, want: little},
		{name: "attestation-known-no-match", why: "A known context matched no face.", token: sign(attest("isNewContext", "false")), assurance: selo.AssuranceMatch, want: little},
		{name: "attestation-policy-of-its-own", why: "The policy is the configured one, whatever its name.", token: sign(attest("policyId", `"login \"2\""`)), policy: `login "2"`},
		{name: "attestation-policy-other", why: "The app chooses the policy when it starts the SDK: an easier one.", token: sign(attest("policyId", `"policy-2"`)), want: no(selo.ReasonPolicyMismatch)},
		{name: "attestation-policy-case", why: "Ids are compared byte for byte.", token: sign(attest("policyId", `"Policy-1"`)), want: no(selo.ReasonPolicyMismatch)},
		{name: "attestation-policy-space", why: "Ids are compared byte for byte.", token: sign(attest("policyId", `"policy-1 "`)), want: no(selo.ReasonPolicyMismatch)},
		{name: "attestation-policy-empty", why: "An empty policy is another one.", token: sign(attest("policyId", `""`)), want: no(selo.ReasonPolicyMismatch)},
		{name: "attestation-policy-prefix", why: "Ids are compared whole.", token: sign(attest("policyId", `"policy-10"`)), want: no(selo.ReasonPolicyMismatch)},
		{name: "attestation-policy-missing", why: "Without a policy nobody knows what was asked of the person.", token: sign(attest("policyId", "")), want: missing},
		{name: "attestation-policy-escaped", why: "Escapes in the value are the same value.", token: sign(attest("policyId", `"policy\u002d1"`))},
		{name: "attestation-context-missing", why: "Without it nobody knows whether there was a challenge.", token: sign(attest("isNewContext", "")), want: missing},
		{name: "attestation-context-missing-too-low", why: "What is not said is not proved.", token: sign(attest("isNewContext", "")), assurance: selo.AssuranceReauthenticated, want: no(selo.ReasonClaimMissing, selo.ReasonAssuranceTooLow)},
		{name: "attestation-context-string-too-low", why: "What is not JSON true is not proved.", token: sign(attest("isNewContext", `"true"`)), assurance: selo.AssuranceReauthenticated, want: no(selo.ReasonClaimType, selo.ReasonAssuranceTooLow)},
		{name: "attestation-refused", why: "A signed no may be one to an attempt that is still pending: not approved, and not for good.", token: sign(attest("isAuthorized", "false")), want: no(refused, interim)},
		{name: "attestation-refused-known", why: "A no is one in every context.", token: sign(attest("isAuthorized", "false", "isNewContext", "false")), want: no(refused, interim)},
		{name: "attestation-refused-other-person", why: "All that is wrong is reported, in the order of the checks.", token: sign(attest("isAuthorized", "false", "peopleId", `"`+otherCPF+`"`)), want: no(selo.ReasonSubjectMismatch, refused, interim)},
		{name: "attestation-refused-stale", why: "All that is wrong is reported, in the order of the checks.", token: sign(attest("isAuthorized", "false", "iat", "1699999000")), want: no(selo.ReasonStale, refused, interim)},
		{name: "attestation-refused-too-low", why: "All that is wrong is reported, in the order of the checks.", token: sign(attest("isAuthorized", "false")), assurance: selo.AssuranceMatch, want: no(selo.ReasonAssuranceTooLow, refused, interim)},
		{name: "attestation-refused-bare", why: "The refusal that comes without a JWT, signed.", token: sign(`{"isAuthorized":false,"attemptId":"a1"}`), want: no(selo.ReasonClaimMissing, selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, refused, interim)},
		{name: "attestation-authorized-missing", why: "A response without its decision decides nothing.", token: sign(attest("isAuthorized", "")), want: missing},
		{name: "attestation-exp-passed", why: "No skew makes an expired attestation good.", token: sign(attest("exp", "1700000059")), want: no(selo.ReasonExpired)},
		{name: "attestation-exp-now", why: "At its expiry a token is expired.", token: sign(attest("exp", "1700000060")), want: no(selo.ReasonExpired)},
		{name: "attestation-exp-missing", why: "Its time of issue bounds it without an expiry.", token: sign(attest("exp", ""))},
		{name: "attestation-exp-string", why: "A limit that is not understood is not one that is kept.", token: sign(attest("exp", `"1700000150"`)), want: kind},
		{name: "attestation-iat-missing", why: "An expiry does not say when it was made.", token: sign(attest("iat", "")), want: no(selo.ReasonFreshnessUnproven)},
		{name: "attestation-stale", why: "An attestation of an earlier attempt, within its own expiry.", token: sign(attest("iat", "1699999994")), want: no(selo.ReasonStale)},
		{name: "attestation-future", why: "Made later than the clocks may differ.", token: sign(attest("iat", "1700000091")), want: no(selo.ReasonFromTheFuture)},
		{name: "attestation-other-person", why: "The app chooses the person when it starts the SDK.", token: sign(attest("peopleId", `"`+otherCPF+`"`)), want: mismatch},
		{name: "attestation-masked", why: "The same number as 000.000.000-00.", token: sign(attest("peopleId", `"529.982.247-25"`))},
		{name: "attestation-person-missing", why: "A response that names nobody could be anybody's.", token: sign(attest("peopleId", "")), want: no(selo.ReasonSubjectUnproven)},
		{name: "attestation-person-empty", why: "An empty name is nobody's.", token: sign(attest("peopleId", `""`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "attestation-person-number", why: "A number loses leading zeros.", token: sign(attest("peopleId", testCPF)), want: kind},
		{name: "attestation-person-as-liveness", why: "The name that liveness has for the person, and its tokens have not, names nobody here.", token: sign(attest("peopleId", "", "personId", `"`+testCPF+`"`)), want: no(selo.ReasonSubjectUnproven)},
		{name: "attestation-attempt-missing", why: "Without an id an attestation can be used again.", token: sign(attest("attemptId", "")), want: missing},
		{name: "attestation-attempt-only-request", why: "The id of another product identifies no attestation.", token: sign(attest("attemptId", "", "requestId", `"r1"`)), want: missing},
		{name: "attestation-empty-object", why: "A signed nothing is not an attestation.", token: sign("{}"), want: no(selo.ReasonClaimMissing, selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven)},
		{name: "attestation-unknown-claims", why: "The provider adds claims over the years.", token: sign(attest("requestId", `"r1"`, "sdkVersion", `"2.0.0"`, "device", `{"isAlive":false}`))},
		{name: "attestation-context-misspelt", why: "A lenient decoder takes isnewcontext for isNewContext.", token: sign(attest("isNewContext", "false", "isnewcontext", "true")), want: no(selo.ReasonPayloadInvalid)},
		{name: "attestation-policy-misspelt", why: "A lenient decoder takes policy_id for policyId.", token: sign(attest("policyId", `"policy-2"`, "policy_id", `"policy-1"`)), want: no(selo.ReasonPayloadInvalid)},
		{name: "attestation-policy-twice", why: "Of two policies one reader takes the first and another the last.", token: sign(twice(attest("policyId", `"policy-2"`), "policyId", `"policy-1"`)), want: no(selo.ReasonPayloadInvalid)},
	}
	for _, v := range []named{{"number", "1"}, {"null", "null"}, {"array", `["policy-1"]`}, {"object", `{"policyId":"policy-1"}`}} {
		rows = append(rows, row{name: "attestation-policy-" + v.name, why: "A policy is named by a string.", token: sign(attest("policyId", v.value)), want: kind})
	}
	for _, v := range []named{{"string", `"true"`}, {"string-false", `"false"`}, {"one", "1"}, {"zero", "0"}, {"null", "null"}, {"object", "{}"}} {
		rows = append(rows,
			row{name: "attestation-context-" + v.name, why: "Only JSON true and false say which context it was.", token: sign(attest("isNewContext", v.value)), want: kind},
			row{name: "attestation-authorized-" + v.name, why: "Only JSON true is a yes and only JSON false is a no; the rest is not even pending.", token: sign(attest("isAuthorized", v.value)), want: kind})
	}
	for _, v := range []named{{"empty", `""`}, {"number", "1"}, {"null", "null"}} {
		rows = append(rows, row{name: "attestation-attempt-" + v.name, why: "An id is a string of 1 to 256 bytes.", token: sign(attest("attemptId", v.value)), want: kind})
	}
	for i := range rows {
		rows[i].product = smartAuth
	}
	return rows
}

// attestationMixRows are tokens of the same provider that Smart Auth did not ask for.
func attestationMixRows() []row {
	confused, missing := no(selo.ReasonTokenConfusion), selo.ReasonClaimMissing
	expiry := fmt.Sprint(testNow.Unix() + 240)
	rows := []row{
		{name: "attestation-mobile-token", why: "Our own identity token is signed with the same secret and is in the app's hands.", token: minted(smartAuth), want: confused},
		{name: "attestation-face-token", why: "The second token that starts Smart Auth, when one key is for both.", token: minted(liveness), want: confused},
		{name: "attestation-server-token", why: "The token by which a server shows itself to the provider.", token: sign(`{"iss":"` + testClientID + `","exp":` + expiry + `}`), want: confused},
		{name: "attestation-with-iss", why: "A mint that copies claims from a request makes this: a whole attestation, and iss.", token: sign(attest("iss", `"`+testClientID+`"`)), want: confused},
		{name: "attestation-token-without-iss", why: "What remains of a face token names the person and decides nothing.", token: sign(`{"exp":` + expiry + `,"peopleId":"` + testCPF + `"}`), want: no(missing, selo.ReasonFreshnessUnproven)},
		{name: "liveness-as-smart-auth", why: "Alive is not authorized.", token: sign(live()), want: no(selo.ReasonProductMismatch, missing, selo.ReasonSubjectUnproven)},
		{name: "authentication-as-smart-auth", why: "Matched is not authorized, though it proves more.", token: sign(auth()), want: no(selo.ReasonProductMismatch, missing, selo.ReasonSubjectUnproven)},
		{name: "liveness-with-attestation", why: "A liveness response with all that an attestation needs is of neither kind.", token: sign(live("attemptId", `"a1"`, "peopleId", `"`+testCPF+`"`, "policyId", `"policy-1"`, "isAuthorized", "true", "isNewContext", "true")), want: no(selo.ReasonProductMismatch)},
	}
	for _, v := range []named{{"isAlive", "true"}, {"isMatch", "true"}, {"person", `{"cpf":"` + testCPF + `"}`}, {"sessionId", `"s1"`}, {"createdAt", "null"}} {
		rows = append(rows, row{name: "attestation-with-" + v.name, why: "A single claim of another product is enough to refuse.", token: sign(attest(v.name, v.value)), want: no(selo.ReasonProductMismatch)})
	}
	for i := range rows {
		rows[i].product = smartAuth
	}
	return append(rows,
		row{name: "attestation-as-authentication", why: "Authorized is not matched: the challenge may have been an SMS.", product: authentication, token: sign(attest()), want: no(selo.ReasonProductMismatch, selo.ReasonSubjectUnproven, missing)})
}

func documentRows() []row {
	rows := []row{
		{name: "document-liveness", why: "A perfectly good response of another product: document detection has none of its own, so nothing grants.", token: sign(live())},
		{name: "document-authentication", why: "The strongest response there is does not show that a document was captured.", token: sign(auth())},
		{name: "document-attestation", why: "An attestation does not show that a document was captured.", token: sign(attest())},
		{name: "document-empty-object", why: "Nothing can be decided, not even that something is missing.", token: sign("{}")},
		{name: "document-invented", why: "A form that nobody described.", token: sign(`{"requestId":"r1","isDocument":true,"personId":"` + testCPF + `","iat":1700000030}`)},
		{name: "document-mobile-token", why: "Our own mobile token.", token: minted(documents)},
		{name: "document-rubbish", why: "No token at all is refused by the same reason: there is nothing to look for in it.", token: "x"},
		{name: "document-wrong-key", why: "No signature makes it better or worse.", token: seal("attacker", segment(plainHeader)+"."+segment(live()))},
	}
	for i := range rows {
		rows[i].product, rows[i].want = documents, no(selo.ReasonProductMismatch)
	}
	return rows
}

package checklist

// decisionTexts are those of topic 5 about what the provider decided, for whom and with which product.
func decisionTexts() map[string]text {
	const (
		exact = "Demand that each decision claim of the product is there, under its exact name, and is JSON true. Everything else is a no. selo.Verify does."
		loose = "The provider may sign a failed attempt in a form that your code takes for true. Whoever finds out which, and gets such an answer signed, is let in after failing."
	)
	return map[string]text{
		"decision-false": {
			What:     "A user hands in a response that is properly signed and says no, once for each decision of the product.",
			Why:      "The provider signs failed attempts too. A server that looks at the signature alone lets in whoever failed: a photograph before the camera is enough.",
			Fix:      "After verification look at every decision claim of the product: isAlive and isMatch for face authentication, isAlive for liveness, isAuthorized for Smart Auth. " + exact,
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-2.2.1", "cwe-287", "masvs-auth-3"},
		},
		"decision-missing": {
			What:     "A user hands in a properly signed response without one of its decisions, once for each decision of the product.",
			Why:      "The server refuses what says no, and not what says nothing. Every signed JWT without that claim then lets its bearer in: an answer to an error, another product's, the app's own token.",
			Fix:      exact + " A comparison such as claims.isMatch === false is the wrong way round.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-2.2.1", "asvs-16.5.3", "cwe-636"},
		},
		"decision-null": {
			What:     "A user hands in a properly signed response with a decision of null, once for each decision of the product.",
			Why:      "null is what a failed or unfinished attempt may well say. A server that refuses only false lets in whoever did not finish the check.",
			Fix:      exact,
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-15.3.5", "asvs-16.5.3", "cwe-1287"},
		},
		"decision-string": {
			What:     "A user hands in properly signed responses with a decision written as the text true, false and yes, once for each decision of the product.",
			Why:      "In many languages each text but the empty one counts as true, so that the text false lets its bearer in. " + loose,
			Fix:      exact + " Compare with === true, or read into a boolean with a parser that converts nothing.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-15.3.5", "cwe-1287"},
		},
		"decision-number": {
			What:     "A user hands in properly signed responses with a decision of 1, and of -1, once for each decision of the product.",
			Why:      "A number may be a yes, a code of an error or a score. " + loose,
			Fix:      exact + " Compare with === true, or read into a boolean with a parser that converts nothing.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-15.3.5", "cwe-1287"},
		},
		"decision-object": {
			What:     "A user hands in properly signed responses with a decision that is an object, empty or with a value, and one that is a list, once for each decision of the product.",
			Why:      "In many languages each object and list counts as true, the empty ones too. " + loose,
			Fix:      exact + " Compare with === true, or read into a boolean with a parser that converts nothing.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-15.3.5", "cwe-1287"},
		},
		"decision-case": {
			What:     "A user hands in properly signed responses with a decision under its name in lower case, in upper case and with a capital: in the place of the right name, and beside it with the right one saying false.",
			Why:      "Some parsers, Go's encoding/json among them, take isMatch and ISMATCH for one name, and the last wins. A signed no is then granted because of another field that happens to be called alike.",
			Fix:      "Use a parser that compares names byte by byte, or refuse payloads that have a known name in another spelling. selo.Verify refuses with payload_invalid.",
			Snippets: []string{"claims", "strict-json"},
			Refs:     []string{"rfc7519-7.3", "asvs-1.5.3", "cwe-178"},
		},
		"decision-unicode": {
			What:     "A user hands in properly signed responses with a decision under a name that looks alike, with the letter ſ, which folds to s, for an s: in the place of the right name, and beside it with the right one saying false.",
			Why:      "A parser that ignores case by the rules of Unicode takes both for one name. A signed no is then granted because of a field that a check for exact names did not see.",
			Fix:      "Compare names byte by byte, without folding or normalising. selo.Verify refuses a payload with a known name in another spelling.",
			Snippets: []string{"claims", "strict-json"},
			Refs:     []string{"rfc7519-7.3", "asvs-1.5.3", "cwe-176"},
		},
		"decision-twice": {
			What:     "A user hands in properly signed responses with a decision that is there twice, false and true, in either order.",
			Why:      "Some parsers take the first, others the last. Where two programs read the response, one that checks and one that acts, each may see another decision under one good signature.",
			Fix:      "Read the payload with a parser that refuses a name that is there twice, at every level. Most do not by default. selo.Verify does.",
			Snippets: []string{"strict-json"},
			Refs:     []string{"rfc7519-4", "asvs-1.5.3", "cwe-436"},
		},
		"decision-from-request": {
			What:     "A user hands in a signed no, with the decisions as true beside it in the body and in the query, and once more with fields such as approved, success and verified.",
			Why:      "The app belongs to whoever holds the phone. A server that believes what the app says of the outcome lets in everybody who edits one field of one request.",
			Fix:      "Take the decision from the verified payload, and read nothing else of the request but the session and the signed response. Refuse fields that you do not know. Selo's API does.",
			Snippets: []string{"verify", "claims"},
			Refs:     []string{"asvs-8.3.1", "asvs-2.2.2", "cwe-807", "masvs-auth-1"},
		},
		"decoded-payload": {
			What:     "A user hands in the payload of an approved response alone, as JSON and in base64url, in the place of the signed response.",
			Why:      "The server takes what the app has decoded, or has a second way for it. An attacker writes the payload that lets them in as any person.",
			Fix:      "Take signed responses and nothing else, on every route and in every environment. Refuse what has not three segments. selo.Verify refuses with malformed.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "asvs-8.3.1", "cwe-345"},
		},
		"other-product": {
			What:     "A user hands in approvals by the provider's other products, about themselves and signed with the same access key.",
			Why:      "Liveness says that somebody alive was there, not who. Whoever gets an approval by a weaker product hands it in where the stronger one was asked for, and is let in without a face that matches.",
			Fix:      "Know which claims the product's response has, demand them, and refuse those that only others have. Use one access key for each product. selo.Verify takes a profile and refuses with product_mismatch.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-9.2.2", "rfc8725-3.12", "cwe-287"},
		},
		"other-policy": {
			What:     "For Smart Auth, a user hands in an attestation of another policy than the one in check.yaml, and one of no policy.",
			Why:      "The app chooses the policy when it starts the SDK. An attacker chooses the weakest one that the account has, such as one that asks for nothing, and hands in its approval.",
			Fix:      "Compare policyId with the policy that the purpose requires, from the server's configuration. selo.Verify demands Expectation.Policy for Smart Auth, and refuses another one with policy_mismatch.",
			Snippets: []string{"claims", "session"},
			Refs:     []string{"asvs-6.8.4", "asvs-9.2.2", "cwe-287"},
		},
		"token-as-response": {
			What:     "A user hands in their own mobile token in the place of the signed response.",
			Why:      "Token and response are signed with the same client secret, and every app gets the token. A server that looks at the signature alone lets in whoever hands back what it has just been given.",
			Fix:      "Refuse what has the token's claims, iss above all, and demand the response's: id, person, time, decision. selo.Verify refuses with token_confusion.",
			Snippets: []string{"claims", "verify"},
			Refs:     []string{"asvs-9.2.2", "rfc8725-3.12", "cwe-287"},
		},
		"person-missing": {
			What:     "A user hands in properly signed approvals that name nobody: without the claim, with null, and with an empty text.",
			Why:      "An approval that names nobody is anybody's. An attacker passes the check with their own face, or takes another's response, and is let in as the user of the session.",
			Fix:      "Demand the person's claim as a text of eleven digits, and compare it with the session's CPF. Do not skip the comparison when it is not there. selo.Verify refuses with subject_unproven, or claim_type for null.",
			Snippets: []string{"claims"},
			Refs:     []string{"rfc8725-3.8", "asvs-16.5.3", "cwe-636"},
		},
		"person-type": {
			What:     "A user hands in properly signed approvals whose person is a list of two CPFs with the user's own among them, true, and an object.",
			Why:      "A comparison that looks whether the CPF is in it, or that turns both sides into text, takes such a value for the user. A response about others then lets them in.",
			Fix:      "Demand that the claim is a JSON text before it is compared, and compare with equality, not with contains. selo.Verify refuses with claim_type.",
			Snippets: []string{"claims"},
			Refs:     []string{"asvs-15.3.5", "rfc8725-3.8", "cwe-1287"},
		},
		"person-twice": {
			What:     "A user hands in properly signed approvals that name two people: the claim twice, in either order, and once under its name with a capital.",
			Why:      "Of two claims of one name some parsers take the first, others the last. A response about another person then passes for one about the user, in one of the programs that read it.",
			Fix:      "Read the payload with a parser that refuses a name that is there twice, and refuse a known name in another spelling. selo.Verify does both.",
			Snippets: []string{"strict-json", "claims"},
			Refs:     []string{"rfc7519-4", "asvs-1.5.3", "cwe-436"},
		},
		"id-missing": {
			What:     "A user hands in a properly signed approval without the id of its attempt.",
			Why:      "Without an id nobody can see that a response is used twice. Whoever has one such response goes on using it.",
			Fix:      "Demand the id, as a text that is not empty and not too long, and note it down as used when access is granted. selo.Verify refuses with claim_missing.",
			Snippets: []string{"claims", "once"},
			Refs:     []string{"asvs-2.2.1", "rfc7519-4.1.7", "cwe-294"},
		},
	}
}

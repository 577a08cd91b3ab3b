package checklist

// personTexts are those of topic 2.
func personTexts() map[string]text {
	const (
		why = "An attacker with an account of their own gets a token, or a session, for the victim's CPF, and goes on as the victim."
		fix = "Take the CPF from your record of the user whose credential it is, and from nowhere else. Refuse requests with fields that you do not know. Selo takes it from the verified bearer token, the backend's lookup or a trusted service, and all that speak must agree."
	)
	return map[string]text{
		"token-cpf": {
			What:     "The tokens of the first two users are read. Each must hold its own user's CPF, under the name that the product has for it. Where a token names no CPF, a response about another person is handed in with it, and must be refused.",
			Why:      "Without the CPF in the token, the app chooses for whom the SDK runs. Unless the server binds the attempt to the person itself, an attacker passes the check with their own face and is let in as somebody else.",
			Fix:      "Put the CPF of the user's record into each token (peopleId; personId for Smart Auth), and note it down with the session. Compare the response with that note. selo.Mint demands the CPF, selo.Verify compares it.",
			Snippets: []string{"mint", "session", "claims"},
			Refs:     []string{"asvs-8.2.2", "cwe-639", "api1"},
		},
		"cpf-from-body": {
			What:     "A user asks for a token with another user's CPF in the body: in the place of the request's own where it has one, then under cpf, peopleId and personId, under seven usual names at once, and as person.cpf. No token, and no session, for that CPF may come out.",
			Why:      why + " All it takes is to edit one field of one request.",
			Fix:      fix,
			Snippets: []string{"identity", "mint"},
			Refs:     []string{"asvs-8.2.2", "asvs-8.3.1", "cwe-639", "api1"},
		},
		"cpf-masked": {
			What:     "A user asks for a token with another user's CPF in other spellings: with dots and hyphen, between spaces, and as a number without its leading zeros. No token, and no session, for that CPF may come out.",
			Why:      "A check that compares texts lets another spelling of the victim's CPF pass, and what comes behind it turns both into the same digits. " + why,
			Fix:      "Do not read a CPF from the request at all. Where one must be compared, bring both sides to eleven digits first, with check digits verified, and keep it as text. selo.ParseCPF does.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-8.2.2", "asvs-1.1.1", "cwe-639", "cwe-289"},
		},
		"cpf-twice": {
			What:     "A user asks for a token with two CPFs in the body, their own and another user's: the same name twice, in either order, under cpf, peopleId and personId, and a list of both. No token, and no session, for the other CPF may come out.",
			Why:      "Of two fields of one name some parsers take the first, others the last. If the one that checks takes the caller's own CPF and the one that makes the token takes the other, the attacker holds a token for the victim.",
			Fix:      "Do not read a CPF from the request. Read bodies with a parser that refuses a name that is there twice, and a list where text belongs. Selo's API does.",
			Snippets: []string{"identity", "strict-json"},
			Refs:     []string{"asvs-15.3.7", "asvs-1.5.3", "rfc8259-4", "cwe-235"},
		},
		"cpf-from-query": {
			What:     "A user asks for a token with another user's CPF in the query, under seven usual names at once. No token, and no session, for that CPF may come out.",
			Why:      why + " Some frameworks mix query and body into one set of parameters, so that nobody may have meant to read it.",
			Fix:      fix,
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-8.2.2", "asvs-15.3.7", "cwe-639", "api1"},
		},
		"cpf-from-header": {
			What:     "A user asks for a token with another user's CPF in headers such as X-CPF and X-Person-Id. No token, and no session, for that CPF may come out.",
			Why:      "Such headers are meant for a gateway that sets them, and everybody can send them. " + why,
			Fix:      "Read the CPF from the verified credential or your record. If a gateway must pass it on in a header, have the gateway remove what the client sent, and let the server take requests from the gateway alone.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-4.1.3", "asvs-8.2.2", "cwe-639", "cwe-348"},
		},
		"cpf-from-path": {
			What:     "A user asks for a token with another user's CPF in the path: in the place of their own where the request has one there, otherwise at the end. No token, and no session, for that CPF may come out.",
			Why:      why + " A CPF in a path also stands in every access log.",
			Fix:      "Leave the CPF out of the path and take it from your record of the user whose credential it is. Where an old path has one, compare it with that record and refuse what differs.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-8.2.2", "asvs-14.2.1", "cwe-639", "api1"},
		},
		"user-from-request": {
			What:     "A user asks for a token and names another user: by that user's values where the request has places for them, by eight usual names in the body, and by headers in which proxies tell who is calling. The credential stays their own. No token, and no session, for the other user may come out.",
			Why:      "The server looks up the CPF of whoever the request names. " + why,
			Fix:      "Look the user up by what the verified credential says, such as iss and sub, and by nothing else in the request. In Selo the subject is always issuer and sub of the verified token, or what a trusted service asserts.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-8.2.2", "asvs-4.1.3", "cwe-639", "api1"},
		},
		"response-other-person": {
			What:     "A user hands in, in their own session, an approved response that is properly signed and about another person's CPF.",
			Why:      "An attacker lets somebody else, or themselves, pass the check, and hands the response in where it lets them into an account that is not that person's. The signature is right; only the person is wrong.",
			Fix:      "Compare the person of the response with the CPF that was noted down when the token was made, both as eleven digits, and refuse everything else. selo.Verify demands the CPF and refuses with subject_mismatch.",
			Snippets: []string{"claims", "session"},
			Refs:     []string{"rfc8725-3.8", "asvs-2.3.1", "cwe-639"},
		},
		"cpf-in-submit": {
			What:     "A response about another person, properly signed, is handed in with that person's CPF beside it: in the fields of check.yaml, under the usual names in the body, in the query and in headers.",
			Why:      "The server compares the response with a CPF that the same request brings, so anybody's response passes for whoever hands it in.",
			Fix:      "Compare with the CPF that was noted down with the session when the token was made. selo.Verify demands it as an argument of its own.",
			Snippets: []string{"session", "claims", "verify"},
			Refs:     []string{"asvs-8.2.2", "cwe-639", "api1"},
		},
		"session-other-user": {
			What:     "A response about the first user is handed in, in the first user's session, with the second user's credential, alone and with headers that name the first. Where the request says for which session, the second user's own response is handed in there as well.",
			Why:      "An attacker who learns or guesses a victim's session, or gets hold of their response before it was used, has the victim's check count for themselves.",
			Fix:      "Look a session up by its id and the user of the credential together, and answer the same whether it does not exist or is another's. Selo answers 404 with session_unknown for both.",
			Snippets: []string{"session", "identity"},
			Refs:     []string{"asvs-2.3.1", "asvs-8.2.2", "cwe-639", "api1"},
		},
	}
}

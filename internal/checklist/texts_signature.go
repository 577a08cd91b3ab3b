package checklist

// signatureTexts are those of topic 5 about the signature.
func signatureTexts() map[string]text {
	const (
		forger = "An attacker writes a response that approves them as any person, and is let in without ever showing a face."
		strict = "Compute HMAC-SHA256 over the first two segments as they came, with the session's key, and compare all 32 bytes in constant time before any JSON is read. selo.Verify does."
	)
	return map[string]text{
		"honest-granted": {
			What:     "The first two users walk the whole way, from the token to a response as the provider signs it, and must be given access.",
			Why:      "This is what all other probes of responses rest on: where an honest response is refused, the refusal of a forged one proves nothing. And honest users are locked out.",
			Fix:      "First look at check.yaml: the access key, the product, the purpose, and the expression submit.granted. Then at the server's log, which should say why it refused. Answers of Selo have a stable reason.",
			Snippets: []string{"verify", "claims", "freshness", "once"},
			Refs:     []string{"rfc7515-5.2", "asvs-9.1.1", "masvs-auth-3"},
		},
		"unsigned": {
			What:     "A user hands in an approved response with an empty signature, and one without its third part.",
			Why:      "The server decodes responses and does not verify them. " + forger,
			Fix:      strict,
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "asvs-6.8.2", "rfc8725-3.3", "cwe-347"},
		},
		"unsigned-otherwise": {
			What:     "A response that nobody signed is handed in by other methods, in a body of another type, and with switches such as debug, test, mock and skipVerification in body, query and headers.",
			Why:      "A second branch of the code, for an old client or for the developers, does not verify. An attacker finds it by trying.",
			Fix:      "Have one function that decides, which every way in calls, and no switch that leaves it out. Refuse methods and types of bodies that the app does not use.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "cwe-347", "cwe-489"},
		},
		"alg-none": {
			What:     "A user hands in an approved response whose header names the algorithm none, in four spellings, each with an empty signature and with a meaningless one.",
			Why:      "The server lets the response say how it is to be verified. " + forger,
			Fix:      "Give the JWT library exactly one algorithm, HS256, when verifying. Do not keep a list of what is refused: there is always another spelling. selo.Verify computes nothing but HS256.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.2", "rfc8725-3.1", "rfc8725-3.2", "cwe-347"},
		},
		"wrong-key": {
			What:     "A user hands in approved responses signed with a random key, the empty key, the client ID, and the word secret.",
			Why:      "The server verifies with a key that is missing, public or guessable, or does not look at the result. " + forger,
			Fix:      "Load the client secret at the start and refuse to start without it. Check the result of verification, and refuse on every error. selo.Verify returns a response or an error, and never both.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "rfc8725-3.3", "rfc8725-3.5", "cwe-347"},
		},
		"sandbox-key": {
			What:     "A user hands in an approved response signed with the access key of the provider's other environment, as check.yaml names it.",
			Why:      "Sandbox keys lie in test configurations, laptops and chats, and a sandbox approves whoever is asked for. Whoever has such a key signs responses that let them in for real.",
			Fix:      "Configure one environment's key where that environment runs, and try no second one when the first does not fit. In Selo a session knows its key, and a key its environment.",
			Snippets: []string{"verify", "session"},
			Refs:     []string{"asvs-9.1.3", "rfc8725-3.8", "cwe-347"},
		},
		"retired-key": {
			What:     "A user hands in an approved response signed with the retired access key of check.yaml, for a session that was opened now.",
			Why:      "Keys are retired because they leaked, or might have. As long as one verifies, whoever has it signs responses that let them in.",
			Fix:      "Note down with the session which key made its token, and verify with that one alone. So a retired key verifies what it began, and nothing else. selo.Verify takes one key and tries no other.",
			Snippets: []string{"verify", "session"},
			Refs:     []string{"asvs-13.3.4", "asvs-9.1.3", "cwe-324"},
		},
		"hs384-hs512": {
			What:     "A user hands in approved responses signed with the right key and HS384, and HS512.",
			Why:      "The provider signs with HS256 and nothing else, so such a response is somebody else's. A server that follows the header here follows it elsewhere too, and a key that is used with several algorithms is weaker than with one.",
			Fix:      "Give the JWT library the list of algorithms with HS256 as its only member. Without that list many libraries take the whole family. selo.Verify computes HS256, whatever the header asks for.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.2", "rfc8725-3.1", "cwe-347"},
		},
		"alg-mismatch": {
			What:     "A user hands in approved responses whose header does not name the algorithm that signed them: HS512 named HS256, HS256 named RS256 or hs256, without alg, and with alg as a list.",
			Why:      "By itself nobody gets in, for the key is right. But a server that passes over alg, or takes any value for the usual one, is one library away from the confusions of algorithms by which responses are forged without the key.",
			Fix:      "Compute HS256 whatever the header says, and refuse unless alg is exactly the text HS256. selo.Verify does both.",
			Snippets: []string{"verify"},
			Refs:     []string{"rfc8725-3.1", "rfc7515-4.1.1", "asvs-9.1.2"},
		},
		"payload-edited": {
			What:     "A user hands in two responses whose payload was changed under the old signature: a signed no that was made a yes, and one about another person that was made to be about the user.",
			Why:      "Whoever failed the check changes false to true, and is let in. " + forger,
			Fix:      strict,
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "rfc7515-5.2", "cwe-347"},
		},
		"header-edited": {
			What:     "A user hands in an approved response with another header put before it, under the old signature.",
			Why:      "The signature is not computed over what came, so the header can be rewritten by whoever passes the response on: what it says of algorithm and key is then the attacker's.",
			Fix:      "Compute the signature over the two segments as they came, not over what was decoded and encoded again, nor with a header of your own put before the payload. selo.Verify does.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.1", "rfc7515-5.2", "cwe-347"},
		},
		"signature-truncated": {
			What:     "A user hands in approved responses with a part of the right signature: half of it, four characters, and all but the last.",
			Why:      "The server compares only as much as is there. An attacker who needs one byte of a signature to be right tries 256 responses, and is let in as any person.",
			Fix:      "Compare lengths first, then all bytes in constant time: hmac.Equal in Go, timingSafeEqual in Node.js after a look at the length, MessageDigest.isEqual in Java. selo.Verify does.",
			Snippets: []string{"verify"},
			Refs:     []string{"rfc7518-3.2", "asvs-9.1.1", "cwe-347"},
		},
		"signature-altered": {
			What:     "A user hands in approved responses with one bit of the signature changed: in its first byte, and in its last.",
			Why:      "The signature is not looked at, or not all of it. " + forger,
			Fix:      strict,
			Snippets: []string{"verify"},
			Refs:     []string{"rfc7518-3.2", "asvs-9.1.1", "cwe-347"},
		},
		"signature-reencoded": {
			What:     "A user hands in approved responses written in other ways: with padding, with line breaks, with the spare bits of the last character set, with a space before it, and with a fourth part. A grant is a warning.",
			Why:      "By itself nobody gets in. But a server that knows used responses by their text or its hash takes each new spelling for a new response, and whoever intercepted one uses it again.",
			Fix:      "Decode base64url strictly: no padding, no other characters, spare bits zero, three segments. Where the library is lenient, encode what was decoded again and compare. And remember used responses by their id.",
			Snippets: []string{"verify", "once"},
			Refs:     []string{"rfc7515-2", "rfc4648-3.5", "cwe-436"},
		},
		"crit-header": {
			What:     "A user hands in an approved response, properly signed, whose header lists an extension in crit that nobody knows.",
			Why:      "crit says that the signer meant something which changes how the response is to be read. A server that passes over it reads another response than the one that was signed, and does so on the day a provider begins to use it.",
			Fix:      "Refuse every header with crit, unless each name in it is one that your code handles. Many JWT libraries do not look. selo.Verify refuses with header_refused.",
			Snippets: []string{"verify"},
			Refs:     []string{"rfc7515-4.1.11", "rfc7515-5.2", "cwe-347"},
		},
		"b64-header": {
			What:     "A user hands in an approved response, signed over its encoded payload as ever, whose header says that the payload is not encoded: b64 false, and critical.",
			Why:      "Two programs that read b64 differently see two payloads under one signature. No JWT may use it, so a server that lets it pass does not look at what its headers demand.",
			Fix:      "Refuse a header with b64, and with any crit that you do not handle. selo.Verify refuses with header_refused.",
			Snippets: []string{"verify"},
			Refs:     []string{"rfc7797-7", "rfc7515-4.1.11", "cwe-347"},
		},
		"key-in-header": {
			What:     "A user hands in approved responses that bring their own key: as jwk in the header, as a kid that is the path of an empty file, and as a kid that would make a database answer with a key of the attacker's.",
			Why:      "The server asks the response which key it was signed with. " + forger,
			Fix:      "Choose the key by the session, and never by what the response says. Pass over jwk, jku, x5u and x5c, or better refuse them. selo.Verify takes the key from the caller, and no header chooses it.",
			Snippets: []string{"verify", "session"},
			Refs:     []string{"asvs-9.1.3", "rfc8725-3.10", "cwe-347"},
		},
	}
}

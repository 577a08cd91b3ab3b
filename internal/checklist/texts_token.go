package checklist

// tokenTexts are those of topics 1 and 3.
func tokenTexts() map[string]text {
	return map[string]text{
		"token-per-user": {
			What:     "Two users sign in and each asks for a mobile token. The two tokens are compared.",
			Why:      "One token for everybody is a password in the app: whoever takes it out of one phone starts the SDK as any user, for as long as the token lives. No log can tell who used it.",
			Fix:      "Make a token in each request, from the CPF in your record of the user who is signed in. No constant, no cache, no token that was made in a console. selo.Mint makes one, and POST /v1/sessions also records for whom.",
			Snippets: []string{"mint", "identity"},
			Refs:     []string{"asvs-7.2.2", "cwe-488", "api2"},
		},
		"token-per-call": {
			What:     "The first user asks for a token again, two seconds or more after the first time. It must be another token, and where both have an exp, one that expires later.",
			Why:      "A token that is kept and handed out again is shared by several attempts, and often by several users. Whoever gets hold of it once starts attempts with it until it expires, and nobody can say to which attempt it belonged.",
			Fix:      "Make the token when it is asked for, with exp counted from that moment, and do not keep it. One attempt, one token. selo.Mint does so; no call of Selo's API gives the token of an earlier attempt again, unless the same request is repeated under its Idempotency-Key.",
			Snippets: []string{"mint"},
			Refs:     []string{"asvs-7.2.2", "rfc6750-5.3"},
		},
		"token-key": {
			What:     "The token's signature is checked with the access key of check.yaml, and its iss compared with that key's client ID. It must not be signed with the retired or the sandbox key, where these are described. Where the provider makes the token, it must not be signed with the client secret at all.",
			Why:      "A server that still signs with a retired or a sandbox key keeps that key alive: whoever has it makes tokens and responses of their own. An app that gets the signed JWT in the place of the session token has what only the server should show to the provider.",
			Fix:      "Keep client ID and client secret together as one access key, for one environment, and choose it by product when the token is made. After a rotation, take the old key out of what signs. Selo's key ring has one active key to sign with, and retiring ones only verify.",
			Snippets: []string{"mint"},
			Refs:     []string{"rfc8725-3.8", "rfc7519-4.1.1", "asvs-13.3.4"},
		},
		"token-claims": {
			What:     "The names of the claims in the first user's token are compared with those that the provider asks for: iss, exp and the CPF.",
			Why:      "Client secret and HMAC are the same for tokens and for signed responses, so each further claim is something that the server signs and that may pass for a part of a response. A token also travels through a phone, where anybody can read what stands in it.",
			Fix:      "Write iss, exp and the CPF, and nothing else. Turn off what the JWT library adds by itself, such as iat. selo.Mint has no parameter for further claims.",
			Snippets: []string{"mint"},
			Refs:     []string{"asvs-14.2.6", "rfc7519-12"},
		},
		"token-claims-from-client": {
			What:     "A user asks for a token with the claims of an approved response in the body of the request: beside the other fields, and within fields named claims and payload. No token may come out that has the decision of a response in it.",
			Why:      "Tokens and responses are signed with the same client secret. If the server copies a claim out of the request, an attacker has it sign isMatch: true and hands the token in as the response: the server has signed its own forgery.",
			Fix:      "Build the token from the user's record and the configuration alone, and never spread a request's body into the claims. Refuse fields that you do not know. selo.Mint takes a profile, a key and a CPF, and nothing else gets in.",
			Snippets: []string{"mint", "verify"},
			Refs:     []string{"asvs-15.3.3", "api3", "cwe-915"},
		},
		"token-no-store": {
			What:     "The Cache-Control header of the answer that carried the first user's token is read. It must say no-store.",
			Why:      "A proxy, a CDN or the HTTP cache of the phone may keep the answer. Whoever reads that cache next, or gets the same answer from it, holds another user's token.",
			Fix:      "Send Cache-Control: no-store with every answer of the API, from one place before all routes. Selo's API does so.",
			Snippets: []string{"no-store"},
			Refs:     []string{"asvs-14.3.2", "rfc9111-5.2.2.5", "cwe-525", "masvs-storage-2"},
		},
		"token-not-in-url": {
			What:     "The requests of check.yaml are searched for a credential in the URL of a request for a token, and for the signed response in the URL that hands it in. Every answer of the check is searched for a URL with a token of the access key in it.",
			Why:      "URLs are written into the logs of servers, proxies and analytics, and into the history of browsers. Whoever may read one of these logs takes a token or a credential out of it and uses it while it lives.",
			Fix:      "Send credentials in the Authorization header, tokens and signed responses in bodies. Do not hand a token over by a redirect or a deep link with a query.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-14.2.1", "rfc6750-5.3", "cwe-598", "api2"},
		},
		"secret-not-disclosed": {
			What:     "Every answer of the whole check, headers and body, is searched for the client secrets of check.yaml, as they are and in several encodings.",
			Why:      "Whoever has the client secret makes a token for any CPF and signs a response that approves any person. Nothing else on the server then protects anybody, and the only mend is a new key.",
			Fix:      "Read the secret from a file or a secret manager into a type that cannot print itself, and keep it out of configuration that is served, errors and debug routes. If this probe failed, have the provider revoke the key now. selo.Secret refuses to print, log or marshal.",
			Snippets: []string{"errors", "mint"},
			Refs:     []string{"asvs-11.1.1", "asvs-16.5.1", "cwe-201"},
		},
		"token-exp": {
			What:     "The first user's token is read. It must have an exp.",
			Why:      "A token without exp is good until the access key is revoked. Whoever finds one in a log, a crash report or an old phone starts the SDK as that user years later.",
			Fix:      "Set exp in each token, in minutes from now, and make it impossible to leave out. selo.Mint cannot make a token without exp.",
			Snippets: []string{"mint"},
			Refs:     []string{"rfc7519-4.1.4", "rfc6750-5.3", "cwe-613"},
		},
		"token-exp-seconds": {
			What:     "The exp of the first user's token is read. It must be a JSON number, and as seconds since 1970 not lie thousands of years ahead, as milliseconds would.",
			Why:      "An exp in milliseconds expires in some fifty thousand years, and one that is text may be passed over by whoever reads it. Either token is as good as one without exp.",
			Fix:      "Write exp as a whole number of seconds since 1970: in JavaScript Math.floor(Date.now() / 1000) plus the lifetime, in Java Instant.getEpochSecond. selo.Mint does.",
			Snippets: []string{"mint"},
			Refs:     []string{"rfc7519-4.1.4", "rfc7519-2", "cwe-613"},
		},
		"token-exp-reasonable": {
			What:     "The lifetime of the first user's token, from the request to its exp, is compared with limits.token_lifetime of check.yaml: thirty minutes if nothing else is said.",
			Why:      "The token has to start one attempt, which takes minutes. Each further hour is an hour in which a token that was stolen or left behind starts the SDK in its user's name.",
			Fix:      "Let a token live five minutes, and make a new one for the next attempt. selo.Mint has that default, and a ceiling of thirty minutes for each product.",
			Snippets: []string{"mint"},
			Refs:     []string{"rfc6750-5.3", "rfc7519-4.1.4", "cwe-613"},
		},
		"token-exp-from-client": {
			What:     "A user asks for a token with wishes for a year of life in the query, in headers and in the body, under eight usual names such as exp, expiresIn and ttl. No token may come out that lives longer than usual.",
			Why:      "Whoever may choose the expiry makes tokens that never expire in practice, keeps them, and goes on when the account has been closed or the phone was reported stolen.",
			Fix:      "Take the lifetime from the server's configuration alone, and refuse fields that you do not know. Selo's API has no field for it, and no configuration goes above the product's ceiling.",
			Snippets: []string{"mint"},
			Refs:     []string{"asvs-15.3.3", "rfc7519-4.1.4", "api3", "cwe-915"},
		},
	}
}

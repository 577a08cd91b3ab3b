package checklist

// accessTexts are those of topic 4.
func accessTexts() map[string]text {
	const stranger = "Whoever finds the URL gets mobile tokens: each starts an attempt that the provider bills, and lets the SDK run in somebody's name."
	return map[string]text{
		"no-credentials": {
			What:     "A token is asked for without any credential.",
			Why:      stranger,
			Fix:      "Put authentication before every route by default, and name the exceptions. The route that gives tokens is not one of them. Selo's API has no unauthenticated call that mints.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-8.2.1", "cwe-306", "api2", "masvs-auth-1"},
		},
		"wrong-password": {
			What:     "A user signs in with random text in the place of each of their secrets, and a token is asked for with what comes out.",
			Why:      "Whoever knows a user's name is that user.",
			Fix:      "Compare what was given with a hash made for passwords, and give no credential when it differs. Leave signing in to an identity provider where you can.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-6.8.4", "cwe-287", "api2"},
		},
		"garbage-credentials": {
			What:     "A token is asked for with credentials that nobody issued: a random text, a JWT under a random key, and the word undefined.",
			Why:      "The server looks whether a credential is there and not whether it is one. " + stranger,
			Fix:      "Verify each credential where it is issued or by its signature, in one middleware that refuses whatever it does not understand, and never by decoding alone.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-7.2.1", "asvs-9.1.1", "cwe-287", "api2"},
		},
		"expired-credentials": {
			What:     "A token is asked for with the expired credential of check.yaml.",
			Why:      "A credential that was stolen, or left in a backup or an old phone, works for ever: its expiry protects nobody.",
			Fix:      "Check the expiry of each credential, with no more than some seconds for clocks that differ. Do not turn that check off in the JWT library to make a test pass.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.2.1", "asvs-7.4.1", "cwe-613", "api2"},
		},
		"wrong-audience": {
			What:     "A token is asked for with the credential of check.yaml that the same identity provider issued for another app.",
			Why:      "A user of any other app behind that identity provider, or whoever runs such an app and receives its users' tokens, gets mobile tokens here in these users' names.",
			Fix:      "Demand the exact issuer and an audience that names this API; a right signature is not enough. An app of Selo is an issuer and an audience, and takes no other.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.2.3", "rfc8725-3.9", "rfc7519-4.1.3", "cwe-287"},
		},
		"credentials-alg-none": {
			What:     "A token is asked for with a user's own JWT, its header changed to the algorithm none in four spellings and its signature taken away.",
			Why:      "Whoever can write JSON writes a credential for any user: the server then believes it without a key.",
			Fix:      "Give the JWT library the one algorithm that your issuer uses, and let it refuse all others. Do not refuse none by name: there is always another spelling.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.1.2", "rfc8725-3.1", "cwe-347", "api2"},
		},
		"credentials-edited": {
			What:     "A token is asked for with what was made of a user's own credential: of a JWT, with another payload under its signature, and without one; of anything else, with a character changed, and with another user named in the place of this one, also under base64 or hex.",
			Why:      "The server decodes credentials and does not verify them. An attacker puts another name into their own credential and is any user they like.",
			Fix:      "Use the function of the JWT library that verifies, with the key and the algorithm given, and never the one that decodes. Refuse when it fails, and do not go on with what it read.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.1.1", "asvs-6.8.2", "cwe-347", "api2"},
		},
		"credentials-weak-key": {
			What:     "A token is asked for with a user's own JWT signed again, with HS256 and keys that are guessed first: the empty one, secret, changeme and your-256-bit-secret.",
			Why:      "Whoever guesses the key, offline and without being noticed, signs credentials for every user.",
			Fix:      "Sign with a random key of 32 bytes or more, or with an asymmetric one, and refuse to start without it: no default in the code. Replace a key that was ever in a repository.",
			Snippets: []string{"identity"},
			Refs:     []string{"rfc8725-3.5", "asvs-11.2.3", "cwe-1391", "api2"},
		},
		"mobile-token-as-credential": {
			What:     "A token is asked for with a mobile token in the place of the credential, and with a JWT that names a user and is signed with the client secret.",
			Why:      "Mobile tokens are handed to phones and to the SDK, and live by other rules. If one opens your API, whoever sees it renews it without end; and whoever holds the provider's secret is every user of yours.",
			Fix:      "Sign your own credentials with a key of their own, and demand their issuer, audience and type. Never use the provider's client secret for anything but the provider's tokens and responses.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.2.2", "rfc8725-3.12", "cwe-287"},
		},
		"after-logout": {
			What:     "A user signs in, gets a token, signs out by the logout of check.yaml, and asks again with the same credential.",
			Why:      "A user who signs out because the phone is lost or lent stays signed in for whoever holds the credential.",
			Fix:      "End the session on the server when its user signs out, and look that up before a token is made. With self-contained credentials keep a list of those that ended, or let them live minutes. Selo asks the issuer about access tokens that are no JWT (RFC 7662).",
			Snippets: []string{"identity", "session"},
			Refs:     []string{"asvs-7.4.1", "cwe-613"},
		},
		"identity-headers": {
			What:     "A token is asked for without a credential, with headers that name a user, with headers that say the call is local, and with cookies that say it is an administrator's.",
			Why:      "The server believes what a proxy would have told it. Whoever reaches it directly, or through a proxy that lets these headers pass, is any user by writing a name.",
			Fix:      "Authenticate by the credential alone. Where a gateway must tell who calls, have it remove these headers from what comes in, and take connections from it alone, by mutual TLS for instance.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-4.1.3", "cwe-290", "cwe-348"},
		},
		"other-methods": {
			What:     "A token is asked for without a credential, with each of the methods GET, POST, PUT, PATCH and DELETE that is not the usual one, and with X-HTTP-Method-Override.",
			Why:      "Authentication that is bound to one method is passed by with another, where the framework still finds the handler. " + stranger,
			Fix:      "Bind authentication to the route or to all routes, not to a method. Register each handler for its one method, and let everything else be 405.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-4.1.4", "cwe-288", "api5"},
		},
		"other-paths": {
			What:     "A token is asked for without a credential at other spellings of the path: with a further slash, a dot segment, an encoded letter, in upper case, with a path parameter and with an ending. And by X-Original-URL and X-Rewrite-URL at the root.",
			Why:      "A gateway or middleware that guards one spelling lets another pass, which the router behind it takes for the same route. " + stranger,
			Fix:      "Authenticate behind the router, where the route is known, or before all paths by default. Bring a path to one form once, or refuse what is not in it. Do not honour X-Original-URL from outside.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-1.1.1", "asvs-1.5.3", "cwe-551", "cwe-288"},
		},
		"cors": {
			What:     "The request for a token is sent with the Origin of a foreign site and with the Origin null, together with its preflight. No answer may allow that origin together with credentials.",
			Why:      "A page of an attacker calls the API in the browser of whoever visits it, with that user's cookies, and reads the token out of the answer.",
			Fix:      "Send no CORS headers: an app needs none. For a web front of your own name its origin in a fixed list. Never send back whatever Origin the request had.",
			Snippets: []string{"cors"},
			Refs:     []string{"asvs-3.4.2", "cwe-942", "api8"},
		},
		"submit-without-credentials": {
			What:     "A user opens a session, and an honest response about that user is handed in without a credential. Where check.yaml describes the request without a credential, that alone is the finding.",
			Why:      "Whoever gets hold of a response, from a log or a phone, hands it in and is let in by it. And the server cannot know in whose session that is, but from what the request says.",
			Fix:      "Demand the same credential for handing in as for the token, and look the session up by its user. Selo's API demands it for every call.",
			Snippets: []string{"identity", "session"},
			Refs:     []string{"asvs-8.2.1", "asvs-2.3.1", "cwe-306", "masvs-auth-1"},
		},
		"submit-bad-credentials": {
			What:     "An honest response is handed in with random text for a credential, with what was made of the user's own one, unsigned, under a guessable key, and with headers that name the user.",
			Why:      "The server looks who is calling when it gives a token, and not when it decides. Whoever has a session's id hands in a response for it, or is whom they say.",
			Fix:      "Authenticate every request by the same code, before anything else of it is read.",
			Snippets: []string{"identity"},
			Refs:     []string{"asvs-9.1.1", "cwe-306", "api2"},
		},
		"burst": {
			What:     "At the end of the check one user asks for many tokens, eight at a time: sixty, or limits.burst of check.yaml. One request at least must be refused.",
			Why:      "Whoever steals one credential, or signs up once, makes tokens without end: each starts an attempt that the provider bills and that may be tried until a forged face passes.",
			Fix:      "Count tokens by user, and by app, where all processes see the count. Answer 429 with Retry-After above a limit that no honest user meets. Selo checks its limits in the transaction that opens the session.",
			Snippets: []string{"limits"},
			Refs:     []string{"asvs-2.4.1", "api4", "cwe-799", "rfc6585-4"},
		},
	}
}

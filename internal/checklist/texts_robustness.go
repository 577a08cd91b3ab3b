package checklist

// robustnessTexts are those beyond the checklist.
func robustnessTexts() map[string]text {
	const (
		down  = "Whoever has an account keeps the server busy, or stops it, with one small request at a time, and honest users are not let in meanwhile."
		bytes = "Compute HMAC-SHA256 over the raw body as it came, before anything parses it, and compare all of it in constant time with the header. selo.VerifyWebhook does."
	)
	return map[string]text{
		"malformed": {
			What:     "A user hands in eleven texts that are no response: dots, control characters, emoji, two thousand empty segments and the like. None may be granted. Where no answer comes at all, an honest response must be granted afterwards.",
			Why:      "An error that nobody expects ends a request in the middle, or the process. " + down,
			Fix:      "Look at the form first: three segments of base64url and no more than 16 KiB. Answer all that is wrong with one refusal, in one place. selo.Verify refuses with malformed.",
			Snippets: []string{"verify", "errors"},
			Refs:     []string{"asvs-2.2.1", "asvs-16.5.4", "cwe-755"},
		},
		"oversize": {
			What:     "A user hands in a response of a megabyte that nobody signed. It must not be granted. Where no answer comes at all, an honest response must be granted afterwards.",
			Why:      "Hashing, decoding and parsing cost time and memory for each byte that somebody sends. " + down,
			Fix:      "Bound the body before it is read (20 KiB is enough), and the response before it is decoded. selo.Verify refuses more than 16 KiB with too_large.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-2.2.1", "api4", "cwe-770"},
		},
		"deep-nesting": {
			What:     "A user hands in a response signed by nobody, with a hundred thousand lists within each other in its payload. It must not be granted. Where no answer comes at all, an honest response must be granted afterwards.",
			Why:      "A parser that calls itself for each level uses its stack up and ends the process, where that cannot be caught. " + down,
			Fix:      "Verify the signature before any JSON is parsed, so that strangers reach no parser. Use a parser with a limit of depth, and bound the response. selo.Verify does all three.",
			Snippets: []string{"verify", "strict-json"},
			Refs:     []string{"rfc8259-9", "api4", "cwe-674"},
		},
		"response-type": {
			What:     "A user hands in other JSON where the text of the response belongs: null, a boolean, a number, lists, objects, one of them with an operator of a database, and an approved payload that nobody signed. None may be granted.",
			Why:      "Code that expects a text and gets an object throws, or takes another way: an object with the right fields may pass for a payload that was verified already, and an operator for a condition of a query.",
			Fix:      "Demand that the field is a JSON text before anything is done with it, by a schema or a typed decoder. Selo's API answers 400 with request_invalid.",
			Snippets: []string{"errors", "verify"},
			Refs:     []string{"asvs-15.3.5", "asvs-2.2.1", "cwe-1287"},
		},
		"image-not-fetched": {
			What:     "At the start a user hands in responses whose imageUrl points at the checker, one properly signed and one signed by nobody. At the end the checker looks whether anybody came.",
			Why:      "The server calls whatever address stands in a response. Whoever can write one has it call services within your network, or learns where it runs; and what comes back may be kept as somebody's portrait.",
			Fix:      "Do not fetch imageUrl. If you need the picture, ask the provider's API for it by the id of the attempt, after verification, at a host that is configured. Selo never fetches it, nor keeps it.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-1.3.6", "api7", "cwe-918"},
		},
		"keys-not-fetched": {
			What:     "At the start a user hands in responses signed by nobody, whose headers name keys at the checker as jku and x5u. At the end the checker looks whether anybody came.",
			Why:      "The server fetches a key from an address that the response names, before it knows who wrote it. An attacker has it call services within your network, and where the key is used too, signs responses with their own.",
			Fix:      "Take the key from the session and the configuration. Refuse headers with jku, x5u, jwk or x5c, and do not use functions of a JWT library that resolve them. selo.Verify calls nobody, whatever a header names.",
			Snippets: []string{"verify"},
			Refs:     []string{"asvs-9.1.3", "rfc8725-3.10", "api7", "cwe-918"},
		},
		"no-stack-trace": {
			What:     "Every answer of the whole check is searched for what stack traces and error pages of usual languages, frameworks and databases have in common.",
			Why:      "Names of files, versions and queries tell an attacker where to look next, and error texts often quote what was sent: a token, a CPF.",
			Fix:      "Have one error handler that answers with a status and a fixed text, and writes the rest to the log. Turn the framework's debug pages off by default, not by an environment variable that somebody forgets.",
			Snippets: []string{"errors"},
			Refs:     []string{"asvs-16.5.1", "rfc9457-5", "api8", "cwe-209"},
		},
		"no-echo": {
			What:     "Every answer to a response that was handed in is searched for that response.",
			Why:      "Answers are kept by proxies, error trackers and the app's own logs. A response that was refused for the wrong session may still be good elsewhere, and it names a person.",
			Fix:      "Answer with a reason of your own list, and never with what was sent, nor with a parser's message that quotes it.",
			Snippets: []string{"errors"},
			Refs:     []string{"asvs-14.2.6", "asvs-16.5.1"},
		},
		"no-server-error": {
			What:     "The answers to all responses that were handed in during the check are counted by status. None may be 500 or more.",
			Why:      "A bad response that ends in an unexpected error took a way that nobody thought of. Alarms ring for every attacker, clients try again, and the next such error may come after something was granted.",
			Fix:      "Turn every reason to refuse into a refusal of its own, with a status of 400 to 499, and keep 500 for what is the server's fault. Selo answers 403, 404, 409, 410 and 429.",
			Snippets: []string{"errors"},
			Refs:     []string{"rfc9110-15.5", "asvs-16.5.3", "cwe-755"},
		},
		"refusal-status": {
			What:     "The answers to all responses that were refused during the check are counted by status. One below 300 is a warning.",
			Why:      "A client or a gateway that looks at the status alone takes the refusal for a yes, and lets in whoever was refused. So does the next programmer.",
			Fix:      "Answer 200 when access is granted, and a status of 400 to 499 for everything else. Then a client that forgets to read the body fails closed. Selo does.",
			Snippets: []string{"errors"},
			Refs:     []string{"rfc9110-15.5", "asvs-16.5.3", "cwe-393"},
		},
		"webhook-accepted": {
			What:     "An event is delivered with the right signature of its bytes, in a JSON that has spaces and escapes in unusual places. It must be taken.",
			Why:      "A server that refuses it checks the signature over something else than the bytes that came. It loses events of the provider, or somebody will mend it by not checking at all.",
			Fix:      "Keep the raw body: express.raw in Node.js, the body before binding in Spring, request.get_data in Flask. " + bytes,
			Snippets: []string{"webhook"},
			Refs:     []string{"asvs-4.1.5", "cwe-347"},
		},
		"webhook-unsigned": {
			What:     "An event is delivered without a signature.",
			Why:      "Whoever finds the URL tells the server that a person was approved, or that a transaction was refused, and it acts on that.",
			Fix:      "Refuse with 401 when the header is missing, as when it is wrong. A check that begins with if the header is there is no check. " + bytes,
			Snippets: []string{"webhook"},
			Refs:     []string{"asvs-4.1.5", "api10", "cwe-345"},
		},
		"webhook-wrong-signature": {
			What:     "Events are delivered with signatures that are wrong: under a random key, under the empty key, with a part of the right one, with its last digit changed, and with the word undefined.",
			Why:      "The server looks whether a signature is there and not whether it is right, or compares a part of it. Whoever finds the URL makes up events, and it acts on them.",
			Fix:      bytes + " Refuse to start without the webhook's secret.",
			Snippets: []string{"webhook"},
			Refs:     []string{"asvs-4.1.5", "rfc8725-3.5", "cwe-347"},
		},
		"webhook-reserialised": {
			What:     "Events are delivered with a signature that is right for the same JSON written in another way: compact, and with its names sorted. They must be refused.",
			Why:      "The server parses the body, writes it again and checks the signature over that. What was signed is then not what was read: where parsers differ, of names that are there twice for instance, an event is changed under a good signature.",
			Fix:      "Keep the raw body, and parse after verification, from the same bytes. " + bytes,
			Snippets: []string{"webhook"},
			Refs:     []string{"asvs-4.1.5", "asvs-1.5.3", "cwe-436"},
		},
		"webhook-replay": {
			What:     "The same event is delivered twice. By the expression webhook.acted of check.yaml, the server must act on it the first time, and not the second.",
			Why:      "Providers deliver again when an answer was lost, and the signature has no time in it. Whoever once saw an event sends it again, and the server credits, unlocks or notifies again.",
			Fix:      "Note the event's id down in the transaction that acts on it, where it is unique, and answer a repeated one like the first. Refuse events whose time is long past. Selo's server does both.",
			Snippets: []string{"webhook", "once"},
			Refs:     []string{"rfc9421-7.2.2", "cwe-294", "cwe-837"},
		},
	}
}

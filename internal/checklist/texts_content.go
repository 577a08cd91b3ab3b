package checklist

// contentTexts are those of topic 5 about times, the form of the payload, and using a response twice.
func contentTexts() map[string]text {
	const (
		window = "Note down when the session was opened, on the server. Demand an iat that is not before it, but for some seconds, and not ahead of now. selo.Verify takes Expectation.Opened for this."
		once   = "Note the id of each response down as used, for ever, in the transaction that grants: an insert into a table where it is unique, and a no when that fails. selo.Verify takes Expectation.Once for this; Selo's server has it in its database."
		again  = "Whoever gets hold of a response that was used, from a log, a proxy or the phone, is let in by it. "
	)
	return map[string]text{
		"stale": {
			What:     "A user hands in approved responses that were signed before limits.response_age of check.yaml, fifteen minutes if nothing else is said, and a minute more; and a day ago.",
			Why:      "Responses have no expiry of their own. Whoever finds one that was not used, on a phone or in a log, is let in by it weeks later, when the person is nowhere near.",
			Fix:      window,
			Snippets: []string{"freshness", "session"},
			Refs:     []string{"rfc7519-4.1.6", "asvs-6.8.4", "cwe-613"},
		},
		"older-than-session": {
			What:     "A user hands in an approved response that was signed two minutes before the session's token was asked for. A grant is a warning.",
			Why:      "A response from before the session is the answer to another attempt. Somebody who got the user to pass a check elsewhere, or took its response before it was used, hands it in for a purpose that the user never saw.",
			Fix:      window,
			Snippets: []string{"freshness", "session"},
			Refs:     []string{"rfc7519-4.1.6", "asvs-2.3.1", "cwe-294"},
		},
		"future": {
			What:     "A user hands in approved responses that were signed an hour from now, and in ten years.",
			Why:      "A response from the future does not grow old: a check of its age passes until that day, and as long again after it. And a provider whose clock is that wrong tells nothing about when the person was there.",
			Fix:      "Refuse an iat that lies more than some seconds ahead of now. " + window,
			Snippets: []string{"freshness"},
			Refs:     []string{"rfc7519-4.1.6", "asvs-2.2.1", "cwe-613"},
		},
		"iat-missing": {
			What:     "A user hands in an approved response without iat, properly signed.",
			Why:      "Nobody knows when it was made, so it may be of any age. A server that checks the age only where there is one lets an old response in by its weakest form.",
			Fix:      "Demand iat. Where a product's response has none, ask the provider about the attempt, and refuse when that tells no time either. selo.Verify refuses with freshness_unproven.",
			Snippets: []string{"freshness"},
			Refs:     []string{"rfc7519-4.1.6", "asvs-16.5.3", "cwe-636"},
		},
		"iat-odd": {
			What:     "A user hands in properly signed responses with an iat that is no time: null, text, true, 0, a negative number, milliseconds, a list and a number that no clock shows.",
			Why:      "A comparison with such a value often comes out as not too old, because it is no number or lies far ahead. The check of the age is then no check.",
			Fix:      "Demand a JSON number of seconds, in a range that can be a time, before it is compared with anything. selo.Verify refuses the rest with claim_type, stale or from_the_future.",
			Snippets: []string{"freshness"},
			Refs:     []string{"rfc7519-4.1.6", "asvs-15.3.5", "cwe-1287"},
		},
		"exp-past": {
			What:     "A user hands in an approved response whose exp was ten minutes ago, properly signed.",
			Why:      "The provider said until when its answer counts. A server that does not look lets in whoever kept the response for longer.",
			Fix:      "Where a response has an exp, refuse it from that moment on, whether or not the product is described with one. selo.Verify refuses with expired.",
			Snippets: []string{"freshness"},
			Refs:     []string{"asvs-9.2.1", "rfc7519-4.1.4", "cwe-613"},
		},
		"exp-odd": {
			What:     "A user hands in properly signed responses with an exp that is no time: null, text, true, 0, a negative number and a list.",
			Why:      "By itself nobody gets in. But a comparison with such a value often comes out as not expired yet, so that the response counts for ever as far as exp goes.",
			Fix:      "Where exp is there, demand a JSON number of seconds, and refuse everything else. selo.Verify does.",
			Snippets: []string{"freshness"},
			Refs:     []string{"rfc7519-4.1.4", "asvs-15.3.5", "cwe-1287"},
		},
		"nbf-future": {
			What:     "A user hands in an approved response that counts from an hour from now on, by its nbf, properly signed.",
			Why:      "The provider said that its answer does not count yet. A server that does not look acts on an answer that may still be withdrawn.",
			Fix:      "Where a response has an nbf, refuse it before that moment, with some seconds for clocks that differ. selo.Verify refuses with from_the_future.",
			Snippets: []string{"freshness"},
			Refs:     []string{"asvs-9.2.1", "rfc7519-4.1.5"},
		},
		"payload-form": {
			What:     "A user hands in properly signed responses whose payload is not one JSON object: a list, an object with something after it, one after a byte order mark, true, and JSON within a text.",
			Why:      "By itself nobody gets in. But parsers differ in what they make of such payloads, so that what one program has checked is not what another one reads.",
			Fix:      "Decode the payload as UTF-8, parse it once with a strict parser, and demand one object with nothing before or after it. selo.Verify refuses with payload_invalid.",
			Snippets: []string{"strict-json"},
			Refs:     []string{"rfc7519-7.2", "rfc8259-8.1", "asvs-1.5.3", "cwe-1286"},
		},
		"replay": {
			What:     "An honest response is granted, and then handed in again in the same session by the same user.",
			Why:      again + "Or one check of the face pays for any number of transfers.",
			Fix:      once,
			Snippets: []string{"once", "session"},
			Refs:     []string{"rfc7519-4.1.7", "cwe-294", "cwe-837"},
		},
		"replay-other-session": {
			What:     "An honest response is granted, and then handed in again by the same user in a session that was opened afterwards.",
			Why:      again + "All they need is a session of that user. A server that only marks the session as used does not see it.",
			Fix:      once,
			Snippets: []string{"once"},
			Refs:     []string{"rfc7519-4.1.7", "cwe-294", "cwe-837"},
		},
		"replay-late": {
			What:     "An honest response is granted at the start of the check, and handed in again by the same user at its end, in a new session.",
			Why:      again + "The server keeps what was used in a cache that forgets, while the response is still fresh enough.",
			Fix:      once,
			Snippets: []string{"once"},
			Refs:     []string{"rfc7519-4.1.7", "cwe-294", "cwe-837"},
		},
		"replay-reencoded": {
			What:     "An honest response is granted, and then handed in again written in other ways: with padding, line breaks, other spare bits, a space before it and a fourth part. Each time in a new session.",
			Why:      again + "A list of used responses that knows them by their text or its hash does not see it, for the text is another.",
			Fix:      "Know used responses by the id in their verified payload, not by their text, and decode strictly so that each has one text. " + once,
			Snippets: []string{"once", "verify"},
			Refs:     []string{"rfc4648-3.5", "rfc7519-4.1.7", "cwe-294"},
		},
		"replay-resigned": {
			What:     "An honest response is granted. Then the same attempt is handed in again, signed anew with its claims in another order, and with another time. Each time in a new session.",
			Why:      "Some providers sign an attempt again each time they are asked about it. One check of the face then gives any number of responses, and each lets its bearer in once.",
			Fix:      "Know used responses by the id of the attempt (requestId, attemptId or sessionId), not by the signature, the text or a time. " + once,
			Snippets: []string{"once"},
			Refs:     []string{"rfc7519-4.1.7", "cwe-294", "cwe-837"},
		},
		"replay-parallel": {
			What:     "One honest response is handed in twenty times at once, in one session. One of them at most may be granted.",
			Why:      "Between looking whether a response was used and noting that it was, there is time for others. Whoever sends it many times at once gets several transfers for one check.",
			Fix:      "Look and note down in one step: an insert into a table where the id is unique, in the transaction that grants, never a select before it. Prove it with several processes. Selo's server does; so must what you give selo.Verify as Once.",
			Snippets: []string{"once"},
			Refs:     []string{"asvs-15.4.2", "cwe-367", "cwe-294"},
		},
		"replay-parallel-sessions": {
			What:     "One honest response is handed in at once in eight sessions of its user. One of them at most may be granted.",
			Why:      "A lock on the session does not see the other sessions. Whoever opens several and sends one response to all of them is let in several times by one check.",
			Fix:      "Make the id of the response unique across all sessions, users and processes, and let a user have one open session for a product. Selo supersedes the earlier one.",
			Snippets: []string{"once", "session"},
			Refs:     []string{"asvs-15.4.2", "cwe-367", "cwe-294"},
		},
	}
}

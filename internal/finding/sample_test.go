package finding

import "time"

// sample is a report with every outcome, a rule with several findings, changes, and what a hostile target would send.
func sample() *Report {
	started := time.Date(2026, 11, 20, 14, 3, 11, 0, time.UTC)
	asvs := func(id string) Reference {
		return Reference{"OWASP ASVS 5.0.0", id, "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en"}
	}
	return &Report{
		Tool: "selo check", Version: "1.4.0", Target: "https://staging.banco.example/v1", Started: started, Took: 12417 * time.Millisecond,
		About: []Fact{{"Product", "caf/face-liveness"}, {"Environment", "sandbox"}, {"Users", "two of the configuration, ana and bruno"}},
		Topics: []Topic{
			{1, "Tokens are generated dynamically, per user, on the server", "Tokens gerados dinamicamente, por usuário, no servidor"},
			{2, "Tokens are made for one CPF", "Tokens gerados para um único CPF"},
			{3, "Tokens expire in reasonable time", "Tokens expiram em tempo razoável"},
			{4, "No tokens for unauthorised users", "Nenhum token para usuários não autorizados"},
			{5, "Payload and signature of every response are validated on the server", "Payload e assinatura de toda resposta validados no servidor"},
			{0, "Beyond the checklist", "Além do checklist"},
		},
		Rules: []Rule{
			{
				ID: "token-per-user", Title: "Two users get two tokens", TitlePT: "Dois usuários recebem dois tokens", Topic: 1, Severity: High,
				What: "Asks for a token as each of two users, and compares them.", Why: "A token that everybody shares names nobody.",
				Fix: "Make the token when it is asked for, from the caller's session.", References: []Reference{asvs("9.1.1")},
			},
			{
				ID: "token-fresh", Title: "A later request gets a later expiry", TitlePT: "Um pedido posterior recebe validade posterior", Topic: 1, Severity: Medium,
				What: "Asks twice, some seconds apart.", Why: "A token that is kept in a constant never expires for the app that holds it.",
				Fix: "Set exp from the clock at each request.",
			},
			{
				ID: "token-other-user", Title: "A token is not given for the CPF of somebody else", TitlePT: "Não se emite token para o CPF de outra pessoa", Topic: 2, Severity: Critical,
				What: "As Ana, asks for a token with Bruno's CPF in the body of the request, in the query, and in a header.",
				Why:  "Whoever may choose the CPF proves to be alive, and is let in as somebody else: the whole check is void, and nobody notices.",
				Fix:  "Take the CPF from the verified identity of the caller (the session, or a claim of the access token). Do not read it from the request, not even to compare it.",
				Snippets: []Snippet{
					{"Go", "cpf, err := selo.ParseCPF(identity.CPF) // not r.FormValue(\"cpf\")\nif err != nil {\n\treturn err\n}\ntoken, err := broker.Open(ctx, caller, selo.CafFaceLiveness)\n"},
					{"Node.js", "const { cpf } = req.auth; // not req.body\nconst token = jwt.sign({ sub: cpf }, secret, { algorithm: 'HS256', expiresIn: '5m' });\n"},
				},
				References: []Reference{asvs("8.2.2"), {"CWE 4.16", "CWE-639", "https://cwe.mitre.org/data/definitions/639.html"}, {"LGPD", "art. 46", "javascript:alert(1)"}},
			},
			{
				ID: "token-cpf-digits", Title: "A CPF with wrong check digits is refused", TitlePT: "CPF com dígitos verificadores errados é recusado", Topic: 2, Severity: Low,
				What: "Asks with such a CPF.", Why: "It finds typing mistakes before the provider does.", Fix: "Check the digits.",
			},
			{
				ID: "token-lifetime", Title: "A token lives ten minutes at most", TitlePT: "Um token vive no máximo dez minutos", Topic: 3, Severity: Medium,
				What: "Reads exp and iat of the token.", Why: "A token that was taken is of use for as long as it lives.", Fix: "Set exp to five minutes from now.",
				References: []Reference{asvs("9.2.1"), {"RFC 8725", "section 3.10", "https://www.rfc-editor.org/rfc/rfc8725.html#section-3.10"}},
			},
			{
				ID: "door-anonymous", Title: "Nobody gets a token without signing in", TitlePT: "Ninguém recebe token sem autenticação", Topic: 4, Severity: Critical,
				What: "Asks without credentials, with broken ones, and with those of another issuer.", Why: "Tokens cost money, and open the door.",
				Fix: "Authenticate before anything else.", References: []Reference{asvs("8.3.1")},
			},
			{
				ID: "door-rate", Title: "Requests are limited per user", TitlePT: "Pedidos são limitados por usuário", Topic: 4, Severity: Medium,
				What: "Asks forty times in a minute.", Why: "Each attempt is paid for.", Fix: "Limit by subject, not by address.",
			},
			{
				ID: "response-signature", Title: "A response with a wrong signature is refused", TitlePT: "Resposta com assinatura errada é recusada", Topic: 5, Severity: Critical,
				What:       "Sends a response signed with another secret, with the algorithm none, and with a signature cut off.",
				Why:        "A response that anybody can write proves nothing.",
				Fix:        "Verify the signature with the clientSecret on the server, with HS256 only, before any field of the payload is read. Refuse every other algorithm by name, and compare in constant time. Answer with a status other than 200, since apps look at the status alone and let in whoever gets it, whatever the body of the answer says to them about it.",
				References: []Reference{asvs("9.1.2"), {"RFC 8725", "section 3.1", "https://www.rfc-editor.org/rfc/rfc8725.html#section-3.1"}, {"CWE 4.16", "347", "https://cwe.mitre.org/data/definitions/347.html"}},
			},
			{
				ID: "response-replay", Title: "A response is used once", TitlePT: "Uma resposta é usada uma única vez", Topic: 5, Severity: High,
				What: "Sends the same response twice.", Why: "A response that was taken from a log lets in whoever has it.", Fix: "Keep the ids of used responses until they expire.",
			},
			{
				ID: "response-smart-auth", Title: "A pending answer of Smart Auth is no grant", TitlePT: "Resposta pendente do Smart Auth não é aprovação", Topic: 5, Severity: High,
				What: "Sends a pending attestation.", Why: "It is a challenge that nobody answered.", Fix: "Grant on authorised only.",
			},
			{
				ID: "extra-cache", Title: "Answers with tokens are not cached", TitlePT: "Respostas com tokens não ficam em cache", Topic: 0, Severity: Low,
				What: "Looks at Cache-Control.", Why: "Proxies keep what they may.", Fix: "Send Cache-Control: no-store.", References: []Reference{asvs("14.2.2")},
			},
			{
				ID: "extra-odd", Title: "A <script>alert('title')</script> ]]> of \x1b[31mred\x1b[0m and \u202eesrever", TitlePT: "Título <b>estranho</b>", Topic: 0, Severity: Low,
				What: "Echoes \x00 & \"quotes\".", Why: "日本語 and emoji 🔑 are wide.\nA second line.", Fix: "`markdown` [link](https://evil.example) <img src=x onerror=alert(1)> *bold*",
				Snippets:   []Snippet{{"</code></pre><script>", "```\n</pre>\u009b2J\n````\n"}},
				References: []Reference{{"Evil", "](x)", "https://user:pass@evil.example/\"><script>"}},
			},
		},
		Findings: []Finding{
			{Rule: "token-per-user", Outcome: Pass, Message: "Ana's and Bruno's tokens differ in subject and signature.", Place: "https://staging.banco.example/v1/token"},
			{Rule: "token-fresh", Outcome: Pass, Message: "The second token expires 3 s after the first.", Place: "https://staging.banco.example/v1/token"},
			{
				Rule: "token-other-user", Outcome: Fail, Message: "Ana was given a token whose subject is Bruno's CPF, which she had put into the body of the request.", Place: "https://staging.banco.example/v1/token",
				Evidence: []Exchange{
					{
						"POST /v1/token HTTP/1.1\r\nHost: staging.banco.example\r\nAuthorization: Bearer (Ana's)\r\nContent-Type: application/json\r\n\r\n{\"product\":\"caf/face-liveness\",\"cpf\":\"(Bruno's)\"}",
						"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: 5f1c\r\n\r\n{\"token\":\"(a JWT; sub is Bruno's CPF, exp in 300 s)\",\"expires_in\":300}",
						"A refusal (403, cpf_mismatch), or a token whose subject is Ana's CPF.",
					},
					{"POST /v1/token?cpf=(Bruno's)", "HTTP/1.1 200 OK", "The same."},
				},
			},
			{Rule: "token-other-user", Outcome: Fail, Message: "The same happens with the CPF in the query.", Place: "https://staging.banco.example/v1/token"},
			{Rule: "token-other-user", Outcome: Pass, Message: "A CPF in a header is not looked at.", Place: "https://staging.banco.example/v1/token"},
			{Rule: "token-cpf-digits", Outcome: NotApplicable, Message: "The integration takes no CPF from its callers."},
			{
				Rule: "token-lifetime", Outcome: Warn, Message: "The token lives 30 minutes.", Place: "https://staging.banco.example/v1/token",
				Evidence: []Exchange{{"", "exp - iat = 1800 s", "600 s or less."}},
			},
			{Rule: "door-anonymous", Outcome: Pass, Message: "Each was refused with 401.", Place: "https://staging.banco.example/v1/token"},
			{Rule: "door-rate", Outcome: Skipped, Message: "The limit is tested in the load test of October, ticket SEC-214; here it would lock out the shared user."},
			{
				Rule: "response-signature", Outcome: Fail, Message: "A response with the algorithm none was accepted.", Place: "https://staging.banco.example:8443/v1/liveness",
				Evidence: []Exchange{{
					"POST /v1/liveness HTTP/1.1\n\n{\"response\":\"(a JWT with alg none)\"}",
					"HTTP/1.1 200 OK\nServer: \x1b]0;owned\x07nginx\nX-Long: " + long("0123456789", 30) + "\n\n" + long("line\n", 20) + "\xff\xfe\u202e\u200b<script>alert(1)</script>",
					"A refusal: 403 with a reason such as algorithm_refused.",
				}},
			},
			{
				Rule: "response-replay", Outcome: Inconclusive, Message: "The second request was answered with 502 Bad Gateway, three times.", Place: "https://staging.banco.example/v1/liveness",
				Evidence: []Exchange{{"POST /v1/liveness HTTP/1.1", "HTTP/1.1 502 Bad Gateway", "A refusal: 409, replayed."}},
			},
			{Rule: "response-smart-auth", Outcome: NotApplicable, Message: "The product is caf/face-liveness."},
			{Rule: "extra-cache", Outcome: Pass, Message: "Cache-Control: no-store."},
			{
				Rule: "extra-odd", Outcome: Warn, Message: "\x1b[2J\r ✓ every rule passes [click](https://evil.example)\n ✓ really", Place: "app.apk!/assets/../../etc/pass:wd\x1b",
				Evidence: []Exchange{{"\t\x1b[1mGET\x1b[0m /\x7f\u0085", "]]><!-- -->&amp;\ufeff\U000e0041", "<b>nothing</b>"}},
			},
		},
		Changes: &Changes{
			Since: started.Add(-17 * 24 * time.Hour),
			Changed: []Change{
				{"token-fresh", "", Fail, Pass}, {"token-other-user", "", Pass, Fail}, {"response-replay", "", "", Inconclusive}, {"extra-old\x1b", "", Pass, ""},
				{"extra-odd", "app.apk!assets/\x1bnew", "", Warn}, {"extra-odd", "app.apk!old", Warn, ""},
			},
		},
	}
}

func long(s string, n int) string {
	out := ""
	for range n {
		out += s
	}
	return out
}

package scan

import "github.com/selo-id/selo/internal/finding"

// The rules, in the order in which they are told.
const (
	ruleOwnSecret   = "own-secret"
	ruleOwnPieces   = "own-secret-in-pieces"
	ruleOwnToken    = "token-of-own-secret"
	ruleTokenKey    = "token-with-its-key"
	ruleNoExpiry    = "token-without-expiry"
	ruleValidToken  = "token-valid"
	ruleExpired     = "token-expired"
	ruleTelling     = "telling-name"
	ruleDebuggable  = "debuggable"
	ruleBackup      = "backup-allowed"
	ruleCleartext   = "cleartext-traffic"
	ruleBeta        = "test-endpoint"
	ruleEverything  = "everything-read"
	ruleAllowedLong = "allowance-over"
)

// Topics are the chapters of the report: how sure a finding is.
func Topics() []finding.Topic {
	return []finding.Topic{
		{Number: 1, Title: "Proof: keys, and tokens that were made with them", TitlePT: "Prova: chaves, e tokens feitos com elas"},
		{Number: 2, Title: "Strong: tokens of the shape of the provider's", TitlePT: "Forte: tokens com a forma dos do provedor"},
		{Number: 3, Title: "Hints: values beside names that tell", TitlePT: "Indícios: valores ao lado de nomes reveladores"},
		{Number: 4, Title: "How the app was built", TitlePT: "Como o app foi compilado"},
		{Number: 5, Title: "What was looked at", TitlePT: "O que foi examinado"},
	}
}

func cwe(id, page string) finding.Reference {
	return finding.Reference{Catalogue: "CWE 4.15", ID: id, URL: "https://cwe.mitre.org/data/definitions/" + page + ".html"}
}

// What is to be done, whichever way a key or a token was found.
const (
	fixKey = "Revoke the access key in the provider's console: whoever has the app has it. Take it out of the sources, the build and their " +
		"history, keep the new one on the server only, and give the app a token that the server mints for its user."
	fixToken = "Take the token out of the app, and out of what the build writes into it. Let the app ask your server for one when it needs " +
		"it; the server mints it for that user, with the CPF and an expiry of minutes. Revoke the key that signed it, if it has no expiry."
)

// Rules are all that is looked for.
func Rules() []finding.Rule {
	hardCoded, key := cwe("CWE-798", "798"), cwe("CWE-321", "321")
	return []finding.Rule{
		{
			ID: ruleOwnSecret, Topic: 1, Severity: finding.Critical,
			Title:   "None of your secrets is in the package",
			TitlePT: "Nenhum dos seus segredos está no pacote",
			What: "Looks for each secret that was given, in every file within the package and every string of the formats that are read, as it is, " +
				"reversed, in UTF-16, hexadecimal, base64 (also twice), rot13, escapes, arrays of numbers and under a repeating XOR; and for " +
				"strings that have the fingerprint of one.",
			Why: "Whoever installs the app has the secret, makes tokens for any CPF, and signs responses that say that a face was alive.",
			Fix: fixKey, References: []finding.Reference{hardCoded, key},
		},
		{
			ID: ruleOwnPieces, Topic: 1, Severity: finding.Critical,
			Title:   "None of your secrets is in the package in pieces",
			TitlePT: "Nenhum dos seus segredos está no pacote em pedaços",
			What:    "Looks for whole strings that are pieces of a secret and together make up four fifths of it or more.",
			Why:     "The app puts the pieces together, and so can whoever reads it.",
			Fix:     fixKey, References: []finding.Reference{hardCoded, key},
		},
		{
			ID: ruleOwnToken, Topic: 1, Severity: finding.Critical,
			Title:   "No token in the package is signed with one of your secrets",
			TitlePT: "Nenhum token no pacote foi assinado com um dos seus segredos",
			What:    "Verifies the MAC of every token that is found with each secret that was given.",
			Why:     "The token starts the SDK in your name, for everybody who has the app; without a CPF and an expiry, for anybody and for ever.",
			Fix:     fixToken, References: []finding.Reference{hardCoded},
		},
		{
			ID: ruleTokenKey, Topic: 1, Severity: finding.Critical,
			Title:   "No token in the package is signed with a string of the same package",
			TitlePT: "Nenhum token no pacote foi assinado com uma string do próprio pacote",
			What: "Tries every string of the package as the key of every token that is found. A key that everybody knows (shorter than 12 bytes, or one " +
				"of documentation's, such as jwt.io's) is a warning, unless the token has the shape of the provider's.",
			Why: "What signs the app's tokens is in the app: anybody can make them.",
			Fix: "If the token is yours: revoke the access key in the provider's console, for whoever has the app has it. Take it out of the " +
				"sources, the build and their history, keep the new one on the server only, and give the app a token that the server mints for " +
				"its user. If it is a library's sample: say so in the allow-list.",
			References: []finding.Reference{hardCoded, key},
		},
		{
			ID: ruleNoExpiry, Topic: 2, Severity: finding.Critical,
			Title:   "No mobile token without an expiry is in the package",
			TitlePT: "Nenhum mobile token sem expiração está no pacote",
			What:    "Looks for HS256 tokens whose issuer is a client ID of yours or of the provider's form, or that name a person by CPF.",
			Why:     "It never ends: everybody who has the app can start the SDK in your name for ever.",
			Fix:     fixToken, References: []finding.Reference{hardCoded, cwe("CWE-613", "613")},
		},
		{
			ID: ruleValidToken, Topic: 2, Severity: finding.High,
			Title:   "No mobile token that is still valid is in the package",
			TitlePT: "Nenhum mobile token ainda válido está no pacote",
			What:    "Looks for the same tokens, with an expiry that is to come.",
			Why:     "Until then everybody who has the app can start the SDK in your name.",
			Fix:     fixToken, References: []finding.Reference{hardCoded},
		},
		{
			ID: ruleExpired, Topic: 2, Severity: finding.Medium,
			Title:   "No mobile token that has expired is in the package",
			TitlePT: "Nenhum mobile token expirado está no pacote",
			What:    "Looks for the same tokens, with an expiry that is past.",
			Why:     "It opens nothing any more, but the next build may have a fresh one, and it may name a person.",
			Fix:     fixToken, References: []finding.Reference{hardCoded},
		},
		{
			ID: ruleTelling, Topic: 3, Severity: finding.Medium,
			Title:   "No value that looks like a secret stands beside a name that says so",
			TitlePT: "Nenhum valor com cara de segredo está ao lado de um nome que o denuncia",
			What: "Looks in key/value stores (resources, property lists, JSON, properties) and in source texts for values of mixed characters whose " +
				"names are such as clientSecret or accessToken. Keys that are made to be shipped are left out.",
			Why:        "It may be a secret. This is a hint and no proof, so it is a warning.",
			Fix:        "Look at it. If it is a secret, keep it on the server; if not, say so in the allow-list.",
			References: []finding.Reference{hardCoded},
		},
		{
			ID: ruleDebuggable, Topic: 4, Severity: finding.High,
			Title:   "The app cannot be debugged",
			TitlePT: "O app não pode ser depurado",
			What:    "Reads android:debuggable in the compiled manifest.",
			Why:     "Whoever holds the phone can attach to the app, and read and change what it does.",
			Fix:     "Ship the release build; leave android:debuggable out of the manifest and let the build type say it.", References: []finding.Reference{cwe("CWE-489", "489")},
		},
		{
			ID: ruleBackup, Topic: 4, Severity: finding.Low,
			Title:   "Backups do not take the app's data along",
			TitlePT: "Backups não levam os dados do app",
			What:    "Reads android:allowBackup and the backup rules in the compiled manifest.",
			Why:     "Session tokens and what else the app has stored leave the phone in a backup.",
			Fix:     `Set android:allowBackup="false", or say in dataExtractionRules what is left out.`, References: []finding.Reference{cwe("CWE-312", "312")},
		},
		{
			ID: ruleCleartext, Topic: 4, Severity: finding.Medium,
			Title:   "The app does not speak in clear text",
			TitlePT: "O app não se comunica em texto claro",
			What:    "Reads android:usesCleartextTraffic in the compiled manifest, and the network security configuration.",
			Why:     "Tokens and signed responses can be read, and changed, on the way.",
			Fix:     "Leave usesCleartextTraffic out, and permit clear text for no domain.", References: []finding.Reference{cwe("CWE-319", "319")},
		},
		{
			ID: ruleBeta, Topic: 4, Severity: finding.Medium,
			Title:   "A release does not speak to the provider's test environment",
			TitlePT: "Uma versão de produção não fala com o ambiente de testes do provedor",
			What:    "Looks for the hosts of the provider's test environment in packages that are not debuggable.",
			Why:     "What the test environment says of a face is worth nothing.",
			Fix:     "Take the test environment out of release builds. If it is the SDK that names the host, say so in the allow-list.",
		},
		{
			ID: ruleEverything, Topic: 5, Severity: finding.High,
			Title:   "Everything in the package was read",
			TitlePT: "Tudo no pacote foi lido",
			What:    "Counts what could not be read: encrypted, damaged, of an unknown version, beyond the limits.",
			Why:     "What nobody looked at may hold anything.",
			Fix:     "Scan the package before it is encrypted or packed, or say in the allow-list why the place does not matter.",
		},
		{
			ID: ruleAllowedLong, Topic: 5, Severity: finding.Low,
			Title:   "No allowance has come to its end",
			TitlePT: "Nenhuma exceção venceu",
			What:    "Reads the days in the allow-list.",
			Why:     "What was to be mended by that day is told again.",
			Fix:     "Mend it, or decide anew.",
		},
	}
}

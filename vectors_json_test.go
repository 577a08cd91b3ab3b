package selo_test

import (
	"strings"

	"github.com/selo-id/selo"
)

func headerRows() []row {
	refused, alg := no(selo.ReasonHeaderRefused), no(selo.ReasonAlgorithmRefused)
	h := func(header string) string { return signWith(header, live()) }
	with := func(params string) string { return h(`{"alg":"HS256","typ":"JWT",` + params + `}`) }
	const ownKey = `{"kty":"oct","k":"YXR0YWNrZXI"}` // "attacker"
	byAttacker := func(params string) string {
		return seal("attacker", segment(`{"alg":"HS256",`+params+`}`)+"."+segment(live()))
	}
	rows := []row{
		{name: "header-not-json", why: "A valid MAC does not excuse a header that is not JSON.", token: h("alg=HS256"), want: refused},
		{name: "header-array", why: "The header is an object.", token: h(`["HS256"]`), want: refused},
		{name: "header-string", why: "The header is an object.", token: h(`"HS256"`), want: refused},
		{name: "header-null", why: "The header is an object.", token: h("null"), want: refused},
		{name: "header-trailing", why: "Nothing comes after the object.", token: h(plainHeader + "{}"), want: refused},
		{name: "header-trailing-comma", why: "JSON has no trailing comma.", token: h(`{"alg":"HS256",}`), want: refused},
		{name: "header-truncated", why: "The object is not closed.", token: h(`{"alg":"HS256"`), want: refused},
		{name: "header-bom", why: "JSON on the wire has no byte order mark.", token: h("\ufeff" + plainHeader), want: refused},
		{name: "header-comment", why: "JSON has no comments.", token: h(`{"alg":"HS256"/* */}`), want: refused},
		{name: "header-single-quotes", why: "JSON strings have double quotes.", token: h(`{'alg':'HS256'}`), want: refused},
		{name: "header-invalid-utf8", why: "A header that is not UTF-8 means different things to different readers.", token: h("{\"alg\":\"HS256\",\"x\":\"\xff\"}"), want: refused},
		{name: "header-lone-surrogate", why: "Half a surrogate pair is no character.", token: with(`"x":"\ud800"`), want: refused},
		{name: "header-depth-33", why: "A header deeper than 32 is not read.", token: with(`"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), want: refused},
		{name: "header-duplicate-alg", why: "Of two values of alg one reader takes the first and another the last.", token: h(`{"alg":"HS256","alg":"HS256"}`), want: refused},
		{name: "header-duplicate-alg-none", why: "The last alg is none.", token: h(`{"alg":"HS256","alg":"none"}`), want: refused},
		{name: "header-duplicate-alg-escaped", why: "An escape in the name does not hide that it is there twice.", token: h(`{"alg":"HS256","\u0061lg":"none"}`), want: refused},
		{name: "header-duplicate-unknown", why: "Every name is unique, also of parameters that are not used.", token: with(`"x":1,"x":2`), want: refused},
		{name: "header-duplicate-nested", why: "Every name is unique at every depth.", token: with(`"x":{"y":1,"y":1}`), want: refused},
		{name: "alg-name-case", why: "A parameter in another spelling is read as alg by some.", token: with(`"ALG":"none"`), want: refused},
		{name: "alg-name-case-only", why: "Alg is not alg.", token: h(`{"Alg":"HS256"}`), want: refused},
		{name: "typ-name-case", why: "Typ is typ to a lenient reader.", token: h(`{"alg":"HS256","Typ":"JWT"}`), want: refused},

		{name: "alg-missing", why: "Without alg nobody said what the MAC is.", token: h(`{"typ":"JWT"}`), want: alg},
		{name: "alg-empty-object", why: "Without alg nobody said what the MAC is.", token: h(`{}`), want: alg},
		{name: "alg-escaped-value", why: "An escape in the value is the same value.", token: h(`{"alg":"HS\u003256"}`)},
		{name: "alg-escaped-name", why: "An escape in the name is the same name.", token: h(`{"\u0061lg":"HS256"}`)},
		{name: "alg-only", why: "typ is optional.", token: h(`{"alg":"HS256"}`)},
		{name: "typ-first", why: "The order of parameters means nothing.", token: h(`{"typ":"JWT","alg":"HS256"}`)},
		{name: "header-white-space", why: "White space in JSON means nothing.", token: h(" {\n\t\"alg\" : \"HS256\" ,\r\n \"typ\" : \"JWT\" } \n")},

		{name: "kid", why: "kid may be there; the key was chosen before.", token: with(`"kid":"` + testClientID + `"`)},
		{name: "kid-path", why: "kid is never looked up.", token: with(`"kid":"../../../../dev/null"`)},
		{name: "kid-path-empty-key", why: "A file that kid names is not the key.", token: seal("", segment(`{"alg":"HS256","kid":"../../../../dev/null"}`)+"."+segment(live())), want: no(selo.ReasonSignatureInvalid)},
		{name: "kid-sql", why: "kid reaches no query.", token: seal("attacker", segment(`{"alg":"HS256","kid":"' UNION SELECT 'attacker"}`)+"."+segment(live())), want: no(selo.ReasonSignatureInvalid)},
		{name: "jku", why: "jku may be there and is not fetched.", token: with(`"jku":"https://attacker.example/jwks.json"`)},
		{name: "jwk", why: "jwk may be there and is not used.", token: with(`"jwk":` + ownKey)},
		{name: "x5u", why: "x5u may be there and is not fetched.", token: with(`"x5u":"https://attacker.example/cert.pem"`)},
		{name: "x5c", why: "x5c may be there and is not used.", token: with(`"x5c":["MIIB"]`)},
		{name: "key-pointers-all", why: "None of the parameters that point to a key is used.", token: with(`"kid":"1","jku":"https://attacker.example/","jwk":` + ownKey + `,"x5u":"https://attacker.example/","x5c":["MIIB"],"x5t":"YQ"`)},
		{name: "jwk-used", why: "Signed with the key that the header carries.", token: byAttacker(`"jwk":` + ownKey), want: no(selo.ReasonSignatureInvalid)},
		{name: "jku-used", why: "Signed with a key that is not ours, and says where to get it.", token: byAttacker(`"jku":"https://attacker.example/jwks.json"`), want: no(selo.ReasonSignatureInvalid)},
	}
	for _, v := range []struct{ name, value string }{
		{"none", `"none"`}, {"none-title", `"None"`}, {"none-upper", `"NONE"`}, {"none-mixed", `"nOnE"`},
		{"none-escaped", `"n\u006fne"`}, {"empty", `""`}, {"hs384", `"HS384"`}, {"hs512", `"HS512"`},
		{"rs256", `"RS256"`}, {"es256", `"ES256"`}, {"ps256", `"PS256"`}, {"eddsa", `"EdDSA"`},
		{"lower-case", `"hs256"`}, {"title", `"Hs256"`}, {"space", `"HS256 "`}, {"nul", `"HS256\u0000"`},
		{"sha256", `"HMAC-SHA256"`}, {"uri", `"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"`},
		{"fullwidth", `"ＨＳ２５６"`}, {"null", `null`}, {"array", `["HS256"]`}, {"object", `{"alg":"HS256"}`},
		{"number", `256`}, {"true", `true`},
	} {
		rows = append(rows, row{name: "alg-" + v.name, why: "alg must be exactly HS256, even where the MAC is a valid HS256.", token: h(`{"alg":` + v.value + `,"typ":"JWT"}`), want: alg})
	}
	for _, v := range []struct{ name, param string }{
		{"crit", `"crit":["exp"]`}, {"crit-empty", `"crit":[]`}, {"crit-null", `"crit":null`}, {"crit-title", `"Crit":["exp"]`},
		{"crit-upper", `"CRIT":["exp"]`}, {"crit-escaped", `"cr\u0069t":["exp"]`}, {"crit-dotless", `"crıt":["exp"]`},
		{"b64-false", `"b64":false`}, {"b64-true", `"b64":true`}, {"b64-upper", `"B64":false`}, {"b64-crit", `"b64":false,"crit":["b64"]`},
		{"zip", `"zip":"DEF"`}, {"zip-upper", `"ZIP":"DEF"`}, {"cty", `"cty":"JWT"`}, {"cty-upper", `"CTY":"JWT"`},
		{"enc", `"enc":"A256GCM"`}, {"enc-title", `"Enc":"A256GCM"`},
	} {
		rows = append(rows, row{name: "param-" + v.name, why: "A parameter that changes what the token means is refused, whatever its value or spelling.", token: with(v.param), want: refused})
	}
	for _, v := range []struct{ name, value string }{
		{"lower-case", `"jwt"`}, {"title", `"Jwt"`}, {"at-jwt", `"at+jwt"`}, {"receipt", `"selo-receipt+jwt"`},
		{"media-type", `"application/jwt"`}, {"empty", `""`}, {"null", `null`}, {"number", `1`}, {"array", `["JWT"]`},
	} {
		rows = append(rows, row{name: "typ-" + v.name, why: "typ is JWT or absent; another type is another kind of token.", token: h(`{"alg":"HS256","typ":` + v.value + `}`), want: refused})
	}
	return rows
}

func payloadRows() []row {
	bad := no(selo.ReasonPayloadInvalid)
	deep := func(open, inner, shut string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	rows := []row{
		{name: "depth-32-arrays", why: "The outermost object counts as one: 31 arrays within are the most.", token: sign(live("x", deep("[", "", "]", 31)))},
		{name: "depth-33-arrays", why: "One more is refused.", token: sign(live("x", deep("[", "", "]", 32))), want: bad},
		{name: "depth-32-objects", why: "31 objects within the outermost are the most.", token: sign(live("x", deep(`{"x":`, "{}", "}", 30)))},
		{name: "depth-33-objects", why: "One more is refused.", token: sign(live("x", deep(`{"x":`, "{}", "}", 31))), want: bad},
		{name: "depth-32-mixed", why: "Objects and arrays count alike.", token: sign(live("x", deep(`{"x":[`, "{}", "]}", 15)))},
		{name: "depth-33-mixed", why: "Objects and arrays count alike.", token: sign(live("x", deep(`{"x":[`, "[[]]", "]}", 15))), want: bad},
		{name: "depth-3000", why: "A parser that recurses would use up its stack.", token: sign(live("x", deep("[", "", "]", 3000))), want: bad},
		{name: "many-siblings", why: "Depth is not length.", token: sign(live("x", "["+strings.Repeat("[],", 200)+"[]]"))},
		{name: "duplicate-after", why: "isAlive is false and then true.", token: sign(twice(live("isAlive", "false"), "isAlive", "true")), want: bad},
		{name: "duplicate-before", why: "isAlive is true and then false.", token: sign(twice(live(), "isAlive", "false")), want: bad},
		{name: "duplicate-same", why: "Twice the same is still twice.", token: sign(twice(live(), "isAlive", "true")), want: bad},
		{name: "duplicate-escaped", why: "An escape in the name does not hide that it is there twice.", token: sign(twice(live("isAlive", "false"), `\u0069sAlive`, "true")), want: bad},
		{name: "duplicate-subject", why: "Two people.", token: sign(twice(live("personId", `"`+otherCPF+`"`), "personId", `"`+testCPF+`"`)), want: bad},
		{name: "duplicate-unknown", why: "Every name is unique, also of claims that are not read.", token: sign(twice(live("x", "1"), "x", "1")), want: bad},
		{name: "duplicate-unknown-escaped", why: "Two spellings of one unread name, by escapes of another letter case.", token: sign(live(`\u00e9`, "1", `\u00E9`, "2")), want: bad},
		{name: "duplicate-surrogates", why: "A character and its escaped surrogate pair are one name.", token: sign(live("😀", "1", `\ud83d\ude00`, "2")), want: bad},
		{name: "duplicate-nested", why: "Every name is unique at every depth.", token: sign(live("x", `[{"a":1,"a":1}]`)), want: bad},
		{name: "same-name-elsewhere", why: "One name in two objects is not twice.", token: sign(live("x", `{"isAlive":false,"y":{"isAlive":null}}`))},
		{name: "lone-high-surrogate", why: "Half a surrogate pair is no character.", token: sign(live("x", `"\ud83d"`)), want: bad},
		{name: "lone-low-surrogate", why: "Half a surrogate pair is no character.", token: sign(live("x", `"\ude00"`)), want: bad},
		{name: "surrogates-swapped", why: "The low half comes second.", token: sign(live("x", `"\ude00\ud83d"`)), want: bad},
		{name: "lone-surrogate-nested", why: "Strings within unread claims are checked too.", token: sign(live("x", `[{"y":"\udfff"}]`)), want: bad},
		{name: "lone-surrogate-name", why: "Names are checked as values are.", token: sign(live(`\ud800`, "1")), want: bad},
		{name: "invalid-utf8-value", why: "A byte that is no UTF-8.", token: sign(live("userId", "\"\xff\"")), want: bad},
		{name: "invalid-utf8-name", why: "A byte that is no UTF-8, in a name.", token: sign(live("\xfe", "1")), want: bad},
		{name: "invalid-utf8-nested", why: "A byte that is no UTF-8, in an unread claim.", token: sign(live("x", "[\"\xc3\"]")), want: bad},
		{name: "utf8-overlong", why: "An overlong form of a slash.", token: sign(live("userId", "\"\xc0\xaf\"")), want: bad},
		{name: "utf8-surrogate", why: "A surrogate in UTF-8.", token: sign(live("userId", "\"\xed\xa0\x80\"")), want: bad},
		{name: "latin-1", why: "Latin-1 is not UTF-8.", token: sign(live("userId", "\"Jo\xe3o\"")), want: bad},
		{name: "raw-control", why: "Control characters in strings are escaped in JSON.", token: sign(live("userId", "\"a\x01b\"")), want: bad},
		{name: "raw-nul", why: "NUL in a string is escaped in JSON.", token: sign(live("userId", "\"a\x00b\"")), want: bad},
		{name: "raw-newline", why: "A line break in a string is escaped in JSON.", token: sign(live("userId", "\"a\nb\"")), want: bad},
		{name: "raw-tab-name", why: "A tab in a name is escaped in JSON.", token: sign(live("a\tb", "1")), want: bad},
		{name: "escaped-control", why: "Escaped, a control character is a character.", token: sign(live("userId", `"a\u0001\n\u0000b"`))},
	}
	for _, v := range []struct{ name, why, payload string }{
		{"empty-array", "The payload is an object.", "[]"}, {"array", "The payload is an object, not a list of one.", "[" + live() + "]"},
		{"null", "The payload is an object.", "null"}, {"true", "The payload is an object.", "true"},
		{"string", "The payload is an object, not a string that holds one.", `"{\"isAlive\":true}"`},
		{"number", "The payload is an object.", "1700000030"}, {"nan", "NaN is not JSON.", "NaN"},
		{"text", "The payload is JSON.", "isAlive=true"}, {"space", "White space alone is no JSON.", " "},
		{"nul", "A NUL byte is no JSON.", "\x00"}, {"truncated", "The object is not closed.", live()[:len(live())-1]},
		{"trailing-object", "A second object follows.", live("isAlive", "false") + live()},
		{"trailing-brace", "A brace too many.", live() + "}"}, {"trailing-nul", "NUL after the object.", live() + "\x00"},
		{"trailing-text", "Something follows the object.", live() + " x"}, {"trailing-comma", "JSON has no trailing comma.", live()[:len(live())-1] + ",}"},
		{"leading-comma", "JSON has no leading comma.", "{," + live()[1:]}, {"bom", "JSON on the wire has no byte order mark.", "\ufeff" + live()},
		{"comment", "JSON has no comments.", live()[:len(live())-1] + "/*x*/}"}, {"single-quotes", "JSON strings have double quotes.", strings.ReplaceAll(live(), `"`, "'")},
		{"unquoted-name", "JSON names have quotes.", strings.Replace(live(), `"isAlive"`, "isAlive", 1)},
		{"number-name", "JSON names are strings.", "{1:2," + live()[1:]}, {"missing-colon", "A name without a value.", `{"x",` + live()[1:]},
		{"bad-escape", "JSON knows no \\x.", live("userId", `"\x41"`)}, {"upper-true", "JSON's true is lower case.", live("isAlive", "True")},
		{"no-break-space", "JSON's white space is ASCII.", live() + "\u00a0"}, {"utf-16", "JSON on the wire is UTF-8.", "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00"},
	} {
		rows = append(rows, row{name: "payload-" + v.name, why: v.why, token: sign(v.payload), want: bad})
	}
	for _, v := range []struct{ name, spelling, value string }{
		{"lower", "isalive", "true"}, {"upper", "ISALIVE", "true"}, {"title", "IsAlive", "true"},
		{"snake", "is_alive", "true"}, {"kebab", "is-alive", "true"}, {"leading-underscore", "_isAlive", "true"},
		{"dotless-i", "isAlıve", "true"}, {"dotted-i", "İsAlive", "true"}, {"long-s", "iſAlive", "true"},
		{"long-s-escaped", `i\u017fAlive`, "true"}, {"false", "isalive", "false"},
		{"person-id-upper", "personID", `"` + testCPF + `"`}, {"person-id-snake", "person_id", `"` + testCPF + `"`},
		{"request-id-upper", "requestID", `"x"`}, {"iat-upper", "IAT", "1700000030"}, {"exp-upper", "Exp", "1"}, {"nbf-upper", "NBF", "1"},
		{"iss-upper", "ISS", `"x"`}, {"other-product", "is_match", "true"}, {"other-product-long-s", "ſessionId", `"x"`},
		{"sharp-s", "iß", `"x"`}, {"other-product-sharp-s", "seßionId", `"x"`}, {"ligature-st", "requeﬆId", `"x"`},
	} {
		rows = append(rows, row{name: "spelling-" + v.name, why: "A decoder that ignores case, marks or folds Unicode reads this as the claim.", token: sign(live(v.spelling, v.value)), want: bad})
	}
	return append(rows,
		row{name: "spelling-alone", why: "The claim is there in another spelling only.", token: sign(live("isAlive", "", "isalive", "true")), want: bad},
		row{name: "spelling-policy-kelvin", why: "No claim here has a k, but the Kelvin sign in an unread one is only an unread claim.", token: sign(live("to\u212aen", `"x"`))},
		row{name: "spelling-unread", why: "userId is not read, so its other spellings are nobody's business.", token: sign(live("USERID", `"x"`))},
	)
}

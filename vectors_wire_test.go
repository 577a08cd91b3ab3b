package selo_test

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // its MAC is what must be refused
	"crypto/sha1" //nolint:gosec // its MAC is what must be refused
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/selo-id/selo"
)

// ofLength is an approved response whose whole token has n bytes.
func ofLength(n int) string {
	for pad := 0; ; pad++ {
		if token := sign(live("note", `"`+strings.Repeat("x", pad)+`"`)); len(token) >= n {
			if len(token) > n {
				panic(fmt.Sprintf("no token has %d bytes", n))
			}
			return token
		} else if d := (n-len(token))*3/4 - 2; d > 0 {
			pad += d
		}
	}
}

// sealed encodes header and payload, lets change edit the encoded header and payload, and signs what
// comes out: the MAC is valid, whatever was done to the text.
func sealed(header, payload string, change func(h, p string) (string, string)) string {
	h, p := change(segment(header), segment(payload))
	return seal(testSecret, h+"."+p)
}

func inHeader(header string, change func(string) string) string {
	return sealed(header, live(), func(h, p string) (string, string) { return change(h), p })
}

func inPayload(payload string, change func(string) string) string {
	return sealed(plainHeader, payload, func(h, p string) (string, string) { return h, change(p) })
}

func inSignature(token string, change func(string) string) string {
	i := strings.LastIndexByte(token, '.') + 1
	return token[:i] + change(token[i:])
}

// spareBit sets a bit of the last character that stands for no byte, so that lenient decoders see the
// same bytes.
func spareBit(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 == 0 {
		panic("no spare bits")
	}
	last := len(s) - 1
	return s[:last] + string(alphabet[strings.IndexByte(alphabet, s[last])+1])
}

// standard writes s in the other base64 alphabet.
func standard(s string) string {
	if !strings.ContainsAny(s, "-_") {
		panic("nothing to write in the other alphabet")
	}
	return strings.NewReplacer("-", "+", "_", "/").Replace(s)
}

func padded(s string) string {
	if len(s)%4 == 0 {
		panic("nothing to pad")
	}
	return s + strings.Repeat("=", 4-len(s)%4)
}

func middle(insert string) func(string) string {
	return func(s string) string { return s[:len(s)/2] + insert + s[len(s)/2:] }
}

// mixed is an approved response whose signature has both characters that the alphabets differ in.
func mixed() string {
	for i := 0; ; i++ {
		token := sign(live("note", fmt.Sprint(i)))
		sig := token[strings.LastIndexByte(token, '.'):]
		if strings.Contains(sig, "-") && strings.Contains(sig, "_") {
			return token
		}
	}
}

func encodingRows() []row {
	bad := no(selo.ReasonMalformed)
	const sixteen = `{"alg":"HS256" }` // a length that leaves spare bits
	good := sign(live())
	parts := strings.Split(good, ".")
	spaced := live() + strings.Repeat(" ", (4-len(live())%3)%3)
	return []row{
		{name: "size-16384", why: "Exactly 16 KiB is the longest that is looked at.", token: ofLength(16384)},
		{name: "size-16385", why: "One byte more is refused before any work, though everything in it is right.", token: ofLength(16385), want: no(selo.ReasonTooLarge)},
		{name: "size-16385-no-token", why: "The size comes before the shape.", token: strings.Repeat(".", 16385), want: no(selo.ReasonTooLarge)},
		{name: "segments-none", why: "An empty string is no token.", token: "", want: bad},
		{name: "segments-one", why: "A payload alone, as a server that only decodes would take it.", token: parts[1], want: bad},
		{name: "segments-two", why: "Header and payload without the dot of a signature.", token: parts[0] + "." + parts[1], want: bad},
		{name: "segments-four", why: "A fourth segment is not part of a JWS.", token: good + "." + parts[1], want: bad},
		{name: "segments-four-empty", why: "A dot at the end makes a fourth segment.", token: good + ".", want: bad},
		{name: "segments-leading-dot", why: "A dot at the start makes a fourth segment.", token: "." + good, want: bad},
		{name: "segments-five", why: "Five segments are a JWE.", token: parts[0] + "..." + parts[1] + "." + parts[2], want: bad},
		{name: "segments-only-dots", why: "Three empty segments hold no header and no payload.", token: "..", want: bad},
		{name: "segments-empty-header", why: "An empty header names no algorithm, even with a valid MAC.", token: seal(testSecret, "."+parts[1]), want: bad},
		{name: "segments-empty-payload", why: "A detached payload is not looked for, even with a valid MAC.", token: seal(testSecret, parts[0]+"."), want: bad},
		{name: "segments-json-serialization", why: "Only the compact serialization is a signed response.", token: `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, want: bad},
		{name: "segments-dot-percent-encoded", why: "Nothing is percent-decoded.", token: strings.ReplaceAll(good, ".", "%2E"), want: bad},
		{name: "segments-dot-fullwidth", why: "Only the ASCII dot separates.", token: strings.ReplaceAll(good, ".", "．"), want: bad},

		{name: "padding-header", why: "Padding is another text for the same bytes; the MAC covers it and is valid.", token: inHeader(sixteen, padded), want: bad},
		{name: "padding-payload", why: "Padding is another text for the same bytes; the MAC covers it and is valid.", token: inPayload(spaced, padded), want: bad},
		{name: "padding-signature", why: "Padding on the signature, which no MAC covers.", token: inSignature(good, padded), want: bad},
		{name: "padding-signature-four", why: "Padding where none belongs.", token: good + "====", want: bad},
		{name: "alphabet-header", why: "Plus and slash are the other base64; the MAC is valid.", token: inHeader(`{"alg":"HS256","kid":"???>>>"}`, standard), want: bad},
		{name: "alphabet-payload", why: "Plus and slash are the other base64; the MAC is valid.", token: inPayload(live("note", `"???>>>???>>>"`, "n", "1"), standard), want: bad},
		{name: "alphabet-signature", why: "Plus and slash in the signature give a second text of one token.", token: inSignature(mixed(), standard), want: bad},
		{name: "alphabet-url-safe", why: "The same signature in the right alphabet is fine.", token: mixed()},

		{name: "lf-header", why: "Many decoders skip LF; the MAC covers it and is valid.", token: inHeader(plainHeader, middle("\n")), want: bad},
		{name: "lf-payload", why: "Many decoders skip LF; the MAC covers it and is valid.", token: inPayload(live(), middle("\n")), want: bad},
		{name: "lf-signature", why: "Many decoders skip LF, which gives one token many texts.", token: inSignature(good, middle("\n")), want: bad},
		{name: "lf-end", why: "A line read from a file or a body still has its line break; trim before, not here.", token: good + "\n", want: bad},
		{name: "lf-start", why: "A line break before the token is not part of it.", token: "\n" + good, want: bad},
		{name: "cr-header", why: "Many decoders skip CR; the MAC covers it and is valid.", token: inHeader(plainHeader, middle("\r")), want: bad},
		{name: "cr-payload", why: "Many decoders skip CR; the MAC covers it and is valid.", token: inPayload(live(), middle("\r")), want: bad},
		{name: "cr-signature", why: "Many decoders skip CR, which gives one token many texts.", token: inSignature(good, middle("\r")), want: bad},
		{name: "crlf-end", why: "CRLF at the end, as from a text file.", token: good + "\r\n", want: bad},
		{name: "crlf-every-76", why: "Base64 in MIME lines.", token: inPayload(live(), func(s string) string { return s[:76] + "\r\n" + s[76:] }), want: bad},

		{name: "spare-bits-header", why: "Bits that stand for no byte must be zero; the MAC is valid.", token: inHeader(sixteen, spareBit), want: bad},
		{name: "spare-bits-payload", why: "Bits that stand for no byte must be zero; the MAC is valid.", token: inPayload(spaced, spareBit), want: bad},
		{name: "spare-bits-signature", why: "A signature with another last character decodes to the same MAC in lenient decoders.", token: inSignature(good, spareBit), want: bad},
		{name: "length-header", why: "No number of bytes encodes to a length of one more than a multiple of four.", token: inHeader(plainHeader, func(s string) string { return s + "A" }), want: bad},
		{name: "length-payload", why: "A single character left over stands for no byte.", token: inPayload(live()+strings.Repeat(" ", (3-len(live())%3)%3), func(s string) string { return s + "A" }), want: bad},
		{name: "length-signature", why: "A signature of 45 characters stands for no number of bytes.", token: good + "AA", want: bad},

		{name: "space-header", why: "White space is not base64url; the MAC is valid.", token: inHeader(plainHeader, middle(" ")), want: bad},
		{name: "space-end", why: "White space after the token.", token: good + " ", want: bad},
		{name: "tab-payload", why: "A tab in the payload; the MAC is valid.", token: inPayload(live(), middle("\t")), want: bad},
		{name: "nul-header", why: "NUL ends a string in some languages; the MAC is valid.", token: inHeader(plainHeader, func(s string) string { return s + "\x00" }), want: bad},
		{name: "nul-end", why: "NUL and more after a good token.", token: good + "\x00.evil", want: bad},
		{name: "nul-signature", why: "NUL after the signature.", token: good + "\x00", want: bad},
		{name: "non-ascii-header", why: "A letter outside ASCII; the MAC is valid.", token: inHeader(plainHeader, middle("é")), want: bad},
		{name: "non-ascii-payload", why: "A fullwidth letter that some libraries normalise; the MAC is valid.", token: inPayload(live(), middle("Ａ")), want: bad},
		{name: "zero-width-signature", why: "A zero-width space survives many trims.", token: good + "\u200b", want: bad},
		{name: "bom-start", why: "A byte order mark before the token.", token: "\ufeff" + good, want: bad},
		{name: "bearer-prefix", why: "An Authorization header is not a token.", token: "Bearer " + good, want: bad},
		{name: "quoted", why: "A JSON string is not a token.", token: `"` + good + `"`, want: bad},
	}
}

func macWith(h func() hash.Hash, secret, signed string) []byte {
	m := hmac.New(h, []byte(secret))
	m.Write([]byte(signed))
	return m.Sum(nil)
}

func signatureRows() []row {
	bad := no(selo.ReasonSignatureInvalid)
	signed := segment(plainHeader) + "." + segment(live())
	mac := macOf(testSecret, signed)
	with := func(sig []byte) string { return signed + "." + segment(sig) }
	keyed := func(secret string) string { return seal(secret, signed) }
	sum := func(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }
	resigned := func(header, payload string) string {
		return segment(header) + "." + segment(payload) + "." + segment(mac)
	}
	const none = `{"alg":"none","typ":"JWT"}`
	return []row{
		{name: "mac-valid", why: "The token that the others in this file are made from.", token: with(mac)},
		{name: "key-wrong", why: "Signed with a secret of the same length that is not the key's.", token: keyed(strings.Repeat("x", len(testSecret))), want: bad},
		{name: "key-sandbox", why: "A sandbox key never verifies in production.", token: keyed(testSandboxSecret), want: bad},
		{name: "key-client-id", why: "The client ID is public and no key.", token: keyed(testClientID), want: bad},
		{name: "key-empty", why: "A server that lost its secret signs with nothing.", token: keyed(""), want: bad},
		{name: "key-with-newline", why: "A secret read from a file with its line break is another secret.", token: keyed(testSecret + "\n"), want: bad},
		{name: "key-with-nul", why: "HMAC pads a short key with NUL bytes, so a NUL after the secret is the same key: this one is granted by the arithmetic of HMAC.", token: keyed(testSecret + "\x00")},
		{name: "key-upper-case", why: "The secret is compared as bytes.", token: keyed(strings.ToUpper(testSecret)), want: bad},
		{name: "key-truncated", why: "The secret without its last byte.", token: keyed(testSecret[:len(testSecret)-1]), want: bad},
		{name: "key-base64", why: "The secret is used as it is shown, not base64-encoded.", token: keyed(base64.StdEncoding.EncodeToString([]byte(testSecret))), want: bad},
		{name: "key-hex", why: "The secret is used as it is shown, not hex-encoded.", token: keyed(hex.EncodeToString([]byte(testSecret))), want: bad},
		{name: "mac-empty", why: "An unsigned token has an empty signature; alg is still HS256.", token: signed + ".", want: bad},
		{name: "mac-31-bytes", why: "A MAC is not compared only as far as it goes.", token: with(mac[:31]), want: bad},
		{name: "mac-16-bytes", why: "Half a MAC, as truncated HMACs use.", token: with(mac[:16]), want: bad},
		{name: "mac-1-byte", why: "One right byte could be found by trying 256.", token: with(mac[:1]), want: bad},
		{name: "mac-33-bytes", why: "A right MAC with a byte after it.", token: with(append(mac[:32:32], 0)), want: bad},
		{name: "mac-twice", why: "A right MAC written twice.", token: with(append(mac[:32:32], mac...)), want: bad},
		{name: "mac-zeros", why: "Thirty-two NUL bytes.", token: with(make([]byte, 32)), want: bad},
		{name: "mac-first-bit", why: "One bit of the MAC is wrong.", token: with(append([]byte{mac[0] ^ 0x80}, mac[1:]...)), want: bad},
		{name: "mac-last-bit", why: "One bit of the MAC is wrong.", token: with(append(mac[:31:31], mac[31]^1)), want: bad},
		{name: "mac-hs384", why: "HMAC-SHA384 under the right key is another algorithm's MAC.", token: with(macWith(sha512.New384, testSecret, signed)), want: bad},
		{name: "mac-hs512", why: "HMAC-SHA512 under the right key is another algorithm's MAC.", token: with(macWith(sha512.New, testSecret, signed)), want: bad},
		{name: "mac-hs512-256", why: "HMAC-SHA512/256 has the right length and is another MAC.", token: with(macWith(sha512.New512_256, testSecret, signed)), want: bad},
		{name: "mac-sha1", why: "HMAC-SHA1 under the right key.", token: with(macWith(sha1.New, testSecret, signed)), want: bad},
		{name: "mac-md5", why: "HMAC-MD5 under the right key.", token: with(macWith(md5.New, testSecret, signed)), want: bad},
		{name: "mac-plain-hash", why: "A hash without a key is made by anyone.", token: with(sum(signed)), want: bad},
		{name: "mac-hash-with-prefix", why: "SHA-256 of secret and text is no HMAC.", token: with(sum(testSecret + signed)), want: bad},
		{name: "mac-hex-text", why: "The MAC in hex and then in base64url.", token: with([]byte(hex.EncodeToString(mac))), want: bad},
		{name: "mac-of-decoded", why: "The MAC covers the encoded text, not the JSON.", token: with(macOf(testSecret, plainHeader+"."+live())), want: bad},
		{name: "mac-of-payload", why: "The MAC covers the header too.", token: with(macOf(testSecret, segment(live()))), want: bad},
		{name: "mac-of-trailing-dot", why: "The MAC does not cover the second dot.", token: with(macOf(testSecret, signed+".")), want: bad},
		{name: "mac-of-another-response", why: "The signature of another honest response.", token: with(macOf(testSecret, segment(plainHeader)+"."+segment(live("iat", "1700000031")))), want: bad},
		{name: "edited-decision", why: "isAlive was false when it was signed.", token: segment(plainHeader) + "." + segment(live()) + "." + segment(macOf(testSecret, segment(plainHeader)+"."+segment(live("isAlive", "false")))), want: bad},
		{name: "edited-subject", why: "The payload names somebody else than was signed.", token: resigned(plainHeader, live("personId", `"`+otherCPF+`"`)), want: bad},
		{name: "edited-time", why: "iat was moved by a second and the signature kept.", token: resigned(plainHeader, live("iat", "1700000031")), want: bad},
		{name: "edited-white-space", why: "The same JSON with a space more is another text.", token: resigned(plainHeader, live()+" "), want: bad},
		{name: "edited-header", why: "The header was changed and the signature kept.", token: resigned(`{"alg":"HS256"}`, live()), want: bad},
		{name: "none-unsigned", why: "alg none without a signature is unsigned: the MAC comes first.", token: segment(none) + "." + segment(live()) + ".", want: bad},
		{name: "none-kept-signature", why: "alg none with the signature of another header.", token: resigned(none, live()), want: bad},
		{name: "none-plain-hash", why: "alg none with a hash.", token: segment(none) + "." + segment(live()) + "." + segment(sum(segment(none)+"."+segment(live()))), want: bad},
		{name: "bad-header-bad-mac", why: "No JSON of an unauthenticated sender is parsed.", token: segment("{") + "." + segment(live()) + "." + segment(mac), want: bad},
		{name: "bad-payload-bad-mac", why: "No JSON of an unauthenticated sender is parsed.", token: segment(plainHeader) + "." + segment("not json") + "." + segment(mac), want: bad},
		{name: "bad-json-empty-mac", why: "No JSON of an unauthenticated sender is parsed.", token: segment("null") + "." + segment("null") + ".", want: bad},
		{name: "hs512-hs512", why: "The header says HS512 and the MAC is one: it is not the MAC that the key is for.", token: func() string {
			s := segment(`{"alg":"HS512","typ":"JWT"}`) + "." + segment(live())
			return s + "." + segment(macWith(sha512.New, testSecret, s))
		}(), want: bad},
		{name: "signature-lower-case", why: "base64url is case-sensitive; what decodes is another MAC.", token: inSignature(mixed(), func(s string) string { return strings.ToLower(s[:42]) + s[42:] }), want: bad},
	}
}

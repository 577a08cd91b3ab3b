package checklist

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/sandbox"
)

// noneSpellings are those of the algorithm that signs nothing: a list of what is refused never has them all.
var noneSpellings = []string{"none", "None", "NONE", "nOnE"}

// signatureProbes are those of topic 5 about the signature. The first of them is what all the others rest on.
func signatureProbes() []Probe {
	refused := func(id, title, titlePT string, severity finding.Severity, forge forging) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 5, Severity: severity, grants: true, run: refuses(forge)}
	}
	return []Probe{{
		ID: "honest-granted", Title: "An honest response is granted", TitlePT: "Uma resposta honesta é aceita",
		Topic: 5, Severity: finding.High, grants: true,
		run: honestGranted,
	},
		refused("unsigned", "A response without a signature is refused", "Resposta sem assinatura é recusada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				header, body, _ := segments(b.signed("", b.honestPayload(actor)).response)
				return []forged{{"without a signature", header + "." + body + "."}, {"without its third part", header + "." + body}}
			}),
		{
			ID: "unsigned-otherwise", Title: "An unsigned response is refused by every method, type and switch", TitlePT: "Resposta sem assinatura é recusada por qualquer método, tipo ou parâmetro",
			Topic: 5, Severity: finding.Critical, grants: true,
			run: unsignedOtherwise,
		},
		refused("alg-none", "The algorithm none is refused, however it is spelled", "O algoritmo none é recusado em qualquer grafia", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				var all []forged
				for _, none := range noneSpellings {
					p, header := b.honestPayload(actor), `{"alg":"`+none+`","typ":"JWT"}`
					all = append(all, forged{"alg " + none + ", not signed", b64(header) + "." + b64(string(p.encode())) + "."},
						forged{"alg " + none + ", with some signature", b64(header) + "." + b64(string(p.encode())) + "." + b64("signature")})
				}
				return all
			}),
		refused("wrong-key", "A response signed with another key is refused", "Resposta assinada com outra chave é recusada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				random := make([]byte, 32)
				_, _ = rand.Read(random) // never fails
				return []forged{
					signedBy("signed with a random key", random, b.honestPayload(actor)),
					signedBy("signed with the empty key", nil, b.honestPayload(actor)),
					signedBy("signed with the client ID", []byte(b.key.clientID), b.honestPayload(actor)),
					signedBy("signed with the word secret", []byte("secret"), b.honestPayload(actor)),
					signedBy("signed with the word undefined, as a variable that is not set", []byte("undefined"), b.honestPayload(actor)),
					signedBy("signed with the word null", []byte("null"), b.honestPayload(actor)),
					signedBy("signed with the word None", []byte("None"), b.honestPayload(actor)),
					signedBy("signed with the word changeme", []byte("changeme"), b.honestPayload(actor)),
					signedBy("signed with your-256-bit-secret, as in the examples", []byte("your-256-bit-secret"), b.honestPayload(actor)),
				}
			}),
		otherKeyProbe("sandbox-key", "A response signed with the other environment's key is refused", "Resposta assinada com a chave do outro ambiente é recusada", "other_keys.sandbox",
			func(b *bench) *accessKey { return b.sandbox }),
		otherKeyProbe("retired-key", "A response signed with a retired key is refused", "Resposta assinada com chave desativada é recusada", "other_keys.retired",
			func(b *bench) *accessKey { return b.retired }),
		refused("hs384-hs512", "HS384 and HS512 are refused", "HS384 e HS512 são recusados", finding.High,
			func(b *bench, actor, _ *user) []forged {
				return []forged{
					b.signedWith("signed with HS384", "HS384", sha512.New384, b.honestPayload(actor)),
					b.signedWith("signed with HS512", "HS512", sha512.New, b.honestPayload(actor)),
				}
			}),
		refused("alg-mismatch", "The header must name the algorithm of the signature", "O cabeçalho deve indicar o algoritmo da assinatura", finding.Medium,
			func(b *bench, actor, _ *user) []forged {
				return []forged{
					b.signedWith("signed with HS512 and named HS256", "HS256", sha512.New, b.honestPayload(actor)),
					b.signedAs("signed with HS256 and named RS256", `{"alg":"RS256","typ":"JWT"}`, b.honestPayload(actor)),
					b.signedAs("signed with HS256 and named hs256", `{"alg":"hs256","typ":"JWT"}`, b.honestPayload(actor)),
					b.signedAs("signed, and without alg", `{"typ":"JWT"}`, b.honestPayload(actor)),
					b.signedAs("signed, with alg a list", `{"alg":["HS256"],"typ":"JWT"}`, b.honestPayload(actor)),
				}
			}),
		refused("payload-edited", "A payload that was changed after signing is refused", "Payload alterado após a assinatura é recusado", finding.Critical,
			func(b *bench, actor, other *user) []forged {
				good := b.honestPayload(actor)
				no := good
				for _, field := range b.shape.Decision {
					no = no.set(field, false)
				}
				return []forged{
					reSigned("a signed no whose payload was changed to yes", b.signed("", no).response, goodHeader, good),
					reSigned("signed about another person, and changed", b.signed("", good.set(b.shape.Subject, other.cpf.Digits())).response, goodHeader, good),
				}
			}),
		refused("header-edited", "A header that was changed after signing is refused", "Cabeçalho alterado após a assinatura é recusado", finding.High,
			func(b *bench, actor, _ *user) []forged {
				p := b.honestPayload(actor)
				return []forged{reSigned("signed, with another header put before it", b.signed("", p).response, `{"alg":"HS256","typ":"JWT","kid":"1"}`, p)}
			}),
		refused("signature-truncated", "A part of the signature is not enough", "Uma parte da assinatura não basta", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				part := func(label string, n int) forged {
					response := b.signed("", b.honestPayload(actor)).response
					_, _, signature := segments(response)
					return forged{label, strings.TrimSuffix(response, signature) + signature[:n]}
				}
				return []forged{part("signed, with half of the signature", 22), part("signed, with four characters of the signature", 4), part("signed, with the last character missing", 42)}
			}),
		refused("signature-altered", "A signature with one bit changed is refused", "Assinatura com um bit alterado é recusada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				flip := func(label string, at int) forged {
					header, body, signature := segments(b.signed("", b.honestPayload(actor)).response)
					mac, _ := base64.RawURLEncoding.DecodeString(signature) // ours
					mac[at] ^= 1
					return forged{label, header + "." + body + "." + base64.RawURLEncoding.EncodeToString(mac)}
				}
				header, body, signature := segments(b.signed("", b.honestPayload(actor)).response)
				otherCase := forged{"with the letters of the signature in the other case", header + "." + body + "." + swapCase(signature[:42]) + signature[42:]}
				return []forged{flip("with the first byte of the signature changed", 0), flip("with a byte in the middle of the signature changed", sha256.Size/2),
					flip("with the last byte of the signature changed", sha256.Size-1), otherCase}
			}),
		{
			ID: "signature-reencoded", Title: "A response has one accepted encoding", TitlePT: "A resposta tem uma única codificação aceita",
			Topic: 5, Severity: finding.Low, grants: true,
			run: betterRefuses(func(b *bench, actor, _ *user) []forged {
				return reEncoded(b.signed("", b.honestPayload(actor)).response)
			}),
		},
		refused("crit-header", "Critical extensions that are not understood are refused", "Extensões críticas desconhecidas são recusadas", finding.Medium,
			func(b *bench, actor, _ *user) []forged {
				return []forged{b.signedAs("signed, with a critical extension nobody knows", `{"alg":"HS256","typ":"JWT","crit":["selo-check"],"selo-check":true}`, b.honestPayload(actor))}
			}),
		refused("b64-header", "The unencoded payload option (b64) is refused", "A opção de payload não codificado (b64) é recusada", finding.Medium,
			func(b *bench, actor, _ *user) []forged {
				return []forged{b.signedAs("signed, with b64 false and critical", `{"alg":"HS256","typ":"JWT","b64":false,"crit":["b64"]}`, b.honestPayload(actor))}
			}),
		refused("key-in-header", "A key that the response brings itself is not used", "Uma chave trazida pela própria resposta não é usada", finding.Critical,
			func(b *bench, actor, _ *user) []forged {
				own := []byte("0123456789abcdef0123456789abcdef")
				jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(own) + `"}`
				return []forged{
					{"signed with a key in its own header", sandbox.Sign(own, []byte(`{"alg":"HS256","typ":"JWT","jwk":`+jwk+`}`), b.honestPayload(actor).encode())},
					{"signed with the empty key, which kid points at", sandbox.Sign(nil, []byte(`{"alg":"HS256","typ":"JWT","kid":"../../../../../../dev/null"}`), b.honestPayload(actor).encode())},
					{"signed with a key that its kid would inject", sandbox.Sign([]byte("selo"), []byte(`{"alg":"HS256","typ":"JWT","kid":"x' UNION SELECT 'selo'--"}`), b.honestPayload(actor).encode())},
				}
			}),
	}
}

// unsignedOtherwise hands a response without a signature in in the ways for which servers have another branch: other methods,
// other types of the body, and the switches that developers leave behind.
func unsignedOtherwise(ctx context.Context, b *bench) (verdict, error) {
	u, _ := b.pair()
	step := &b.target.Submit.Request
	var tries []handing
	for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
		if m != step.method() {
			tries = append(tries, handing{edits: []edit{func(r *request) { r.method = m }}})
		}
	}
	switch fields := step.fields(); {
	case step.JSON != nil && fields != nil:
		tries = append(tries, handing{edits: []edit{asFields(formBody)}}, handing{edits: []edit{asFields(multipartBody)}})
	case fields != nil:
		tries = append(tries, handing{edits: []edit{asFields(jsonBody)}})
	}
	var inBody, inQuery, inHeaders, withOne []edit
	for _, name := range []string{"debug", "test", "testMode", "mock", "dryRun", "sandbox", "skipVerification", "skip_verification", "bypass"} {
		inBody = append(inBody, addField(name, jsontext.Value("true"), true))
		inQuery = append(inQuery, addQuery(name, "true"))
		inHeaders = append(inHeaders, setHeader("X-"+name, "true"))
		withOne = append(withOne, setHeader("X-"+name, "1"))
	}
	tries = append(tries, handing{edits: inBody}, handing{edits: inQuery}, handing{edits: inHeaders}, handing{edits: withOne})
	const want = "anything but access"
	var shown verdict
	for i, h := range append([]handing{{}}, tries...) {
		s, err := b.open(ctx, u)
		if err != nil {
			return verdict{}, err
		}
		p := b.honestPayload(u)
		h.session, h.forged = s, forged{"signed by nobody", sandbox.Sign([]byte(sandbox.NewUUID()), []byte(goodHeader), p.encode())}
		yes, x, err := b.submit(ctx, h)
		if err != nil && !closedConnection(err) {
			return verdict{}, err
		}
		if yes && i == 0 {
			return notApplicable("such a response is granted in the usual way as well, which wrong-key says"), nil
		}
		if yes {
			return failed("a response that nobody signed was granted").with(b, x, want), nil
		}
		shown = passed("refused").with(b, x, want)
	}
	return shown, nil
}

func honestGranted(ctx context.Context, b *bench) (verdict, error) {
	const want = "access"
	var shown verdict
	for _, u := range b.users[:2] {
		yes, x, err := b.honest(ctx, u)
		if err != nil {
			return verdict{}, err
		}
		if !yes {
			v := verdict{outcome: finding.Inconclusive, message: fmt.Sprintf("a response as the provider signs it was refused with the status %d, so nothing that is refused proves anything; "+
				"check.yaml has another key, product, CPF or submit than the server, or the server refuses everybody", x.answer.status)}
			return v.with(b, x, want), nil
		}
		if shown.outcome == "" {
			shown = passed("granted").with(b, x, want)
		}
	}
	return shown, nil
}

// honest walks the whole journey of a user, who did nothing wrong.
func (b *bench) honest(ctx context.Context, u *user) (bool, sent, error) {
	s, err := b.open(ctx, u)
	if err != nil {
		return false, sent{}, err
	}
	return b.submit(ctx, handing{session: s, forged: b.signed("honest", b.honestPayload(u)), ideal: true})
}

func otherKeyProbe(id, title, titlePT, field string, key func(*bench) *accessKey) Probe {
	return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 5, Severity: finding.Critical, grants: true,
		run: func(ctx context.Context, b *bench) (verdict, error) {
			k := key(b)
			if k == nil {
				return notApplicable("describe " + field + " to have it tried"), nil
			}
			return refuses(func(b *bench, actor, _ *user) []forged {
				return []forged{signedBy("signed with that key", k.secret, b.honestPayload(actor))}
			})(ctx, b)
		}}
}

// reEncoded are other texts for the same bytes: decoders that are not strict take them for the same response.
func reEncoded(response string) []forged {
	header, body, signature := segments(response)
	spare := signature[:42] + string(base64Alphabet[strings.IndexByte(base64Alphabet, signature[42])|1])
	return []forged{
		{"written with padding", header + "." + body + "." + signature + "="},
		{"written with a line break at its end", header + "." + body + "." + signature + "\n"},
		{"written with a line break in its signature", header + "." + body + "." + signature[:20] + "\n" + signature[20:]},
		{"written with the other spare bits", header + "." + body + "." + spare},
		{"written with a space before it", " " + response},
		{"written with a part more", response + "." + "AAAA"},
	}
}

func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return c
	}, s)
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

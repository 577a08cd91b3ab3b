package scan

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// spellings are what the placeholders of the sources may ask for: @SECRET_name|reversed|hex@. They share nothing with
// needles, so that a mistake there is not made here too.
var spellings = map[string]func([]byte) []byte{
	"base64":    func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) },
	"base64url": func(b []byte) []byte { return []byte(base64.RawURLEncoding.EncodeToString(b)) },
	"hex":       func(b []byte) []byte { return []byte(hex.EncodeToString(b)) },
	"reversed": func(b []byte) []byte {
		b = slices.Clone(b)
		slices.Reverse(b)
		return b
	},
	"rot13": func(b []byte) []byte {
		const from = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		const to = "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
		return bytes.Map(func(r rune) rune {
			if i := strings.IndexRune(from, r); i >= 0 {
				return rune(to[i])
			}
			return r
		}, b)
	},
	"client": func(b []byte) []byte { return append([]byte("client:"), b...) }, // as in HTTP's basic authentication

	"u":          func(b []byte) []byte { return byLetter(b, `\u%04x`, "") },
	"x":          func(b []byte) []byte { return byLetter(b, `\x%02x`, "") },
	"u_some":     func(b []byte) []byte { return fmt.Appendf(b[:3:3], `\u%04x%s`, b[3], b[4:]) },
	"x_some":     func(b []byte) []byte { return fmt.Appendf(nil, `\x%02x%s\u%04x`, b[0], b[1:len(b)-1], b[len(b)-1]) },
	"percent":    func(b []byte) []byte { return byLetter(b, "%%%02X", "") },
	"references": func(b []byte) []byte { return byLetter(b, "&#%d;", "") },
	"decimals":   func(b []byte) []byte { return byLetter(b, "%d", ", ") },
	"c":          func(b []byte) []byte { return byLetter(b, "0x%02x", ", ") },

	// The arrays of smali.
	"bytes1": func(b []byte) []byte { return byLetter(b, "0x%xt", "\n") },
	"bytes2": func(b []byte) []byte { return byLetter(b, "0x%xs", "\n") },
	"bytes4": func(b []byte) []byte { return byLetter(b, "0x%x", "\n") },

	"half1": func(b []byte) []byte { return b[:len(b)/2] },
	"half2": func(b []byte) []byte { return b[len(b)/2:] },
	"part1": func(b []byte) []byte { return b[:len(b)/3] },
	"part2": func(b []byte) []byte { return b[len(b)/3 : 2*len(b)/3] },
	"part3": func(b []byte) []byte { return b[2*len(b)/3:] },

	"xor1": func(b []byte) []byte { return underKey(b, "\x5a") },
	"xor3": func(b []byte) []byte { return underKey(b, "\x17\xc4\x99") },
	"xor4": func(b []byte) []byte { return underKey(b, "\xde\xad\xbe\xef") },
	"xor7": func(b []byte) []byte { return underKey(b, "\x01\x9f\x23\xe5\x47\x8b\x69") },

	// What is not found.
	"shifted": func(b []byte) []byte { // each letter by its place, for a program to shift back
		b = slices.Clone(b)
		for i, c := range b {
			b[i] = '#' + (c-'#'+byte(7*i))%('~'-'#')
		}
		return bytes.ReplaceAll(b, []byte(`\`), []byte(`\\`))
	},
	"gzip": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
		return out.Bytes()
	},
	"aes": func(b []byte) []byte {
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		block, err := aes.NewCipher(key[:16])
		if err != nil {
			panic(err) // never
		}
		out := make([]byte, len(b))
		cipher.NewCTR(block, key[16:]).XORKeyStream(out, b)
		return out
	},
	"lines": func(b []byte) []byte { // as MIME and PEM break them
		return []byte(string(b[:20]) + "\n" + string(b[20:]))
	},
	"short_pieces": func(b []byte) []byte {
		var out []byte
		for i := 0; i < len(b); i += 5 {
			out = fmt.Appendf(out, "    const-string v1, %q\n    invoke-virtual {v0, v1}, %s\n", b[i:min(i+5, len(b))],
				"Ljava/lang/StringBuilder;->append(Ljava/lang/String;)Ljava/lang/StringBuilder;")
		}
		return out
	},
	"assignments": func(b []byte) []byte {
		var out []byte
		for i, c := range b {
			out = fmt.Appendf(out, "    out[%d] = %q;\n", i, c)
		}
		return out
	},
}

func byLetter(b []byte, format, separator string) []byte {
	var out []string
	for _, c := range b {
		out = append(out, fmt.Sprintf(format, c))
	}
	return []byte(strings.Join(out, separator))
}

func underKey(b []byte, key string) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = c ^ key[i%len(key)]
	}
	return out
}

// fixtureToken makes a JWT as the provider's documentation shows it.
func fixtureToken(key, claims string) string {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + enc.EncodeToString(mac.Sum(nil))
}

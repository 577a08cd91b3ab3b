package servers

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// errRefused is why a response was refused: a code for the log, that holds nothing of what was sent.
type errRefused string

func (e errRefused) Error() string { return string(e) }

// snippet: verify
// Nothing of a response is parsed before its HMAC is right. HS256 is what is computed, whatever the header asks for, and a
// header that asks for anything else is refused (crit, b64, jwk, jku and what is still to be invented). Each part has one
// spelling: Go's decoder passes over line breaks even when it is strict, so what it read is written again and compared.
func readResponse(response string, secret []byte) (map[string]any, error) {
	parts := strings.Split(response, ".")
	if len(response) > 16<<10 || len(parts) != 3 {
		return nil, errRefused("malformed")
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != part {
			return nil, errRefused("malformed")
		}
		decoded[i] = b
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(decoded[2], mac.Sum(nil)) { // in constant time
		return nil, errRefused("signature_invalid")
	}
	header, err := readObject(decoded[0])
	if typ, there := header["typ"]; err != nil || header["alg"] != "HS256" || there && typ != "JWT" || len(header) > 2 || len(header) == 2 && !there {
		return nil, errRefused("header_refused")
	}
	return readObject(decoded[1])
}

// end

// snippet: strict-json
// Of {"isAlive":false,"isAlive":true} encoding/json takes the last, and other parsers the first: two programs then read two
// answers in one signed response. Into a struct it also takes "isalive" and "iſAlive" for isAlive. So it is read into a map,
// where a name is what is written, and then once more for names that are there twice; and nothing stands after the object.
func readObject(text []byte) (object map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a float would round
	err = d.Decode(&object)
	if _, more := d.Token(); err != nil || object == nil || !errors.Is(more, io.EOF) || !utf8.Valid(text) || nameTwice(json.NewDecoder(bytes.NewReader(text))) {
		return nil, errRefused("payload_invalid")
	}
	return object, nil
}

// nameTwice reads a value that is known to be JSON.
func nameTwice(d *json.Decoder) bool {
	token, _ := d.Token()
	if token != json.Delim('{') && token != json.Delim('[') {
		return false
	}
	seen := make(map[any]bool)
	for d.More() {
		if token == json.Delim('{') {
			name, _ := d.Token()
			if seen[name] {
				return true
			}
			seen[name] = true
		}
		if nameTwice(d) {
			return true
		}
	}
	_, _ = d.Token() // its end
	return false
}

// end

// The claims of liveness, native and on the web, and those by which other tokens under the same secret are told from it.
var (
	livenessNames = []string{"isAlive", "personId", "requestId", "sessionId", "createdAt", "iat", "exp", "nbf"}
	foreignNames  = []string{"iss", "peopleId", "isMatch", "isAuthorized", "isNewContext", "policyId", "attemptId", "person"}
)

// snippet: claims
// A right signature says that the provider wrote it, or we did: not that it is a yes, nor for whom, nor of which product. iss
// is in our own mobile token only; the other foreign names are of other products under the same key. A name in other letters
// is refused, for a lenient parser elsewhere would take it for ours. A yes is true, and neither "true" nor 1.
func livenessClaims(claims map[string]any, cpf selo.CPF) (id string, yes bool, err error) {
	for name := range claims {
		known := func(n string) bool { return strings.EqualFold(n, name) }
		if slices.ContainsFunc(foreignNames, known) || slices.ContainsFunc(livenessNames, known) && !slices.Contains(livenessNames, name) {
			return "", false, errRefused("product_mismatch")
		}
	}
	request, native := claims["requestId"].(string)
	web, onWeb := claims["sessionId"].(string)
	if id = request + web; native == onWeb || id == "" || len(id) > 256 {
		return "", false, errRefused("claim_missing")
	}
	named, _ := claims["personId"].(string)
	if who, err := selo.ParseCPF(named); err != nil || who != cpf { // ParseCPF takes digits, and 000.000.000-00
		return "", false, errRefused("subject_mismatch")
	}
	yes, ok := claims["isAlive"].(bool)
	if !ok {
		return "", false, errRefused("claim_type")
	}
	return id, yes, nil
}

// end

// snippet: freshness
// A liveness response has no expiry and no nonce, so its age is ours to judge: it was made after the attempt was opened, and
// not in the future. 5 seconds back and 30 ahead are for clocks that differ. A time that is not there, or is no whole
// number of seconds, is no time; exp and nbf are not always there, and are honoured when they are.
func checkTimes(claims map[string]any, opened, now time.Time) error {
	seconds := func(name string) (time.Time, error) {
		number, _ := claims[name].(json.Number)
		n, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil || n <= 0 || n > 1<<40 {
			return time.Time{}, errRefused("claim_type")
		}
		return time.Unix(n, 0), nil
	}
	issued, err := seconds("iat")
	if err != nil || issued.Before(opened.Add(-5*time.Second)) || issued.After(now.Add(30*time.Second)) {
		return errRefused("stale")
	}
	if _, there := claims["exp"]; there {
		if ends, err := seconds("exp"); err != nil || !now.Before(ends) {
			return errRefused("expired")
		}
	}
	if _, there := claims["nbf"]; there {
		if begins, err := seconds("nbf"); err != nil || begins.After(now.Add(30*time.Second)) {
			return errRefused("from_the_future")
		}
	}
	return nil
}

// end

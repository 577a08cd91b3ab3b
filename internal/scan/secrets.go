package scan

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// minSecret is the length in bytes of the shortest secret that is looked for: chance and ordinary words make shorter
	// ones anywhere in a large app.
	minSecret = 12

	maxSecret  = 4 << 10 // as for selo.ReadSecretFile: longer is a wrong file
	maxSecrets = 256     // each is looked for in some ninety spellings
	minLetters = 5       // different bytes in a secret; "aaaaaaaaaaaa" stands everywhere
)

// Secret is one of the operator's own secrets, to be looked for. Nothing that this package returns has its value in it.
type Secret struct {
	name  string
	value []byte
}

// Format keeps a Secret from being printed.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.name+" (secret)") }

// ReadSecrets takes a text with one secret on each line and returns them, named after name and their line. Empty lines
// are ignored. It refuses what cannot be looked for: a secret of less than 12 bytes or of a few characters that repeat,
// blanks at either end (which are mostly not meant), and no secret at all. The errors do not contain the secrets.
func ReadSecrets(name string, r io.Reader) ([]Secret, error) {
	var out []Secret
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxSecret)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			continue
		}
		if err := fitForSearch(line); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		if slices.ContainsFunc(out, func(s Secret) bool { return bytes.Equal(s.value, line) }) {
			continue
		}
		out = append(out, Secret{fmt.Sprintf("%s line %d", name, n), bytes.Clone(line)})
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s: line %d has more than %d bytes; a secret stands on a line of its own", name, n+1, maxSecret)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(out) == 0:
		return nil, fmt.Errorf("%s: has no secret in it; it must have one on each line", name)
	case len(out) == 1:
		out[0].name = name
	}
	return out, nil
}

func fitForSearch(secret []byte) error {
	switch {
	case bytes.IndexByte(secret, 0) >= 0:
		return fmt.Errorf("has zero bytes in it; save the file as UTF-8, and not as UTF-16")
	case secret[0] == '#' && bytes.IndexByte(secret, ' ') > 0:
		return fmt.Errorf("looks like a comment, which a file of secrets does not have")
	case len(secret) > 1 && secret[0] == secret[len(secret)-1] && (secret[0] == '"' || secret[0] == '\''):
		return fmt.Errorf("is in quotes; write the secret without them")
	case assignment.Match(secret):
		return fmt.Errorf("looks like NAME=secret; write only the secret")
	case len(bytes.TrimSpace(secret)) != len(secret):
		return fmt.Errorf("begins or ends with a blank; remove it, if it is not part of the secret")
	case len(secret) < minSecret:
		return fmt.Errorf("has %d bytes; a secret of less than %d is found in every app by chance", len(secret), minSecret)
	case letters(secret) < minLetters:
		return fmt.Errorf("has less than %d different characters, and would be found in every app by chance", minLetters)
	case secret[0] == 0xef && bytes.HasPrefix(secret, []byte("\ufeff")):
		return fmt.Errorf("begins with a byte order mark; save the file as UTF-8 without one")
	case bytes.HasPrefix(secret, []byte(fingerprintPrefix)):
		return fmt.Errorf("is a fingerprint; --fingerprints takes it")
	}
	return nil
}

// assignment is NAME=value, as in a dotenv file; base64 ends in "=" and has nothing after it.
var assignment = regexp.MustCompile(`^(export +)?[A-Z][A-Z0-9_]*=[^=]`)

func letters(b []byte) int {
	n := 0
	for _, c := range counts(b) {
		n += min(c, 1)
	}
	return n
}

// Fingerprint recognises a secret without having it: where a whole string of an app is the secret, and nowhere else.
// Whoever has a fingerprint can try guesses against it, so it is for secrets that nobody can guess.
type Fingerprint struct {
	name string
	salt string
	mac  [sha256.Size]byte
}

const fingerprintPrefix = "selo-fp1:"

// NewFingerprints makes the fingerprints of secrets, under one new salt.
func NewFingerprints(secrets []Secret) []Fingerprint {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	out := make([]Fingerprint, len(secrets))
	for i, s := range secrets {
		out[i] = Fingerprint{s.name, string(salt), fingerprintMAC(string(salt), s.value)}
	}
	return out
}

// String returns the line that ReadFingerprints reads: selo-fp1:SALT:HMAC, both in hexadecimal, and a name. HMAC is
// HMAC-SHA256 of the secret under the salt.
func (f Fingerprint) String() string {
	return fmt.Sprintf("%s%x:%x  %s", fingerprintPrefix, f.salt, f.mac[:], f.name)
}

func fingerprintMAC(salt string, value []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, []byte(salt))
	h.Write(value)
	return [sha256.Size]byte(h.Sum(nil))
}

// ReadFingerprints takes a text with one fingerprint on each line, followed by a name, as NewFingerprints and selo key
// fingerprint make them. Empty lines and those that begin with # are ignored.
func ReadFingerprints(name string, r io.Reader) ([]Fingerprint, error) {
	var out []Fingerprint
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f, ok := parseFingerprint(line)
		if !ok {
			// The line may be a secret that somebody put into the wrong file.
			return nil, fmt.Errorf("%s: line %d is no fingerprint; selo scan fingerprint and selo key fingerprint make them", name, n)
		}
		if f.name == "" {
			f.name = fmt.Sprintf("%s line %d", name, n)
		}
		out = append(out, f)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", name, n+1, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: has no fingerprint in it; selo scan fingerprint makes them", name)
	}
	return out, nil
}

func parseFingerprint(line string) (Fingerprint, bool) {
	value, name, _ := strings.Cut(line, " ")
	rest, ok := strings.CutPrefix(value, fingerprintPrefix)
	salt, mac, two := strings.Cut(rest, ":")
	if !ok || !two {
		return Fingerprint{}, false
	}
	s, err1 := hex.DecodeString(salt)
	m, err2 := hex.DecodeString(mac)
	if err1 != nil || err2 != nil || len(s) < 8 || len(m) != sha256.Size || !utf8.ValidString(name) {
		return Fingerprint{}, false
	}
	return Fingerprint{strings.TrimSpace(name), string(s), [sha256.Size]byte(m)}, true
}

// fingerprints answers whether a string is one of the secrets that were given as fingerprints.
type fingerprints struct {
	salts []string
	names map[[sha256.Size]byte]string
}

func newFingerprints(list []Fingerprint) *fingerprints {
	f := &fingerprints{names: make(map[[sha256.Size]byte]string)}
	for _, p := range list {
		if !slices.Contains(f.salts, p.salt) {
			f.salts = append(f.salts, p.salt)
		}
		f.names[p.mac] = p.name
	}
	return f
}

func (f *fingerprints) name(value []byte) (string, bool) {
	for _, salt := range f.salts {
		if name, ok := f.names[fingerprintMAC(salt, value)]; ok {
			return name, true
		}
	}
	return "", false
}

// marker gives values marks by which a reader sees that two findings are about the same value, and which tell nobody what
// it is: they are keyed with the operator's own secrets, and with random bytes when there are none.
type marker struct{ key []byte }

func newMarker(secrets []Secret) marker {
	if len(secrets) == 0 {
		key := make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails
		return marker{key}
	}
	values := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		values = append(values, s.value)
	}
	slices.SortFunc(values, bytes.Compare)
	h := sha256.New()
	for _, v := range values {
		sum := sha256.Sum256(v)
		h.Write(sum[:])
	}
	return marker{h.Sum(nil)}
}

func (m marker) mark(value []byte) string {
	h := hmac.New(sha256.New, m.key)
	h.Write(value)
	return fmt.Sprintf("%x", h.Sum(nil)[:4])
}

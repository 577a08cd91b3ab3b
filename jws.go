package selo

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxTokenSize is the longest compact JWS, in bytes, that is looked at. Longer input is refused before
// any work is done on it.
const MaxTokenSize = 16 << 10

// maxDepth is how deeply objects and arrays may nest, the outermost object counted.
const maxDepth = 32

// maxSeconds bounds times: up to here every whole second is exact in a float64, and none wraps a Time.
const maxSeconds = 1 << 53

var b64 = base64.RawURLEncoding.Strict()

// hs256Header is the only header that Mint writes, encoded: {"alg":"HS256","typ":"JWT"}.
const hs256Header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

// jwsReader takes one compact JWS apart. Its order is the guarantee: size, shape and signature come
// before any JSON is parsed, so an unauthenticated sender reaches no parser.
type jwsReader struct {
	token                []byte // a copy of the input
	signed               []byte // the part of token that is signed
	headerSegment        []byte // as in token
	header, payload, sig []byte // decoded segments
	mac                  []byte
	name, folded         []byte // the claim being read
	unquoted             []byte // its value, when that had escapes
	src                  bytes.Buffer
	json                 jsontext.Decoder
}

var jwsReaders = sync.Pool{New: func() any { return new(jwsReader) }}

// release wipes what the reader still has of the token, personal data among it, and of the MAC, and
// returns the reader to the pool. What was outgrown is left to the garbage collector.
func (r *jwsReader) release() {
	clear(r.token)
	clear(r.header)
	clear(r.payload)
	clear(r.mac)
	clear(r.unquoted[:cap(r.unquoted)])
	jwsReaders.Put(r)
}

// split checks size and shape and decodes the three segments.
func (r *jwsReader) split(token string) *Error {
	if len(token) > MaxTokenSize {
		return refuse(ReasonTooLarge, "", fmt.Sprintf("longer than %d bytes", MaxTokenSize))
	}
	r.token = append(r.token[:0], token...)
	first := bytes.IndexByte(r.token, '.')
	last := bytes.LastIndexByte(r.token, '.')
	if first < 0 || first == last || bytes.IndexByte(r.token[first+1:last], '.') >= 0 {
		return refuse(ReasonMalformed, "", "want exactly three segments, header.payload.signature")
	}
	// Go's decoder skips CR and LF even in strict mode.
	if bytes.IndexByte(r.token, '\r') >= 0 || bytes.IndexByte(r.token, '\n') >= 0 {
		return refuse(ReasonMalformed, "", "contains a line break")
	}
	r.signed = r.token[:last]
	r.headerSegment = r.token[:first]
	for _, seg := range []struct {
		name string
		dst  *[]byte
		src  []byte
	}{
		{"header", &r.header, r.headerSegment},
		{"payload", &r.payload, r.token[first+1 : last]},
		{"signature", &r.sig, r.token[last+1:]},
	} {
		if len(seg.src) == 0 && seg.name != "signature" {
			return refuse(ReasonMalformed, seg.name, "is empty")
		}
		var err error
		if *seg.dst, err = b64.AppendDecode((*seg.dst)[:0], seg.src); err != nil {
			return refuse(ReasonMalformed, seg.name, "is not canonical unpadded base64url")
		}
	}
	return nil
}

// verifyHS256 checks an HMAC-SHA256 under s, then that the header asks for exactly that.
func (r *jwsReader) verifyHS256(s Secret) *Error {
	r.mac = s.mac(r.mac[:0], r.signed)
	if subtle.ConstantTimeCompare(r.mac, r.sig) != 1 {
		return refuse(ReasonSignatureInvalid, "signature", "is not an HMAC of this token under the expected key")
	}
	if string(r.headerSegment) == hs256Header {
		return nil
	}
	_, err := r.readHeader("HS256", "JWT", true)
	return err
}

// readHeader reads the header strictly and returns its kid, which names a key but never chooses one that
// the caller did not already trust. Other parameters that could point to a key (jku, jwk, x5u, x5c) are
// not looked at.
func (r *jwsReader) readHeader(alg, typ string, typOptional bool) (kid string, _ *Error) {
	gotAlg, gotTyp := false, typOptional
	var refused *Error
	err := r.object(r.header, func(name []byte, value jsontext.Value) {
		r.folded = appendFolded(r.folded[:0], name)
		param := ""
		for _, known := range []string{"alg", "typ", "kid", "crit", "b64", "zip", "cty", "enc"} {
			if string(r.folded) == known {
				param = known
			}
		}
		switch {
		case refused != nil || param == "":
		case param != string(name):
			refused = refuse(ReasonHeaderRefused, param, "is spelled another way")
		case param == "alg":
			gotAlg = true
			if text, ok := r.text(value); !ok || string(text) != alg {
				refused = refuse(ReasonAlgorithmRefused, "alg", "must be "+alg)
			}
		case param == "typ":
			gotTyp = true
			if text, ok := r.text(value); !ok || string(text) != typ {
				refused = refuse(ReasonHeaderRefused, "typ", "must be "+typ)
			}
		case param == "kid":
			if text, ok := r.text(value); ok {
				kid = string(text)
			} else {
				refused = refuse(ReasonHeaderRefused, "kid", "must be a string")
			}
		default:
			refused = refuse(ReasonHeaderRefused, param, "is not supported")
		}
	})
	switch {
	case err != nil:
		return "", refuse(ReasonHeaderRefused, "header", err.Error())
	case refused != nil:
		return "", refused
	case !gotAlg:
		return "", refuse(ReasonAlgorithmRefused, "alg", "must be "+alg)
	case !gotTyp:
		return "", refuse(ReasonHeaderRefused, "typ", "must be "+typ)
	}
	return kid, nil
}

var (
	errNotJSON   = errors.New("is not strict JSON (one value, valid UTF-8, no name twice, nothing after it)")
	errNotObject = errors.New("is not a JSON object")
	errTooDeep   = fmt.Errorf("nests deeper than %d", maxDepth)
)

// object reads data as exactly one JSON object and calls member for each of its members in order, with
// the unescaped name and the value as it is written; objects and arrays are checked. name and value are only
// valid during the call. The errors say nothing of the data.
func (r *jwsReader) object(data []byte, member func(name []byte, value jsontext.Value)) error {
	r.src = *bytes.NewBuffer(data) // which the decoder reads in place, without a buffer of its own
	d := &r.json
	d.Reset(&r.src) // without options: refuses duplicate names and invalid UTF-8
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return errNotJSON
		}
		return errNotObject
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	for d.PeekKind() == '"' {
		quoted, err := d.ReadValue()
		if err != nil {
			return errNotJSON
		}
		// A copy, because quoted is only valid until the next read.
		if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
			r.name = append(r.name[:0], inner...)
		} else if r.name, err = jsontext.AppendUnquote(r.name[:0], quoted); err != nil {
			return errNotJSON
		}
		var value jsontext.Value
		switch d.PeekKind() {
		case '{', '[':
			start := d.InputOffset()
			if err := skipNested(d); err != nil {
				return err
			}
			value = jsontext.Value(bytes.TrimLeft(data[start:d.InputOffset()], ": \t\r\n"))
		default:
			if value, err = d.ReadValue(); err != nil {
				return errNotJSON
			}
		}
		member(r.name, value)
	}
	if _, err := d.ReadToken(); err != nil {
		return errNotJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNotJSON
	}
	return nil
}

// skipNested reads one object or array, checking it and its depth.
func skipNested(d *jsontext.Decoder) error {
	outside := d.StackDepth()
	for {
		if _, err := d.ReadToken(); err != nil {
			return errNotJSON
		}
		switch depth := d.StackDepth(); {
		case depth > maxDepth:
			return errTooDeep
		case depth == outside:
			return nil
		}
	}
}

// text returns the unescaped content of a JSON string, valid until the next use of r.
func (r *jwsReader) text(value jsontext.Value) ([]byte, bool) {
	if value.Kind() != '"' {
		return nil, false
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	out, err := jsontext.AppendUnquote(r.unquoted[:0], value)
	if err != nil {
		return nil, false
	}
	r.unquoted = out
	return out, true
}

// seconds reads a NumericDate: a JSON number of seconds since 1970 within [0, 2^53], whole or not.
func seconds(value jsontext.Value) (time.Time, bool) {
	if value.Kind() != '0' || value[0] == '-' {
		return time.Time{}, false
	}
	whole := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || whole > maxSeconds {
			whole = -1
			break
		}
		whole = whole*10 + int64(c-'0')
	}
	if whole >= 0 {
		return time.Unix(whole, 0), whole <= maxSeconds
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f > maxSeconds {
		return time.Time{}, false
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)), true
}

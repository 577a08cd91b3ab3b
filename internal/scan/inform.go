package scan

import (
	"math"
	"path"
	"regexp"
	"strings"
)

// word is a text by which something of the provider's is recognised. It has 15 bytes or more: the finder looks at every
// eighth place only as long as no needle is shorter.
type word struct {
	text string
	fact string
	beta bool // of the provider's test environment
}

// The facts that words stand for.
const (
	factSDK      = "SDK of the provider"
	factEndpoint = "endpoint of the provider"
)

// words are what the SDKs and the hosts of Caf are called: docs/providers/caf.md for the hosts, public integrations for the
// names of packages and frameworks.
var words = []word{
	{"com/combateafraude/", factSDK, false},
	{"com.combateafraude.", factSDK, false},
	{"io/caf/sdk/commons/", factSDK, false},
	{"io/caf/smartauth/", factSDK, false},
	{"ai/certta/Certta", factSDK, false},
	{"ai/certta/config/", factSDK, false},
	{"ai/certta/liveness/", factSDK, false},
	{"@combateafraude/", factSDK, false},
	{"CafFaceLiveness", factSDK, false},
	{"CafSmartAuth.framework", factSDK, false},
	{"CafDocumentDetector", factSDK, false},
	{"CafSolutions.framework", factSDK, false},
	{"web.us.prd.caf.io", factEndpoint, false},
	{"api.mobile.combateafraude.com", factEndpoint, false},
	{"api.identity.combateafraude.com", factEndpoint, false},
	{"api.public.combateafraude.com", factEndpoint, false},
	{"api.combateafraude.com", factEndpoint, false},
	{"api.beta.mobile.combateafraude.com", factEndpoint, true},
	{"api.beta.identity.combateafraude.com", factEndpoint, true},
	{"api.beta.combateafraude.com", factEndpoint, true},
}

// tellingNames are what a key is called that holds a secret, with everything but letters and digits left out.
var tellingNames = []string{
	"clientsecret", "apisecret", "appsecret", "consumersecret", "secretkey", "secretaccesskey", "jwtsecret", "hmacsecret",
	"hmackey", "signingkey", "signingsecret", "webhooksecret", "sharedsecret", "privatekey", "encryptionkey", "masterkey",
	"mobilekey", "mobiletoken", "caftoken", "cafsecret", "cafkey", "accesstoken", "refreshtoken", "apitoken", "authtoken",
	"bearertoken", "password", "passwd", "apikey",
}

// publicNames are parts of the names of keys whose values are made to be shipped.
var publicNames = []string{
	"public", "publishable", "google", "firebase", "gcm", "fcm", "maps", "mapbox", "sentry", "recaptcha", "sitekey",
	"anonkey", "supabase", "amplitude", "segment", "mixpanel", "onesignal", "appsflyer", "branchkey", "algoliasearch",
}

// publicValues are how values begin that are made to be shipped: keys of Google, Mapbox, Stripe, Supabase, RevenueCat.
var publicValues = []string{"AIza", "pk.", "pk_", "sb_publishable_", "appl_", "goog_", "ca-app-pub-", "eyJ"}

// publicKeys are parts of names in manifests whose values are made to be shipped: of Android's backup service, of Crashlytics.
var publicKeys = []string{
	"com.google.android.", "io.fabric.", "com.crashlytics.", "com.bugsnag.", "com.newrelic.", "com.facebook.sdk.", "io.branch.",
}

// placeholders are parts of values that somebody has yet to fill in.
var placeholders = []string{"your", "example", "changeme", "placeholder", "replace", "xxxx", "todo", "dummy", "sample", "insert", "12345678", "abcdef"}

// tells reports that a key in a key/value store or a source says that its value is a secret, and that the value looks
// like one: long enough, of one word, of mixed characters, and neither made to be public nor a placeholder.
func tells(key string, value []byte) bool {
	if len(value) < 16 || len(value) > 512 {
		return false
	}
	digits, letters, others := 0, 0, 0
	for _, c := range value {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			letters++
		case strings.IndexByte("+/=_-.~!@#$%^&*", c) >= 0:
			others++
		default:
			return false
		}
	}
	if digits < 2 || letters < 2 || others > len(value)/3 {
		return false
	}
	// What costs more comes later: this is asked of every value in a package, and most are words.
	name := plainName(key)
	if !containsAny(name, tellingNames) || containsAny(name, publicNames) || isPublicKey(key) || entropy(value) < 3 {
		return false
	}
	s := string(value)
	for _, prefix := range publicValues {
		if strings.HasPrefix(s, prefix) {
			return false
		}
	}
	if strings.Contains(s, "/") && isFileExtension.MatchString(path.Ext(s)) {
		return false
	}
	lower := strings.ToLower(s)
	return !containsAny(lower, placeholders) && !strings.Contains(s, "://") && !strings.HasPrefix(s, "/") &&
		!strings.HasPrefix(s, "@") && !strings.Contains(s, "${") && plainName(s) != name && strings.Count(s, "/") < 3
}

// isPublicKey reports that a key of a manifest is one whose value the app is to have, as its documentation says.
func isPublicKey(key string) bool {
	name, ok := strings.CutPrefix(strings.ToLower(key), "meta-data/")
	return ok && containsAny(name, publicKeys)
}

var isFileExtension = regexp.MustCompile(`^\.[a-z]{2,5}[0-9]?$`)

// plainName returns the last part of a key path, in lower case, without what separates words.
func plainName(key string) string {
	if i := strings.LastIndexAny(key, "./@:"); i >= 0 {
		key = key[i+1:]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		}
		return -1
	}, key)
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// entropy is Shannon's, in bits for each byte: 4 for random hexadecimal digits, some 2.5 for a word.
func entropy(b []byte) float64 {
	sum := 0.0
	for _, n := range counts(b) {
		if n > 0 {
			p := float64(n) / float64(len(b))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

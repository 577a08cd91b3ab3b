package metrics

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/selo-id/selo"
)

// other stands for every value that a label may not take.
const other = "(other)"

// Bounds of what is declared.
const (
	maxWords = 1000
	maxWord  = 128 // bytes
)

// likeCPF finds eleven digits in a row, or punctuated as a CPF in whole or in part, anywhere.
var likeCPF = regexp.MustCompile(`[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}`)

// vocabulary holds the values that one label may take.
type vocabulary struct {
	mu    sync.RWMutex
	words map[string]bool
}

// words returns a fixed vocabulary.
func words[T ~string](list ...T) *vocabulary {
	v := &vocabulary{words: make(map[string]bool)}
	for _, word := range list {
		v.words[string(word)] = true
	}
	return v
}

// declare adds what may be shown, as long as there is room.
func (v *vocabulary) declare(list []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, word := range list {
		if len(v.words) < maxWords && showable(word) {
			v.words[strings.Clone(word)] = true // not the file that it may be a piece of
		}
	}
}

// take returns the word, or other if it is none of the vocabulary.
func (v *vocabulary) take(word string) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.words[word] {
		return word
	}
	return other
}

// showable refuses personal data and what the client library would panic at.
func showable(word string) bool {
	return word != "" && len(word) <= maxWord && utf8.ValidString(word) && !strings.ContainsFunc(word, unicode.IsControl) &&
		!likeCPF.MatchString(word)
}

// makeVocabularies makes the fixed ones, and the others empty.
func (m *Metrics) makeVocabularies() {
	m.apps, m.rules, m.sources, m.routes = words[string](), words[string](), words[string](), words[string]()
	m.products, m.purposes = words(""), words("")

	// As api/api.go shows them in the log.
	m.methods = words(http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions)

	// As package broker names them.
	m.acts = words("open", "respond")
	m.outcomes = words("opened", "refused", "granted", "denied")
	m.reasons = words("",
		selo.ReasonRequestInvalid, selo.ReasonCallerUnauthenticated, selo.ReasonCallerForbidden, selo.ReasonCPFMissing,
		selo.ReasonCPFInvalid, selo.ReasonCPFMismatch, selo.ReasonCPFUnavailable, selo.ReasonProductUnknown, selo.ReasonPurposeUnknown,
		selo.ReasonRuleDenied, selo.ReasonRateLimited, selo.ReasonKeyUnavailable, selo.ReasonKeyUnknown, selo.ReasonCredentialUnknown, selo.ReasonIdempotencyConflict,
		selo.ReasonProviderUnavailable, selo.ReasonStoreUnavailable,
		selo.ReasonTooLarge, selo.ReasonMalformed, selo.ReasonHeaderRefused, selo.ReasonAlgorithmRefused,
		selo.ReasonSignatureInvalid, selo.ReasonPayloadInvalid, selo.ReasonTokenConfusion, selo.ReasonProductMismatch,
		selo.ReasonClaimMissing, selo.ReasonClaimType, selo.ReasonSubjectUnproven, selo.ReasonSubjectMismatch,
		selo.ReasonPolicyMismatch, selo.ReasonPurposeMismatch, selo.ReasonFreshnessUnproven, selo.ReasonStale,
		selo.ReasonFromTheFuture, selo.ReasonExpired, selo.ReasonReplayed, selo.ReasonAssuranceTooLow,
		selo.ReasonNotApproved, selo.ReasonNotFinal, selo.ReasonRecheckDisagrees, selo.ReasonSessionUnknown,
		selo.ReasonSessionNotOpen, selo.ReasonTooManyAttempts, selo.ReasonKeyRevoked)
	m.environments = words(selo.EnvironmentSandbox, selo.EnvironmentProduction)

	m.calls = words("exchange", "smart-auth", "faces")
	m.callOutcomes = words(
		"answered",
		"no_attempt",  // it has no such attempt (yet), or no record of it that can be used
		"unreachable", // it could not be reached
		"timeout",     // it did not answer in time
		"error",       // it answered with an error
		"refused",     // it did not accept our credentials
		"unusable",    // its answer cannot be used; redirects are among these
		"wait",        // it asked to be called later
		"breaker",     // it was not called: the circuit breaker is open
		"busy",        // it was not called: too many calls are under way
		"ended",       // the caller did not wait
		"invalid",     // it was not called: what would be sent cannot be right
	)
	m.ruleResults = words("true", "false", "error")
	m.fetchOutcomes = words("ok", "failed")
}

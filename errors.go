package selo

import (
	"errors"
	"slices"
	"strings"
)

// Reason is a stable code that says why something was refused. The codes are the contract of the
// library, the API, the command line and the vectors: they may grow, they are never renamed.
//
// A Reason is itself an error, so that errors.Is(err, selo.ReasonStale) asks the question directly.
type Reason string

// Error makes every reason a sentinel for errors.Is.
func (r Reason) Error() string { return string(r) }

// Reasons for refusing to open a session or to mint a token.
const (
	ReasonRequestInvalid        Reason = "request_invalid"        // a field of the request is missing, unknown or malformed
	ReasonCallerUnauthenticated Reason = "caller_unauthenticated" // no credential, or one that does not verify
	ReasonCallerForbidden       Reason = "caller_forbidden"       // a known caller without the right to ask this
	ReasonCPFMissing            Reason = "cpf_missing"            // the verified identity carries no CPF
	ReasonCPFInvalid            Reason = "cpf_invalid"            // not eleven digits with correct check digits
	ReasonCPFMismatch           Reason = "cpf_mismatch"           // two sources name different people
	ReasonCPFUnavailable        Reason = "cpf_unavailable"        // whoever knows the CPF did not answer
	ReasonProductUnknown        Reason = "product_unknown"        // no such product, or the app does not offer it
	ReasonPurposeUnknown        Reason = "purpose_unknown"        // the app declares no such purpose
	ReasonRuleDenied            Reason = "rule_denied"            // a rule of the app said no
	ReasonRateLimited           Reason = "rate_limited"           // too many sessions in the window
	ReasonKeyUnavailable        Reason = "key_unavailable"        // no active access key covers the product
	ReasonKeyUnknown            Reason = "key_unknown"            // no such access key
	ReasonCredentialUnknown     Reason = "credential_unknown"     // no such credential of a service or operator
	ReasonIdempotencyConflict   Reason = "idempotency_conflict"   // the same Idempotency-Key with another request
	ReasonProviderUnavailable   Reason = "provider_unavailable"   // the provider did not answer
	ReasonStoreUnavailable      Reason = "store_unavailable"      // the record could not be written
)

// Reasons for refusing a signed response, or for a session that cannot take one.
const (
	ReasonTooLarge          Reason = "too_large"          // longer than MaxTokenSize
	ReasonMalformed         Reason = "malformed"          // not three canonical base64url segments
	ReasonHeaderRefused     Reason = "header_refused"     // the JOSE header asks for something we do not do
	ReasonAlgorithmRefused  Reason = "algorithm_refused"  // alg is not exactly the one this key is for
	ReasonSignatureInvalid  Reason = "signature_invalid"  // the MAC or signature does not match
	ReasonPayloadInvalid    Reason = "payload_invalid"    // not one strict JSON object
	ReasonTokenConfusion    Reason = "token_confusion"    // a token of another kind, such as the app's own mobile token
	ReasonProductMismatch   Reason = "product_mismatch"   // the response of another product
	ReasonClaimMissing      Reason = "claim_missing"      // a claim that this product always has is not there
	ReasonClaimType         Reason = "claim_type"         // a claim has another JSON type or range than it must
	ReasonSubjectUnproven   Reason = "subject_unproven"   // the response names nobody
	ReasonSubjectMismatch   Reason = "subject_mismatch"   // the response names somebody else
	ReasonPolicyMismatch    Reason = "policy_mismatch"    // another provider policy was run
	ReasonPurposeMismatch   Reason = "purpose_mismatch"   // the receipt is for another purpose
	ReasonFreshnessUnproven Reason = "freshness_unproven" // the response does not say when it was made
	ReasonStale             Reason = "stale"              // made before the session was opened, or too long ago
	ReasonFromTheFuture     Reason = "from_the_future"    // made later than now plus the allowed skew
	ReasonExpired           Reason = "expired"            // past its own exp, or past the session's respond_by
	ReasonReplayed          Reason = "replayed"           // one of its ids was used before
	ReasonAssuranceTooLow   Reason = "assurance_too_low"  // the purpose requires more than this proves
	ReasonNotApproved       Reason = "not_approved"       // authentic, fresh, ours, and the provider says no
	ReasonNotFinal          Reason = "not_final"          // the provider's no to what may still become a yes, or no record of the attempt yet
	ReasonRecheckDisagrees  Reason = "recheck_disagrees"  // the provider's own record says otherwise than the signed response
	ReasonSessionUnknown    Reason = "session_unknown"    // no such session, or not the caller's
	ReasonSessionNotOpen    Reason = "session_not_open"   // already decided, superseded or expired
	ReasonTooManyAttempts   Reason = "too_many_attempts"  // the session has used up its attempts
	ReasonKeyRevoked        Reason = "key_revoked"        // the key that made the session may no longer verify
)

// Error is every refusal of this package. It never contains a secret, a whole token or a full CPF, so
// it may be logged as it is.
type Error struct {
	Reason Reason   // the first thing found wrong
	Field  string   // the claim, header parameter or input at fault, when there is one
	Detail string   // what is wrong and what would be right, for a person
	Also   []*Error // whatever else was wrong with the same input, in the order of the checks
	Err    error    // the cause beneath, when it was not the input's fault
}

// Error renders the reason, the field and the detail of every fault found.
func (e *Error) Error() string {
	var b strings.Builder
	for i, one := range e.All() {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(string(one.Reason))
		if one.Field != "" {
			b.WriteString(": " + one.Field)
		}
		if one.Detail != "" {
			b.WriteString(": " + one.Detail)
		}
		if one.Err != nil {
			b.WriteString(": " + one.Err.Error())
		}
	}
	return b.String()
}

// All returns the error itself followed by Also, and what those hold in turn.
func (e *Error) All() []*Error {
	all := []*Error{e}
	for _, also := range e.Also {
		all = append(all, also.All()...)
	}
	return all
}

// Reasons returns the reason code of every fault found, each once, in the order of the checks.
func (e *Error) Reasons() []Reason {
	var rs []Reason
next:
	for _, one := range e.All() {
		for _, r := range rs {
			if r == one.Reason {
				continue next
			}
		}
		rs = append(rs, one.Reason)
	}
	return rs
}

// Is reports whether target is one of the reasons, so that errors.Is(err, ReasonStale) works.
func (e *Error) Is(target error) bool {
	r, ok := target.(Reason)
	if !ok {
		return false
	}
	for _, one := range e.All() {
		if one.Reason == r {
			return true
		}
	}
	return false
}

// Unwrap returns the causes beneath, if any.
func (e *Error) Unwrap() (causes []error) {
	for _, one := range e.All() {
		if one.Err != nil {
			causes = append(causes, one.Err)
		}
	}
	return causes
}

// ReasonsOf returns the reason codes in err, or nil when err holds no *Error: then it is a fault of the
// program or its surroundings, and the caller must refuse.
func ReasonsOf(err error) []Reason {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e.Reasons()
	}
	var r Reason
	if errors.As(err, &r) {
		return []Reason{r}
	}
	return nil
}

// Denied reports whether err is the provider's no to exactly this attempt: authentic, fresh, of this person,
// not used before, and not approved; or good by itself and contradicted by the provider's own record. It ends
// the attempt. Any other refusal decides nothing: were it to end the attempt, anybody could end anybody's
// with rubbish. So do not ask errors.Is(err, ReasonNotApproved), nor ReasonRecheckDisagrees, which are also
// true when more is wrong: a record that contradicts the response and is of another time ends nothing.
func Denied(err error) bool {
	reasons := ReasonsOf(err)
	if !slices.Contains(reasons, ReasonRecheckDisagrees) {
		return slices.Equal(reasons, []Reason{ReasonNotApproved})
	}
	return !slices.ContainsFunc(reasons, func(r Reason) bool { return !slices.Contains(contradictions, r) })
}

// contradictions are the reasons that a re-check can give against a response.
var contradictions = []Reason{ReasonRecheckDisagrees, ReasonNotApproved, ReasonSubjectMismatch, ReasonPolicyMismatch}

func refuse(r Reason, field, detail string) *Error {
	return &Error{Reason: r, Field: field, Detail: detail}
}

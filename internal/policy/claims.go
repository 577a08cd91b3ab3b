package policy

// ClaimType is the type of a claim that rules may use.
type ClaimType string

// The types, with what a token's JSON must be and what a Caller's Claims then hold.
const (
	ClaimString  ClaimType = "string"  // a string: string
	ClaimStrings ClaimType = "strings" // an array of strings, or one string: []string
	ClaimBoolean ClaimType = "boolean" // true or false: bool
	ClaimInteger ClaimType = "integer" // a number without fraction or exponent, up to 2^53 either way: int64
	ClaimNumber  ClaimType = "number"  // a number: float64
	ClaimTime    ClaimType = "time"    // a number of seconds since 1970: time.Time
)

// Claim is one more claim of an app's bearer tokens that its rules may use. A token in which it is of another
// type is refused; it may be absent.
type Claim struct {
	// Path says where it is: the name of a top-level member, or a JSON pointer (RFC 6901) such as
	// /realm_access/roles, which only looks into objects. Empty means the name that rules know it by.
	Path string
	Type ClaimType
}

// StandardClaims are the claims that rules of every app may use, by the names of OpenID Connect Core, RFC 9068
// and RFC 8693, which are also where they stand in a token. scope is split at its spaces.
func StandardClaims() map[string]ClaimType {
	return map[string]ClaimType{
		"acr":       ClaimString,
		"amr":       ClaimStrings,
		"auth_time": ClaimTime,
		"azp":       ClaimString,
		"client_id": ClaimString,
		"scope":     ClaimStrings,
	}
}

package selo

import "time"

// The sources named below are described in docs/providers/caf.md, with dates and with what is assumed
// where Caf is silent.
const (
	cafLifetime    = 5 * time.Minute  // ours: Caf only recommends "a short exp"
	cafMaxLifetime = 30 * time.Minute // ours: the hard ceiling of invariant 3
	cafAttempt     = "attemptId"      // by which Caf is asked about an attempt
)

// Claims that tell the shapes of Caf's responses apart. Source: Caf's SDK references, 2024-2026.
var (
	cafSmartAuthOnly = []string{"isAuthorized", "isNewContext", "policyId", "peopleId"} // Smart Auth attestation
	cafWebOnly       = []string{"sessionId", "createdAt"}                               // web liveness, 2D
	cafClassicOnly   = []string{"attemptId", "person"}                                  // mobile API and classic SDK
)

var cafFaceLiveness = mustProfile(Profile{
	Product:      "caf/face-liveness",
	Provider:     "caf",
	TokenSubject: "peopleId", // Caf: tokens of a Mobile Key
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	Foreign:      concat([]string{"isMatch"}, cafSmartAuthOnly),
	Shapes: []Shape{{
		Name:      "native",            // Caf: native SDK, 2024
		Decision:  []string{"isAlive"}, // Caf: a failed liveness is signed too (since 2025-10)
		Subject:   "personId",
		IDs:       []string{"requestId"},
		Foreign:   concat(cafWebOnly, cafClassicOnly),
		Assurance: AssurancePresence,
	}, {
		Name:      "web-2d", // Caf: web SDK, 2025
		Decision:  []string{"isAlive"},
		Subject:   "personId",
		IDs:       []string{"sessionId"},
		Marks:     cafWebOnly,
		Foreign:   concat([]string{"requestId"}, cafClassicOnly),
		Assurance: AssurancePresence,
	}, {
		Name:      "mobile-api", // Caf: classic SDK, and /faces/liveness?shouldSignResponse=true; carries no time
		Decision:  []string{"isAlive"},
		Subject:   "person.cpf",
		IDs:       []string{"requestId", cafAttempt},
		Marks:     cafClassicOnly,
		Foreign:   concat([]string{"personId"}, cafWebOnly),
		Assurance: AssurancePresence,
	}},
	Recheck: AssurancePresence,
	Attempt: cafAttempt,
})

var cafFaceAuthentication = mustProfile(Profile{
	Product:      "caf/face-authentication",
	Provider:     "caf",
	TokenSubject: "peopleId",
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	Marks:        []string{"isMatch", "message"}, // Caf: the two claims that liveness lacks
	Foreign:      concat(cafSmartAuthOnly, cafWebOnly, cafClassicOnly),
	Shapes: []Shape{{
		Name:      "native",                       // Caf: native SDK, 2024
		Decision:  []string{"isAlive", "isMatch"}, // Caf: as face liveness, plus isMatch
		Subject:   "personId",
		IDs:       []string{"requestId"},
		Marks:     cafNativeAuthentication,
		Assurance: AssuranceMatch,
	}, {
		// Caf: /faces/authenticate?shouldSignResponse=true. It names nobody, carries no time, and does not say
		// that the face was alive, so by itself it proves nothing.
		Name:      "mobile-api",
		Decision:  []string{"isMatch"},
		IDs:       []string{"requestId"},
		Marks:     []string{"isMatch"},
		Foreign:   cafNativeAuthentication,
		Assurance: AssuranceUnset,
	}},
	Recheck: AssuranceMatch,
	Attempt: cafAttempt,
})

// cafNativeAuthentication are the claims, of those that are read, which the native response has and the mobile
// API's has not.
var cafNativeAuthentication = []string{"isAlive", "personId", "message", "iat"}

var cafSmartAuth = mustProfile(Profile{
	Product:      "caf/smart-auth",
	Provider:     "caf",
	TokenSubject: "personId", // Caf: tokens of an Identity key
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	Roles: []Role{ // Caf: the policy may run a face check, which needs a token of its own
		{"identity", "caf/smart-auth"},
		{"face", "caf/face-liveness"},
	},
	Foreign: concat([]string{"isAlive", "isMatch", "person"}, cafWebOnly),
	Shapes: []Shape{{
		Name:       "attestation",
		Decision:   []string{"isAuthorized"},
		Subject:    "peopleId",
		IDs:        []string{cafAttempt},
		Policy:     "policyId",
		Challenged: "isNewContext", // Caf: false means a known device and place; probably no biometric ran
		Assurance:  AssuranceReauthenticated,
		Interim:    true, // Caf: pending answers are signed too
	}},
	Recheck: AssuranceMatch, // when the record has a live face that matched
	Attempt: cafAttempt,
})

var cafDocumentDetection = mustProfile(Profile{
	Product:      "caf/document-detection",
	Provider:     "caf",
	TokenSubject: "peopleId",
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	// Caf: no signed response at all, and no record by attempt id is described.
})

// CafFaceLiveness is Caf's face liveness, from the native SDK, the web SDK (2D) or the mobile API: somebody
// alive was in front of the camera. It does not say who, so it reaches AssurancePresence only.
func CafFaceLiveness() *Profile { return cafFaceLiveness.copy() }

// CafFaceAuthentication is Caf's face authentication: a live face that matched the one registered for the CPF
// (AssuranceMatch). The mobile API's answer names nobody, and so grants after a re-check only.
func CafFaceAuthentication() *Profile { return cafFaceAuthentication.copy() }

// CafSmartAuth is Caf's Smart Auth: a known device and place let the person pass (AssuranceKnownContext), or a
// challenge was passed that may have been SMS or e-mail (AssuranceReauthenticated). Only a re-check can tell
// that a live face was matched (AssuranceMatch). It needs two mobile tokens at once, one for each of its Roles.
func CafSmartAuth() *Profile { return cafSmartAuth.copy() }

// CafDocumentDetection is Caf's document detection. It has no signed response, so a token can be minted, and
// nothing that comes back can be verified or grant: the result is pulled from Caf's own API.
func CafDocumentDetection() *Profile { return cafDocumentDetection.copy() }

// Profiles returns every profile this version knows, in a stable order.
func Profiles() []*Profile {
	return []*Profile{CafFaceLiveness(), CafFaceAuthentication(), CafSmartAuth(), CafDocumentDetection()}
}

// LookupProfile returns the profile of a product by name, or an *Error with ReasonProductUnknown.
func LookupProfile(product string) (*Profile, error) {
	known := ""
	for _, p := range Profiles() {
		if p.Product == product {
			return p, nil
		}
		known += " " + p.Product
	}
	return nil, refuse(ReasonProductUnknown, "product", "must be one of:"+known)
}

func mustProfile(p Profile) *Profile {
	made, err := NewProfile(p)
	if err != nil {
		panic(err) // a profile in this file contradicts itself; any test finds it
	}
	return made
}

func concat(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

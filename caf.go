package selo

import "time"

// The sources named below are described in docs/providers/caf.md, with dates and with what is assumed
// where Caf is silent.
const (
	cafLifetime    = 5 * time.Minute  // ours: Caf only recommends "a short exp"
	cafMaxLifetime = 30 * time.Minute // ours: the hard ceiling of invariant 3
)

// Claims that tell the responses of Caf's products apart. Source: Caf's SDK references, 2024-2026.
var (
	cafSmartAuthOnly = []string{"isAuthorized", "isNewContext", "policyId", "peopleId"} // Identity attestation
	cafWebOnly       = []string{"sessionId", "createdAt"}                               // web liveness, 2D
	cafClassicOnly   = []string{"attemptId", "person"}                                  // mobile API and attestation
)

var cafFaceLiveness = mustProfile(Profile{
	Product:      "caf/face-liveness",
	Provider:     "caf",
	TokenSubject: "peopleId", // Caf: tokens of a Mobile Key
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	Decision:     []string{"isAlive"}, // Caf: a failed liveness is signed too (since 2025-10)
	Subject:      "personId",          // Caf: native SDK, 2024
	IDs:          []string{"requestId"},
	Foreign:      concat([]string{"isMatch"}, cafSmartAuthOnly, cafWebOnly, cafClassicOnly),
	Assurance:    AssurancePresence,
})

var cafFaceAuthentication = mustProfile(Profile{
	Product:      "caf/face-authentication",
	Provider:     "caf",
	TokenSubject: "peopleId",
	Lifetime:     cafLifetime,
	MaxLifetime:  cafMaxLifetime,
	Decision:     []string{"isAlive", "isMatch"}, // Caf: as face liveness, plus isMatch
	Subject:      "personId",
	IDs:          []string{"requestId"},
	Marks:        []string{"isMatch", "message"}, // Caf: the two claims that liveness lacks
	Foreign:      concat(cafSmartAuthOnly, cafWebOnly, cafClassicOnly),
	Assurance:    AssuranceMatch,
})

// CafFaceLiveness is Caf's native face liveness: somebody alive was in front of the camera. It does not
// say who, so it reaches AssurancePresence only.
func CafFaceLiveness() *Profile { return cafFaceLiveness.copy() }

// CafFaceAuthentication is Caf's native face authentication: a live face that matched the one registered
// for the CPF (AssuranceMatch).
func CafFaceAuthentication() *Profile { return cafFaceAuthentication.copy() }

// Profiles returns every profile this version knows, in a stable order.
func Profiles() []*Profile { return []*Profile{CafFaceLiveness(), CafFaceAuthentication()} }

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

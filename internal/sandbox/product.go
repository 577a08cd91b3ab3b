package sandbox

import (
	"slices"
	"strings"
)

// Outcome is what the pretend camera, phone or camera roll is to have come to.
type Outcome string

// The outcomes. Each product has some of them; approve is the one that all have.
const (
	OutcomeApprove         Outcome = "approve"         // all is well: alive, the right person, a document, a challenge passed by face
	OutcomeNotAlive        Outcome = "not-alive"       // a photograph, a mask; then nothing matches either
	OutcomeNoMatch         Outcome = "no-match"        // someone alive, but another person; face-authentication only
	OutcomeNotDetected     Outcome = "not-detected"    // no document in the picture; document-detection only
	OutcomeKnownContext    Outcome = "known-context"   // a known device was let pass, without any challenge; smart-auth only
	OutcomeReauthenticated Outcome = "reauthenticated" // a challenge was passed, by SMS and without a face; smart-auth only
	OutcomePending         Outcome = "pending"         // nothing is decided yet; smart-auth only
	OutcomeNotAuthorized   Outcome = "not-authorized"  // the challenge failed; smart-auth only
)

// product is one of Caf's products as this sandbox runs it.
type product struct {
	name     string
	module   string // moduleName in the answers of CafSDK; "" where nothing is signed
	outcomes []Outcome
}

const (
	productFaceLiveness       = "caf/face-liveness"
	productFaceAuthentication = "caf/face-authentication"
	productDocumentDetection  = "caf/document-detection"
	productSmartAuth          = "caf/smart-auth"
)

var products = []product{
	{productFaceLiveness, "faceLiveness", []Outcome{OutcomeApprove, OutcomeNotAlive}},
	{productFaceAuthentication, "faceAuthentication", []Outcome{OutcomeApprove, OutcomeNotAlive, OutcomeNoMatch}},
	{productDocumentDetection, "", []Outcome{OutcomeApprove, OutcomeNotDetected}},
	{productSmartAuth, "smartAuth", []Outcome{OutcomeApprove, OutcomeKnownContext, OutcomeReauthenticated, OutcomePending, OutcomeNotAuthorized}},
}

// productNamed returns the product of that name, or nil.
func productNamed(name string) *product {
	if i := slices.IndexFunc(products, func(p product) bool { return p.name == name }); i >= 0 {
		return &products[i]
	}
	return nil
}

func productNames() []string {
	var names []string
	for _, p := range products {
		names = append(names, p.name)
	}
	return names
}

// named lists outcomes for people.
func named(outcomes []Outcome) string {
	var names []string
	for _, o := range outcomes {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}

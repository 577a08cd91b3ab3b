package sandbox

// The payloads of signed responses, and what Caf answers without a signature, as described in
// docs/providers/caf.md. They name people in clear: do not log them.

// FaceLivenessResponse is the payload of a signed response of caf/face-liveness, as Caf's native SDK of
// 2024 returns it (docs/providers/caf.md). It names a person in clear: do not log it.
type FaceLivenessResponse struct {
	RequestID  string `json:"requestId"` // UUID of the attempt
	IsAlive    bool   `json:"isAlive"`   // the decision
	Token      string `json:"token"`     // UUID; Caf does not say what for
	UserID     string `json:"userId"`    // opaque; the sandbox's is new each time
	ImageURL   string `json:"imageUrl"`  // never to be fetched: it is whatever the signer wrote
	PersonID   string `json:"personId"`  // the CPF, 11 digits
	SDKVersion string `json:"sdkVersion"`
	IssuedAt   int64  `json:"iat"` // seconds since 1970
}

// FaceAuthenticationResponse is the payload of a signed response of caf/face-authentication, as Caf's
// native SDK of 2024 returns it: that of face liveness, and two more. Both decisions must be true.
type FaceAuthenticationResponse struct {
	FaceLivenessResponse
	IsMatch bool   `json:"isMatch"` // the second decision
	Message string `json:"message"` // for people
}

// WebLivenessResponse is the payload of a signed response of caf/face-liveness as Caf's web SDK (2D) of 2025
// returns it.
type WebLivenessResponse struct {
	SessionID string `json:"sessionId"` // UUID of the attempt
	PersonID  string `json:"personId"`  // the CPF, 11 digits
	IsAlive   bool   `json:"isAlive"`   // the decision
	ImageURL  string `json:"imageUrl"`  // never to be fetched
	CreatedAt string `json:"createdAt"` // ISO 8601, in UTC with milliseconds
	IssuedAt  int64  `json:"iat"`       // seconds since 1970
}

// SmartAuthAttestation is the payload of a signed response of caf/smart-auth. The decision is IsAuthorized;
// with IsNewContext false, nobody was asked for anything.
type SmartAuthAttestation struct {
	AttemptID    string `json:"attemptId"` // UUID; the same before and after a pending attempt is finished
	PeopleID     string `json:"peopleId"`  // the CPF, 11 digits
	PolicyID     string `json:"policyId"`  // as the SDK was started with
	IsAuthorized bool   `json:"isAuthorized"`
	IsNewContext bool   `json:"isNewContext"`
	IssuedAt     int64  `json:"iat"` // seconds since 1970
	Expires      int64  `json:"exp"` // IssuedAt and 120 s
}

// SmartAuthRefusal is what Smart Auth returns, without any signature, when the challenge failed.
type SmartAuthRefusal struct {
	IsAuthorized bool   `json:"isAuthorized"` // false
	AttemptID    string `json:"attemptId"`
}

// MobileLivenessResponse is the answer of POST /faces/liveness, signed or not. It has no time in it.
type MobileLivenessResponse struct {
	RequestID string        `json:"requestId"`
	IsAlive   bool          `json:"isAlive"` // the decision
	AttemptID string        `json:"attemptId"`
	Person    *MobilePerson `json:"person,omitzero"` // nil when the request named nobody
	Message   string        `json:"message"`         // for people
}

// MobilePerson is whom a request to POST /faces/liveness says it is about.
type MobilePerson struct {
	CPF  string `json:"cpf"` // in an answer, 11 digits
	Name string `json:"name,omitzero"`
}

// MobileAuthenticationResponse is the answer of POST /faces/authenticate, signed or not. It names neither a
// person nor a time.
type MobileAuthenticationResponse struct {
	RequestID string `json:"requestId"`
	IsMatch   bool   `json:"isMatch"` // the decision
}

// MobileRegistration is the answer of POST /faces/register, which is never signed.
type MobileRegistration struct {
	RequestID string `json:"requestId"`
	Message   string `json:"message"` // for people
}

// DocumentDetection is what document detection returns. Nothing of it is signed, so it proves nothing.
type DocumentDetection struct {
	RequestID    string            `json:"requestId"`
	DocumentType string            `json:"documentType,omitzero"` // "cnh"; absent when nothing was detected
	Captures     []DocumentCapture `json:"captures"`              // empty when nothing was detected
}

// DocumentCapture is one picture of a document.
type DocumentCapture struct {
	ImageURL string `json:"imageUrl"` // never to be fetched
	Label    string `json:"label"`    // the side: "front", "back"
}

// SDKAnswer is what the SDK hands to the app when something was signed.
type SDKAnswer struct {
	ModuleName     string `json:"moduleName,omitzero"` // only where the wrapper (CafSDK) was asked for
	SignedResponse string `json:"signedResponse"`      // a JWT
}

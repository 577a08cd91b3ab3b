// Package store keeps sessions, used ids and the audit trail, and is the only package that speaks SQL.
//
// Its methods are whole acts: Open, Decide, Session and the rest each write all their rows in one durable
// transaction, audit row included, or none of them. No transaction handle leaves the package, so that
// acts can later share a transaction and another engine can answer the same calls.
//
// When a method returns without an error, what it wrote survives a crash of the process and of the
// machine. When it returns an error, it wrote nothing, except where it says so. Nothing here knows a
// secret, a whole CPF or a token: those are pseudonyms, sealed values and hashes before they arrive.
package store

import (
	"errors"
	"time"

	"github.com/selo-id/selo"
)

// State of a session. All but StateOpen are terminal: they never change.
type State string

// The states.
const (
	StateOpen       State = "open"
	StateGranted    State = "granted"
	StateDenied     State = "denied"
	StateExpired    State = "expired"
	StateSuperseded State = "superseded"
)

// Person is who a session is about, as far as the database may know.
type Person struct {
	SubjectIssuer string
	Subject       []byte // pseudonym of (issuer, sub)
	CPF           []byte // pseudonym; empty when none is known
	PepperVersion int    // of both pseudonyms
}

// Session is one attempt by one subject at one product for one purpose.
type Session struct {
	ID             string
	App            string
	Product        string
	Purpose        string
	Environment    selo.Environment
	Service        string // the service that opened it; "" when the end user did
	SignUp         bool   // opened without a CPF; otherwise there is one
	Person         Person
	SubjectSealed  []byte
	Assurance      selo.Assurance    // that the purpose requires
	PolicyID       string            // the provider policy that must be run; "" for products without one
	Keys           map[string]string // role to client ID
	OpenedAt       time.Time
	TokenExpiresAt time.Time
	RespondBy      time.Time // from here on the session is expired
	MaxAttempts    int

	Attempts  int
	State     State
	EndedAt   time.Time      // zero while open
	Reasons   []selo.Reason  // of a denial
	Proved    selo.Assurance // by a grant
	ReceiptID string         // of a grant
}

// Audit is one row of the trail: who did what to which session, and how it ended.
type Audit struct {
	At         time.Time
	Act        string // open, supersede, respond, expire, read, webhook, credential, key, pepper, restore, admin
	Outcome    string // minting, opened, repeated, refused, evidence, contradicts, added, revoked, rewrapped, leaked, restored, listed, explained, fingerprinted, counted, or the state that the session or access key came to
	Reasons    []selo.Reason
	SessionID  string
	CallerKind string
	Service    string
	App        string
	Product    string
	Purpose    string
	Person     Person
	Keys       map[string]string
	RequestID  string
	Note       string // what else is known, in words of ours
}

// OpenAct opens a session.
type OpenAct struct {
	Session Session
	// Subjects are the pseudonyms of the same subject under every live pepper, the session's own
	// among them: by these its earlier sessions are found.
	Subjects [][]byte
	// CPFs are the same for the CPF; empty when the session has none.
	CPFs [][]byte
	// Limits must all have room. There may be several by the same, with different windows.
	Limits []Limit
	// Repeats name a request that its caller may send again, under every live pepper: the first is recorded,
	// by all it is found. Empty when the caller did not ask for that.
	Repeats     []Repeat
	RepeatUntil time.Time
	// TokenSealed is a token that cannot be made again, for a repeat; it is kept while the session is open.
	TokenSealed []byte
	Audit       Audit
}

// Repeat is a request that may be sent again, as keyed hashes: of the caller with their key, and of what they
// asked.
type Repeat struct {
	ID, Request []byte
}

// RepeatedError says that a request was sent before and has its session. The repeat is in the audit trail.
type RepeatedError struct {
	Session     *Session
	TokenSealed []byte // of OpenAct, while the session is open
}

func (e *RepeatedError) Error() string { return "the request was sent before" }

// DecideAct ends a session, or counts an attempt that did not.
type DecideAct struct {
	SessionID string
	At        time.Time
	// Outcome is StateGranted or StateDenied to end the session, StateOpen for a response that was
	// refused: then only an attempt is counted, and the last one denies.
	Outcome   State
	Reasons   []selo.Reason
	IDs       []selo.UsedID  // used up by a grant or denial
	Proved    selo.Assurance // by a grant
	ReceiptID string         // of a grant
	Audit     Audit          // Outcome and Reasons are filled in here
}

// Decided is what became of a DecideAct.
type Decided struct {
	Session *Session // as it is now
	// Reasons why the response did not grant: those of the act and whatever the transaction found.
	// Empty exactly when this act granted the session.
	Reasons []selo.Reason
	// Contradicted says that the provider had sent an event before that contradicts the grant.
	Contradicted bool
}

var (
	// ErrNotFound means that there is no such session, credential, access key or sealed pepper.
	ErrNotFound = errors.New("not found")
	// ErrRepeatConflict means that another request was sent under the same key. It is in the audit trail.
	ErrRepeatConflict = errors.New("another request was sent under this key")
	// ErrRepeatRunning means that the same request is being answered right now. It is in the audit trail.
	ErrRepeatRunning = errors.New("the same request is being answered")
	// ErrNotReserved means that a reservation is gone, and the session cannot be opened on it.
	ErrNotReserved = errors.New("the reservation is gone")
	// ErrCredentialConflict means that another credential has what must be its own, or that its service is another's.
	// The error that wraps it says which.
	ErrCredentialConflict = errors.New("credentials conflict")
	// ErrKeyConflict means that another access key has, or had, what must be its own. The error that wraps it says which.
	ErrKeyConflict = errors.New("access keys conflict")
	// ErrKeyState means that an access key cannot come to a state. The error that wraps it says what it may become.
	ErrKeyState = errors.New("not a next state of the access key")
	// ErrChanged means that what was to be changed is not what it was thought to be: read it again.
	ErrChanged = errors.New("it was changed by somebody else")
	// ErrKeyEnded is about a session whose access key was revoked, or retired, before it could open.
	ErrKeyEnded = errors.New("the access key has ended")
	// ErrPepperConflict means that a pepper version has a sealed pepper.
	ErrPepperConflict = errors.New("this version has a pepper, which is never replaced")
	// ErrExists means that a file, which is never written over, is there already.
	ErrExists = errors.New("the file is there already")
	// ErrPepperChanged means that a pepper version is in use with another pepper.
	ErrPepperChanged = errors.New("another pepper was used under this version before; put that file back, or list this one under a higher version")
)

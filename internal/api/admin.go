package api

import (
	"net/http"
	"regexp"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

// The operators' part of the API. Its credentials are of their own and open no session.

type credentialBody struct {
	Kind        string    `json:"kind"`
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	App         string    `json:"app,omitempty"`
	Scopes      []string  `json:"scopes"`
	MapSubjects bool      `json:"map_subjects,omitzero"`
	Certificate string    `json:"certificate,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	LastUsedAt  time.Time `json:"last_used_at,omitzero"`
	APIKey      string    `json:"api_key,omitempty"` // once, to whoever added it
}

func credentialAnswer(c *broker.Credential, key string) credentialBody {
	return credentialBody{Kind: string(c.Kind), ID: c.ID, Name: c.Name, App: c.App, Scopes: c.Scopes, MapSubjects: c.MapSubjects,
		Certificate: c.Certificate, CreatedAt: utc(c.CreatedAt), ExpiresAt: utc(c.ExpiresAt), RevokedAt: utc(c.RevokedAt),
		LastUsedAt: utc(c.LastUsedAt), APIKey: key}
}

// utc leaves the zero time as it is, which is not written.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

type credentialsBody struct {
	Credentials []credentialBody `json:"credentials"`
}

func (s *server) credentials(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	body := credentialsBody{Credentials: []credentialBody{}}
	all, err := s.Broker.Credentials(x.act, c, x.id, broker.CredentialService, broker.CredentialOperator)
	if err != nil {
		x.fail(err)
		return
	}
	for _, one := range all {
		body.Credentials = append(body.Credentials, credentialAnswer(one, ""))
	}
	x.json(http.StatusOK, body)
}

type addCredentialBody struct {
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	App         string   `json:"app"`
	Scopes      []string `json:"scopes"`
	MapSubjects bool     `json:"map_subjects"`
	Certificate string   `json:"certificate"`
	ExpiresAt   string   `json:"expires_at"`
}

func (s *server) addCredential(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	var body addCredentialBody
	if !x.read(c, broker.ActAdmin, &body, "kind, name, scopes and expires_at, for a service also app, map_subjects and certificate") {
		return
	}
	until, err := time.Parse(time.RFC3339, body.ExpiresAt)
	if err != nil {
		until = time.Time{} // which is refused, once it is known that this caller may add at all
	}
	added, key, err := s.Broker.AddCredential(x.act, c, broker.NewCredential{Kind: broker.CredentialKind(body.Kind), Name: body.Name, App: body.App,
		Scopes: body.Scopes, MapSubjects: body.MapSubjects, Certificate: body.Certificate, ExpiresAt: until}, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.w.Header().Set("Location", "/v1/admin/credentials/"+string(added.Kind)+"/"+added.ID)
	x.json(http.StatusCreated, credentialAnswer(added, key))
}

func (s *server) revokeCredential(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	revoked, err := s.Broker.RevokeCredential(x.act, c, broker.CredentialKind(x.r.PathValue("kind")), x.r.PathValue("id"), x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.json(http.StatusOK, credentialAnswer(revoked, ""))
}

type trailBody struct {
	Steps []stepBody `json:"steps"`
}

type stepBody struct {
	At        time.Time     `json:"at"`
	Act       string        `json:"act"`
	Caller    string        `json:"caller"`
	Outcome   string        `json:"outcome"`
	Reasons   []selo.Reason `json:"reasons,omitempty"`
	SessionID string        `json:"session_id,omitempty"`
	Note      string        `json:"note,omitempty"`
	Rules     []ruleBody    `json:"rules,omitempty"`
	MoreRules int           `json:"more_rules,omitzero"`
}

type ruleBody struct {
	Name    string `json:"name"`
	Said    string `json:"said"`
	Text    string `json:"text,omitempty"`
	Changed bool   `json:"changed,omitzero"`
}

var recordID = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// trail explains what is on record of a session, or of one request.
func (s *server) trail(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	query := x.r.URL.Query()
	session, request := query.Get("session"), query.Get("request")
	if (session == "") == (request == "") || !recordID.MatchString(session+request) {
		x.unreadable(c, broker.ActAdmin, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "query", Detail: "must have session or request, the id of one, and not both"})
		return
	}
	steps, err := s.Broker.Explain(x.act, c, session, request, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	body := trailBody{}
	for _, step := range steps {
		one := stepBody{At: utc(step.At), Act: step.Act, Caller: step.Caller, Outcome: step.Outcome, Reasons: step.Reasons, SessionID: step.Session, Note: step.Note, MoreRules: step.More}
		for _, r := range step.Rules {
			one.Rules = append(one.Rules, ruleBody(r))
		}
		body.Steps = append(body.Steps, one)
	}
	x.json(http.StatusOK, body)
}

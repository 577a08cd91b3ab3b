package api

import (
	"net/http"
	"net/url"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

type accessKeyBody struct {
	ClientID     string           `json:"client_id"`
	Environment  selo.Environment `json:"environment"`
	Name         string           `json:"name,omitempty"`
	Note         string           `json:"note,omitempty"`
	Products     []string         `json:"products"`
	SharedReason string           `json:"shared_reason,omitempty"`
	State        string           `json:"state"`
	Leaked       bool             `json:"leaked,omitzero"`
	KEK          string           `json:"kek"`
	CreatedAt    time.Time        `json:"created_at"`
	ActivatedAt  time.Time        `json:"activated_at,omitzero"`
	RetireUntil  time.Time        `json:"retire_until,omitzero"`
	RevokedAt    time.Time        `json:"revoked_at,omitzero"`
	LastUsedAt   time.Time        `json:"last_used_at,omitzero"`
	BlastRadius  *radiusBody      `json:"blast_radius,omitempty"`
}

type radiusBody struct {
	TokensAlive       int       `json:"tokens_alive"`
	LatestTokenExpiry time.Time `json:"latest_token_expiry,omitzero"`
	OpenSessions      int       `json:"open_sessions"`
	SessionsSince     int       `json:"sessions_since"`
	GrantsSince       int       `json:"grants_since"`
	Grants            []string  `json:"grants,omitempty"`
	Subjects          int       `json:"subjects"`
	Pseudonyms        []string  `json:"pseudonyms,omitempty"`
}

func accessKeyAnswer(k *broker.AccessKey) accessKeyBody {
	return accessKeyBody{ClientID: k.ClientID, Environment: k.Environment, Name: k.Name, Note: k.Note, Products: k.Products,
		SharedReason: k.SharedReason, State: string(k.State), Leaked: k.Leaked, KEK: k.KEK, CreatedAt: utc(k.CreatedAt), ActivatedAt: utc(k.ActivatedAt),
		RetireUntil: utc(k.RetireUntil), RevokedAt: utc(k.RevokedAt), LastUsedAt: utc(k.LastUsedAt)}
}

type accessKeysBody struct {
	Keys []accessKeyBody `json:"keys"`
}

func (s *server) accessKeys(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	all, err := s.Broker.AccessKeys(x.act, c, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	body := accessKeysBody{Keys: []accessKeyBody{}}
	for _, k := range all {
		body.Keys = append(body.Keys, accessKeyAnswer(k))
	}
	x.json(http.StatusOK, body)
}

type addKeyBody struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Environment  string   `json:"environment"`
	Products     []string `json:"products"`
	Name         string   `json:"name"`
	Note         string   `json:"note"`
	SharedReason string   `json:"shared_reason"`
}

// addKey takes a secret in; there is no way out for one.
func (s *server) addKey(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	var body addKeyBody
	ok := x.read(c, broker.ActAdmin, &body, "client_id, client_secret, environment and products, and if you like name, note and shared_reason")
	clear(x.body)
	if !ok {
		return
	}
	k, err := s.Broker.AddKey(x.act, c, broker.NewKey{ClientID: body.ClientID, Environment: selo.Environment(body.Environment), Products: body.Products,
		Name: body.Name, Note: body.Note, SharedReason: body.SharedReason}, []byte(body.ClientSecret), x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.w.Header().Set("Location", "/v1/admin/keys/"+string(k.Environment)+"/"+url.PathEscape(k.ClientID))
	x.json(http.StatusCreated, accessKeyAnswer(k))
}

type changeKeyBody struct {
	State  string    `json:"state"`
	Until  time.Time `json:"until"`
	Leaked bool      `json:"leaked"`
	Since  time.Time `json:"since"`
}

func (s *server) changeKey(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	var body changeKeyBody
	if !x.read(c, broker.ActAdmin, &body, "state (active, retiring, revoked), with retiring also until, with revoked also leaked and since; times as RFC 3339") {
		return
	}
	k, radius, err := s.Broker.ChangeKey(x.act, c, broker.KeyChange{ClientID: x.r.PathValue("client_id"), Environment: selo.Environment(x.r.PathValue("environment")),
		To: body.State, Until: body.Until, Leaked: body.Leaked, Since: body.Since}, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	answer := accessKeyAnswer(k)
	if radius != nil {
		answer.BlastRadius = &radiusBody{radius.TokensAlive, utc(radius.LatestTokenExpiry), radius.OpenSessions, radius.SessionsSince,
			radius.GrantsSince, radius.Grants, radius.Subjects, radius.Pseudonyms}
	}
	x.json(http.StatusOK, answer)
}

func (s *server) accessKey(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	k, err := s.Broker.AccessKey(x.act, c, x.r.PathValue("client_id"), selo.Environment(x.r.PathValue("environment")), x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.json(http.StatusOK, accessKeyAnswer(k))
}

type rewrappedBody struct {
	Rewrapped int `json:"rewrapped"`
}

func (s *server) rewrapKeys(x *exchange) {
	c := x.caller()
	if c == nil {
		return
	}
	if !x.read(c, broker.ActAdmin, &struct{}{}, "nothing: {}") {
		return
	}
	count, err := s.Broker.Rewrap(x.act, c, x.id)
	if err != nil {
		x.fail(err)
		return
	}
	x.json(http.StatusOK, rewrappedBody{count})
}

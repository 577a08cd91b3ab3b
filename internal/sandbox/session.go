package sandbox

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// sessionLifetime is how long a session token lives. Caf names no number.
const sessionLifetime = 10 * time.Minute

// SessionAnswer is the answer of GET /bff/session-tokens.
type SessionAnswer struct {
	RequestID    string `json:"requestId"`    // UUID of the exchange, and of nothing else
	SessionToken string `json:"sessionToken"` // a JWT; opaque to everybody but the sandbox
}

// sessionClaims is the payload of a session token. It has no iss, which every mobile token has, so that
// neither can be taken for the other; and no CPF, because Caf's exchange knows none.
type sessionClaims struct {
	ClientID string `json:"clientId"`
	ID       string `json:"jti"`
	Expires  int64  `json:"exp"`
}

// exchange makes a session token for a mobile token that has an exp.
func (s *Sandbox) exchange(w http.ResponseWriter, r *http.Request) (any, *refusal) {
	token, no := s.admit(w, r, startsServer, "")
	if no != nil {
		return nil, no
	}
	answer := SessionAnswer{RequestID: NewUUID(), SessionToken: token.jwt}
	if !faultOf(r).is(faultEchoToken) {
		claims, no := marshal(sessionClaims{token.key.clientID, NewUUID(), s.now().Add(sessionLifetime).Unix()})
		if no != nil {
			return nil, no
		}
		answer.SessionToken = s.session.sign(claims)
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "exchanged", slog.String("client_id", token.key.clientID))
	return answer, nil
}

// readSession accepts or refuses what looks like a session token.
func (s *Sandbox) readSession(compact string, parsed *jose.JSONWebSignature, claims tokenClaims) (*mobileToken, *refusal) {
	if s.session.verify(parsed) != nil {
		return nil, badToken("the token has no iss, and is no session token of this sandbox either; a restart makes those of before invalid")
	}
	clientID, _ := text(claims.ClientID)
	token := &mobileToken{jwt: compact, key: s.keys[clientID]}
	if token.key == nil {
		return nil, badToken("the session token is for a client that this sandbox does not know")
	}
	return s.judgeClaims(token, claims)
}

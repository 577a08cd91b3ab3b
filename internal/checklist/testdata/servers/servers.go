// Package servers holds the backends that the tests hold the checker against. Library, Cookies and TwoStep are right, each
// in a style of its own: no probe may find anything in them, and the regions that they mark with "snippet: NAME" and "end"
// are shown to whoever has the fault that one of them mends. Flawed has a switch for each mistake that real backends make.
//
// They keep everything in memory, so they are one process each, and forget when it ends.
package servers

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/selo-id/selo"
)

// Config is whom a server serves, and with which keys.
type Config struct {
	Product       string // caf/face-liveness and so on, for the servers that can do more than one
	Key           Key    // the access key in use
	Face          Key    // that of the second token of Smart Auth
	Retired       Key    // was in use; a right server does not know it any more
	Sandbox       Key    // the provider's other environment; a right server does not know it
	Policy        string // the provider's policy, of Smart Auth
	WebhookSecret string
	Exchanged     bool // give the app a session token of the provider
	Users         []User

	// Told is told of every credential and every token that is made, so that a test can look for them where they must
	// not be.
	Told func(secret string)
}

// Key is an access key as the provider's console shows it.
type Key struct{ ClientID, Secret string }

// User is one of the customer's users.
type User struct {
	Name, CPF, Password string
	Limit               int // tokens a minute; 0 is 20. Users that test a staging server need more.
}

func (c *Config) tell(secret string) string {
	if c.Told != nil {
		c.Told(secret)
	}
	return secret
}

// accessKey is the key in the form that the library takes.
func (k Key) accessKey() (selo.AccessKey, error) {
	secret, err := selo.NewSecret([]byte(k.Secret))
	if err != nil {
		return selo.AccessKey{}, fmt.Errorf("reading the secret of %s: %w", k.ClientID, err)
	}
	return selo.AccessKey{ClientID: k.ClientID, Secret: secret}, nil
}

// person is a user with the CPF that is on record.
type person struct {
	name     string
	cpf      selo.CPF
	password [sha256.Size]byte // your own sign-in has scrypt or argon2 here
	limit    int
}

func people(users []User) (map[string]person, error) {
	all := make(map[string]person, len(users))
	for _, u := range users {
		cpf, err := selo.ParseCPF(u.CPF)
		if err != nil {
			return nil, fmt.Errorf("the CPF of %s: %w", u.Name, err)
		}
		all[u.Name] = person{name: u.Name, cpf: cpf, password: sha256.Sum256([]byte(u.Password)), limit: cmp.Or(u.Limit, defaultLimit)}
	}
	return all, nil
}

// knows reports whether the password is the person's. It takes as long for people that are not there.
func (p person) knows(password string) bool {
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], p.password[:]) == 1 && p.name != ""
}

const defaultLimit = 20 // tokens a minute

// snippet: limits
// Every token starts an attempt that the provider bills, so each user gets some a minute and no more; 429 says so. The
// count is by user and not by address: behind one address may be a whole town, and an attacker has many. It also bounds
// how many responses can be tried, since each attempt takes a few and then ends.
type limits struct {
	mu     sync.Mutex
	counts map[string]window // at most one for each user
}

type window struct {
	ends  time.Time
	count int
}

func (l *limits) take(user string, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.counts[user]
	if now := time.Now(); now.After(w.ends) {
		w = window{ends: now.Add(time.Minute)}
	}
	w.count++
	l.counts[user] = w
	return w.count <= most
}

// end

// snippet: no-store
// A token in a cache is a token for whoever reads the cache next. This goes round all routes, so that none is missed.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// end

// randomID is an id that nobody can guess.
func randomID() string { return rand.Text() }

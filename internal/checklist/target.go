package checklist

import "time"

// Target is check.yaml: how to get a token from a server and how to hand in a response, and what is needed to play
// everybody around it. `selo check init` writes a commented one. Secrets are files, names of environment variables or
// commands; no value in a check.yaml is secret, except that CPFs may stand in it, since they are those of test users.
type Target struct {
	Target      string         `yaml:"target"`               // base URL of the server, which paths below are added to
	Environment string         `yaml:"environment"`          // staging, or production: then only the harmless probes run
	Product     string         `yaml:"product"`              // "caf/face-authentication"
	Shape       string         `yaml:"shape,omitempty"`      // of the signed response: native (default) or web-2d, of face liveness
	PolicyID    string         `yaml:"policy_id,omitempty"`  // of Smart Auth
	Response    map[string]any `yaml:"response,omitempty"`   // claims that signed responses have beside the usual, such as sdkVersion: "6.1.0"
	Exchanged   bool           `yaml:"exchanged,omitempty"`  // the token is a session token that the provider made
	Key         *Key           `yaml:"key,omitempty"`        // the access key under test; not needed in production
	OtherKeys   Others         `yaml:"other_keys,omitempty"` // keys that must not work

	Users []User `yaml:"users"` // two at least, with different credentials

	Login  []Step `yaml:"login,omitempty"`  // takes credential; left out when the users have credentials of their own
	Token  []Step `yaml:"token"`            // the last one takes token
	Submit Submit `yaml:"submit,omitempty"` // hands in {{response}}
	Logout []Step `yaml:"logout,omitempty"`

	BadCredentials BadCredentials `yaml:"bad_credentials,omitempty"`
	Webhook        *Webhook       `yaml:"webhook,omitempty"`
	Callback       *Callback      `yaml:"callback,omitempty"`
	Limits         Limits         `yaml:"limits,omitempty"`
}

// Key is an access key of the provider: one of the first two fields, and one of the others.
type Key struct {
	ClientID    string `yaml:"client_id,omitempty"`
	ClientIDEnv string `yaml:"client_id_env,omitempty"`
	SecretFile  string `yaml:"secret_file,omitempty"`
	SecretEnv   string `yaml:"secret_env,omitempty"`
}

// Others are keys whose signatures the server must refuse.
type Others struct {
	Retired *Key `yaml:"retired,omitempty"` // was the server's, and is no more
	Sandbox *Key `yaml:"sandbox,omitempty"` // is the provider's other environment
}

// User is a test user. A user without a credential signs in by the steps of login.
type User struct {
	Name       string            `yaml:"name"` // {{user}}
	CPF        string            `yaml:"cpf"`  // {{cpf}}: as it is written here
	Credential *Source           `yaml:"credential,omitempty"`
	Values     map[string]string `yaml:"values,omitempty"`  // further {{names}}
	Secrets    map[string]Source `yaml:"secrets,omitempty"` // the same, from elsewhere and never printed
}

// Source is where a secret text comes from: exactly one of them.
type Source struct {
	File    string   `yaml:"file,omitempty"`
	Env     string   `yaml:"env,omitempty"`
	Command []string `yaml:"command,omitempty"` // run without a shell; its standard output
}

// Step is one HTTP request and what to keep of its answer. {{name}} stands for a value: of the user, or taken by an
// earlier step. At most one of JSON, Form, Multipart and Raw is the body.
type Step struct {
	Method    string            `yaml:"method,omitempty"` // GET, or POST when there is a body
	URL       string            `yaml:"url"`              // a path, or an absolute URL
	Headers   map[string]string `yaml:"headers,omitempty"`
	JSON      any               `yaml:"json,omitempty"`
	Form      map[string]string `yaml:"form,omitempty"`
	Multipart map[string]string `yaml:"multipart,omitempty"`
	Raw       string            `yaml:"raw,omitempty"`
	Take      map[string]string `yaml:"take,omitempty"` // name to expression, such as token: body.tokens.mobile
}

// Submit is the step that hands in {{response}}, and what means that access was granted.
type Submit struct {
	Request Step   `yaml:"request"`
	Granted string `yaml:"granted"` // an expression, such as status == 200
}

// BadCredentials are credentials of the first user that must not work.
type BadCredentials struct {
	Expired       *BadCredential `yaml:"expired,omitempty"`
	WrongAudience *BadCredential `yaml:"wrong_audience,omitempty"` // for another app of the same identity provider
}

// BadCredential is such a one: exactly one of the fields of a Source, or With, which are values for login to make it.
type BadCredential struct {
	File    string            `yaml:"file,omitempty"`
	Env     string            `yaml:"env,omitempty"`
	Command []string          `yaml:"command,omitempty"`
	With    map[string]string `yaml:"with,omitempty"`
}

// Webhook is how the provider's events come in: the request has {{event}} as its raw body and {{signature}} in a header.
type Webhook struct {
	Request    Step   `yaml:"request"`
	SecretFile string `yaml:"secret_file,omitempty"`
	SecretEnv  string `yaml:"secret_env,omitempty"`
	Accepted   string `yaml:"accepted"`        // an expression: the event was taken
	Acted      string `yaml:"acted,omitempty"` // an expression: it was taken and is new; without it nobody can tell a repeat
}

// Callback is where the server under test would reach us, if it fetched what it must not fetch. On this machine none is
// needed.
type Callback struct {
	Listen string `yaml:"listen"` // host:port
	URL    string `yaml:"url"`    // as the server under test would write it
}

// Limits are what is acceptable, and how hard the check may push. Zero values are the defaults.
type Limits struct {
	TokenLifetime string `yaml:"token_lifetime,omitempty"` // the longest acceptable; 30m
	ResponseAge   string `yaml:"response_age,omitempty"`   // an older response must be refused; 15m
	Rate          int    `yaml:"rate,omitempty"`           // requests a second, 10; 100 to this machine
	Burst         int    `yaml:"burst,omitempty"`          // tokens that one user asks for at the end, of which one at least must be refused; 60
	BurstUser     string `yaml:"burst_user,omitempty"`     // who does; the last user
}

// The defaults of Limits.
const (
	defaultTokenLifetime = 30 * time.Minute // as Selo's own ceiling
	defaultResponseAge   = 15 * time.Minute
	defaultRate          = 10
	defaultLoopbackRate  = 100
	defaultBurst         = 60
	minBurst             = 10
	maxBurst             = 2000
	maxRate              = 1000
)

const (
	environmentStaging    = "staging"
	environmentProduction = "production"
)

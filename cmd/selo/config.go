package main

// Config is selo.yaml. Unknown fields are errors. Paths are relative to the folder of the file. Secrets
// are never values in it, only files that hold nothing else; selo.example.yaml explains every field.
type Config struct {
	Listen         string        `yaml:"listen"`                    // host:port
	InsecureHTTP   bool          `yaml:"insecure_http,omitempty"`   // plain HTTP on an address that is not loopback
	TrustedProxies []string      `yaml:"trusted_proxies,omitempty"` // addresses and networks
	MetricsListen  string        `yaml:"metrics_listen,omitempty"`  // host:port
	TLS            *TLSConfig    `yaml:"tls,omitempty"`
	Issuer         string        `yaml:"issuer"`
	Database       string        `yaml:"database"`
	ReceiptKeyFile string        `yaml:"receipt_key_file"` // Ed25519, PEM
	KEK            *KEKConfig    `yaml:"kek"`
	PreviousKEKs   []KEKConfig   `yaml:"previous_keks,omitempty"`
	StrictKeys     *bool         `yaml:"strict_keys,omitempty"`    // default true
	TokenLifetime  string        `yaml:"token_lifetime,omitempty"` // duration
	RespondWithin  string        `yaml:"respond_within,omitempty"` // duration
	MaxAttempts    *int          `yaml:"max_attempts,omitempty"`
	Limits         *LimitsConfig `yaml:"limits,omitempty"`
	Apps           []AppConfig   `yaml:"apps"`

	Caf      map[string]CafConfig `yaml:"caf,omitempty"` // environment to where Caf is called
	Webhooks []WebhookConfig      `yaml:"webhooks,omitempty"`

	file    string
	dir     string // of the file
	unknown faults // fields that it has and Config has not
	sealed  bool   // build without the KEK: see withConfig.openSealed
}

// TLSConfig names a certificate and its key, PEM.
type TLSConfig struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file,omitempty"` // authorities of services' client certificates
}

// KEKConfig says where the key-encryption key is: exactly one of the four.
type KEKConfig struct {
	File       string        `yaml:"file,omitempty"`
	Env        string        `yaml:"env,omitempty"`        // name of a variable
	Credential string        `yaml:"credential,omitempty"` // name of a systemd credential
	PKCS11     *PKCS11Config `yaml:"pkcs11,omitempty"`
}

// PKCS11Config is a key in an HSM.
type PKCS11Config struct {
	Module     string `yaml:"module"`
	TokenLabel string `yaml:"token_label"`
	KeyLabel   string `yaml:"key_label"`
	PINFile    string `yaml:"pin_file"`
}

// LimitsConfig bounds how many sessions are opened. A rate is written 5/1h: five in any hour.
type LimitsConfig struct {
	Subject      []string       `yaml:"subject,omitempty"`
	CPF          []string       `yaml:"cpf,omitempty"`
	Service      []string       `yaml:"service,omitempty"`
	OpenSessions *int           `yaml:"open_sessions,omitempty"`
	Daily        map[string]int `yaml:"daily,omitempty"` // by product
}

// AppConfig is one mobile app.
type AppConfig struct {
	Name        string                   `yaml:"name"`
	Issuer      string                   `yaml:"issuer"`
	Audience    string                   `yaml:"audience"`
	JWKSURL     string                   `yaml:"jwks_url,omitempty"`
	JWKSFile    string                   `yaml:"jwks_file,omitempty"`
	CPFClaim    string                   `yaml:"cpf_claim,omitempty"`
	Environment string                   `yaml:"environment"`
	Products    []string                 `yaml:"products"`
	Exchanged   []string                 `yaml:"exchanged,omitempty"`
	PolicyID    string                   `yaml:"policy_id,omitempty"`
	Purposes    map[string]PurposeConfig `yaml:"purposes"`

	AuthorizedParties []string               `yaml:"authorized_parties,omitempty"`
	Introspection     *IntrospectionConfig   `yaml:"introspection,omitempty"`
	CPFLookup         *LookupConfig          `yaml:"cpf_lookup,omitempty"`
	Limits            map[string][]string    `yaml:"limits,omitempty"` // by product
	Claims            map[string]ClaimConfig `yaml:"claims,omitempty"`
	Rules             []RuleConfig           `yaml:"rules,omitempty"`
	RuleCases         []RuleCaseConfig       `yaml:"rule_cases,omitempty"`
}

// IntrospectionConfig says where opaque tokens are asked about (RFC 7662).
type IntrospectionConfig struct {
	URL              string `yaml:"url"`
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
}

// LookupConfig says where the CPF of a subject is asked for.
type LookupConfig struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secret_file"`
	Timeout    string `yaml:"timeout,omitempty"` // duration
}

// ClaimConfig is one more claim that rules may use.
type ClaimConfig struct {
	Claim string `yaml:"claim,omitempty"` // where it is; its own name when empty
	Type  string `yaml:"type"`
}

// RuleConfig is one rule: exactly one of Allow and Deny, in CEL.
type RuleConfig struct {
	Name     string   `yaml:"name"`
	Products []string `yaml:"products,omitempty"`
	Purposes []string `yaml:"purposes,omitempty"`
	Allow    string   `yaml:"allow,omitempty"`
	Deny     string   `yaml:"deny,omitempty"`
	Observe  bool     `yaml:"observe,omitempty"`
}

// RuleCaseConfig is one line of the table that the rules are tested with.
type RuleCaseConfig struct {
	Name     string         `yaml:"name"`
	Product  string         `yaml:"product"`
	Purpose  string         `yaml:"purpose"`
	Caller   string         `yaml:"caller,omitempty"` // end_user (default) or service
	Service  string         `yaml:"service,omitempty"`
	Scopes   []string       `yaml:"scopes,omitempty"`
	Claims   map[string]any `yaml:"claims,omitempty"`
	CPFKnown *bool          `yaml:"cpf_known,omitempty"`
	Now      string         `yaml:"now,omitempty"`
	Want     string         `yaml:"want"`         // allow or deny
	By       string         `yaml:"by,omitempty"` // the rule that denies
}

// PurposeConfig is what a purpose requires; match when it does not say less.
type PurposeConfig struct {
	Assurance string `yaml:"assurance,omitempty"`
	Recheck   string `yaml:"recheck,omitempty"`
	PolicyID  string `yaml:"policy_id,omitempty"`
	Capture   bool   `yaml:"capture,omitempty"`
	SignUp    bool   `yaml:"sign_up,omitempty"`
}

// CafConfig says where Caf is called, server to server. What is left out is not called.
type CafConfig struct {
	SessionURL           string `yaml:"session_url,omitempty"`
	SessionAuthorization string `yaml:"session_authorization,omitempty"` // raw or bearer
	IdentityURL          string `yaml:"identity_url,omitempty"`
	FacesURL             string `yaml:"faces_url,omitempty"`
	APITokenFile         string `yaml:"api_token_file,omitempty"`
	Timeout              string `yaml:"timeout,omitempty"` // duration
}

// WebhookConfig is one address at which Caf posts events.
type WebhookConfig struct {
	Name        string `yaml:"name"`
	Environment string `yaml:"environment"`
	SecretFile  string `yaml:"secret_file"`
	MaxAge      string `yaml:"max_age,omitempty"` // duration
}

package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/keyring"
)

// KeyFile is a file of access keys with their secrets in files beside it: what selo sandbox plays the provider for, and what
// selo key import takes over. A selo.yaml of before there was a kek is one.
type KeyFile struct {
	AccessKeys []AccessKeyConfig    `yaml:"access_keys"`
	Peppers    []PepperConfig       `yaml:"peppers,omitempty"`
	Caf        map[string]CafConfig `yaml:"caf,omitempty"` // for selo sandbox: caf.sandbox.api_token_file

	dir     string
	unknown faults
}

// PepperConfig is one version of the pepper: at least 32 random bytes in a file.
type PepperConfig struct {
	Version int    `yaml:"version"`
	File    string `yaml:"file"`
}

// AccessKeyConfig is one access key of the provider.
type AccessKeyConfig struct {
	ClientID    string   `yaml:"client_id"`
	SecretFile  string   `yaml:"secret_file"`
	Environment string   `yaml:"environment"` // production or sandbox
	Products    []string `yaml:"products"`
	State       string   `yaml:"state,omitempty"` // prepared, active (default), retiring, revoked
	Until       string   `yaml:"until,omitempty"` // RFC 3339; for retiring

	SharedReason string `yaml:"shared_reason,omitempty"` // why it is for several products
}

func (c *KeyFile) path(p string) string { return (&Config{dir: c.dir}).path(p) }

// readKeyFile parses a file strictly, as readConfig does.
func readKeyFile(path string) (*KeyFile, error) {
	c := &KeyFile{dir: filepath.Dir(path)}
	unknown, err := readYAML(path, c)
	c.unknown = unknown
	return c, err
}

// accessKeys loads the keys that the configuration lists.
func (c *KeyFile) accessKeys(f *faults) []keyring.Key {
	var keys []keyring.Key
	for i, k := range c.AccessKeys {
		at := fmt.Sprintf("access_keys[%d]", i)
		key := keyring.Key{
			AccessKey: selo.AccessKey{ClientID: k.ClientID, Environment: selo.Environment(k.Environment)},
			Products:  k.Products,
			State:     keyring.State(k.State),
		}
		secret, err := selo.ReadSecretFile(c.path(k.SecretFile))
		switch {
		case k.SecretFile == "":
			f.add(at+".secret_file", "is required; the secret itself never stands in this file")
		case err != nil:
			f.add(at+".secret_file", "%v", withoutPath(err))
		}
		if err != nil { // reported once, and what else is wrong with the key as well
			secret, _ = selo.NewSecret([]byte(randomHex(32)))
		}
		key.Secret = secret
		if k.Until != "" {
			until, err := time.Parse(time.RFC3339, k.Until)
			if err != nil {
				f.add(at+".until", "must be a date and time such as 2027-01-31T12:00:00Z")
			}
			key.Until = until
		}
		keys = append(keys, key)
	}
	return keys
}

// ring is accessKeys as a checked ring, nil after a mistake.
func (c *KeyFile) ring(f *faults) *keyring.Ring {
	if len(c.AccessKeys) == 0 {
		f.add("access_keys", "at least one is required")
	}
	ring, err := keyring.NewRing(c.accessKeys(f))
	f.join(err)
	return ring
}

func (c *KeyFile) peppers(f *faults) *keyring.Peppers {
	var all []*keyring.Pepper
	before := len(*f)
	for i, p := range c.Peppers {
		at := fmt.Sprintf("peppers[%d]", i)
		material, err := readSecretFile(c.path(p.File))
		if err != nil {
			f.add(at+".file", "%v", err)
			continue
		}
		pepper, err := keyring.NewPepper(p.Version, material)
		clear(material)
		if err != nil {
			f.add(at, "%v", err)
			continue
		}
		all = append(all, pepper)
	}
	if len(*f) > before {
		return nil
	}
	peppers, err := keyring.NewPeppers(all...)
	f.join(err)
	return peppers
}

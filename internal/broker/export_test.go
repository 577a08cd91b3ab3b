package broker

import "github.com/selo-id/selo/internal/keyring"

// UseKeys replaces the key ring. New refuses a ring without a key for an offered product, so only a ring
// that changes later, which no configuration can do yet, leaves one without.
func (b *Broker) UseKeys(ring *keyring.Ring) { b.cfg.Keys = ring }

package store

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// What the store must never see: it is given seals and fingerprints of it.
var plantedSecret = transcript.Secret("client secret of the store tests, sealed before it is stored")

func sealOf(id, kek string) []byte { return pseudonym(1, "seal under "+kek, plantedSecret+id) }

// accessKey returns one that is active since noon, with the changes asked for.
func accessKey(id string, changes ...func(*AccessKey)) AccessKey {
	k := AccessKey{
		ClientID: id, Environment: selo.EnvironmentSandbox, Name: "faces", Note: "from the console", Products: []string{faceAuthentication, faceLiveness},
		SharedReason: "one contract", State: KeyActive, Sealed: sealOf(id, "kek-1"), KEK: "kek-1", Fingerprint: pseudonym(1, "fingerprint", plantedSecret+id),
		CreatedAt: noon, ActivatedAt: noon,
	}
	for _, change := range changes {
		change(&k)
	}
	return k
}

func keyPrepared(k *AccessKey) { k.State, k.ActivatedAt = KeyPrepared, time.Time{} }

func keyRetiring(k *AccessKey) { k.State, k.RetireUntil = KeyRetiring, noon.Add(time.Hour) }

func keyInProduction(k *AccessKey) { k.Environment = selo.EnvironmentProduction }

func keyCreatedAt(at time.Time) func(*AccessKey) { return func(k *AccessKey) { k.CreatedAt = at } }

func withSecretOf(id string) func(*AccessKey) {
	return func(k *AccessKey) { k.Fingerprint = pseudonym(1, "fingerprint", plantedSecret+id) }
}

// changing returns the act that takes a sandbox key to a state a minute after noon; a retiring one for an hour.
func changing(id string, to KeyState, changes ...func(*KeyChange)) KeyChange {
	c := KeyChange{ClientID: id, Environment: selo.EnvironmentSandbox, To: to, At: noon.Add(time.Minute)}
	if to == KeyRetiring {
		c.RetireUntil = noon.Add(time.Hour)
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func leaked(c *KeyChange) { c.Leaked = true }

func changedAt(at time.Time) func(*KeyChange) { return func(c *KeyChange) { c.At = at } }

func until(at time.Time) func(*KeyChange) { return func(c *KeyChange) { c.RetireUntil = at } }

// byOperatorAt is byOperator for acts whose time is in the row.
func byOperatorAt(id string, at time.Time) Audit {
	row := byOperator(id)
	row.At = at
	return row
}

func (s tested) addKey(k AccessKey) {
	s.t.Helper()
	if err := s.AddKey(s.t.Context(), k, byOperator(k.ClientID)); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
}

func (s tested) changeKey(c KeyChange) *AccessKey {
	s.t.Helper()
	k, err := s.ChangeKey(s.t.Context(), c, byOperator(c.ClientID))
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	return k
}

func (s tested) generation() int64 {
	s.t.Helper()
	n, err := s.Generation(s.t.Context())
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	return n
}

// key returns the stored key of the sandbox, or nil.
func (s tested) key(id string) *AccessKey {
	s.t.Helper()
	all, _, err := s.Keys(s.t.Context())
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	for _, k := range all {
		if k.ID() == (KeyID{id, selo.EnvironmentSandbox}) {
			return k
		}
	}
	return nil
}

func (s tested) expectKeys(generation int64, want ...AccessKey) {
	s.t.Helper()
	all, got, err := s.Keys(s.t.Context())
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	var have []AccessKey
	for _, k := range all {
		have = append(have, *k)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		s.t.Errorf("access keys (-want +got):\n%s", diff)
	}
	if got != generation || s.generation() != generation {
		s.t.Errorf("generation %d with the keys and %d alone, want %d", got, s.generation(), generation)
	}
}

// keyRows returns the audit rows about access keys and peppers, oldest first.
func (s tested) keyRows() []string {
	s.t.Helper()
	return s.rows(`SELECT act || ' ' || outcome || ', ' || at || ', ' || caller_kind || ', ' || request_id || ', ' || note FROM audit WHERE act IN ('key', 'pepper') ORDER BY id`)
}

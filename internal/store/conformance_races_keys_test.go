package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// blastRadius counts what hangs on one key in one environment, at one moment.
func blastRadius(s tested) {
	hour := noon.Add(time.Hour)
	twice := func(a *OpenAct) {
		a.Session.Keys = map[string]string{"identity": "client-1", "face": "client-1", "other": "client-2"}
	}
	s.open(opening("ses-old", "carla", openedAt(hour.Add(-24*time.Hour))))
	s.session("ses-old", hour) // expired
	s.open(opening("ses-granted", "bruno", openedAt(hour.Add(-8*time.Minute))))
	s.decide(deciding("ses-granted", StateGranted, "id-1").at(hour))
	s.open(opening("ses-superseded", "ana", openedAt(hour.Add(-2*time.Minute))))
	s.open(opening("ses-twice", "ana", openedAt(hour), twice))
	s.open(opening("ses-past", "dora", openedAt(hour.Add(-10*time.Minute)))) // not yet recorded as expired
	s.open(opening("ses-other key", "eva", openedAt(hour), func(a *OpenAct) { a.Session.Keys = map[string]string{"mobile": "client-10"} }))
	s.open(opening("ses-production", "fabio", openedAt(hour), inProduction))

	expect := func(client string, env selo.Environment, since time.Time, want BlastRadius, subjects ...string) {
		s.t.Helper()
		for _, who := range subjects {
			want.SubjectPseudonyms = append(want.SubjectPseudonyms, pseudonym(1, "subject", who))
		}
		want.Subjects = len(subjects)
		got, err := s.BlastRadius(s.t.Context(), client, env, since, hour)
		if transcript.Error(err) != nil {
			s.t.Fatal(err)
		}
		if len(got.Grants) != want.GrantsSince || slices.Contains(got.Grants, "ses-twice") {
			s.t.Errorf("%s, %s, since %v: grants %q", client, env, since, got.Grants)
		}
		got.Grants = nil
		if fmt.Sprint(*got) != fmt.Sprint(want) {
			s.t.Errorf("%s, %s, since %v:\n got %+v\nwant %+v", client, env, since, *got, want)
		}
	}
	alive := hour.Add(5 * time.Minute)
	expect("client-1", selo.EnvironmentSandbox, hour, BlastRadius{OpenSessions: 1, TokensAlive: 3, LatestTokenExpiry: alive, SessionsSince: 1, GrantsSince: 1}, "ana", "bruno")
	expect("client-1", selo.EnvironmentSandbox, hour.Add(time.Microsecond), BlastRadius{OpenSessions: 1, TokensAlive: 3, LatestTokenExpiry: alive}, "ana")
	expect("client-1", selo.EnvironmentSandbox, hour.Add(-9*time.Minute), BlastRadius{OpenSessions: 1, TokensAlive: 3, LatestTokenExpiry: alive, SessionsSince: 3, GrantsSince: 1}, "ana", "bruno")
	expect("client-1", selo.EnvironmentSandbox, time.Time{}, BlastRadius{OpenSessions: 1, TokensAlive: 3, LatestTokenExpiry: alive, SessionsSince: 5, GrantsSince: 1}, "ana", "bruno", "dora", "carla")
	expect("client-1", selo.EnvironmentProduction, hour, BlastRadius{OpenSessions: 1, TokensAlive: 1, LatestTokenExpiry: alive, SessionsSince: 1}, "fabio")
	expect("client-2", selo.EnvironmentSandbox, hour, BlastRadius{OpenSessions: 1, TokensAlive: 1, LatestTokenExpiry: alive, SessionsSince: 1}, "ana")
	expect("client-3", selo.EnvironmentSandbox, time.Time{}, BlastRadius{})

	for i := range blastSubjects + 5 {
		s.open(opening(fmt.Sprint("ses-many-", i), fmt.Sprint("many ", i), openedAt(hour.Add(time.Duration(i)*time.Second)), func(a *OpenAct) { a.Session.Keys = map[string]string{"mobile": "client-many"} }))
	}
	got, err := s.BlastRadius(s.t.Context(), "client-many", selo.EnvironmentSandbox, hour, hour)
	if transcript.Error(err) != nil || got.Subjects != blastSubjects+5 || len(got.SubjectPseudonyms) != blastSubjects ||
		!bytes.Equal(got.SubjectPseudonyms[0], pseudonym(1, "subject", fmt.Sprint("many ", blastSubjects+4))) {
		s.t.Errorf("many: %+v, %v", got, err)
	}
}

const keyRacers = 32

// raceKeys runs one act per racer at the same moment, and returns how many had no error. Others must have this one.
func (s tested) raceKeys(want error, act func(i int) error) (done int) {
	s.t.Helper()
	errs := make([]error, keyRacers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			<-start
			errs[i] = act(i)
		})
	}
	close(start)
	wg.Wait()
	for i, err := range errs {
		if err == nil {
			done++
		} else if !errors.Is(transcript.Error(err), want) {
			s.t.Errorf("racer %d: %v, want %v", i, err, want)
		}
	}
	return done
}

// Of any number of acts on one key at once those that conflict are done once, and the trail and the generation say so.
func manyChangeKeys(s tested) { s.raceOnKeys([]*Store{s.Store}) }

func (s tested) raceOnKeys(stores []*Store) {
	s.t.Helper()
	ctx := s.t.Context()
	at := func(i int) *Store { return stores[i%len(stores)] }
	expectOne := func(what string, done int) {
		s.t.Helper()
		if done != 1 {
			s.t.Errorf("%s: %d were done, want 1", what, done)
		}
	}
	expectOne("adding one client ID", s.raceKeys(ErrKeyConflict, func(i int) error {
		return at(i).AddKey(ctx, accessKey("one", keyPrepared, withSecretOf(fmt.Sprint(i))), byOperator("one"))
	}))
	expectOne("adding one secret", s.raceKeys(ErrKeyConflict, func(i int) error {
		return at(i).AddKey(ctx, accessKey(fmt.Sprint("secret-", i), withSecretOf("the secret")), byOperator("secret"))
	}))
	expectOne("adding one pepper", s.raceKeys(ErrPepperConflict, func(i int) error {
		return at(i).AddPepper(ctx, 1, pepperSeal(i, "kek"), "kek", byOperatorAt("pepper", noon))
	}))
	change := func(i int, c KeyChange) error {
		_, err := at(i).ChangeKey(ctx, c, byOperator("one"))
		return err
	}
	s.raceKeys(nil, func(i int) error { return change(i, changing("one", KeyActive, changedAt(noon.Add(time.Duration(i))))) })
	before := s.key("one").Sealed
	expectOne("rewrapping", s.raceKeys(ErrChanged, func(i int) error {
		return at(i).RewrapKey(ctx, "one", selo.EnvironmentSandbox, before, sealOf("one", fmt.Sprint("kek-", i)), "kek-2", byOperatorAt("one", noon))
	}))
	// Whoever is first, the earliest date stays.
	s.raceKeys(ErrKeyState, func(i int) error {
		return change(i, changing("one", KeyRetiring, until(noon.Add(time.Hour+time.Duration(i)*time.Minute))))
	})
	if k := s.key("one"); !k.RetireUntil.Equal(noon.Add(time.Hour)) {
		s.t.Errorf("retires until %v, want the earliest date of all", k.RetireUntil)
	}
	s.raceKeys(ErrKeyState, func(i int) error {
		if i%2 == 0 {
			return change(i, changing("one", KeyRevoked, leaked))
		}
		return change(i, changing("one", []KeyState{KeyActive, KeyRetiring, KeyRevoked}[i%3]))
	})
	if k := s.key("one"); k.State != KeyRevoked || !k.Leaked {
		s.t.Errorf("revoked by many: %+v", k)
	}
	for outcome, want := range map[string]int{"added": 3, "active": 1, "rewrapped": 1, "revoked": 1} {
		if n := s.count(`audit WHERE act IN ('key', 'pepper') AND outcome = '` + outcome + `'`); n != want {
			s.t.Errorf("%d rows of %s, want %d", n, outcome, want)
		}
	}
	// Each row of the trail is one of the generation, seen from everywhere.
	for _, store := range stores {
		if n := (tested{s.t, store}).generation(); n != int64(len(s.keyRows())) {
			s.t.Errorf("generation %d, want %d", n, len(s.keyRows()))
		}
	}
}

// Keys and generation are of one moment while others change them: each change here adds one key, and is one of the generation.
func (s tested) raceKeysAndGeneration(stores []*Store) {
	start := s.generation()
	s.raceKeys(nil, func(i int) error {
		if i%2 == 0 {
			id := fmt.Sprint("moment-", i)
			return stores[i%len(stores)].AddKey(s.t.Context(), accessKey(id), byOperator(id))
		}
		all, generation, err := stores[i%len(stores)].Keys(s.t.Context())
		if n := len(slices.DeleteFunc(all, func(k *AccessKey) bool {
			return k.Name != "faces" || len(k.ClientID) < 7 || k.ClientID[:7] != "moment-"
		})); int64(n) != generation-start {
			s.t.Errorf("%d keys of generation %d, which began at %d", n, generation, start)
		}
		return err
	})
}

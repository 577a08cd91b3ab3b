package store

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// modelled is one opening as a slow model of the limits remembers it.
type modelled struct {
	act   OpenAct
	state string // reserved, open, ended, released
}

// model answers what a limit must, by looking at everything that ever happened, once for each moment it asks about.
type model struct{ all []*modelled }

// width is the coarseness of a limit: what happens counts as if it had happened at the end of its bucket.
func (l Limit) width() time.Duration {
	switch l.By {
	case LimitProduct, LimitService, LimitDaily:
		return max(time.Second, l.Window/60)
	}
	return 0
}

// leaves is when an opening counts no more, while nothing else happens; ok is false when it does not count at all.
func (m *model) leaves(l Limit, e *modelled, act OpenAct) (_ time.Time, ok bool) {
	a, b := e.act.Session, act.Session
	subject := a.Person.SubjectIssuer == b.Person.SubjectIssuer && slices.Equal(e.act.Subjects[0], act.Subjects[0]) && a.App == b.App
	switch l.By {
	case LimitSubject:
		ok = subject
	case LimitCPF:
		ok = len(e.act.CPFs) > 0 && slices.Equal(e.act.CPFs[0], act.CPFs[0]) && a.Environment == b.Environment
	case LimitProduct:
		ok = a.App == b.App && a.Product == b.Product
	case LimitService:
		ok = a.Service == b.Service
	case LimitDaily:
		ok = a.Product == b.Product && a.Environment == b.Environment
	case LimitOpen:
		switch e.state {
		case "reserved":
			return a.OpenedAt.Add(time.Minute), subject && a.Product != b.Product
		case "open":
			return a.RespondBy, subject && a.Product != b.Product
		}
		return time.Time{}, false
	}
	at := a.OpenedAt
	if w := l.width(); w > 0 {
		at = time.UnixMicro((at.UnixMicro()/w.Microseconds() + 1) * w.Microseconds()).UTC()
	}
	return at.Add(l.Window), ok && e.state != "released"
}

// used is how many sessions a limit counts at a time, and when each leaves.
func (m *model) used(l Limit, act OpenAct, at time.Time) (leaves []time.Time) {
	byProduct := map[string]time.Time{} // of open sessions only one stays for a product
	for _, e := range m.all {
		t, ok := m.leaves(l, e, act)
		switch {
		case !ok || !t.After(at):
		case l.By == LimitOpen:
			if p := e.act.Session.Product; t.After(byProduct[p]) {
				byProduct[p] = t
			}
		default:
			leaves = append(leaves, t)
		}
	}
	for _, t := range byProduct {
		leaves = append(leaves, t)
	}
	slices.SortFunc(leaves, time.Time.Compare)
	return leaves
}

// judge says what Open or Reserve must answer.
func (m *model) judge(act OpenAct) (all []Usage, over *LimitError) {
	now := act.Session.OpenedAt
	for _, l := range act.Limits {
		if l.By == LimitCPF && len(act.CPFs) == 0 || l.By == LimitService && act.Session.Service == "" {
			continue
		}
		leaves := m.used(l, act, now)
		if len(leaves) >= l.Sessions {
			retry := cmp.Or(l.Window, time.Minute)
			for _, t := range leaves { // the first moment with room
				if l.Sessions > 0 && len(m.used(l, act, t)) < l.Sessions {
					retry = t.Sub(now)
					break
				}
			}
			if over == nil || retry > over.RetryAfter {
				over = &LimitError{l, retry}
			}
			continue
		}
		own, _ := m.leaves(l, &modelled{act, "open"}, act)
		if l.By == LimitOpen {
			own = act.Session.RespondBy
		}
		all = append(all, Usage{l, len(leaves) + 1, slices.MinFunc(append(leaves, own), time.Time.Compare).Sub(now)})
	}
	if over != nil {
		return nil, over
	}
	return all, nil
}

// safe reports whether the promise itself holds, in terms of the moments at which sessions were opened and no
// buckets: no window that ends here has more than its sessions, and what is refused had too many in a window that
// is longer by the width.
func (m *model) safe(t *testing.T, act OpenAct, opened bool, by Limit) {
	t.Helper()
	for _, l := range act.Limits {
		if l.By == LimitOpen || l.By == LimitCPF && len(act.CPFs) == 0 || l.By == LimitService && act.Session.Service == "" {
			continue
		}
		n, longer := 0, 0
		for _, e := range m.all {
			if _, ok := m.leaves(l, e, act); ok && e.act.Session.OpenedAt.After(act.Session.OpenedAt.Add(-l.Window)) {
				n++
			}
			if _, ok := m.leaves(l, e, act); ok && e.act.Session.OpenedAt.After(act.Session.OpenedAt.Add(-l.Window-l.width())) {
				longer++
			}
		}
		if opened && n >= l.Sessions {
			t.Fatalf("%s opened over limit %v: %d before it", act.Session.ID, l, n)
		}
		if !opened && l == by && longer < l.Sessions {
			t.Fatalf("%s refused by limit %v: %d before it", act.Session.ID, l, longer)
		}
	}
}

// Random openings under random limits, by clocks that also go back, are answered as the model says: which are
// opened, what is used, and how long the others must wait, to the microsecond. Then waiting so long, and no less, helps.
func TestLimitsFollowTheModel(t *testing.T) {
	t.Parallel()
	if inPlainCopy(t) {
		return
	}
	dir := fastDir(t)
	opened, refused, waited, back := map[LimitBy]int{}, map[LimitBy]int{}, 0, 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 3))
		store, err := Open(t.Context(), filepath.Join(dir, fmt.Sprint(seed, ".db")))
		if err != nil {
			t.Fatal(err)
		}
		s, m := tested{t, store}, &model{}
		s.registerPeppers()
		all := randomLimits(r, int(seed))
		now := noon.Add(time.Duration(r.Int64N(int64(time.Hour)))).Truncate(time.Microsecond)
		for i := range 80 {
			switch step := time.Duration(r.Int64N(int64(4 * time.Second))); r.IntN(12) {
			case 0:
				back++
				now = now.Add(-5 * step)
			case 1:
				now = now.Add(8 * step)
			case 2: // the same moment
			default:
				now = now.Add(step)
			}
			now = now.Truncate(time.Microsecond)
			finish(s, m, r, now)
			s.sweep(now.Add(-5 * time.Minute)) // later than any clock that went back
			act := randomOpening(r, fmt.Sprint("ses-", i), now, all)
			reserve := r.IntN(3) == 0
			got := compare(s, m, act, reserve)
			if got == nil {
				for _, l := range all {
					opened[l.By]++
				}
				continue
			}
			refused[got.Limit.By]++
			none := func(l Limit) bool { return l.Sessions == 0 } // which no wait helps
			if slices.ContainsFunc(all, none) || r.IntN(2) == 0 {
				continue
			}
			early := act
			openedAt(now.Add(got.RetryAfter - time.Microsecond))(&early)
			if compare(s, m, early, reserve) == nil {
				t.Fatalf("seed %d: %s was opened before the wait of limit %v was over", seed, act.Session.ID, got.Limit)
			}
			now = now.Add(got.RetryAfter)
			openedAt(now)(&act)
			if left := compare(s, m, act, reserve); left != nil {
				t.Fatalf("seed %d: %s waited for limit %v, and then: %v %v", seed, act.Session.ID, got.Limit, left, left.RetryAfter)
			}
			waited++
		}
		s.expectConsistent()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Fatalf("seed %d, limits %v", seed, all)
		}
	}
	for _, by := range []LimitBy{LimitSubject, LimitCPF, LimitProduct, LimitService, LimitDaily, LimitOpen} {
		if opened[by] < 50 || refused[by] < 5 {
			t.Errorf("limit %s: %d opened and %d refused, which shows too little", by, opened[by], refused[by])
		}
	}
	if waited < 50 || back < 50 {
		t.Errorf("waited %d times, went back %d times, which shows too little", waited, back)
	}
	t.Logf("opened %v, refused %v, waited %d times, went back %d times", opened, refused, waited, back)
}

// compare opens or reserves in both, and returns the refusal in which they agree, or nil.
func compare(s tested, m *model, act OpenAct, reserve bool) *LimitError {
	s.t.Helper()
	wantUsage, want := m.judge(act)
	do, state := s.Open, "open"
	if reserve {
		do, state = s.Reserve, "reserved"
	}
	usage, err := do(s.t.Context(), act)
	var got *LimitError
	if err != nil && !errors.As(transcript.Error(err), &got) {
		s.t.Fatal(err)
	}
	if (got == nil) != (want == nil) || got != nil && *got != *want || !slices.Equal(usage, wantUsage) {
		s.t.Fatalf("%s, at %v, %s: %+v, %+v, want %+v, %+v", act.Session.ID, act.Session.OpenedAt, state, usage, got, wantUsage, want)
	}
	if got != nil {
		m.safe(s.t.(*testing.T), act, false, got.Limit)
		return got
	}
	m.safe(s.t.(*testing.T), act, true, Limit{})
	m.add(act, state)
	return nil
}

// add remembers an opening, which ends the earlier one for the same product.
func (m *model) add(act OpenAct, state string) *modelled {
	if state == "open" {
		m.supersede(act)
	}
	e := &modelled{act, state}
	m.all = append(m.all, e)
	return e
}

func (m *model) supersede(act OpenAct) {
	for _, e := range m.all {
		if e.state == "open" && e.act.Session.App == act.Session.App && e.act.Session.Product == act.Session.Product && slices.Equal(e.act.Subjects[0], act.Subjects[0]) {
			e.state = "ended"
		}
	}
}

// finish ends what is reserved or open, now and then.
func finish(s tested, m *model, r *rand.Rand, now time.Time) {
	s.t.Helper()
	for _, e := range m.all {
		id := e.act.Session.ID
		switch {
		case e.state == "reserved" && r.IntN(4) == 0:
			s.release(e.act)
			e.state = "released"
		case e.state == "reserved" && r.IntN(3) == 0 && now.Before(e.act.Session.OpenedAt.Add(time.Minute)):
			s.openReserved(finishedAt(e.act, now))
			m.supersede(e.act)
			e.state = "open"
		case e.state == "open" && r.IntN(6) == 0:
			act := deciding(id, StateGranted, id)
			act.Audit.At, act.At = e.act.Session.OpenedAt, e.act.Session.OpenedAt
			s.decide(act)
			e.state = "ended"
		}
	}
}

// randomLimits returns one to four limits that are small enough to be met, with windows of some seconds, but for the
// daily one. There may be two by the same, also with buckets of the same width.
func randomLimits(r *rand.Rand, first int) (all []Limit) {
	by := []LimitBy{LimitSubject, LimitCPF, LimitProduct, LimitService, LimitDaily, LimitOpen}
	for i := range 1 + r.IntN(4) {
		if i > 0 {
			first = r.IntN(len(by))
		}
		l := Limit{By: by[first%len(by)], Sessions: 1 + r.IntN(6), Window: time.Duration(1+r.IntN(100)) * 777 * time.Millisecond}
		switch l.By {
		case LimitDaily:
			l.Sessions, l.Window = 2+r.IntN(8), 24*time.Hour
		case LimitOpen:
			l.Sessions, l.Window = 1+r.IntN(2), 0
		}
		if r.IntN(40) == 0 {
			l.Sessions = 0
		}
		all = append(all, l)
	}
	return all
}

// randomOpening is of one of few, under either pepper.
func randomOpening(r *rand.Rand, id string, at time.Time, all []Limit) OpenAct {
	who, cpf := fmt.Sprint("subject ", r.IntN(2)), fmt.Sprint("cpf ", r.IntN(2))
	version := 1 + r.IntN(2)
	return opening(id, who, openedAt(at), limits(all...), forProduct([]string{faceLiveness, faceAuthentication, "caf/document-detection"}[r.IntN(3)]), func(a *OpenAct) {
		a.Subjects = [][]byte{pseudonym(1, "subject", who), pseudonym(2, "subject", who)}
		a.CPFs = [][]byte{pseudonym(1, "cpf", cpf), pseudonym(2, "cpf", cpf)}
		a.Session.Person.Subject, a.Session.Person.CPF, a.Session.Person.PepperVersion = a.Subjects[version-1], a.CPFs[version-1], version
		a.Session.Service = []string{"", "backend", "batch"}[r.IntN(3)]
		if r.IntN(6) == 0 {
			a.Session.SignUp, a.Session.Person.CPF, a.CPFs = true, nil, nil
		}
		if r.IntN(3) == 0 {
			inApp("app-2")(a)
			a.Session.Environment = []selo.Environment{selo.EnvironmentSandbox, selo.EnvironmentProduction}[r.IntN(2)]
		}
	})
}

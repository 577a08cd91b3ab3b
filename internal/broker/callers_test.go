package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

var (
	reader       = service("reader", policy.ScopeSessionsRead)
	opener       = service("opener", policy.ScopeSessionsOpen)
	shopAna      = endUser("shop", "ana", anaCPF)
	shopBackend  = in("shop", backend())
	mappedOpener = mapped(service("mapped", policy.ScopeSessionsOpen, policy.ScopeSessionsRead))
)

// Who may know of which session, and who may answer it.
func TestOwnership(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(cfg *broker.Config) { cfg.MaxAttempts = 100 })
	open := func(c *policy.Caller, product, subject string, cpf selo.CPF) string {
		t.Helper()
		req := broker.OpenRequest{Product: product, Purpose: "login"}
		if c.Kind == policy.KindService {
			req.Subject, req.CPF = &subject, new(cpf.Digits())
		}
		s, err := h.open(c, req)
		if err != nil {
			t.Fatal(err)
		}
		return s.SessionID
	}
	sessions := map[string]string{
		"ana's":                          open(ana(), liveness, "", selo.CPF{}),
		"ana's at the shop":              open(shopAna, faceAuth, "", selo.CPF{}),
		"the backend's for its own ana":  open(backend(), liveness, "ana", anaCPF),
		"the mapped service's for anita": open(mappedOpener, faceAuth, "anita", anaCPF),
	}
	const nothing, reads, answers = 0, 1, 2
	table := map[string]struct {
		caller *policy.Caller
		may    map[string]int
	}{
		"ana":                                    {ana(), map[string]int{"ana's": answers}},
		"anita":                                  {endUser("bank", "anita", anaCPF), map[string]int{"the mapped service's for anita": answers}},
		"bruno":                                  {bruno(), nil},
		"Ana":                                    {endUser("bank", "Ana", anaCPF), nil},
		"ana of another issuer":                  {&policy.Caller{Kind: policy.KindEndUser, App: "bank", Issuer: "https://other.test", Subject: selo.Subject{Issuer: "https://other.test", ID: "ana"}, CPF: anaCPF}, nil},
		"ana at the shop":                        {shopAna, map[string]int{"ana's at the shop": answers}},
		"an end user who is nobody":              {&policy.Caller{Kind: policy.KindEndUser, App: "bank", Issuer: issuer}, nil},
		"an end user in the service's namespace": {&policy.Caller{Kind: policy.KindEndUser, App: "kiosk", Issuer: issuer, Subject: selo.Subject{Issuer: "service:backend", ID: "ana"}, CPF: anaCPF}, nil},
		"the backend":                            {backend(), map[string]int{"ana's": reads, "the backend's for its own ana": answers, "the mapped service's for anita": reads}},
		"the opener":                             {opener, nil},
		"the reader":                             {reader, map[string]int{"ana's": reads, "the backend's for its own ana": reads, "the mapped service's for anita": reads}},
		"the backend, without open": {service("backend", policy.ScopeSessionsRead),
			map[string]int{"ana's": reads, "the backend's for its own ana": reads, "the mapped service's for anita": reads}},
		"the backend, without read":    {service("backend", policy.ScopeSessionsOpen), map[string]int{"the backend's for its own ana": answers}},
		"the mapped service":           {mappedOpener, map[string]int{"ana's": reads, "the backend's for its own ana": reads, "the mapped service's for anita": answers}},
		"the shop's backend":           {shopBackend, map[string]int{"ana's at the shop": reads}},
		"a service without scopes":     {service("backend"), nil},
		"an end user with scopes":      {&policy.Caller{Kind: policy.KindEndUser, App: "bank", Issuer: issuer, Subject: selo.Subject{Issuer: issuer, ID: "bruno"}, Scopes: reader.Scopes}, nil},
		"an end user called backend":   {&policy.Caller{Kind: policy.KindEndUser, App: "bank", Issuer: issuer, Name: "backend", Subject: selo.Subject{Issuer: issuer, ID: "backend"}, Scopes: backend().Scopes}, nil},
		"a service of an app not here": {in("ghost", backend()), nil},
	}
	_, missing := h.decide(bruno(), "ses_NOSUCHSESSION", "rubbish")
	wantRefusal := refused(t, missing, selo.ReasonSessionUnknown)
	for name, tc := range table {
		for whose, id := range sessions {
			t.Run(name+" and "+whose, func(t *testing.T) {
				h.t = t
				_, readErr := h.read(tc.caller, id)
				if may := tc.may[whose] >= reads; may != (readErr == nil) {
					t.Errorf("reading: %v, want allowed %v", readErr, may)
				}
				// A session of somebody else's and one that does not exist look the same.
				if readErr != nil {
					sameRefusal(t, wantRefusal, readErr)
				}
				_, err := h.decide(tc.caller, id, "rubbish")
				if tc.may[whose] == answers {
					refused(t, err, selo.ReasonMalformed)
					return
				}
				sameRefusal(t, wantRefusal, err)
			})
		}
	}
}

func sameRefusal(t *testing.T, want *told, err error) {
	t.Helper()
	got := refused(t, err, want.Err.Reasons()...)
	if diff := cmp.Diff(want, got); diff != "" || got.Err.Error() != want.Err.Error() {
		t.Errorf("refusal differs from that for a session that does not exist (-want +got):\n%s", diff)
	}
}

// A true response by somebody who does not own the session grants nobody, and harms nobody.
func TestTrueResponseOfAnotherCaller(t *testing.T) {
	for name, c := range map[string]*policy.Caller{"bruno": bruno(), "the shop's ana": shopAna, "a service that may read": reader, "a service that may open": opener} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), liveness, "login")
			yes := h.approved(liveness, anaCPF).by("sbx-liveness")
			_, err := h.decide(c, s.SessionID, yes)
			refused(t, err, selo.ReasonSessionUnknown)
			if h.count("consumed_ids") != 0 {
				t.Error("used up ids")
			}
			if _, err := h.decide(ana(), s.SessionID, yes); err != nil {
				t.Errorf("ana afterwards: %v", err)
			}
		})
	}
}

// The same sub is another subject in each namespace: of an issuer, and of each service.
func TestNamespaces(t *testing.T) {
	h := newHouse(t)
	hers := h.opened(ana(), liveness, "login")
	var others []*broker.Opened
	for _, c := range []*policy.Caller{backend(), opener} {
		s, err := h.open(c, broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new("ana"), CPF: new(anaCPF.Digits())})
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, s)
	}
	for _, c := range []struct {
		caller *policy.Caller
		id     string
		want   selo.Subject
	}{
		{ana(), hers.SessionID, selo.Subject{Issuer: issuer, ID: "ana"}},
		{backend(), others[0].SessionID, selo.Subject{Issuer: "service:backend", ID: "ana"}},
		{opener, others[1].SessionID, selo.Subject{Issuer: "service:opener", ID: "ana"}},
	} {
		// None of them superseded another's.
		granted, err := h.decide(c.caller, c.id, h.approved(liveness, anaCPF).by("sbx-liveness"))
		if err != nil {
			t.Fatalf("%v: %v", c.want, err)
		}
		verifyReceipt(t, h, granted, c.want)
	}
}

// What a service opens for a subject of the issuer is that subject's own.
func TestMappedServiceAndItsUser(t *testing.T) {
	h := newHouse(t)
	s, err := h.open(mappedOpener, broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new("ana"), CPF: new(anaCPF.Digits())})
	if err != nil {
		t.Fatal(err)
	}
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	if err != nil {
		t.Fatal(err)
	}
	verifyReceipt(t, h, granted, selo.Subject{Issuer: issuer, ID: "ana"})
}

// Bug: whoever owned a session could answer it with another person's face, if that was whose CPF a service
// had said, though their own bearer token named another.
func TestCPFOfTheOneWhoAnswers(t *testing.T) {
	h := newHouse(t)
	open := func(cpf selo.CPF) string {
		s, err := h.open(mappedOpener, broker.OpenRequest{Product: faceAuth, Purpose: "new-device", Subject: new("ana"), CPF: new(cpf.Digits())})
		if err != nil {
			t.Fatal(err)
		}
		return s.SessionID
	}
	id := open(brunoCPF)
	_, err := h.decide(ana(), id, h.approved(faceAuth, brunoCPF).by("sbx-faceauth"))
	refused(t, err, selo.ReasonCPFMismatch)
	_, err = h.decide(ana(), id, h.approved(faceAuth, anaCPF).by("sbx-faceauth"))
	refused(t, err, selo.ReasonCPFMismatch)
	if n := h.count("consumed_ids"); n != 0 {
		t.Errorf("%d ids used up", n)
	}
	// The service may, which said whose CPF it is; and so may a token that names nobody.
	if _, err := h.decide(mappedOpener, id, h.approved(faceAuth, brunoCPF).by("sbx-faceauth")); err != nil {
		t.Error(err)
	}
	// Bug: the receipt for that face was then handed to ana, who asked for the session.
	_, err = h.read(ana(), id)
	refused(t, err, selo.ReasonCPFMismatch)
	if _, err := h.decide(endUser("bank", "ana", selo.CPF{}), open(anaCPF), h.approved(faceAuth, anaCPF).by("sbx-faceauth")); err != nil {
		t.Error(err)
	}
}

// Bug: the row of a refusal named whom the session was about, so that who went through other people's
// sessions was recorded as them.
func TestProbingIsRecordedUnderWhoProbes(t *testing.T) {
	h := newHouse(t)
	anas := h.opened(ana(), liveness, "login").SessionID
	brunos := h.opened(bruno(), liveness, "login").SessionID
	for _, id := range []string{anas, "ses_NONE"} {
		_, err := h.read(bruno(), id)
		refused(t, err, selo.ReasonSessionUnknown)
		var same bool
		if err := h.sql().QueryRowContext(t.Context(), `SELECT subject = (SELECT subject FROM sessions WHERE id = ?) FROM audit ORDER BY id DESC LIMIT 1`,
			brunos).Scan(&same); err != nil || !same {
			t.Errorf("reading %s: the row is bruno's is %v, %v", id, same, err)
		}
	}
}

// Sandbox and production share neither keys nor sessions, whoever the subject is.
func TestEnvironmentsDoNotMix(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	here, there := h.opened(ana(), faceAuth, "login"), h.opened(shopAna, liveness, "login")
	for _, tc := range []struct {
		name   string
		caller *policy.Caller
		id     string
		signed string
		want   selo.Reason
	}{
		{"production response in the sandbox", ana(), here.SessionID, h.approved(faceAuth, anaCPF).by("prd-both"), selo.ReasonSignatureInvalid},
		{"sandbox response in production", shopAna, there.SessionID, h.approved(liveness, anaCPF).by("sbx-both"), selo.ReasonSignatureInvalid},
		{"production session asked for from the sandbox", ana(), there.SessionID, h.approved(liveness, anaCPF).by("prd-both"), selo.ReasonSessionUnknown},
	} {
		_, err := h.decide(tc.caller, tc.id, tc.signed)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	// The same client ID in the other environment is another key.
	h.restart(func(cfg *broker.Config) {
		cfg.Keys = ring(t, key("sbx-both", selo.EnvironmentProduction, liveness, faceAuth), key("prd-both", selo.EnvironmentSandbox, liveness, faceAuth))
	})
	s := h.opened(shopAna, faceAuth, "login")
	_, err := h.decide(shopAna, s.SessionID, h.approved(faceAuth, anaCPF).by("prd-both"))
	refused(t, err, selo.ReasonSignatureInvalid)
	_, err = h.decide(shopAna, there.SessionID, h.approved(liveness, anaCPF).by("prd-both"))
	refused(t, err, selo.ReasonKeyRevoked)
}

// Bug: opening in one app ended the subject's session in another app of the same issuer, the sandbox's that
// of production, and counted towards its limit.
func TestAppsDoNotMix(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(cfg *broker.Config) { cfg.Limits = perSubject(1, time.Hour) })
	there := h.opened(shopAna, liveness, "login")
	here := h.opened(ana(), liveness, "login")
	kiosk := endUser("kiosk", "ana", anaCPF)
	second := h.opened(kiosk, liveness, "login")
	for id, c := range map[string]*policy.Caller{there.SessionID: shopAna, here.SessionID: ana(), second.SessionID: kiosk} {
		if got := h.state(c, id); got != store.StateOpen {
			t.Errorf("the session of %s is %s, want open", c.App, got)
		}
		_, err := h.open(c, broker.OpenRequest{Product: liveness, Purpose: "login"})
		refused(t, err, selo.ReasonRateLimited)
	}
}

func verifyReceipt(t *testing.T, h *house, granted *broker.Session, subject selo.Subject) {
	t.Helper()
	app := "bank"
	receipt, err := selo.VerifyReceipt(context.Background(), granted.Receipt, selo.ReceiptExpectation{
		Keys: receiptKey.Public(), Issuer: seloIss, App: app, Subject: subject, Purpose: granted.Purpose,
		Once: new(selo.MemoryOnce), Assurance: granted.Assurance, Now: h.clock.Now(),
	})
	if err != nil {
		t.Fatalf("receipt: %v", err)
	}
	want := &selo.Receipt{
		Issuer: seloIss, App: app, Subject: subject, Session: granted.ID, Product: granted.Product, Purpose: granted.Purpose,
		Assurance: granted.Assurance, IssuedAt: h.clock.Now().UTC().Truncate(time.Second), ExpiresAt: granted.ReceiptUntil.UTC(), ID: receipt.ID,
	}
	if diff := cmp.Diff(want, receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	if granted.State != store.StateGranted {
		t.Errorf("state %s", granted.State)
	}
}

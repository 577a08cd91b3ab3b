package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selo-id/selo"
)

// pipes is a network inside one process, so that a synctest bubble can tell when everybody waits.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs f with an issuer that answers only when f closes gate, and the bubble's clock.
func inBubble(t *testing.T, key *signer, f func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		gate, document := make(chan struct{}), jwksOf(t, key)
		i := &issuer{answer: func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-gate:
				_, _ = w.Write(document)
			case <-r.Context().Done():
			}
		}}
		network := make(pipes)
		srv := &http.Server{Handler: i}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(network) }()
		transport := &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				network <- theirs
				return ours, nil
			},
		}
		a := mustNew(t, Config{
			Apps:       []App{{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSURL: "http://localhost/jwks"}},
			HTTPClient: &http.Client{Transport: transport}, Now: time.Now,
		})
		f(t, a, i, gate)
		synctest.Wait()
		close(network)
		<-done
		_ = srv.Close()
	})
}

// inBubbleBody is good by the clock of a bubble, which starts in 2000.
func inBubbleBody() string {
	return body(map[string]string{"iat": "", "exp": fmt.Sprint(time.Now().Add(24 * time.Hour).Unix())})
}

func TestOneFetchForAll(t *testing.T) {
	key := edSigner(t, "one")
	inBubble(t, key, func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{}) {
		token := key.token(inBubbleBody())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := bearer(t.Context(), a, token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // now all of them wait
		close(gate)
		wg.Wait()
		i.wantHits(t, 1, "100 at once")
	})
}

func TestCancelledRequestSpoilsNothing(t *testing.T) {
	key := edSigner(t, "one")
	inBubble(t, key, func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{}) {
		token := key.token(inBubbleBody())
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			caller, err := bearer(first, a, token)
			if e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization"); !errors.Is(e, context.Canceled) {
				t.Errorf("got %v", e)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := bearer(t.Context(), a, token); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		wg.Wait()
		i.wantHits(t, 1, "two requests, the first one cancelled")
	})
}

func TestSlowIssuer(t *testing.T) {
	key := edSigner(t, "one")
	inBubble(t, key, func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{}) {
		token := key.token(inBubbleBody())
		began := time.Now()
		for range 3 {
			caller, err := bearer(t.Context(), a, token)
			e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", token)
			if !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("got %v", e)
			}
		}
		if waited := time.Since(began); waited != fetchTimeout {
			t.Errorf("three requests waited %v, want %v for the first and nothing for the others", waited, fetchTimeout)
		}
		i.wantHits(t, 1, "three requests")

		time.Sleep(retryAfter) // the bubble's time
		close(gate)
		if _, err := bearer(t.Context(), a, token); err != nil {
			t.Error(err)
		}
	})
}

// While an issuer hangs, the last good set serves without anybody waiting, and then nobody is let in unheard.
func TestHangingIssuerDelaysNobody(t *testing.T) {
	key := edSigner(t, "one")
	inBubble(t, key, func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{}) {
		close(gate)
		token := key.token(inBubbleBody())
		began := time.Now()
		ask := func() time.Duration {
			began := time.Now()
			if _, err := bearer(t.Context(), a, token); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		ask()
		i.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		time.Sleep(refreshAfter)
		for range 20 {
			if waited := ask(); waited != 0 {
				t.Errorf("a request waited %v", waited)
			}
			time.Sleep(retryAfter)
		}
		time.Sleep(time.Until(began.Add(lastGoodFor)))
		caller, err := bearer(t.Context(), a, token)
		wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", token)
		time.Sleep(fetchTimeout)
	})
}

// The request that finds a set old is answered from it while the refresh runs, which is one for all.
func TestRefreshInTheBackground(t *testing.T) {
	key, next := edSigner(t, "one"), edSigner(t, "two")
	inBubble(t, key, func(t *testing.T, a *Authenticator, i *issuer, gate chan struct{}) {
		close(gate)
		token := key.token(inBubbleBody())
		if _, err := bearer(t.Context(), a, token); err != nil {
			t.Fatal(err)
		}
		refreshed := make(chan struct{})
		i.set(func(w http.ResponseWriter, _ *http.Request) {
			<-refreshed
			_, _ = w.Write(jwksOf(t, next))
		})
		time.Sleep(refreshAfter)
		began := time.Now()
		for range 50 {
			if _, err := bearer(t.Context(), a, token); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		i.wantHits(t, 2, "50 requests with an old set")
		close(refreshed)
		synctest.Wait()
		caller, err := bearer(t.Context(), a, token)
		wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "kid", token)
	})
}

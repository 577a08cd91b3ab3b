package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// checkKeyURL refuses what would fetch keys in a way that somebody in between could change.
func checkKeyURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL") // err repeats it, and it may hold a password
	case u.User != nil:
		return errors.New("must not contain a user or password")
	case u.Hostname() == "" || u.Opaque != "":
		return errors.New("must be an absolute URL with a host")
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https (http only on localhost)")
}

// newClient makes a client that goes where it is told and nowhere else. It keeps so many idle connections.
func newClient(given *http.Client, idle int) *http.Client {
	c := &http.Client{
		// A redirect is answered like any other status that is not 200. Following one would let whoever
		// controls a page of the issuer's host move the keys to another host, or off HTTPS.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if given != nil {
		c.Transport = given.Transport
	}
	if c.Transport == nil {
		// Unlike http.DefaultTransport it does not obey HTTP_PROXY and its kin: whoever sets the
		// environment should not choose who answers.
		c.Transport = &http.Transport{
			Proxy:                  nil,
			DisableKeepAlives:      idle == 0,
			MaxIdleConnsPerHost:    idle,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxResponseHeader,
		}
	}
	return c
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// download gets a document. Its errors name the URL.
func download(ctx context.Context, client *http.Client, from, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	document, err := exchange(client, req, maxKeySetSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return document, nil
}

// exchange sends a request and returns the body of an answer of status 200 and at most limit bytes.
func exchange(client *http.Client, req *http.Request, limit int64) ([]byte, error) {
	// Asked for by ourselves the transport does not unpack it, so that the limit is of what was sent.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err // without the URL, which the caller knows
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{resp.StatusCode}
	}
	return readBounded(resp.Body, limit)
}

// statusError and tooLongError are errors of exchange that hold nothing of the answer's text.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("answered %d, want 200", e.status) }

type tooLongError struct{ limit int64 }

func (e *tooLongError) Error() string { return fmt.Sprintf("longer than %d bytes", e.limit) }

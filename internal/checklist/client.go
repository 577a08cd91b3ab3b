package checklist

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	requestTimeout = 15 * time.Second
	maxAnswer      = 1 << 20 // bytes that are read of an answer
	maxRequests    = 5000    // of a whole check
)

// answer is what came back. It is judged by its status, headers and body alone.
type answer struct {
	status int
	header http.Header
	body   []byte
	ideal  *bool // in a plan, where nothing is sent: what a correct server does
}

// interrupted says why a probe could not find anything out.
type interrupted struct{ why string }

func (e *interrupted) Error() string { return e.why }

func interruptedf(format string, args ...any) error {
	return &interrupted{fmt.Sprintf(format, args...)}
}

// client sends requests, no faster than it may and no more than it may, and follows nothing.
type client struct {
	http  *http.Client
	agent string
	every time.Duration
	dry   bool // nothing is sent, and the answers are those of a correct server
	watch *watch
	hosts map[string]bool // scheme://host:port; nothing is sent to another

	mu     sync.Mutex
	next   time.Time
	sent   int
	bursts int // how many probes want their requests to be there at once
}

// inBurst lets requests go out at once, and then no more.
func (c *client) inBurst(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if yes {
		c.bursts++
	} else {
		c.bursts--
	}
}

func newClient(version string, perSecond int) *client {
	return &client{
		agent: "selo-check/" + version + " (+https://github.com/selo-id/selo)",
		every: time.Second / time.Duration(perSecond),
		http: &http.Client{
			Timeout:       requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 32, ResponseHeaderTimeout: requestTimeout,
				MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
			},
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// turn waits until the next request may be sent.
func (c *client) turn(ctx context.Context) error {
	c.mu.Lock()
	c.sent++
	tooMany := c.sent > maxRequests
	now := time.Now()
	if c.next.Before(now) {
		c.next = now
	}
	wait := c.next.Sub(now)
	c.next = c.next.Add(c.every) // what goes out at once is made up for afterwards
	if c.bursts > 0 {
		wait = 0
	}
	c.mu.Unlock()
	if tooMany {
		return interruptedf("the check has sent %d requests, which is all that it may", maxRequests)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send sends one request. Its error is an interruption, unless ctx ended.
func (c *client) send(ctx context.Context, r *request, ideal bool) (*answer, error) {
	if !c.hosts[r.url.Scheme+"://"+r.url.Host] {
		return nil, interruptedf("the request would go to a host that check.yaml does not name, and was not sent")
	}
	if c.dry {
		return &answer{status: http.StatusOK, header: make(http.Header), ideal: &ideal}, nil
	}
	if err := c.turn(ctx); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "", bytes.NewReader(r.body))
	if err != nil {
		return nil, interruptedf("the request cannot be made: %v", err)
	}
	u := *r.url
	req.URL, req.Host, req.Header = &u, u.Host, r.header.Clone()
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.agent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.noAnswer(ctx, r.url.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.noAnswer(ctx, r.url.Host, err)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: decoded(resp.Header.Get("Content-Encoding"), body)}
	if c.watch != nil {
		c.watch.look(r, a)
	}
	return a, nil
}

// decoded returns a body without the compression that nobody asked for, so that what is in it is seen. What cannot be read is
// shown to nobody.
func decoded(encoding string, body []byte) []byte {
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return body
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(body)), nil
		}
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return fmt.Appendf(nil, "⟨%d bytes in another encoding⟩", len(body))
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err != nil && len(plain) == 0 {
		return fmt.Appendf(nil, "⟨%d bytes in another encoding⟩", len(body))
	}
	return plain
}

// noAnswer says that none came. The error of net/http names the URL, which may hold a credential.
func (c *client) noAnswer(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &noAnswerError{interrupted{fmt.Sprintf("no answer from %s within %v", host, requestTimeout)}, false}
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return &noAnswerError{interrupted{"no answer from " + host + ": " + err.Error()}, true}
		}
		err = inner
	}
}

// noAnswerError is an interruption by the server, or by what is between: it took too long, or closed the connection.
type noAnswerError struct {
	interrupted
	closed bool
}

// closedConnection reports that the server ended a request without an answer. That is a refusal as well, where an honest
// request is answered afterwards.
func closedConnection(err error) bool {
	var e *noAnswerError
	return errors.As(err, &e) && e.closed
}

func (e *noAnswerError) Unwrap() error { return &e.interrupted }

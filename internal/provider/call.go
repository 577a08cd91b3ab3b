package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/selo-id/selo"
)

const (
	maxAnswer = 64 << 10

	// maxPause is the most that a retry is put off.
	maxPause = 250 * time.Millisecond
	// leastForRetry is the time that a retry must have left after its pause to be worth making.
	leastForRetry = 250 * time.Millisecond
)

// call makes one call of a lane, with its retry, and reads the answer.
func call[T any](ctx context.Context, c *Client, l *lane, path, authorization string, read func(answer []byte) (*T, *fault)) (*T, error) {
	start := c.now()
	result, f := try(ctx, c, l, path, authorization, read)
	if c.observe != nil {
		c.observe(l.name, f.word(), c.now().Sub(start))
	}
	if f != nil {
		return nil, f.refusal(l.name)
	}
	return result, nil
}

func try[T any](ctx context.Context, c *Client, l *lane, path, authorization string, read func(answer []byte) (*T, *fault)) (*T, *fault) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	pass, refused := l.enter()
	if refused != nil {
		return nil, refused
	}
	caller := ctx
	ctx, cancel := context.WithTimeoutCause(caller, c.timeout, errTimeout)
	defer cancel()
	// Should something panic, the call is handed back as one that says nothing.
	found := &fault{}
	defer func() { l.leave(caller, pass, found.verdict, found.after, found.cause) }()

	once := func() (*T, *fault) {
		answer, f := c.get(ctx, l, path, authorization)
		if f != nil {
			return nil, f
		}
		return read(answer)
	}
	result, f := once()
	if f != nil && f.retry && !pass.probe {
		if c.pause(ctx) {
			result, f = once()
		} else if ctx.Err() != nil {
			f = ended(ctx)
		}
	}
	if f != nil {
		found = f
		return nil, f
	}
	found = &fault{verdict: answered}
	return result, nil
}

// pause waits for a random while before a retry. It returns false when there is not the time for both.
func (c *Client) pause(ctx context.Context) bool {
	wait := c.jitter(maxPause)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait+leastForRetry {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// get makes one HTTP exchange. It returns the body of a 200, or why there is none.
func (c *Client) get(ctx context.Context, l *lane, path, authorization string) ([]byte, *fault) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return nil, &fault{detail: detailUnreachable, cause: errors.New("making the request failed")}
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity") // so that no transport unpacks what it was not sent
	req.Header.Set("User-Agent", "selo")
	// The transport itself and not an http.Client, which would follow redirects, credential and all.
	resp, err := c.transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, transportFault(ctx, err)
	case resp == nil || resp.Body == nil:
		return nil, transportFault(ctx, errors.New("a transport without an answer"))
	}
	defer func() { _ = resp.Body.Close() }()
	if f := c.statusFault(l, resp); f != nil {
		return nil, f
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, wrongShape("the answer has a content encoding, and none was asked for")
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case len(answer) > maxAnswer:
		return nil, wrongShape(fmt.Sprintf("the answer is longer than %d bytes", maxAnswer))
	case err != nil:
		return nil, transportFault(ctx, err)
	}
	return answer, nil
}

// statusFault judges the status of an answer; nil is 200.
func (c *Client) statusFault(l *lane, resp *http.Response) *fault {
	status := resp.StatusCode
	cause := fmt.Errorf("answered %d, want 200", status)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusNotFound && l.recheck:
		// Asked for again and again while an attempt is under way: worth keeping the connection.
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
		return &fault{verdict: answered, reason: selo.ReasonNotFinal, detail: detailNoAttempt}
	case status == http.StatusTooManyRequests:
		return &fault{detail: detailWait, cause: cause, after: readRetryAfter(resp.Header.Get("Retry-After"), c.now())}
	case status == http.StatusUnauthorized || status == http.StatusForbidden && !l.recheck:
		return &fault{verdict: failed, detail: detailRefused, cause: cause}
	case status >= 300 && status < 400:
		return &fault{verdict: failed, detail: detailRedirect, cause: cause}
	case status >= 500:
		return &fault{verdict: failed, detail: detailError, cause: cause, retry: true}
	case status >= 400 && status != http.StatusRequestTimeout && l.recheck:
		return &fault{reason: selo.ReasonNotFinal, detail: detailNoRecord, cause: cause} // perhaps only of this id, as is a 403
	}
	return &fault{verdict: failed, detail: detailError, cause: cause}
}

// readRetryAfter reads seconds or an HTTP date. It returns at least a second, whatever it reads: no wait is not
// what a 429 asks for, and by a clock of ours that is ahead every date is past.
func readRetryAfter(value string, now time.Time) time.Duration {
	after := defaultRetryAfter
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		after = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		after = maxRetryAfter
	} else if date, err := http.ParseTime(value); err == nil {
		after = date.Sub(now)
	}
	return min(max(after, defaultRetryAfter), maxRetryAfter)
}

// transportFault tells in our own words why there was no answer. err itself may quote the URL, or what the
// server said.
func transportFault(ctx context.Context, err error) *fault {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var (
		certificate *tls.CertificateVerificationError
		lookup      *net.DNSError
		operation   *net.OpError
		number      syscall.Errno
		netError    net.Error
	)
	f := &fault{verdict: failed, detail: detailUnreachable, retry: true}
	switch {
	case errors.As(err, &certificate):
		f.retry = false
		f.cause = errors.New("its certificate does not verify")
	case errors.As(err, &lookup):
		f.cause = errors.New("looking up its host failed")
	case errors.As(err, &number):
		f.cause = fmt.Errorf("the connection failed: %w", number)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.cause = errors.New("it hung up before the end of an answer")
	case errors.As(err, &netError) && netError.Timeout():
		f.cause = errors.New("the connection timed out")
	case errors.As(err, &operation) && operation.Op == "dial":
		f.cause = errors.New("the connection could not be made")
	default:
		f.cause = errors.New("it did not speak HTTP as it should, or the connection broke")
	}
	return f
}

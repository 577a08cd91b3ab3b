package checklist

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// listener is a place that the server under test must never fetch from. It answers 404 to everything and remembers who
// came for what.
type listener struct {
	url string // as the server under test would write it

	server *http.Server
	mu     sync.Mutex
	paths  []string
}

func listen(ctx context.Context, address, url string) (*listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if url == "" {
		url = "http://" + l.Addr().String()
	}
	me := &listener{url: strings.TrimSuffix(url, "/")}
	me.server = &http.Server{Handler: me, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	go func() { _ = me.server.Serve(l) }() // until close
	return me, nil
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	if len(l.paths) < 1000 {
		l.paths = append(l.paths, r.URL.Path)
	}
	l.mu.Unlock()
	http.NotFound(w, r)
}

// at returns a URL to be told apart from others.
func (l *listener) at(name string) string { return l.url + "/selo-check/" + name }

// was reports whether anybody came.
func (l *listener) was(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.paths {
		if strings.Contains(p, "/selo-check/"+name) {
			return true
		}
	}
	return false
}

func (l *listener) close() { _ = l.server.Close() }

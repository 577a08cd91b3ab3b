package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo/internal/transcript"
)

const (
	oidcFolder  = "testdata/oidc-provider"
	oidcTimeout = 20 * time.Second // of one request

	oidcClient   = "bank-mobile"
	oidcRedirect = "com.bank.app:/cb"
)

// oidcProvider is one run of testdata/oidc-provider/server.mjs, which says what it takes.
type oidcProvider struct {
	in       io.Writer
	out      *bufio.Reader
	secret   string // of its client that may introspect
	metadata struct {
		Issuer        string `json:"issuer"`
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Introspection string `json:"introspection_endpoint"`
	}
}

func startOIDCProvider(t *testing.T) *oidcProvider {
	t.Helper()
	p := &oidcProvider{secret: transcript.Secret(randomHex(32))}
	p.in, p.out = startNode(t, oidcFolder, "server.mjs", "SELO_CLIENT_SECRET="+p.secret)
	issuer := p.line(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: oidcTimeout}
	body := fetch(t, client, http.MethodGet, issuer+"/.well-known/openid-configuration", nil)
	if err := json.Unmarshal(body, &p.metadata); err != nil {
		t.Fatal(err)
	}
	if p.metadata.Issuer != issuer {
		t.Fatalf("the provider is %q and says that it is %q", issuer, p.metadata.Issuer)
	}
	return p
}

func (p *oidcProvider) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the provider ended: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// tell gives the provider a command, and returns its answer when it is done.
func (p *oidcProvider) tell(t *testing.T, command string) string {
	t.Helper()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		t.Fatalf("the provider ended: %v", err)
	}
	return p.line(t)
}

func (p *oidcProvider) wantFetches(t *testing.T, want int) {
	t.Helper()
	if got := p.tell(t, "count"); got != strconv.Itoa(want) {
		t.Errorf("the keys were fetched %s times, want %d", got, want)
	}
}

// oidcTokens are what a login ends with.
type oidcTokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// form finds where a page's form goes. The pages are those of server.mjs.
var form = regexp.MustCompile(`<form method="post" action="([^"]+)">`)

// login signs a user in as a mobile app and the browser that it opens do: authorization code and PKCE (RFC 8252).
// The access token is for a resource (RFC 8707), or for the provider itself when that is empty.
func (p *oidcProvider) login(t *testing.T, user, resource string) (tokens oidcTokens) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Transport: &http.Transport{}, Jar: jar, Timeout: oidcTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "http" || len(via) > 10 { // for the app, or in a circle
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	defer browser.CloseIdleConnections()

	verifier, state := rand.Text(), rand.Text()
	verifier += verifier // at least 43 characters
	challenge := sha256.Sum256([]byte(verifier))
	question := url.Values{
		"client_id": {oidcClient}, "response_type": {"code"}, "redirect_uri": {oidcRedirect}, "scope": {"openid verify"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if resource == "" {
		question.Set("scope", "openid")
	} else {
		question.Set("resource", resource)
	}
	resp, err := browser.Get(p.metadata.Authorization + "?" + question.Encode())
	pages := 0
	for ; err == nil && resp.StatusCode == http.StatusOK && pages < 4; pages++ { // who, and may the app
		page, readErr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		action := form.FindSubmatch(page)
		if readErr != nil || action == nil {
			t.Fatalf("page %d has no form: %v\n%s", pages+1, readErr, page)
		}
		next, parseErr := resp.Request.URL.Parse(html.UnescapeString(string(action[1])))
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		resp, err = browser.PostForm(next.String(), url.Values{"user": {user}, "password": {"the password of " + user}})
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	answer := back.Query()
	ours := strings.HasPrefix(back.String(), oidcRedirect+"?") && answer.Get("state") == state && answer.Get("iss") == p.metadata.Issuer
	if !ours || answer.Get("code") == "" || pages != 2 {
		t.Fatalf("after %d pages, status %d: not a code for us: %v", pages, resp.StatusCode, answer)
	}

	exchange := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {oidcClient}, "redirect_uri": {oidcRedirect},
		"code": {answer.Get("code")}, "code_verifier": {verifier},
	}
	if resource != "" {
		exchange.Set("resource", resource)
	}
	body := fetch(t, browser, http.MethodPost, p.metadata.Token, exchange)
	if err := json.Unmarshal(body, &tokens); err != nil || tokens.Access == "" || tokens.ID == "" {
		t.Fatalf("no tokens: %v", err)
	}
	return tokens
}

// fetch returns an answer of the provider that must be 200.
func fetch(t *testing.T, client *http.Client, method, address string, values url.Values) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if values != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %d %v: %s", address, resp.StatusCode, err, body)
	}
	return body
}

func headerOf(t *testing.T, token string) (header map[string]any) {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil {
		t.Fatalf("not a JWT: %v", err)
	}
	return header
}

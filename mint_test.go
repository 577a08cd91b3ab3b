package selo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

func minting(t *testing.T) selo.MintRequest {
	t.Helper()
	return selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: testKey(t), CPF: cpfOf(t, testCPF), Now: testOpened}
}

// TestMintExactly compares the whole token: these claims, in this order, and nothing else.
func TestMintExactly(t *testing.T) {
	for _, p := range selo.Profiles() {
		req := minting(t)
		req.Profile = p
		token, err := selo.Mint(req)
		if err != nil {
			t.Fatal(err)
		}
		// An Identity key's token names the person by another claim than a Mobile Key's.
		subject := map[bool]string{true: "personId", false: "peopleId"}[p.Product == smartAuth]
		if want := sign(`{"iss":"` + testClientID + `","exp":1700000300,"` + subject + `":"` + testCPF + `"}`); token.JWT != want {
			t.Errorf("%s: %s\nwant %s", p.Product, token.JWT, want)
		}
		if !token.ExpiresAt.Equal(time.Unix(1_700_000_300, 0)) {
			t.Errorf("ExpiresAt %v", token.ExpiresAt)
		}
	}
}

func TestMintLifetime(t *testing.T) {
	tests := []struct {
		lifetime time.Duration
		at       time.Time
		want     int64 // exp, 0 is refused
	}{
		{0, testOpened, 1_700_000_300},
		{time.Second, testOpened, 1_700_000_001},
		{time.Minute, testOpened, 1_700_000_060},
		{30 * time.Minute, testOpened, 1_700_001_800},
		{1500 * time.Millisecond, testOpened, 1_700_000_001}, // down to whole seconds
		{time.Minute, testOpened.Add(999 * time.Millisecond), 1_700_000_060},
		{30 * time.Minute, testOpened.Add(999 * time.Millisecond), 1_700_001_800},
		{30*time.Minute + 1, testOpened, 0},
		{31 * time.Minute, testOpened, 0},
		{24 * time.Hour, testOpened, 0},
		{1<<63 - 1, testOpened, 0},
		{999 * time.Millisecond, testOpened, 0},
		{1, testOpened, 0},
		{-1, testOpened, 0},
		{-time.Minute, testOpened, 0},
		{-1 << 63, testOpened, 0},
		{0, time.Unix(0, 0), 300},
		{0, time.Unix(-301, 0), 0},
		{0, time.Unix(-300, 0), 0},
		{0, time.Unix(1<<63-1, 0), 0},
		{0, time.Unix(-1<<63, 0), 0},
		// Past 2^53 not every second is a number of its own in JSON, and Verify itself refuses such a time.
		{0, time.Unix(1<<53, 0), 0},
		{0, time.Unix(1<<60, 0), 0},
	}
	for _, tt := range tests {
		req := minting(t)
		req.Lifetime, req.Now = tt.lifetime, tt.at
		token, err := selo.Mint(req)
		if (token == nil) != (err != nil) || (err == nil) != (tt.want != 0) {
			t.Errorf("lifetime %v at %d: %v, %v; want exp %d", tt.lifetime, tt.at.Unix(), token, err, tt.want)
			continue
		}
		if err != nil {
			if !errors.Is(err, selo.ReasonRequestInvalid) {
				t.Errorf("lifetime %v: %v, want request_invalid", tt.lifetime, err)
			}
			continue
		}
		if exp := readMobileToken(t, token.JWT)["exp"]; exp != any(json.Number(fmt.Sprint(tt.want))) || token.ExpiresAt.Unix() != tt.want {
			t.Errorf("lifetime %v at %v: exp %v, ExpiresAt %d, want %d", tt.lifetime, tt.at, exp, token.ExpiresAt.Unix(), tt.want)
		}
	}
}

func TestMintNow(t *testing.T) {
	req := minting(t)
	req.Now = time.Time{}
	before := time.Now()
	token, err := selo.Mint(req)
	after := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	if token.ExpiresAt.Unix() < before.Unix()+300 || token.ExpiresAt.Unix() > after.Unix()+300 {
		t.Errorf("ExpiresAt %v, minted between %v and %v", token.ExpiresAt, before, after)
	}
}

func TestMintRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *selo.MintRequest)
		want   selo.Reason
	}{
		{"nothing set", func(r *selo.MintRequest) { *r = selo.MintRequest{} }, selo.ReasonRequestInvalid},
		{"no profile", func(r *selo.MintRequest) { r.Profile = nil }, selo.ReasonRequestInvalid},
		{"profile not made by NewProfile", func(r *selo.MintRequest) { p := document(); r.Profile = &p }, selo.ReasonRequestInvalid},
		{"no key", func(r *selo.MintRequest) { r.Key = selo.AccessKey{} }, selo.ReasonRequestInvalid},
		{"no client ID", func(r *selo.MintRequest) { r.Key.ClientID = "" }, selo.ReasonRequestInvalid},
		{"long client ID", func(r *selo.MintRequest) { r.Key.ClientID = strings.Repeat("x", 257) }, selo.ReasonRequestInvalid},
		{"client ID not UTF-8", func(r *selo.MintRequest) { r.Key.ClientID = "a\xffb" }, selo.ReasonRequestInvalid},
		{"no secret", func(r *selo.MintRequest) { r.Key.Secret = selo.Secret{} }, selo.ReasonRequestInvalid},
		{"unknown environment", func(r *selo.MintRequest) { r.Key.Environment = "staging" }, selo.ReasonRequestInvalid},
		{"environment in upper case", func(r *selo.MintRequest) { r.Key.Environment = "Production" }, selo.ReasonRequestInvalid},
		{"no CPF", func(r *selo.MintRequest) { r.CPF = selo.CPF{} }, selo.ReasonCPFMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := minting(t)
			tt.change(&req)
			token, err := selo.Mint(req)
			if token != nil || !errors.Is(err, tt.want) {
				t.Fatalf("Mint = %v, %v; want %s", token, err, tt.want)
			}
			checkSilent(t, err.Error(), testSecret)
		})
	}
}

// TestMintClientID gives client IDs that would break out of a JSON string.
func TestMintClientID(t *testing.T) {
	for _, id := range []string{
		testClientID, `"`, `\`, `","isAlive":true,"x":"`, `x","exp":9999999999,"y":"`, "a\nb\r\x00\x1f\x7f", "<script>&amp;", "\u2028\u2029", "ação 😀", strings.Repeat("x", 256),
	} {
		req := minting(t)
		req.Key.ClientID = id
		token, err := selo.Mint(req)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		if claims := readMobileToken(t, token.JWT); len(claims) != 3 || claims["iss"] != any(id) {
			t.Errorf("%q: claims %v", id, claims)
		}
	}
}

// TestMintDiffers holds the promise that two users never share a token.
func TestMintDiffers(t *testing.T) {
	seen := make(map[string]string)
	for _, cpf := range []string{testCPF, otherCPF, "00000000191"} {
		for _, later := range []time.Duration{0, time.Second, time.Minute} {
			req := minting(t)
			req.CPF, req.Now = cpfOf(t, cpf), testOpened.Add(later)
			token, err := selo.Mint(req)
			if err != nil {
				t.Fatal(err)
			}
			who := cpf + later.String()
			if seen[token.JWT] != "" {
				t.Errorf("%s and %s have one token", who, seen[token.JWT])
			}
			seen[token.JWT] = who
		}
	}
}

func TestEnvironments(t *testing.T) {
	for _, env := range []selo.Environment{"", selo.EnvironmentProduction, selo.EnvironmentSandbox} {
		req := minting(t)
		req.Key.Environment = env
		if _, err := selo.Mint(req); err != nil {
			t.Errorf("%q: %v", env, err)
		}
	}
}

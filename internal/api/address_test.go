package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func proxies(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	trusted, err := ParseTrustedProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return trusted
}

func from(peer string, forwarded ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, line := range forwarded {
		r.Header.Add(forwardedFor, line)
	}
	return r
}

func TestClientAddress(t *testing.T) {
	trusted := proxies(t, "10.0.0.0/8", "2001:db8:ffff::/48", "::1")
	const proxy, client = "10.0.0.1:1234", "203.0.113.7"
	for _, tc := range []struct {
		name, peer string
		forwarded  []string
		want       string // "" is the zero Addr
	}{
		{"no proxy", "203.0.113.7:1234", nil, client},
		{"no proxy, IPv6", "[2001:db8::7]:1234", nil, "2001:db8::7"},
		{"no port", "203.0.113.7", nil, client},
		{"forged by who is no proxy", "203.0.113.7:1234", []string{"198.51.100.9"}, client},
		{"forged as if by a proxy", "203.0.113.7:1234", []string{"198.51.100.9, 10.0.0.2"}, client},
		{"proxy that says nothing", proxy, nil, "10.0.0.1"},
		{"proxy", proxy, []string{client}, client},
		{"proxy over IPv6", "[2001:db8:ffff::1]:80", []string{client}, client},
		{"proxy in IPv6 form", "[::ffff:10.0.0.1]:80", []string{client}, client},
		{"proxy with a zone", "[::1%eth0]:80", []string{client}, client},
		{"spoofed on the left", proxy, []string{"198.51.100.9, 203.0.113.7"}, client},
		{"spoofed as a proxy", proxy, []string{"10.0.0.9, 203.0.113.7"}, client},
		{"spoofed in a line of its own", proxy, []string{"198.51.100.9", client}, client},
		{"rubbish on the left", proxy, []string{`x, ,"", 203.0.113.7`}, client},
		{"two proxies", proxy, []string{"203.0.113.7, 10.0.0.2"}, client},
		{"two proxies, two lines", proxy, []string{client, "10.0.0.2"}, client},
		{"proxies in several lines", proxy, []string{"198.51.100.9, 203.0.113.7,10.0.0.4", "10.0.0.3 ,\t10.0.0.2"}, client},
		{"nobody but proxies", proxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"client with a port", proxy, []string{"203.0.113.7:567"}, client},
		{"client over IPv6", proxy, []string{"2001:db8::7"}, "2001:db8::7"},
		{"client over IPv6 with a port", proxy, []string{"[2001:db8::7]:80"}, "2001:db8::7"},
		{"proxy with a port", proxy, []string{"203.0.113.7, 10.0.0.2:567"}, client},
		{"client in IPv6 form", proxy, []string{"::ffff:203.0.113.7"}, client},
		{"client in IPv6 form with a port", proxy, []string{"[::ffff:203.0.113.7]:80"}, client},
		{"client with a zone", proxy, []string{"fe80::7%eth0"}, "fe80::7"},
		{"empty", proxy, []string{""}, "10.0.0.1"},
		{"unknown", proxy, []string{"unknown"}, "10.0.0.1"},
		{"malformed before a client", proxy, []string{"203.0.113.7, unknown"}, "10.0.0.1"},
		{"malformed behind the second proxy", proxy, []string{"203.0.113.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"comma at the end", proxy, []string{"203.0.113.7,"}, "10.0.0.1"},
		{"empty line at the end", proxy, []string{client, ""}, "10.0.0.1"},
		{"spaces within", proxy, []string{"203.0.113.7 10.0.0.2"}, "10.0.0.1"},
		{"leading zeros", proxy, []string{"203.0.113.007"}, "10.0.0.1"},
		{"port without a number", proxy, []string{"203.0.113.7:"}, "10.0.0.1"},
		{"port that is none", proxy, []string{"203.0.113.7:65536"}, "10.0.0.1"},
		{"range", proxy, []string{"203.0.113.7/32"}, "10.0.0.1"},
		{"Unix socket", "@", []string{client}, ""},
		{"no peer", "", []string{client}, ""},
		{"peer by name", "localhost:80", []string{client}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want netip.Addr
			if tc.want != "" {
				want = netip.MustParseAddr(tc.want)
			}
			if got := clientAddress(from(tc.peer, tc.forwarded...), trusted); got != want {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
	t.Run("nobody is trusted", func(t *testing.T) {
		if got := clientAddress(from("10.0.0.1:80", client), nil); got.String() != "10.0.0.1" {
			t.Error(got)
		}
	})
	t.Run("other headers", func(t *testing.T) {
		r := from(proxy)
		for _, name := range []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Forwarded"} {
			r.Header.Set(name, client)
		}
		r.Header.Set("Forwarded", "for="+client)
		if got := clientAddress(r, trusted); got.String() != "10.0.0.1" {
			t.Error(got)
		}
	})
}

// Of the entries fifty are read, in however many lines they come.
func TestClientAddressBound(t *testing.T) {
	trusted := proxies(t, "10.0.0.0/8")
	for _, tc := range []struct {
		proxies int
		want    string
	}{{49, "203.0.113.7"}, {50, "10.0.0.2"}, {100_000, "10.0.0.2"}} {
		entries := append([]string{"203.0.113.7"}, slices.Repeat([]string{"10.0.0.2"}, tc.proxies)...)
		for _, r := range []*http.Request{from("10.0.0.1:80", strings.Join(entries, ",")), from("10.0.0.1:80", entries...)} {
			if got := clientAddress(r, trusted); got.String() != tc.want {
				t.Errorf("%d proxies in %d lines: %v, want %v", tc.proxies, len(r.Header[forwardedFor]), got, tc.want)
			}
		}
	}
}

func TestParseTrustedProxies(t *testing.T) {
	got := proxies(t, "10.1.2.3", "10.0.0.0/8", "192.168.7.9/16", "::1", "2001:DB8:0::/32", "::ffff:172.16.0.1", "::ffff:172.17.3.4/112", "0.0.0.0/1")
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	want := []string{"10.1.2.3/32", "10.0.0.0/8", "192.168.0.0/16", "::1/128", "2001:db8::/32", "172.16.0.1/32", "172.17.0.0/16", "0.0.0.0/1"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := proxies(t); got != nil {
		t.Errorf("of nothing: %v", got)
	}

	const notOne, everybody, twice = "must be an IP address", "is everybody", "is there twice"
	for _, tc := range []struct {
		list []string
		want []string // one fault each, which contains this
	}{
		{[]string{""}, []string{notOne}},
		{[]string{"proxy.bank.test"}, []string{notOne}},
		{[]string{" 10.0.0.1"}, []string{notOne}},
		{[]string{"10.0.0.1:80"}, []string{notOne}},
		{[]string{"10.0.0/8"}, []string{notOne}},
		{[]string{"10.0.0.0/33"}, []string{notOne}},
		{[]string{"10.0.0.0/-1"}, []string{notOne}},
		{[]string{"10.0.0.0/08"}, []string{notOne}},
		{[]string{"fe80::1%eth0"}, []string{notOne}},
		{[]string{"fe80::%eth0/64"}, []string{notOne}},
		{[]string{"::ffff:10.0.0.1%eth0"}, []string{notOne}},
		{[]string{"::ffff:10.0.0.1/95"}, []string{notOne}},
		{[]string{"0.0.0.0/0"}, []string{everybody}},
		{[]string{"10.0.0.1/0"}, []string{everybody}},
		{[]string{"::/0"}, []string{everybody}},
		{[]string{"2001:db8::/0"}, []string{everybody}},
		{[]string{"::ffff:0.0.0.0/96"}, []string{everybody}},
		{[]string{"10.0.0.1", "10.0.0.1"}, []string{twice}},
		{[]string{"10.0.0.1", "10.0.0.1/32"}, []string{twice}},
		{[]string{"10.0.0.0/8", "10.9.9.9/8"}, []string{twice}},
		{[]string{"10.0.0.1", "::ffff:10.0.0.1"}, []string{twice}},
		{[]string{"::1", "0:0:0:0:0:0:0:1"}, []string{twice}},
		{[]string{"s3cret", "10.0.0.1", "::/0", "10.0.0.1"}, []string{"[0]: " + notOne, "[2]: ::/0 " + everybody, "[3]: 10.0.0.1/32 " + twice}},
	} {
		trusted, err := ParseTrustedProxies(tc.list)
		if err == nil || trusted != nil {
			t.Errorf("%q: %v, %v", tc.list, trusted, err)
			continue
		}
		faults := strings.Split(err.Error(), "\n")
		if len(faults) != len(tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", tc.list, err)
			continue
		}
		for i, want := range tc.want {
			if !strings.Contains(faults[i], want) {
				t.Errorf("%q: %q does not contain %q", tc.list, faults[i], want)
			}
		}
	}
}

// slowClientAddress is what clientAddress should say, by another way: all entries in one list.
func slowClientAddress(peer string, trusted []netip.Prefix, lines []string) netip.Addr {
	var hops []netip.Addr // from the peer on
	entries := append(strings.Split(strings.Join(lines, ","), ","), peer)
	for _, entry := range slices.Backward(entries) {
		a, ok := parseAddress(strings.Trim(entry, " \t"))
		if !ok || len(hops) == 1+maxForwarded {
			break
		}
		hops = append(hops, a)
	}
	var client netip.Addr
	for _, client = range hops {
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(client) }) {
			break
		}
	}
	return client
}

func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:80", "198.51.100.9, 203.0.113.7", "10.0.0.2")
	f.Add("[::ffff:10.0.0.1]:80", "[2001:db8::7%x]:80,unknown", "::1, ::ffff:10.0.0.1")
	f.Add("203.0.113.7:1", "", ",")
	f.Add("@", "x", "y")
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		trusted := proxies(t, "10.0.0.0/8", "::1")
		if strings.Trim(peer, " \t") != peer || strings.Contains(peer, ",") {
			t.Skip("net/http writes no such peer")
		}
		got := clientAddress(from(peer, first, second), trusted)
		if want := slowClientAddress(peer, trusted, []string{first, second}); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		if got.Is4In6() || got.Zone() != "" {
			t.Errorf("%v is not canonical", got)
		}
		// What a stranger wrote further left changes nothing.
		if !isTrusted(got, trusted) {
			if spoofed := clientAddress(from(peer, "10.0.0.3, 198.51.100.9,"+first, second), trusted); spoofed != got {
				t.Errorf("%v became %v", got, spoofed)
			}
		}
	})
}

func FuzzParseTrustedProxies(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "10.0.0.0/8", "::ffff:10.0.0.0/104", "::/0", "fe80::1%eth0", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		trusted, err := ParseTrustedProxies([]string{text})
		if (err == nil) != (len(trusted) == 1) {
			t.Fatal(trusted, err)
		}
		if err != nil {
			return
		}
		p := trusted[0]
		if p != p.Masked() || p.Addr().Is4In6() || p.Bits() <= 0 {
			t.Errorf("%v is not canonical", p)
		}
		if again, err := ParseTrustedProxies([]string{p.String()}); err != nil || again[0] != p {
			t.Errorf("%v, read again: %v, %v", p, again, err)
		}
	})
}

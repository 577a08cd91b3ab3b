package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor is the one header that is asked who is behind a proxy. Forwarded, X-Real-IP and the like are not
// looked at: a proxy that does not write one of them passes on what the client wrote there.
const forwardedFor = "X-Forwarded-For"

// maxForwarded is how many entries of it are read, from the right.
const maxForwarded = 50

// clientAddress returns the address that a request comes from: its peer's, unless that is a trusted proxy; then the
// rightmost entry of X-Forwarded-For that is not one. What stands further left was written by whoever is there, and
// is never believed. Where an entry is no address, or there is none, the answer is the last proxy before it.
//
// IPv4 in IPv6 form becomes IPv4, and zones are dropped. A peer without an address, as on a Unix socket, is
// the zero Addr.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	address, ok := parseAddress(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	read := 0
	for _, line := range slices.Backward(r.Header.Values(forwardedFor)) {
		for more := true; more; read++ {
			if read == maxForwarded || !isTrusted(address, trusted) {
				return address
			}
			var entry string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, entry = line[:i], line[i+1:]
			} else {
				entry, more = line, false
			}
			next, ok := parseAddress(strings.Trim(entry, " \t"))
			if !ok {
				return address
			}
			address = next
		}
	}
	return address
}

// parseAddress reads an IP address with or without a port.
func parseAddress(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(s); err == nil {
			a = withPort.Addr()
		}
	}
	return a.WithZone("").Unmap(), err == nil
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ParseTrustedProxies reads the addresses (10.1.2.3, 2001:db8::1) and ranges (10.0.0.0/8) of proxies whose
// X-Forwarded-For is believed. All mistakes are reported at once, without repeating what is no address. A range that
// is everybody is refused, for then everybody could say that they are somebody else.
func ParseTrustedProxies(list []string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	var faults []error
	for i, text := range list {
		p, ok := parseProxy(text)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("[%d]: must be an IP address, or a range such as 10.0.0.0/8, without a zone", i))
		case p.Bits() == 0:
			faults = append(faults, fmt.Errorf("[%d]: %v is everybody, and not everybody may say who they are", i, p))
		case slices.Contains(proxies, p):
			faults = append(faults, fmt.Errorf("[%d]: %v is there twice", i, p))
		default:
			proxies = append(proxies, p)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return proxies, nil
}

// parseProxy returns the canonical range: masked, and IPv4 as IPv4, which is the form of every address that it is
// compared with.
func parseProxy(text string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		zone := a.Zone()
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), zone == ""
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		const mapped = 96 // bits before the IPv4 address
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), p.IsValid()
}

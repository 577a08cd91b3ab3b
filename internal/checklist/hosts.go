package checklist

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// owned refuses hosts that nobody has said are theirs.
func (b *bench) owned(own []string) error {
	remote := b.remoteHosts()
	for _, host := range remote {
		if !slices.Contains(own, host) {
			return cannotRunf("%s is not this machine: attacking a server that is not yours is a crime in most places. If it is yours, say --i-own-this-target %s", host, host)
		}
	}
	for _, host := range own {
		if !slices.Contains(remote, host) {
			if len(remote) == 0 {
				return cannotRunf("--i-own-this-target is not needed: everything is sent to this machine")
			}
			return cannotRunf("--i-own-this-target names a host to which nothing is sent; there are %s", strings.Join(remote, ", "))
		}
	}
	for _, where := range b.plainRemote() {
		return cannotRunf("%s must be https: credentials and tokens would go over the network in clear", where)
	}
	return nil
}

// plainRemote returns the remote hosts that would be spoken to in clear.
func (b *bench) plainRemote() []string {
	var all []string
	t := b.target
	steps := slices.Concat([]Step{{URL: t.Target}}, t.Login, t.Token, t.Logout, []Step{t.Submit.Request})
	if t.Webhook != nil {
		steps = append(steps, t.Webhook.Request)
	}
	for _, s := range steps {
		u, err := url.Parse(placeholder.ReplaceAllString(s.URL, "x"))
		if err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			all = append(all, u.Host)
		}
	}
	return all
}

// remoteHosts returns the hosts that requests go to and that are not this machine, sorted.
func (b *bench) remoteHosts() []string {
	hosts := make(map[string]bool)
	add := func(u *url.URL) {
		if u != nil && u.Host != "" && !isLoopback(u.Hostname()) {
			hosts[u.Hostname()] = true
		}
	}
	add(b.base)
	t := b.target
	steps := slices.Concat(t.Login, t.Token, t.Logout, []Step{t.Submit.Request})
	if t.Webhook != nil {
		steps = append(steps, t.Webhook.Request)
	}
	for _, s := range steps {
		if u, err := url.Parse(placeholder.ReplaceAllString(s.URL, "x")); err == nil {
			add(u)
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// origins are where requests may go.
func (b *bench) origins() map[string]bool {
	all := map[string]bool{strings.ToLower(b.base.Scheme) + "://" + b.base.Host: true}
	t := b.target
	steps := slices.Concat(t.Login, t.Token, t.Logout, []Step{t.Submit.Request})
	if t.Webhook != nil {
		steps = append(steps, t.Webhook.Request)
	}
	for _, s := range steps {
		if _, u := cutHost(s.URL); u != nil {
			all[u.Scheme+"://"+u.Host] = true
		}
	}
	return all
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

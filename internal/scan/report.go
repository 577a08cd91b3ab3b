package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// report tells what the look came to.
func (l *look) report(o *Options) *finding.Report {
	l.sortProblems()
	r := &finding.Report{Tool: "selo scan", Version: o.Version, Topics: Topics(), Rules: Rules()}
	all := l.ownSecrets()
	all = append(all, l.inPieces()...)
	all = append(all, l.tokensFound(o.Now)...)
	all = append(all, l.telling()...)
	all = append(all, l.builtHow()...)
	all = append(all, l.unread()...)
	r.Findings = l.allow(all, o.Allowed, o.Now)
	l.nothingElse(r)
	r.About = l.about()
	return r
}

// groupsOf returns the groups of one kind in the order of their places.
func (l *look) groupsOf(k kind) []groupKey {
	var keys []groupKey
	for g := range l.groups {
		if g.kind == k {
			keys = append(keys, g)
		}
	}
	slices.SortFunc(keys, func(a, b groupKey) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.index, b.index), cmp.Compare(a.text, b.text))
	})
	return keys
}

// at says where in an entry something stands.
func (l *look) at(path string, g *group) string {
	slices.SortFunc(g.spots, func(a, b spot) int { return cmp.Compare(a.offset, b.offset) })
	var b strings.Builder
	fmt.Fprintf(&b, "in %s", l.safe(path))
	for i, s := range g.spots {
		if i == 3 {
			break
		}
		if i > 0 {
			b.WriteString("; also")
		}
		if s.offset < 0 {
			b.WriteString(", in its name")
		} else {
			fmt.Fprintf(&b, " at byte %d", s.offset)
			if s.key != "" {
				fmt.Fprintf(&b, ", as %s", l.safeKey(s.key))
			}
		}
		if s.spelling != "" && s.spelling != "plain" {
			fmt.Fprintf(&b, " (%s)", s.spelling)
		}
	}
	if more := g.more + len(g.spots) - 3; more > 0 {
		fmt.Fprintf(&b, "; and in %s there", counted(more, "more place"))
	}
	return b.String()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// told is a finding, and the other places that it is about.
type told struct {
	finding.Finding
	also []string
}

func tell(rule string, o finding.Outcome, place, format string, args ...any) told {
	return told{Finding: finding.Finding{Rule: rule, Outcome: o, Place: place, Message: fmt.Sprintf(format, args...)}}
}

func (l *look) fail(rule, path, format string, args ...any) told {
	return tell(rule, finding.Fail, l.safe(path), format, args...)
}

func (l *look) ownSecrets() (out []told) {
	if len(l.secrets)+len(l.prints.names) == 0 {
		out = append(out, tell(ruleOwnSecret, finding.NotApplicable, "", "No secret was given: --secret-file or --fingerprints gives one, and only then is there proof."))
	}
	for _, k := range l.groupsOf(ownSecret) {
		out = append(out, l.fail(ruleOwnSecret, k.path, "The secret %q stands %s.", l.secrets[k.index].name, l.at(k.path, l.groups[k])))
	}
	for _, k := range l.groupsOf(fingerprinted) {
		out = append(out, l.fail(ruleOwnSecret, k.path, "The secret with the fingerprint %q stands %s.", l.safe(k.text), l.at(k.path, l.groups[k])))
	}
	return out
}

func (l *look) inPieces() (out []told) {
	if len(l.secrets) == 0 {
		return []told{tell(ruleOwnPieces, finding.NotApplicable, "", "No secret was given: --secret-file gives one.")}
	}
	for i, cut := range l.cut {
		size, n := len(l.secrets[i].value), 0
		for _, in := range l.covered[i] {
			if in {
				n++
			}
		}
		if n*100 < size*covered {
			continue
		}
		pieces := slices.Collect(maps.Keys(cut))
		if !slices.ContainsFunc(pieces, func(p piece) bool { return l.groups[groupKey{subject{kind: ownSecret, index: i}, cut[p].path}] == nil }) {
			continue // whole in the same files: literals that the decoder has put together
		}
		slices.SortFunc(pieces, func(a, b piece) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
		// Of the pieces at one place in the secret one tells enough.
		var also []string
		var where []string
		end := 0
		for _, p := range pieces {
			if p.to <= end {
				continue
			}
			end = p.to
			c := cut[p]
			at := fmt.Sprintf("%s at byte %d", l.safe(c.path), c.offset)
			if c.key != "" {
				at += ", as " + l.safeKey(c.key)
			}
			also = append(also, l.safe(c.path))
			where = append(where, at)
		}
		shown := where[:min(len(where), 6)]
		more := ""
		if len(where) > len(shown) {
			more = fmt.Sprintf("; and %s", counted(len(where)-len(shown), "more place"))
		}
		f := l.fail(ruleOwnPieces, cut[pieces[0]].path, "%d%% of the secret %q stands in %s, each a string of its own: in %s%s.",
			n*100/size, l.secrets[i].name, counted(len(where), "piece"), strings.Join(shown, "; "), more)
		f.also = also
		out = append(out, f)
	}
	return out
}

func (l *look) tokensFound(now time.Time) (out []told) {
	m := newMarker(l.secrets)
	if len(l.secrets) == 0 {
		out = append(out, tell(ruleOwnToken, finding.NotApplicable, "", "No secret was given: --secret-file gives one."))
	}
	for _, raw := range slices.Sorted(maps.Keys(l.tokens.all)) {
		t := l.tokens.all[raw]
		name := fmt.Sprintf("A token (%s, mark %s)", t.algorithm, m.mark([]byte(raw)))
		for _, path := range slices.Sorted(maps.Keys(t.places)) {
			where := l.at(path, t.places[path])
			if t.secret >= 0 {
				out = append(out, l.fail(ruleOwnToken, path, "%s that is signed with the secret %q stands %s.", name, l.secrets[t.secret].name, where))
			} else if t.with != "" {
				out = append(out, l.withItsKey(t, name, path, where, m.mark([]byte(t.value))))
			}
			if t.providers {
				out = append(out, l.mobileToken(t, name, path, where, now))
			}
		}
	}
	if n := l.tokens.dropped[true]; n > 0 {
		out = append(out, tell(ruleEverything, finding.Inconclusive, "", "There are more than %d tokens of others: the strings of the package were tried as keys of those only.", maxTokens))
	}
	if n := l.tokens.dropped[false]; n > 0 {
		out = append(out, tell(ruleOwnToken, finding.Inconclusive, "", "There are more than %d tokens of yours or of the provider's shape; the others are not told.", maxGroups))
	}
	return out
}

// withItsKey tells of a token whose key is in the package. What documentation signs its examples with proves nothing about
// the app.
func (l *look) withItsKey(t *foundToken, name, path, where, mark string) told {
	key := ""
	if t.key != "" {
		key = ", as " + l.safeKey(t.key)
	}
	f := l.fail(ruleTokenKey, path, "%s stands %s. What it is signed with is a string in %s%s (mark %s).", name, where, l.safe(t.with), key, mark)
	f.also = []string{l.safe(t.with)}
	if !t.providers && (len(t.value) < minSecret || slices.Contains(wellKnown, t.value)) {
		f.Outcome = finding.Warn
		f.Message = strings.TrimSuffix(f.Message, ".") + ", and too short or too well known to prove anything."
	}
	return f
}

// wellKnown are keys of twelve bytes and more that documentation signs its examples with.
var wellKnown = []string{
	"your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", "a-string-secret-at-least-256-bits-long",
	"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long", "my-secret-key", "your-secret-key", "super-secret-key",
}

func (l *look) mobileToken(t *foundToken, name, path, where string, now time.Time) told {
	whose := "of the provider's shape"
	if slices.Contains(l.clientIDs, t.issuer) {
		whose = "of your client ID"
	}
	if t.cpf {
		whose += ", for a CPF,"
	}
	switch {
	case t.noExpiry:
		return l.fail(ruleNoExpiry, path, "%s %s that never expires stands %s.", name, whose, where)
	case now.Before(t.expires):
		return l.fail(ruleValidToken, path, "%s %s that is valid until %s stands %s.", name, whose, t.expires.UTC().Format(time.RFC3339), where)
	}
	return l.fail(ruleExpired, path, "%s %s that expired on %s stands %s.", name, whose, t.expires.UTC().Format(time.RFC3339), where)
}

func (l *look) telling() (out []told) {
	m := newMarker(l.secrets)
	l.trim(tellingName)
	for _, k := range l.groupsOf(tellingName) {
		g := l.groups[k]
		if slices.ContainsFunc(l.secrets, func(s Secret) bool { return strings.Contains(g.value, string(s.value)) }) {
			continue // which is proof, and told already
		}
		if _, ok := l.prints.name([]byte(g.value)); ok {
			continue
		}
		out = append(out, tell(ruleTelling, finding.Warn, l.safe(k.path), "A value that looks like a secret (%d characters, mark %s) stands %s.",
			len(g.value), m.mark([]byte(g.value)), l.at(k.path, g)))
	}
	if n := l.dropped[tellingName]; n > 0 {
		out = append(out, tell(ruleTelling, finding.Warn, "", "There are %d more such values.", n))
	}
	return out
}

func (l *look) builtHow() (out []told) {
	slices.SortFunc(l.manifests, func(a, b manifest) int { return cmp.Compare(a.path, b.path) })
	warn := func(rule, path, message string) {
		out = append(out, tell(rule, finding.Warn, l.safe(path), "%s", message))
	}
	apps, debuggable := 0, false
	for _, m := range l.manifests {
		path := l.safe(m.path)
		if m.isApp {
			apps++
			debuggable = debuggable || m.debug
			if m.debug {
				warn(ruleDebuggable, m.path, "android:debuggable is true in "+path+".")
			}
			switch {
			case m.backup == "true" && !m.rules:
				warn(ruleBackup, m.path, "android:allowBackup is true in "+path+", and no rules say what is left out.")
			case m.backup == "" && !m.rules:
				warn(ruleBackup, m.path, "android:allowBackup is not set in "+path+", which allows it, and no rules say what is left out.")
			}
		}
		switch {
		case m.isApp && m.cleartext && !m.network:
			warn(ruleCleartext, m.path, "android:usesCleartextTraffic is true in "+path+".")
		case !m.isApp && m.cleartext:
			warn(ruleCleartext, m.path, "The network security configuration "+path+" permits clear text.")
		}
	}
	if apps == 0 {
		for _, rule := range []string{ruleDebuggable, ruleBackup, ruleCleartext} {
			if !slices.ContainsFunc(out, func(f told) bool { return f.Rule == rule }) {
				out = append(out, tell(rule, finding.NotApplicable, "", "There is no compiled Android manifest in it."))
			}
		}
	}
	for _, k := range l.groupsOf(providerWord) {
		if words[k.index].beta && !debuggable {
			warn(ruleBeta, k.path, fmt.Sprintf("%s, a host of the provider's test environment, stands %s.", words[k.index].text, l.at(k.path, l.groups[k])))
		}
	}
	return out
}

// unread tells what could not be read. That is never a pass.
func (l *look) unread() (out []told) {
	for _, p := range l.problems {
		message := l.safe(p.path) + " was not read whole: " + l.safe(p.err.Error()) + "."
		switch {
		case errors.Is(p.err, context.DeadlineExceeded):
			message = "The scan was stopped when its time was over (--timeout); not everything was read."
		case errors.Is(p.err, context.Canceled):
			message = "The scan was interrupted; not everything was read."
		}
		out = append(out, tell(ruleEverything, finding.Inconclusive, l.safe(p.path), "%s", message))
	}
	if n := l.dropped[kinds]; n > 0 {
		out = append(out, tell(ruleEverything, finding.Inconclusive, "", "%s not read whole.", counted(n, "more place")))
	}
	return out
}

// allow makes of what the allow-list covers something that was skipped, with the reason. A finding about several places is
// covered only if each of them is.
func (l *look) allow(all []told, list []Allowed, now time.Time) []finding.Finding {
	var out, over []finding.Finding
	said := make([]bool, len(list))
	for _, f := range all {
		var by *Allowed
		for _, place := range append([]string{f.Place}, f.also...) {
			by = nil
			for j := range list {
				a := &list[j]
				if f.Outcome != finding.Fail && f.Outcome != finding.Warn && f.Outcome != finding.Inconclusive || !a.covers(f.Rule, place) {
					continue
				}
				if until, err := a.until(); err == nil && now.Before(until) {
					by = a
					break
				}
				if !said[j] {
					said[j] = true
					over = append(over, finding.Finding{Rule: ruleAllowedLong, Outcome: finding.Warn, Place: place,
						Message: fmt.Sprintf("%s at %s was allowed until %s, since: %s", a.Rule, l.safe(a.Path), a.Expires, l.safe(a.Reason))})
				}
			}
			if by == nil {
				break
			}
		}
		if by != nil {
			f.Outcome = finding.Skipped
			f.Message = strings.TrimSuffix(f.Message, ".") + fmt.Sprintf(": allowed until %s, since: %s", by.Expires, l.safe(by.Reason))
		}
		out = append(out, f.Finding)
	}
	return append(out, over...)
}

// nothingElse adds that a rule was looked for and nothing was found, to each of which nothing is told.
func (l *look) nothingElse(r *finding.Report) {
	for _, rule := range r.Rules {
		if slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Rule == rule.ID }) {
			continue
		}
		message := "Nothing of the kind was found."
		if rule.ID == ruleEverything {
			message = "Everything was read."
		}
		r.Findings = append(r.Findings, finding.Finding{Rule: rule.ID, Outcome: finding.Pass, Message: message})
	}
}

// about tells what a reader must know of what was looked at, which is no fault.
func (l *look) about() []finding.Fact {
	var given []string
	for _, g := range []struct {
		n    int
		what string
	}{{len(l.secrets), "secret"}, {len(l.prints.names), "fingerprint"}, {len(l.clientIDs), "client ID"}} {
		if g.n > 0 {
			given = append(given, counted(g.n, g.what))
		}
	}
	if len(l.secrets)+len(l.prints.names) == 0 {
		given = append(given, "tokens and hints; no secret was given, so there is no proof that none is in it")
	}
	facts := []finding.Fact{
		{Name: "Looked for", Value: strings.Join(given, ", ")},
		{Name: "Looked at", Value: fmt.Sprintf("%s, %.1f MB unpacked", counted(l.entries, "file"), float64(l.bytes)/1e6)},
	}
	for _, m := range l.manifests {
		if m.isApp && m.pkg != "" {
			facts = append(facts, finding.Fact{Name: "Android app", Value: strings.TrimSpace(l.safe(m.pkg) + " " + l.safe(m.version))})
			break
		}
	}
	count := func(name string, k kind, text func(int) string) {
		found := make(map[string]int)
		for g := range l.groups {
			if g.kind == k && text(g.index) != "" {
				found[text(g.index)]++
			}
		}
		for _, s := range slices.Sorted(maps.Keys(found)) {
			value := s
			if found[s] > 1 {
				value = fmt.Sprintf("%s (in %d files)", s, found[s])
			}
			facts = append(facts, finding.Fact{Name: name, Value: value})
		}
	}
	for _, fact := range []string{factSDK, factEndpoint} {
		count(strings.ToUpper(fact[:1])+fact[1:], providerWord, func(i int) string {
			if words[i].fact != fact {
				return ""
			}
			return words[i].text
		})
	}
	count("Client ID", knownClient, func(i int) string { return l.safe(l.clientIDs[i]) })
	return facts
}

package scan

import (
	"cmp"
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
	var all []finding.Finding
	all = append(all, l.ownSecrets()...)
	all = append(all, l.inPieces()...)
	all = append(all, l.tokensFound(o.Now)...)
	all = append(all, l.telling()...)
	all = append(all, l.builtHow()...)
	all = append(all, l.unread()...)
	r.Findings = allow(all, o.Allowed, o.Now)
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

func (l *look) fail(rule, path, format string, args ...any) finding.Finding {
	return finding.Finding{Rule: rule, Outcome: finding.Fail, Place: l.safe(path), Message: fmt.Sprintf(format, args...)}
}

func (l *look) ownSecrets() (out []finding.Finding) {
	if len(l.secrets)+len(l.prints.names) == 0 {
		out = append(out, finding.Finding{Rule: ruleOwnSecret, Outcome: finding.NotApplicable,
			Message: "No secret was given: --secret-file or --fingerprints gives one, and only then is there proof."})
	}
	for _, k := range l.groupsOf(ownSecret) {
		out = append(out, l.fail(ruleOwnSecret, k.path, "The secret %q stands %s.", l.secrets[k.index].name, l.at(k.path, l.groups[k])))
	}
	for _, k := range l.groupsOf(fingerprinted) {
		out = append(out, l.fail(ruleOwnSecret, k.path, "The secret with the fingerprint %q stands %s.", k.text, l.at(k.path, l.groups[k])))
	}
	return out
}

func (l *look) inPieces() (out []finding.Finding) {
	if len(l.secrets) == 0 {
		return []finding.Finding{{Rule: ruleOwnPieces, Outcome: finding.NotApplicable, Message: "No secret was given: --secret-file gives one."}}
	}
	for i, pieces := range l.cut {
		ps := make([]piece, len(pieces))
		for j, p := range pieces {
			ps[j] = p.piece
		}
		if !slices.ContainsFunc(pieces, func(p cutPiece) bool { return l.groups[groupKey{subject{kind: ownSecret, index: i}, p.path}] == nil }) {
			continue // whole in the same files: literals that the decoder has put together
		}
		size := len(l.secrets[i].value)
		n := coverage(ps)
		if n*100 < size*covered {
			continue
		}
		// Of the pieces at one place in the secret one tells enough.
		slices.SortFunc(pieces, func(a, b cutPiece) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to), cmp.Compare(a.path, b.path), cmp.Compare(a.offset, b.offset))
		})
		var where []string
		end := 0
		for _, p := range pieces {
			if p.to <= end {
				continue
			}
			end = p.to
			at := fmt.Sprintf("%s at byte %d", l.safe(p.path), p.offset)
			if p.key != "" {
				at += ", as " + l.safeKey(p.key)
			}
			where = append(where, at)
		}
		shown := where[:min(len(where), 6)]
		more := ""
		if len(where) > len(shown) {
			more = fmt.Sprintf("; and %s", counted(len(where)-len(shown), "more place"))
		}
		out = append(out, l.fail(ruleOwnPieces, pieces[0].path, "%d%% of the secret %q stands in %s, each a string of its own: in %s%s.",
			n*100/size, l.secrets[i].name, counted(len(where), "piece"), strings.Join(shown, "; "), more))
	}
	return out
}

func (l *look) tokensFound(now time.Time) (out []finding.Finding) {
	m := newMarker(l.secrets)
	if len(l.secrets) == 0 {
		out = append(out, finding.Finding{Rule: ruleOwnToken, Outcome: finding.NotApplicable, Message: "No secret was given: --secret-file gives one."})
	}
	for _, k := range l.groupsOf(signedToken) {
		t := l.tokens[k.text]
		if t == nil { // one too many
			continue
		}
		where := l.at(k.path, l.groups[k])
		name := fmt.Sprintf("A token (%s, mark %s)", t.algorithm, m.mark([]byte(k.text)))
		if t.secret >= 0 {
			out = append(out, l.fail(ruleOwnToken, k.path, "%s that is signed with the secret %q stands %s.", name, l.secrets[t.secret].name, where))
		} else if t.with != "" {
			key := ""
			if t.key != "" {
				key = ", as " + l.safeKey(t.key)
			}
			out = append(out, l.fail(ruleTokenKey, k.path, "%s stands %s. What it is signed with is a string in %s%s (mark %s).",
				name, where, l.safe(t.with), key, m.mark([]byte(t.value))))
		}
		if !t.isProviders(l.clientIDs) {
			continue
		}
		whose := "of the provider's shape"
		if slices.Contains(l.clientIDs, t.issuer) {
			whose = "of your client ID"
		}
		if t.cpf {
			whose += ", for a CPF,"
		}
		switch {
		case t.noExpiry:
			out = append(out, l.fail(ruleNoExpiry, k.path, "%s %s that never expires stands %s.", name, whose, where))
		case now.Before(t.expires):
			out = append(out, l.fail(ruleValidToken, k.path, "%s %s that is valid until %s stands %s.", name, whose, t.expires.UTC().Format(time.RFC3339), where))
		default:
			out = append(out, l.fail(ruleExpired, k.path, "%s %s that expired on %s stands %s.", name, whose, t.expires.UTC().Format(time.RFC3339), where))
		}
	}
	if n := l.dropped[signedToken]; n > 0 {
		out = append(out, finding.Finding{Rule: ruleTokenKey, Outcome: finding.Inconclusive,
			Message: fmt.Sprintf("There are more than %d tokens: the strings of the package were not tried as keys of the others.", maxTokens)})
	}
	return out
}

func (l *look) telling() (out []finding.Finding) {
	m := newMarker(l.secrets)
	for _, k := range l.groupsOf(tellingName) {
		g := l.groups[k]
		if slices.ContainsFunc(l.secrets, func(s Secret) bool { return strings.Contains(g.value, string(s.value)) }) {
			continue // which is proof, and told already
		}
		if _, ok := l.prints.name([]byte(g.value)); ok {
			continue
		}
		out = append(out, finding.Finding{Rule: ruleTelling, Outcome: finding.Warn, Place: l.safe(k.path),
			Message: fmt.Sprintf("A value that looks like a secret (%d characters, mark %s) stands %s.", len(g.value), m.mark([]byte(g.value)), l.at(k.path, g))})
	}
	if n := l.dropped[tellingName]; n > 0 {
		out = append(out, finding.Finding{Rule: ruleTelling, Outcome: finding.Warn, Message: fmt.Sprintf("There are %d more such values.", n)})
	}
	return out
}

func (l *look) builtHow() (out []finding.Finding) {
	slices.SortFunc(l.manifests, func(a, b manifest) int { return cmp.Compare(a.path, b.path) })
	warn := func(rule, path, message string) {
		out = append(out, finding.Finding{Rule: rule, Outcome: finding.Warn, Place: l.safe(path), Message: message})
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
			if !slices.ContainsFunc(out, func(f finding.Finding) bool { return f.Rule == rule }) {
				out = append(out, finding.Finding{Rule: rule, Outcome: finding.NotApplicable, Message: "There is no compiled Android manifest in it."})
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
func (l *look) unread() (out []finding.Finding) {
	for _, p := range l.problems {
		out = append(out, finding.Finding{Rule: ruleEverything, Outcome: finding.Inconclusive, Place: l.safe(p.path),
			Message: fmt.Sprintf("%s was not read whole: %s.", l.safe(p.path), l.safe(p.err.Error()))})
	}
	if n := l.dropped[kinds]; n > 0 {
		out = append(out, finding.Finding{Rule: ruleEverything, Outcome: finding.Inconclusive, Message: counted(n, "more place") + " not read whole."})
	}
	if l.entries == 0 {
		out = append(out, finding.Finding{Rule: ruleEverything, Outcome: finding.Inconclusive, Message: "There is nothing in it."})
	}
	return out
}

// allow makes of what the allow-list covers something that was skipped, with the reason.
func allow(all []finding.Finding, list []Allowed, now time.Time) []finding.Finding {
	var over []finding.Finding
	told := make([]bool, len(list))
	for i := range all {
		f := &all[i]
		if f.Outcome != finding.Fail && f.Outcome != finding.Warn && f.Outcome != finding.Inconclusive {
			continue
		}
		for j, a := range list {
			if !a.covers(f.Rule, f.Place) {
				continue
			}
			if until, err := a.until(); err == nil && now.Before(until) {
				f.Outcome = finding.Skipped
				f.Message = strings.TrimSuffix(f.Message, ".") + fmt.Sprintf(": allowed until %s, since: %s", a.Expires, a.Reason)
				break
			}
			if !told[j] {
				told[j] = true
				over = append(over, finding.Finding{Rule: ruleAllowedLong, Outcome: finding.Warn, Place: f.Place,
					Message: fmt.Sprintf("%s at %s was allowed until %s, since: %s", a.Rule, a.Path, a.Expires, a.Reason)})
			}
		}
	}
	return append(all, over...)
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
	tell := func(name string, k kind, text func(int) string) {
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
		tell(strings.ToUpper(fact[:1])+fact[1:], providerWord, func(i int) string {
			if words[i].fact != fact {
				return ""
			}
			return words[i].text
		})
	}
	tell("Client ID", knownClient, func(i int) string { return l.clientIDs[i] })
	return facts
}

package finding

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSARIF bounds a string: GitHub takes 10 MB in all, and shows 1024 characters of a description.
const maxSARIF = 8 << 10

// The part of SARIF 2.1.0 that is written. The names are the standard's.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool              sarifTool         `json:"tool"`
		AutomationDetails sarifAutomation   `json:"automationDetails"`
		Invocations       []sarifInvocation `json:"invocations"`
		ColumnKind        string            `json:"columnKind"`
		Results           []sarifResult     `json:"results"`
		Properties        sarifRunBag       `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   string       `json:"id"`
		Name                 string       `json:"name"`
		ShortDescription     sarifText    `json:"shortDescription"`
		FullDescription      sarifText    `json:"fullDescription"`
		DefaultConfiguration sarifConfig  `json:"defaultConfiguration"`
		HelpURI              string       `json:"helpUri,omitempty"`
		Help                 sarifText    `json:"help"`
		Properties           sarifRuleBag `json:"properties"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifRuleBag struct {
		Tags             []string `json:"tags"`
		Precision        string   `json:"precision"`
		SecuritySeverity string   `json:"security-severity,omitempty"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool   `json:"executionSuccessful"`
		ExitCode            int    `json:"exitCode"`
		Start               string `json:"startTimeUtc"`
		End                 string `json:"endTimeUtc"`
	}
	sarifRunBag struct {
		Target   string         `json:"target"`
		About    []Fact         `json:"about,omitempty"`
		Outcomes []sarifOutcome `json:"outcomes"`
	}
	sarifOutcome struct {
		Rule    string  `json:"rule"`
		Outcome Outcome `json:"outcome"`
	}
	sarifResult struct {
		RuleID              string            `json:"ruleId"`
		RuleIndex           int               `json:"ruleIndex"`
		Kind                string            `json:"kind"`
		Level               string            `json:"level"`
		Message             sarifText         `json:"message"`
		Locations           []sarifLocation   `json:"locations"`
		PartialFingerprints map[string]string `json:"partialFingerprints"`
		Properties          sarifResultBag    `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndLine     int `json:"endLine"`
		EndColumn   int `json:"endColumn"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifResultBag struct {
		Outcome  Outcome    `json:"outcome"`
		Severity Severity   `json:"severity,omitempty"`
		Evidence []Exchange `json:"evidence,omitempty"`
	}
)

// WriteSARIF takes a report and writes it as SARIF 2.1.0 in the way GitHub code scanning reads it. Results are what
// fails, what is warned of, and what could not be found out. GitHub makes an alert of every result, whatever its
// kind, so rules that pass, do not apply or were skipped are told in the run's properties only.
func WriteSARIF(w io.Writer, r *Report) error {
	return write(w, "SARIF", func(b *bytes.Buffer) error {
		out, err := marshal(sarif(r))
		b.Write(out)
		return err
	})
}

func sarif(of *Report) *sarifLog {
	r := shown(of, maxSARIF)
	target := oneLine(r.Target)
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: or(oneLine(r.Tool), "selo"), Version: oneLine(r.Version), Rules: []sarifRule{}}},
		// To GitHub all before the last slash is what one upload replaces: the same tool at the same target.
		AutomationDetails: sarifAutomation{slug(r.Tool) + "/" + slug(target) + "/" + r.Started.Format("20060102T150405Z")},
		Invocations: []sarifInvocation{{
			ExecutionSuccessful: true, ExitCode: of.ExitCode(),
			Start: sarifTime(r.Started), End: sarifTime(r.Started.Add(r.Took)),
		}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
		Properties: sarifRunBag{Target: r.Target, About: r.About, Outcomes: []sarifOutcome{}},
	}
	seen := make(map[string]int)
	for _, c := range r.chapters() {
		for _, e := range c.Entries {
			index := len(run.Tool.Driver.Rules)
			rule := sarifRuleOf(e.Rule, c.Topic)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
			run.Properties.Outcomes = append(run.Properties.Outcomes, sarifOutcome{rule.ID, e.Outcome})
			for _, f := range e.Findings {
				kind, level := sarifLevel(f.Outcome, e.Rule.Severity)
				if kind == "" {
					continue
				}
				place := or(or(f.Place, target), "target")
				same := fingerprint(rule.ID, place)
				seen[same]++
				run.Results = append(run.Results, sarifResult{
					RuleID: rule.ID, RuleIndex: index, Kind: kind, Level: level,
					Message: sarifText{Text: sarifMessage(e, f)},
					Locations: []sarifLocation{{
						Physical: sarifPhysical{sarifArtifact{artifact(place)}, sarifRegion{1, 1, 1, 1}},
						Logical:  []sarifLogical{{place, "resource"}},
					}},
					PartialFingerprints: map[string]string{"primaryLocationLineHash": same + ":" + strconv.Itoa(seen[same])},
					Properties:          sarifResultBag{f.Outcome, e.Rule.Severity, f.Evidence},
				})
			}
		}
	}
	return &sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}

// sarifLevel returns the kind and the level of a result, or "" when there is to be none. The standard wants the level
// none for every kind but fail.
func sarifLevel(o Outcome, s Severity) (kind, level string) {
	grave := s == Critical || s == High
	switch {
	case o == Inconclusive:
		return "open", "none"
	case o == Fail && grave:
		return "fail", "error"
	case o == Fail, o == Warn && grave:
		return "fail", "warning"
	case o == Warn:
		return "fail", "note"
	}
	return "", ""
}

func sarifRuleOf(rule Rule, topic Topic) sarifRule {
	out := sarifRule{
		ID:                   or(oneLine(rule.ID), "unnamed"),
		Name:                 cut(or(oneLine(rule.ID), "unnamed"), 250),
		ShortDescription:     sarifText{Text: cut(or(oneLine(rule.Title), "A rule without a title"), 1000)},
		FullDescription:      sarifText{Text: cut(or(or(oneLine(rule.Why), oneLine(rule.Title)), "A rule without a reason"), 1000)},
		DefaultConfiguration: sarifConfig{"warning"},
		Help:                 help(rule),
		Properties:           sarifRuleBag{Tags: tags(rule, topic), Precision: "high", SecuritySeverity: score(rule.Severity)},
	}
	if rule.Severity == Critical || rule.Severity == High {
		out.DefaultConfiguration.Level = "error"
	}
	for _, ref := range rule.References {
		if webURL(ref.URL) != "" {
			out.HelpURI = webURL(ref.URL)
			break
		}
	}
	return out
}

// score is the middle of what GitHub calls by the same name: critical is over 9.0, high from 7.0, medium from 4.0.
func score(s Severity) string {
	switch s {
	case Critical:
		return "9.5"
	case High:
		return "8.0"
	case Medium:
		return "5.5"
	case Low:
		return "2.0"
	}
	return ""
}

// tags are at most the twenty that GitHub takes. It knows CWE by its tag.
func tags(rule Rule, topic Topic) []string {
	out := []string{"security", "topic-" + strconv.Itoa(topic.Number)}
	for _, ref := range rule.References {
		tag := slug(ref.Catalogue + "-" + ref.ID)
		if strings.HasPrefix(ref.Catalogue, "CWE") {
			tag = "external/cwe/cwe-" + strings.TrimPrefix(slug(ref.ID), "cwe-")
		}
		if !slices.Contains(out, tag) && len(out) < 20 {
			out = append(out, tag)
		}
	}
	return out
}

// help is the page that is shown beside a result.
func help(rule Rule) sarifText {
	var text, md strings.Builder
	part := func(title, words string) {
		if words = oneLine(words); words != "" {
			fmt.Fprintf(&text, "%s: %s\n\n", title, words)
			fmt.Fprintf(&md, "**%s.** %s\n\n", title, markdown(words))
		}
	}
	part("What is done", rule.What)
	part("Why it matters", rule.Why)
	part("How to fix it", rule.Fix)
	for _, s := range rule.Snippets {
		fence := strings.Repeat("`", max(3, longestRun(s.Code, '`')+1))
		fmt.Fprintf(&text, "%s:\n\n%s\n\n", oneLine(s.Language), s.Code)
		fmt.Fprintf(&md, "%s:\n\n%s\n%s\n%s\n\n", markdown(oneLine(s.Language)), fence, strings.TrimRight(s.Code, "\n"), fence)
	}
	for _, ref := range rule.References {
		name := oneLine(ref.Catalogue + " " + ref.ID)
		link := webURL(ref.URL)
		fmt.Fprintf(&text, "See %s\n", strings.TrimSpace(name+" "+link))
		if link == "" {
			fmt.Fprintf(&md, "- %s\n", markdown(name))
		} else {
			fmt.Fprintf(&md, "- [%s](<%s>)\n", markdown(name), link)
		}
	}
	return sarifText{or(strings.TrimSpace(text.String()), "No help."), strings.TrimSpace(md.String())}
}

// markdown escapes what makes more of s than words.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_[]<>&#|~!@", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func longestRun(s string, of rune) (longest int) {
	run := 0
	for _, r := range s {
		if r == of {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}

// sarifMessage starts with the sentence that GitHub shows as the title.
func sarifMessage(e entry, f Finding) string {
	m := or(oneLine(f.Message), or(oneLine(e.Rule.Title), "No message."))
	if f.Outcome == Inconclusive {
		m = "Could not be found out: " + m
	}
	if len(f.Evidence) > 0 && f.Evidence[0].Expected != "" {
		m += "\nExpected: " + oneLine(f.Evidence[0].Expected)
	}
	if f.Place != "" {
		m += "\nAt: " + oneLine(f.Place)
	}
	// A message may hold links written [text](where): nobody else than we may make one.
	return strings.ReplaceAll(m, "](", "] (")
}

// artifact returns a place as a relative URI. An absolute one makes GitHub refuse the whole upload, unless it is a
// file: (github/codeql-action#754).
func artifact(place string) string {
	p := strings.ReplaceAll(oneLine(place), `\`, "/")
	if u, err := url.Parse(p); err == nil && u.Host != "" {
		p = u.Host + u.Path
	}
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	var parts []string
	for s := range strings.SplitSeq(cutBytes(p, 1000), "/") {
		parts = append(parts, strings.ReplaceAll(url.PathEscape(s), ":", "%3A"))
	}
	return or(strings.Join(parts, "/"), "target")
}

func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// fingerprint tells a result from others in every run: by its rule and place, and not by its words, which change.
func fingerprint(rule, place string) string {
	sum := sha256.Sum256([]byte(rule + "\x00" + place))
	return hex.EncodeToString(sum[:8])
}

// webURL returns s when a browser would open it as a page of the web, else "".
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.ContainsAny(s, " <>\"") {
		return ""
	}
	return u.String()
}

// slug returns s in letters and digits that need no escape anywhere.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 100 {
			break
		}
	}
	return or(strings.Trim(b.String(), "-"), "unnamed")
}

func sarifTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

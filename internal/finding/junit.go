package finding

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const maxJUnit = 16 << 10

// The dialect of JUnit's XML that Jenkins, GitLab and GitHub's actions have in common.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitReason `xml:"failure"`
		Error   *junitReason `xml:"error"`
		Skipped *junitReason `xml:"skipped"`
		Out     *junitText   `xml:"system-out"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",innerxml"`
	}
	junitText struct {
		Text string `xml:",innerxml"`
	}
)

// WriteJUnit takes a report and writes it as JUnit XML: a suite per topic, a case per rule. What fails is a failure
// and what could not be found out an error; what does not apply or was skipped is skipped; a warning passes, and says
// so in its output.
func WriteJUnit(w io.Writer, r *Report) error {
	return write(w, "JUnit", func(b *bytes.Buffer) error {
		b.WriteString(xml.Header)
		enc := xml.NewEncoder(b)
		enc.Indent("", "  ")
		if err := enc.Encode(junit(shown(r, maxJUnit))); err != nil {
			return err
		}
		b.WriteByte('\n')
		return nil
	})
}

func junit(r *Report) *junitSuites {
	tool := or(oneLine(r.Tool), "selo")
	about := []junitProperty{{"target", r.Target}, {"version", r.Version}}
	for _, f := range r.About {
		about = append(about, junitProperty{oneLine(f.Name), f.Value})
	}
	all := &junitSuites{Name: tool, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
	for _, c := range r.chapters() {
		t := c.tally()
		title := oneLine(c.Topic.Title)
		if c.Topic.Number != 0 {
			title = strconv.Itoa(c.Topic.Number) + ". " + title
		}
		s := junitSuite{
			Name: title, Tests: t.total(), Failures: t[Fail], Errors: t[Inconclusive], Skipped: t[NotApplicable] + t[Skipped],
			Time: "0", Timestamp: r.Started.Format("2006-01-02T15:04:05"), Properties: about,
		}
		for _, e := range c.Entries {
			s.Cases = append(s.Cases, junitCaseOf(slug(tool)+".topic-"+strconv.Itoa(c.Topic.Number), e))
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
		all.Suites = append(all.Suites, s)
	}
	return all
}

func junitCaseOf(class string, e entry) junitCase {
	c := junitCase{Class: class, Name: oneLine(e.Rule.ID + ": " + e.Rule.Title), Time: "0"}
	first := ""
	for _, f := range e.Findings {
		if f.Outcome == e.Outcome {
			first = oneLine(f.Message)
			break
		}
	}
	reason := &junitReason{Message: or(first, e.Outcome.word()), Type: string(e.Outcome)}
	switch e.Outcome {
	case Fail:
		reason.Type = string(e.Rule.Severity)
		reason.Text = junitStory(e)
		c.Failure = reason
	case Inconclusive:
		reason.Text = junitStory(e)
		c.Error = reason
	case NotApplicable, Skipped:
		reason.Type, reason.Message = "", e.Outcome.word()+": "+or(first, "no reason given")
		c.Skipped = reason
	case Warn:
		c.Out = &junitText{"warning: " + junitStory(e)}
	case Pass:
	}
	return c
}

// xmlText escapes what shown made, which has no character that XML forbids. encoding/xml would also escape the line
// feeds, and nobody could read the file.
var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// junitStory tells all that was found of a rule which is not well, escaped.
func junitStory(e entry) string {
	var b strings.Builder
	for _, f := range e.Findings {
		if f.Outcome != Fail && f.Outcome != Warn && f.Outcome != Inconclusive {
			continue
		}
		fmt.Fprintf(&b, "%s\n", oneLine(f.Message))
		if f.Place != "" {
			fmt.Fprintf(&b, "at %s\n", oneLine(f.Place))
		}
		for _, x := range f.Evidence {
			for _, part := range []struct{ mark, text string }{{"> ", x.Request}, {"< ", x.Answer}, {"expected: ", x.Expected}} {
				if strings.TrimSpace(part.text) == "" {
					continue
				}
				for l := range strings.SplitSeq(strings.Trim(part.text, "\n"), "\n") {
					fmt.Fprintf(&b, "  %s\n", strings.TrimRight(part.mark+l, " "))
				}
			}
		}
	}
	if e.Rule.Fix != "" {
		fmt.Fprintf(&b, "fix: %s\n", oneLine(e.Rule.Fix))
	}
	return xmlText.Replace(b.String())
}

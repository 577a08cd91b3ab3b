package finding

import "testing"

func TestExitCode(t *testing.T) {
	rules := []Rule{{ID: "a", Topic: 1}, {ID: "b", Topic: 1}}
	of := func(a, b Outcome) []Finding { return []Finding{{Rule: "a", Outcome: a}, {Rule: "b", Outcome: b}} }
	for _, tc := range []struct {
		name     string
		findings []Finding
		want     int
	}{
		{"all pass", of(Pass, Pass), 0},
		{"warned, left out", of(Warn, Skipped), 0},
		{"nothing but what does not apply", of(NotApplicable, Skipped), 3},
		{"broken", of(Fail, Pass), 1},
		{"broken, and unknown", of(Fail, Inconclusive), 1},
		{"unknown", of(Pass, Inconclusive), 3},
		{"a rule without a finding", of(Pass, Pass)[:1], 3},
		{"an outcome of nobody", of(Pass, "fine"), 3},
		{"several findings, one of them bad", append(of(Pass, Pass), Finding{Rule: "a", Outcome: Fail}), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Report{Topics: []Topic{{Number: 1}}, Rules: rules, Findings: tc.findings}
			if got := r.ExitCode(); got != tc.want {
				t.Errorf("ExitCode() = %d, want %d", got, tc.want)
			}
		})
	}
}

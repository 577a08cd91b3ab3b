package finding

// Compare takes an earlier report and one of now, and returns the rules that came to something else, in the order in
// which the later report tells its rules; those that are gone come last, in the earlier one's. A rule with several
// findings counts as the worst of them, and one without any as inconclusive. It changes neither report.
func Compare(before, now *Report) *Changes {
	was, is := before.outcomes(), now.outcomes()
	changes := &Changes{Since: before.Started, Changed: []Change{}}
	for _, c := range now.chapters() {
		for _, e := range c.Entries {
			if was[e.Rule.ID] != e.Outcome {
				changes.Changed = append(changes.Changed, Change{e.Rule.ID, was[e.Rule.ID], e.Outcome})
			}
		}
	}
	for _, c := range before.chapters() {
		for _, e := range c.Entries {
			if is[e.Rule.ID] == "" {
				changes.Changed = append(changes.Changed, Change{e.Rule.ID, e.Outcome, ""})
			}
		}
	}
	return changes
}

func (r *Report) outcomes() map[string]Outcome {
	out := make(map[string]Outcome, len(r.Rules))
	for _, c := range r.chapters() {
		for _, e := range c.Entries {
			out[e.Rule.ID] = e.Outcome
		}
	}
	return out
}

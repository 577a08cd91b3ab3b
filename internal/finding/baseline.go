package finding

import (
	"maps"
	"slices"
)

// Compare takes an earlier report and one of now, and returns the rules that came to something else, in the order in
// which the later report tells its rules; those that are gone come last, in the earlier one's. A rule with several
// findings counts as the worst of them, and one without any as inconclusive. Of a rule that came to the same and is no
// pass, it returns the places that came to something else. It changes neither report.
func Compare(before, now *Report) *Changes {
	was, is := before.outcomes(), now.outcomes()
	changes := &Changes{Since: before.Started, Changed: []Change{}}
	for _, c := range now.chapters() {
		for _, e := range c.Entries {
			if was[e.Rule.ID] != e.Outcome {
				changes.Changed = append(changes.Changed, Change{Rule: e.Rule.ID, From: was[e.Rule.ID], To: e.Outcome})
				continue
			}
			changes.Changed = append(changes.Changed, comparePlaces(e.Rule.ID, before.places(e.Rule.ID), now.places(e.Rule.ID))...)
		}
	}
	for _, c := range before.chapters() {
		for _, e := range c.Entries {
			if is[e.Rule.ID] == "" {
				changes.Changed = append(changes.Changed, Change{Rule: e.Rule.ID, From: e.Outcome})
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

func comparePlaces(rule string, was, is map[string]Outcome) (changed []Change) {
	for _, place := range slices.Sorted(maps.Keys(is)) {
		if was[place] != is[place] {
			changed = append(changed, Change{rule, place, was[place], is[place]})
		}
	}
	for _, place := range slices.Sorted(maps.Keys(was)) {
		if is[place] == "" {
			changed = append(changed, Change{rule, place, was[place], ""})
		}
	}
	return changed
}

// places returns the worst that came of a rule at each place that is named, but for what is no fault.
func (r *Report) places(rule string) map[string]Outcome {
	out := make(map[string]Outcome)
	for _, f := range r.Findings {
		if o := f.Outcome.known(); f.Rule == rule && f.Place != "" && o != Pass && o != NotApplicable && o != Skipped {
			if out[f.Place] != "" {
				o = worst([]Outcome{o, out[f.Place]})
			}
			out[f.Place] = o
		}
	}
	return out
}

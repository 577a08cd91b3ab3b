package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

// fit is what a token is as a response of one product.
type fit struct {
	profile *selo.Profile
	shapes  []string
	lines   []string
}

// fits judges the token as a response of every product.
func (e *explained) fits(ctx context.Context) (all []fit) {
	for _, p := range selo.Profiles() {
		f := fit{profile: p, shapes: p.ShapesOf(e.content)}
		faults := e.faults(ctx, p)
		switch {
		case len(p.Shapes) == 0:
			f.lines = []string{"has no signed response: nothing that an app brings back can be decided"}
		case len(f.shapes) == 0:
			f.lines = []string{"no: not a response of it (" + e.telling(p, faults) + ")"}
		default:
			f.lines = e.fitting(p, f.shapes, faults)
		}
		all = append(all, f)
	}
	return all
}

// faults is everything that Verify finds wrong with the content as a response of a product, for whoever it names
// and under whichever policy. The content is signed anew with a secret that exists for this call alone, so that
// Verify looks beyond the signature, and with a header that it takes.
func (e *explained) faults(ctx context.Context, p *selo.Profile) []*selo.Error {
	key, sign := throwaway()
	policy := ""
	if p.HasPolicy() {
		named, _ := textOf(e.payload[p.Shapes[0].Policy])
		policy = cmp.Or(named, "any")
	}
	_, err := selo.Verify(ctx, sign([]byte(sandbox.HS256Header), e.content), anybody(p, key, e.at, policy))
	if err == nil {
		return nil
	}
	return asError(err).All()
}

// headerFault is what Verify finds wrong with the header, or nil.
func (e *explained) headerFault() *selo.Error {
	key, sign := throwaway()
	_, err := selo.Verify(context.Background(), sign(e.header, []byte(`{}`)), anybody(selo.CafFaceLiveness(), key, e.at, ""))
	if errors.Is(err, selo.ReasonHeaderRefused) || errors.Is(err, selo.ReasonAlgorithmRefused) {
		return asError(err)
	}
	return nil
}

// telling says why the token is no response of a product, in a few words.
func (e *explained) telling(p *selo.Profile, faults []*selo.Error) string {
	for _, f := range faults {
		switch f.Reason {
		case selo.ReasonTokenConfusion:
			return "it has an iss, as mobile tokens have"
		case selo.ReasonPayloadInvalid, selo.ReasonTooLarge:
			return inWords(f)
		case selo.ReasonProductMismatch:
			for _, name := range p.Foreign { // of which Verify names one, or another
				if e.has(name) {
					return name + " is not in its responses"
				}
			}
			if e.has(f.Field) {
				return f.Field + " does not come with its other claims"
			}
		}
	}
	var decide []string
	for _, s := range p.Shapes {
		for _, d := range s.Decision {
			if !slices.Contains(decide, d) {
				decide = append(decide, d)
			}
		}
	}
	switch {
	case len(p.Marks) > 0 && !e.hasAny(p.Marks...):
		return "it has neither " + strings.Join(p.Marks, " nor ")
	case !e.hasAny(decide...):
		return "it has no " + enumerate(decide, "or") + ", which decides"
	}
	return "its claims are none of its shapes"
}

// mended are the faults that a re-check can make good.
var mended = []selo.Reason{selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow}

// fitting judges a response of a product: a headline, everything that is wrong with it, and what it proves.
func (e *explained) fitting(p *selo.Profile, shapes []string, faults []*selo.Error) []string {
	shape := p.Shapes[slices.IndexFunc(p.Shapes, func(s selo.Shape) bool { return s.Name == shapes[0] })]
	head := "fits as " + shape.Name + ", and " + e.verdict(shape)
	if len(shapes) > 1 {
		head = "fits in two shapes at once, " + enumerate(shapes, "and")
	}
	refused, open := false, false
	var lines []string
	say := func(text string) { lines = append(lines, item+text); refused = true }
	if e.signature == doesNotHold || e.unsigned() {
		say("nobody who has this secret signed it (signature_invalid)")
		if e.signature != doesNotHold {
			lines[0] = item + "nobody signed it (signature_invalid)"
		}
	}
	if fault := e.headerFault(); fault != nil {
		say(inWords(fault))
	}
	no := false
	for _, f := range faults {
		switch {
		case f.Reason == selo.ReasonAssuranceTooLow: // said below
			open = true
			continue
		case slices.Contains(mended, f.Reason):
			open = true
		case f.Reason == selo.ReasonNotApproved || f.Reason == selo.ReasonNotFinal:
			no = true
		default:
			refused = true
		}
		lines = append(lines, item+inWords(f))
		if f.Reason == selo.ReasonTokenConfusion && e.signature == holds {
			say("its signature holds, so your key signed it: it seems to be a mobile token of your own, with claims that a caller chose")
		}
	}
	switch {
	case refused && no:
		head += "; wrong beside that:"
	case refused && e.verdict(shape) == approves:
		head += "; refused all the same:"
	case refused:
		head += "; refused:"
	case open:
		head += "; it can grant after a re-check only, " + e.recheckedBy(p, shape) + ":"
	}
	lines = append([]string{head}, lines...)
	if e.verdict(shape) == approves && len(shapes) == 1 {
		proves := "proves by itself: "
		if refused {
			proves = "would prove by itself: "
		}
		if open { // the response alone is not enough, whatever it says
			lines = append(lines, proves+"nothing; at most "+p.Recheck.String()+" after a re-check")
		} else {
			lines = append(lines, proves+e.proof(p, shape))
		}
	}
	return lines
}

// recheckedBy says how the provider would be asked.
func (e *explained) recheckedBy(p *selo.Profile, s selo.Shape) string {
	if slices.Contains(s.IDs, p.Attempt) {
		return "by its " + p.Attempt
	}
	return "by an attempt id that comes beside it"
}

// verdict says what the claims that decide say, alone.
func (e *explained) verdict(s selo.Shape) string {
	yes := true
	for _, d := range s.Decision {
		switch e.payload[d].Kind() {
		case 't':
		case 'f':
			if s.Interim {
				return "does not approve (not final)"
			}
			return "does not approve"
		default:
			yes = false
		}
	}
	if !yes {
		return "does not say whether it approves"
	}
	return approves
}

const approves = "approves"

// proof says what a response that approves proves.
func (e *explained) proof(p *selo.Profile, s selo.Shape) string {
	proved := s.Assurance
	if s.Challenged != "" && e.payload[s.Challenged].Kind() != 't' {
		proved = selo.AssuranceKnownContext
	}
	text := cmp.Or(proved.String(), "nothing")
	switch proved {
	case selo.AssurancePresence:
		text += " (someone alive was there, whoever it was)"
	case selo.AssuranceKnownContext:
		text += " (a known device and place let the person pass; probably no biometric ran)"
	case selo.AssuranceReauthenticated:
		text += " (a challenge was passed, which may have been SMS or e-mail)"
	case selo.AssuranceMatch:
		text += " (a live face matched the one of this person)"
	}
	if p.Recheck > proved {
		text += "; at most " + p.Recheck.String() + " after a re-check"
	}
	return text
}

// inWords says what one fault is, for a person, with its code.
func inWords(f *selo.Error) string {
	text := f.Detail
	switch {
	case f.Reason == selo.ReasonFreshnessUnproven:
		text = "nothing says when it was made: it has no " + f.Field
	case f.Reason == selo.ReasonSubjectUnproven && f.Field == "":
		text = "it names nobody"
	case f.Reason == selo.ReasonSubjectUnproven:
		text = "it names nobody: " + f.Field + " is missing or empty"
	case f.Reason == selo.ReasonSubjectMismatch: // everybody would do
		text = f.Field + " is no CPF"
	case f.Reason == selo.ReasonPolicyMismatch: // every policy would do
		text = f.Field + " is empty"
	case f.Reason == selo.ReasonNotFinal:
		text = "the same attempt may still be approved, in a later response"
	case f.Reason == selo.ReasonTokenConfusion:
		text = "it has an " + f.Field + ": responses have none, and mobile tokens do"
	case f.Field != "":
		text = f.Field + " " + f.Detail
	}
	return fmt.Sprintf("%s (%s)", text, f.Reason)
}

// asError is what Verify refused with. It returns nothing else.
func asError(err error) *selo.Error {
	var e *selo.Error
	if errors.As(err, &e) {
		return e
	}
	return &selo.Error{Reason: selo.ReasonRequestInvalid, Detail: "cannot be judged"}
}

// anybody expects a response for whoever it names.
func anybody(p *selo.Profile, key selo.AccessKey, at time.Time, policy string) selo.Expectation {
	return selo.Expectation{
		Profile: p, Key: key, SameCPF: func(selo.CPF) bool { return true }, Once: new(selo.MemoryOnce),
		Now: at, Assurance: selo.AssurancePresence, Policy: policy,
	}
}

// throwaway is a key that exists for one call, and what signs with it.
func throwaway() (selo.AccessKey, func(header, payload []byte) string) {
	raw := []byte(randomHex(32))
	secret, err := selo.NewSecret(raw)
	if err != nil {
		panic(err) // of 64 characters
	}
	return selo.AccessKey{ClientID: "x", Secret: secret}, func(header, payload []byte) string { return sandbox.Sign(raw, header, payload) }
}

// Package checklist proves, from outside, whether a server that integrates identity verification keeps the promises of the
// checklist. It plays the honest app, the provider and an attacker against a server of which it knows only a Target: how to
// get a token, how to hand a response in, and what means that access was granted. The server may be written in anything.
//
//	check, err := checklist.New(ctx, target, dir)  // reads the secrets that the target names, and sends nothing
//	plan, err := check.Plan(ctx, options)          // all that would be sent
//	report, err := check.Run(ctx, options)         // a finding.Report, or a *CannotRunError
//
// # Probes
//
// A Probe is one thing that is tried. Probes has them all, in one list by topic (probes_*.go), and texts_*.go what is told of
// each. Most make signed responses that must be refused; each is handed in in a session of its own, by users who take turns.
//
// A refusal proves something only while what is good is granted. So honest responses are handed in at the start, after every
// twelve probes and at the end; when one is refused, all that was refused since the last good one is inconclusive. A 429, or no
// answer, makes a probe inconclusive as well, and never a pass. The probe that uses up a limit comes last.
//
// Probes judge by what happens: whether a token came out, whose it is, whether access was granted. No probe knows any server's
// texts.
//
// # Safety
//
// Nothing is sent to a host that is not this machine unless Options.Own names it, and then over HTTPS alone. In production only
// the probes run that send what an honest app would, or what is refused at the door; nothing is forged there. Redirects are not
// followed. Requests are paced, bounded in number, and say who they are.
//
// # What a report may hold
//
// No secret, credential, token or CPF, though much of a report comes from a server that may be hostile. redactor knows them by
// value, in the encodings in which they leak, before the first request is sent.
package checklist

// Package scan looks inside app packages, as they are shipped, for keys and tokens that must not be there.
//
//	report, err := scan.Scan(ctx, targets, options)  // a finding.Report
//
// It is given the operator's own secrets, or their fingerprints, and so can prove that they are in a package; what only
// looks like a secret is a hint. docs/scan.md says what is found, and what is not.
//
// # The way of a file
//
// A walker goes through containers within containers (walk*.go, zip*.go, tar*.go) and calls visit for every file in
// them, and for every stretch of bytes that belongs to none. A sight (sight.go) looks through the bytes as they are with a
// finder (needle.go, finder.go), which knows every spelling of every secret, and for tokens (jwt.go). Then texts (texts.go)
// chooses a decoder (dec_*.go), which gives the strings of the file, where they lie, and what they are called. What is seen is
// kept by subject and file (look.go), and told at the end (rules.go, report.go). If tokens were found whose key nobody
// knows, all of it is read once more, and each string is tried as their key (try.go).
//
// # What is promised
//
// What could not be read is told and makes the report inconclusive: encrypted, damaged, of an unknown version, beyond the limits
// (limits.go). One bad file does not stop the rest. No number in a file is believed before it is checked: no decoder allocates
// by one, recurses without a bound, or gives more than a small multiple of what it was given. Each has a fuzz target.
//
// Nothing of a package is run, and nothing of it is written to a disk. No report has a secret, a token or a CPF in it, also where
// a file or a key is named after one (safe.go).
package scan

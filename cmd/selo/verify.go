package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
)

// attemptFlags describe one attempt, of which mint makes the token and verify decides the response: the same
// flags serve both.
type attemptFlags struct {
	Product    string         `required:"" placeholder:"caf/…" help:"Product."`
	ClientID   string         `required:"" name:"client-id" placeholder:"ID" help:"Client ID of the access key. Responses do not carry it."`
	SecretFile string         `required:"" name:"secret-file" placeholder:"FILE" type:"path" help:"File with the client secret; one trailing line break is not part of it."`
	CPF        string         `required:"" name:"cpf" placeholder:"CPF" help:"The person: 11 digits or 000.000.000-00."`
	At         *string        `placeholder:"RFC3339" help:"Time to act at; default now."`
	Opened     *string        `placeholder:"RFC3339" help:"When the attempt began; no response may be older."`
	MaxAge     *time.Duration `name:"max-age" placeholder:"5m" help:"How old a response may be; default 5m without --opened, no further bound with it."`
	Policy     *string        `name:"policy-id" placeholder:"ID" help:"Provider policy that must have been run, for products that run one."`
	Assurance  *string        `placeholder:"NAME" help:"The least that is enough: presence, known-context, reauthenticated or match; default the most that the product proves."`
}

// read turns the flags into what is expected of a response, or into a usage error.
func (f *attemptFlags) read(std streams) (want selo.Expectation, err error) {
	want = selo.Expectation{Once: new(selo.MemoryOnce)}
	if want.Profile, err = selo.LookupProfile(f.Product); err != nil {
		return want, usagef("--product: %w", err)
	}
	want.Assurance = want.Profile.Assurance // whoever names the product knows what it proves
	if f.Assurance != nil {
		if err := want.Assurance.UnmarshalText([]byte(*f.Assurance)); err != nil {
			return want, usagef("--assurance: %w", err)
		}
	}
	if f.ClientID == "" {
		return want, usagef("--client-id: is empty")
	}
	secret, err := selo.ReadSecretFile(f.SecretFile)
	if err != nil {
		return want, usagef("--secret-file: %w", withoutPath(err))
	}
	if secret.Weak() {
		fmt.Fprintf(std.err, "selo: warning: the secret is shorter than %d bytes\n", selo.WeakSecretSize)
	}
	want.Key = selo.AccessKey{ClientID: f.ClientID, Secret: secret}
	if want.CPF, err = selo.ParseCPF(f.CPF); err != nil {
		return want, usagef("--cpf: %w", err)
	}
	if want.Now, err = parseTime("--at", f.At); err != nil {
		return want, err
	}
	if want.Opened, err = parseTime("--opened", f.Opened); err != nil {
		return want, err
	}
	if f.MaxAge != nil {
		if want.MaxAge = *f.MaxAge; want.MaxAge <= 0 {
			return want, usagef("--max-age: must be more than 0")
		}
	}
	if f.Policy != nil && !want.Profile.HasPolicy() {
		return want, usagef("--policy-id: is for products that run a provider policy, and only for them; %s is not one", f.Product)
	}
	if f.Policy != nil {
		if want.Policy = *f.Policy; want.Policy == "" {
			return want, usagef("--policy-id: is empty")
		}
	}
	return want, nil
}

// parseTime returns the zero time for a flag that was not given, and refuses one that was given empty: a
// variable that was not set must not loosen anything.
func parseTime(flag string, text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil || t.IsZero() {
		return t, usagef("%s: must be a date and time such as 2026-01-31T12:00:00Z", flag)
	}
	return t, nil
}

type mintCommand struct {
	attemptFlags
	Lifetime time.Duration `placeholder:"5m" help:"How long the token lives; default and ceiling are the product's."`
}

// Help is shown below the flags.
func (mintCommand) Help() string {
	return `It takes the flags of verify, so that one set serves both; --opened, --max-age, --policy-id and --assurance
are about the response and change nothing in the token. Smart Auth needs two tokens: this one for its role identity,
and one of caf/face-liveness, under the key that is activated for it, for its role face.`
}

// Run prints one mobile token.
func (cmd *mintCommand) Run(std streams) error {
	attempt, err := cmd.read(std)
	if err != nil {
		return err
	}
	token, err := selo.Mint(selo.MintRequest{Profile: attempt.Profile, Key: attempt.Key, CPF: attempt.CPF, Now: attempt.Now, Lifetime: cmd.Lifetime})
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintln(std.out, token.JWT)
	return err
}

type verifyCommand struct {
	attemptFlags
	Token *string `arg:"" optional:"" help:"The signed response, or - for one per line of standard input, which is also the default."`
}

// Help is shown below the flags.
func (verifyCommand) Help() string {
	return `Prints one JSON line per response: {"decision":"granted"|"denied","reasons":[…]}. An id is used up within
the run: a second response with it is refused as replayed.
It asks nobody: what grants after a re-check only is denied here.

Exit status: 0 all granted, 1 some not, 2 usage (no response at all is usage). A response that you did not make
belongs on standard input, or after --.`
}

// decision is one line of output.
type decision struct {
	Decision string        `json:"decision"`
	Reasons  []selo.Reason `json:"reasons"`
}

// Run decides one response or one per line.
func (cmd *verifyCommand) Run(ctx context.Context, std streams) error {
	want, err := cmd.read(std)
	if err != nil {
		return err
	}
	if want.Profile.HasPolicy() && want.Policy == "" {
		return usagef("--policy-id: is required for %s: the policy that must have been run", cmd.Product)
	}
	if cmd.Token != nil && *cmd.Token != "-" { // an empty one too: a variable that was not set is no yes
		granted, err := decide(ctx, std.out, *cmd.Token, want)
		switch {
		case errors.As(err, new(usageError)):
			return err
		case err != nil:
			fmt.Fprintln(std.err, "selo:", err) // says which claim, for a person
			return errNotGranted
		case !granted:
			return errNotGranted
		}
		return nil
	}
	return decideLines(ctx, std, want)
}

// decide prints the decision on one response. The error says more than the line does.
func decide(ctx context.Context, out io.Writer, token string, want selo.Expectation) (granted bool, _ error) {
	d := decision{Decision: "granted", Reasons: []selo.Reason{}}
	_, refused := selo.Verify(ctx, token, want)
	if errors.Is(refused, selo.ReasonRequestInvalid) {
		return false, usageError{refused} // of the flags, not of the response
	}
	if refused != nil {
		d = decision{Decision: "denied", Reasons: selo.ReasonsOf(refused)}
	}
	line, err := json.Marshal(d)
	if err != nil {
		return false, err
	}
	if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
		return false, fmt.Errorf("writing: %w", err)
	}
	return refused == nil, refused
}

// decideLines decides one response per line. Lines end with LF alone: a CR is a character that no token
// has. A line that is too long to be a token is refused without being kept.
func decideLines(ctx context.Context, std streams, want selo.Expectation) error {
	in := bufio.NewReaderSize(std.in, 2*selo.MaxTokenSize)
	all, some := true, false
	for ctx.Err() == nil {
		line, err := in.ReadSlice('\n')
		token := string(bytes.TrimSuffix(line, []byte("\n")))
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return usagef("reading standard input: %w", err)
		}
		if err == io.EOF && len(line) == 0 {
			break
		}
		some = true
		granted, refused := decide(ctx, std.out, token, want)
		if errors.As(refused, new(usageError)) || refused != nil && selo.ReasonsOf(refused) == nil {
			return refused
		}
		all = all && granted
		if err == io.EOF {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case !some:
		return usagef("standard input holds no response")
	case !all:
		return errNotGranted
	}
	return nil
}

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

// keyFlags say which product, key and person a token or response is for.
type keyFlags struct {
	Product    string `required:"" placeholder:"caf/…" help:"Product."`
	ClientID   string `required:"" name:"client-id" placeholder:"ID" help:"Client ID of the access key."`
	SecretFile string `required:"" name:"secret-file" placeholder:"FILE" type:"path" help:"File with the client secret; one trailing line break is not part of it."`
	CPF        string `required:"" name:"cpf" placeholder:"CPF" help:"The person: 11 digits or 000.000.000-00."`
	At         string `placeholder:"RFC3339" help:"Time to act at; default now."`
}

// read turns the flags into what the library takes, or into a usage error.
func (k *keyFlags) read(std streams) (profile *selo.Profile, key selo.AccessKey, cpf selo.CPF, at time.Time, err error) {
	if profile, err = selo.LookupProfile(k.Product); err != nil {
		return nil, key, cpf, at, usagef("--product: %w", err)
	}
	if k.ClientID == "" {
		return nil, key, cpf, at, usagef("--client-id: is empty")
	}
	secret, err := selo.ReadSecretFile(k.SecretFile)
	if err != nil {
		return nil, key, cpf, at, usagef("--secret-file: %w", withoutPath(err))
	}
	if secret.Weak() {
		fmt.Fprintf(std.err, "selo: warning: the secret is shorter than %d bytes\n", selo.WeakSecretSize)
	}
	if cpf, err = selo.ParseCPF(k.CPF); err != nil {
		return nil, key, cpf, at, usagef("--cpf: %w", err)
	}
	if at, err = parseTime("--at", k.At); err != nil {
		return nil, key, cpf, at, err
	}
	return profile, selo.AccessKey{ClientID: k.ClientID, Secret: secret}, cpf, at, nil
}

func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usagef("%s: must be a date and time such as 2026-01-31T12:00:00Z", flag)
	}
	return t, nil
}

type mintCommand struct {
	keyFlags
	Lifetime time.Duration `placeholder:"5m" help:"How long the token lives; default and ceiling are the product's."`
}

// Run prints one mobile token.
func (cmd *mintCommand) Run(std streams) error {
	profile, key, cpf, at, err := cmd.read(std)
	if err != nil {
		return err
	}
	token, err := selo.Mint(selo.MintRequest{Profile: profile, Key: key, CPF: cpf, Now: at, Lifetime: cmd.Lifetime})
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintln(std.out, token.JWT)
	return nil
}

type verifyCommand struct {
	keyFlags
	Opened string        `placeholder:"RFC3339" help:"When the attempt began; no response may be older."`
	MaxAge time.Duration `name:"max-age" placeholder:"5m" help:"How old a response may be; default 5m without --opened, no further bound with it."`
	Policy string        `name:"policy-id" placeholder:"ID" help:"Provider policy that must have been run, for products that run one."`
	Token  *string       `arg:"" optional:"" help:"The signed response, or - for one per line of standard input, which is also the default."`
}

// Help is shown below the flags.
func (verifyCommand) Help() string {
	return `Prints one JSON line per response: {"decision":"granted"|"denied","reasons":[…]}. An id is used up within
the run: a second response with it is refused as replayed.

Exit status: 0 all granted, 1 some not, 2 usage (no response at all is usage).`
}

// decision is one line of output.
type decision struct {
	Decision string        `json:"decision"`
	Reasons  []selo.Reason `json:"reasons"`
}

// Run decides one response or one per line.
func (cmd *verifyCommand) Run(ctx context.Context, std streams) error {
	profile, key, cpf, at, err := cmd.read(std)
	if err != nil {
		return err
	}
	want := selo.Expectation{
		Profile: profile, Key: key, CPF: cpf, Once: new(selo.MemoryOnce), Now: at, MaxAge: cmd.MaxAge, Policy: cmd.Policy,
		Assurance: profile.Assurance, // whoever names the product knows what it proves
	}
	if want.Opened, err = parseTime("--opened", cmd.Opened); err != nil {
		return err
	}
	if cmd.MaxAge < 0 {
		return usagef("--max-age: must not be negative")
	}
	if (cmd.Policy != "") != (profile.Policy != "") {
		return usagef("--policy-id: is for products that run a provider policy, which %s does not", profile.Product)
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

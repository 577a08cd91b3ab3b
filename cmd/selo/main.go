// Command selo is the server side of mobile identity verification: the API (serve), a pretend provider to
// build against (sandbox), both of them with everything around them on one machine (demo), the two
// acts on files (mint, verify), what any token is in plain words (explain), whether any integration keeps the promises of
// the checklist (check), and whether an app package carries a key or a token (scan). For operators: access keys (key), who may
// ask (service, operator, policy), whether all is well (doctor), and the database (backup, restore).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command table. Help texts are the first thing a person reads.
type commands struct {
	Demo     demoCommand     `cmd:"" help:"Run API, sandbox and a sign-in on this machine, and print the journey to paste."`
	Serve    serveCommand    `cmd:"" help:"Run the API. SIGHUP reads the configuration again."`
	Service  serviceCommand  `cmd:"" help:"Credentials of your backends: add, list, revoke."`
	Operator operatorCommand `cmd:"" help:"Credentials of those who look after Selo: add, list, revoke."`
	Key      keyCommand      `cmd:"" help:"Access keys of the provider, sealed in the database: add, rotate, revoke."`
	Policy   policyCommand   `cmd:"" help:"Rules: test them, and explain what they decided."`
	Doctor   doctorCommand   `cmd:"" help:"Look at configuration, keys, store, files and clock, and say what to mend."`
	Backup   backupCommand   `cmd:"" help:"Copy the database while the server runs."`
	Restore  restoreCommand  `cmd:"" help:"Make the database out of a backup."`
	Check    checkCommand    `cmd:"" help:"Prove any integration against the checklist, from outside."`
	Scan     scanCommand     `cmd:"" help:"Look for keys and tokens in an app package, with proof."`
	Sandbox  sandboxCommand  `cmd:"" help:"Run the pretend provider: it plays the SDK and signs responses."`
	Verify   verifyCommand   `cmd:"" help:"Decide signed responses from the command line or standard input."`
	Mint     mintCommand     `cmd:"" help:"Print a mobile token."`
	Explain  explainCommand  `cmd:"" help:"Say what a token is, whom it is for, and what is wrong with it."`
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	hangup   <-chan os.Signal // serve reads its configuration again; everything else ends. nil: never
}

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake on the command line that parsing could not see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errNotGranted ends verify with exitFailed after it printed why.
var errNotGranted = errors.New("not granted")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C does not wait
	hangup := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(hangup, syscall.SIGHUP)
	}
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, hangup})
	stop()
	os.Exit(code)
}

// run is main for one command line. ctx ends when the user interrupts.
func run(ctx context.Context, args []string, std streams) int {
	var table commands
	exited := -1
	parser, err := kong.New(&table,
		kong.Name("selo"),
		kong.Description("Tokens for identity verification SDKs, and a decision on what they bring back."),
		kong.Writers(std.out, std.err),
		kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		fmt.Fprintln(std.err, "selo:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if (args[0] == "check" || args[0] == "scan") && len(args) == 2 && onlyHelp(args) {
		args = []string{args[0], "run", args[1]} // whose flags are what it has
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // help was printed
		if !onlyHelp(args) {
			return exitUsage // it stood where a token might: that must not look like a yes
		}
		return exited
	}
	if err != nil {
		fmt.Fprintln(std.err, "selo:", parseFault(err, args))
		help := "selo --help"
		if len(args) > 1 && (args[0] == "check" || args[0] == "scan") {
			help = "selo " + args[0] + " --help"
		}
		fmt.Fprintln(std.err, "See:", help)
		return exitUsage
	}
	if command.Command() != "serve" {
		unlessHungUp, cancel := context.WithCancel(ctx)
		defer cancel()
		command.BindTo(unlessHungUp, (*context.Context)(nil))
		go func() {
			select {
			case <-std.hangup:
				cancel()
			case <-unlessHungUp.Done():
			}
		}()
	}
	var status exitStatus
	switch err := command.Run(); {
	case err == nil:
		return exitOK
	case errors.Is(err, errNotGranted), errors.Is(err, errRules), errors.Is(err, errUnwell):
		return exitFailed
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, new(usageError)):
		fmt.Fprintln(std.err, "selo:", err)
		return exitUsage
	default:
		fmt.Fprintln(std.err, "selo:", err)
		return exitFailed
	}
}

// onlyHelp reports whether a command line asks for help and nothing else.
func onlyHelp(args []string) bool {
	last := args[len(args)-1]
	if last != "--help" && last != "-h" {
		return false
	}
	switch before := args[:len(args)-1]; len(before) {
	case 0:
		return true
	case 1:
		return command.MatchString(before[0])
	case 2: // the commands that have commands
		return slices.Contains([]string{"key", "service", "operator", "policy", "check", "scan"}, before[0]) && command.MatchString(before[1])
	}
	return false
}

var (
	flagFault = regexp.MustCompile(`^(?:missing flags: .*|--[a-z]{1,20} and --[a-z]{1,20} can't be used together|unknown flag --[a-z-]{1,20}|expected .*)`)
	// What kong says of an enum, up to the value that was given.
	flagChoice = regexp.MustCompile(`^(--[a-z-]{1,20}) must be one of ([a-z",]+) but got `)
	flagName   = regexp.MustCompile(`^--[a-z-]{1,20}`)
	command    = regexp.MustCompile(`^[a-z-]{1,20}$`)
)

// parseFault says what is wrong with a command line without repeating its values, which may be secrets,
// tokens or CPFs in the wrong place.
func parseFault(err error, args []string) string {
	text := err.Error()
	switch {
	case flagChoice.MatchString(text):
		m := flagChoice.FindStringSubmatch(text)
		return m[1] + ": must be one of " + strings.NewReplacer(`"`, "", ",", ", ").Replace(strings.TrimSuffix(m[2], `,""`))
	case flagFault.MatchString(text):
		return flagFault.FindString(text)
	case flagName.MatchString(text):
		return flagName.FindString(text) + ": is not a valid value for it"
	case strings.HasPrefix(text, "unexpected argument") && command.MatchString(args[0]) && strings.HasPrefix(text, "unexpected argument "+args[0]):
		return "there is no command " + args[0]
	case strings.HasPrefix(text, "unexpected argument"):
		return "there is an argument too many"
	}
	return "the command line is not understood"
}

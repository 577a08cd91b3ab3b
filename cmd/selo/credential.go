package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// withConfig is the flag of every command that works beside a running server, on its configuration and database.
type withConfig struct {
	Config string `required:"" placeholder:"selo.yaml" help:"Configuration; see selo.example.yaml." type:"path"`
}

// open builds what the configuration describes. The caller closes its store.
func (c withConfig) open(ctx context.Context, std streams) (*parts, error) {
	cfg, err := readConfig(c.Config)
	if err != nil {
		return nil, err
	}
	return cfg.open(ctx, std)
}

// openSealed is open for what needs no secret, and so no KEK: nothing can be minted or verified with its broker.
func (c withConfig) openSealed(ctx context.Context, std streams) (*parts, error) {
	cfg, err := readConfig(c.Config)
	if err != nil {
		return nil, err
	}
	cfg.sealed = true
	return cfg.open(ctx, std)
}

func (c *Config) open(ctx context.Context, std streams) (*parts, error) {
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := c.build(ctx, log, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return p, nil
}

type serviceCommand struct {
	Add    serviceAdd    `cmd:"" help:"Add an API key, or a client certificate, of a backend; prints the key, once."`
	List   serviceList   `cmd:"" help:"List the credentials of backends."`
	Revoke serviceRevoke `cmd:"" help:"End a credential now and for ever."`
}

type operatorCommand struct {
	Add    operatorAdd    `cmd:"" help:"Add an API key of a person or tool that looks after Selo; prints it, once."`
	List   operatorList   `cmd:"" help:"List the credentials of operators."`
	Revoke operatorRevoke `cmd:"" help:"End a credential now and for ever."`
}

type serviceAdd struct {
	withConfig
	Name        string   `arg:"" help:"Of the service: a-z, 0-9 and -. One that is there gets one more credential."`
	App         string   `required:"" placeholder:"APP" help:"The app whose users it speaks for."`
	Scope       []string `default:"sessions:open,sessions:read" help:"What it may do: sessions:open, sessions:read. Default: both."`
	Expires     string   `default:"365d" help:"How long it is good for, such as 90d. Default 365d."`
	MapSubjects bool     `help:"The subjects that it names are the issuer's users. Otherwise they are its own, apart from them."`
	Certificate string   `placeholder:"dns:NAME" help:"No API key: the service shows a client certificate with this name, dns:NAME or uri:URI."`
}

func (cmd *serviceAdd) Run(ctx context.Context, std streams) error {
	return addCredential(ctx, std, cmd.withConfig, cmd.Expires, broker.NewCredential{Kind: store.CredentialService, Name: cmd.Name,
		App: cmd.App, Scopes: cmd.Scope, MapSubjects: cmd.MapSubjects, Certificate: cmd.Certificate})
}

type operatorAdd struct {
	withConfig
	Name    string   `arg:"" help:"Of the operator: a-z, 0-9 and -."`
	Scope   []string `required:"" placeholder:"SCOPE" help:"viewer looks; operator also revokes services; admin also adds, and revokes operators."`
	Expires string   `default:"90d" help:"How long it is good for, such as 30d. Default 90d."`
}

func (cmd *operatorAdd) Run(ctx context.Context, std streams) error {
	return addCredential(ctx, std, cmd.withConfig, cmd.Expires, broker.NewCredential{Kind: store.CredentialOperator, Name: cmd.Name, Scopes: cmd.Scope})
}

// addCredential prints the key alone on standard output, so that it can go straight to where it is kept.
func addCredential(ctx context.Context, std streams, config withConfig, expires string, n broker.NewCredential) (err error) {
	life, err := days(expires)
	if err != nil {
		return usagef("--expires: %w", err)
	}
	p, err := config.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	n.ExpiresAt = time.Now().Add(life)
	c, key, err := p.broker.AddCredential(ctx, policy.LocalOperator(), n, "")
	if err != nil {
		return err
	}
	if key != "" {
		if _, err := fmt.Fprintln(std.out, key); err != nil {
			return err
		}
	}
	fmt.Fprintf(std.err, "%s %s: credential %s, %s, good until %s.\n", c.Kind, c.Name, c.ID, strings.Join(c.Scopes, " "), c.ExpiresAt.UTC().Format(time.DateOnly))
	if key != "" {
		fmt.Fprintln(std.err, "This key is shown once; only its hash is kept.")
	}
	return nil
}

func closing(p *parts, err *error) {
	if failed := p.store.Close(); *err == nil {
		*err = failed
	}
}

// days reads 90d, and whatever is a duration.
func days(text string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		if count, err := strconv.ParseUint(n, 10, 16); err == nil && count > 0 {
			return time.Duration(count) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("must be a time such as 90d or 12h")
	}
	return d, nil
}

type (
	serviceList  struct{ withConfig }
	operatorList struct{ withConfig }
)

func (cmd *serviceList) Run(ctx context.Context, std streams) error {
	return listCredentials(ctx, std, cmd.withConfig, store.CredentialService)
}

func (cmd *operatorList) Run(ctx context.Context, std streams) error {
	return listCredentials(ctx, std, cmd.withConfig, store.CredentialOperator)
}

func listCredentials(ctx context.Context, std streams, config withConfig, kind store.CredentialKind) (err error) {
	p, err := config.openSealed(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	all, err := p.broker.Credentials(ctx, policy.LocalOperator(), "", kind)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintf(std.err, "no %s has a credential; selo %s add makes one\n", kind, kind)
		return err
	}
	return printCredentials(std.out, all, time.Now())
}

func printCredentials(out io.Writer, all []*store.Credential, now time.Time) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tAPP\tSCOPES\tCREDENTIAL\tSTATE\tEXPIRES\tLAST USED (SECONDS LATE)")
	for _, c := range all {
		credential, state := "API key", "active"
		if c.Certificate != "" {
			credential = c.Certificate
		}
		switch {
		case !c.RevokedAt.IsZero():
			state = "revoked " + date(c.RevokedAt)
		case !now.Before(c.ExpiresAt):
			state = "expired"
		}
		scopes := strings.Join(c.Scopes, ",")
		if c.MapSubjects {
			scopes += " (maps subjects)"
		}
		app := c.App
		if app == "" {
			app = "-"
		}
		fmt.Fprintln(table, strings.Join([]string{c.ID, c.Name, app, scopes, credential, state, date(c.ExpiresAt), date(c.LastUsedAt)}, "\t"))
	}
	return table.Flush()
}

func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

type serviceRevoke struct {
	withConfig
	ID string `arg:"" help:"Of the credential, as list prints it; or the API key itself, if that is what leaked."`
}

type operatorRevoke struct {
	withConfig
	ID string `arg:"" help:"Of the credential, as list prints it; or the API key itself, if that is what leaked."`
}

func (cmd *serviceRevoke) Run(ctx context.Context, std streams) error {
	return revokeCredential(ctx, std, cmd.withConfig, store.CredentialService, cmd.ID)
}

func (cmd *operatorRevoke) Run(ctx context.Context, std streams) error {
	return revokeCredential(ctx, std, cmd.withConfig, store.CredentialOperator, cmd.ID)
}

func revokeCredential(ctx context.Context, std streams, config withConfig, kind store.CredentialKind, id string) (err error) {
	if strings.HasPrefix(id, "selo_") { // somebody who has the leaked key, and not its id
		if _, id, err = policy.HashAPIKey(id); err != nil {
			return err
		}
	}
	p, err := config.openSealed(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	c, err := p.broker.RevokeCredential(ctx, policy.LocalOperator(), kind, id, "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s %s: credential %s is revoked since %s. It is refused from now on.\n", c.Kind, c.Name, c.ID, date(c.RevokedAt))
	return err
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

type keyCommand struct {
	Add         keyAdd         `cmd:"" help:"Seal the client secret of an access key into the database. It begins as prepared."`
	List        keyList        `cmd:"" help:"List access keys."`
	Show        keyShow        `cmd:"" help:"Say everything of one access key but its secret."`
	Activate    keyActivate    `cmd:"" help:"Mint with a prepared key from now on."`
	Retire      keyRetire      `cmd:"" help:"Mint with it no more; it verifies what it minted, until a time."`
	Revoke      keyRevoke      `cmd:"" help:"End a key now and for ever."`
	Fingerprint keyFingerprint `cmd:"" help:"Print a keyed fingerprint of each secret, by which a scanner finds one without holding it."`
	Pepper      keyPepper      `cmd:"" help:"Make a new pepper: new pseudonyms are of it from then on, and the old ones still count."`
	Rewrap      keyRewrap      `cmd:"" help:"Seal everything under the kek of the configuration that is sealed under a previous one. Every server must have both by then."`
	Import      keyImport      `cmd:"" help:"Take over the access keys and peppers of a file, such as a selo.yaml of before there was a kek."`
}

// keyID names an access key on the command line.
type keyID struct {
	ClientID   string `arg:"" help:"Client ID."`
	Production bool   `xor:"env" help:"Of the production environment; the default."`
	Sandbox    bool   `xor:"env" help:"Of the sandbox environment."`
}

func (k keyID) environment() selo.Environment {
	if k.Sandbox {
		return selo.EnvironmentSandbox
	}
	return selo.EnvironmentProduction
}

type keyAdd struct {
	withConfig
	keyID
	Product      []string `required:"" placeholder:"PRODUCT" help:"What the provider's console says the key is activated for."`
	Name         string   `help:"For people."`
	Note         string   `help:"For people."`
	SharedReason string   `help:"Why one key is for several products; strict_keys demands it."`
	SecretFile   string   `placeholder:"FILE" type:"path" help:"File that holds the client secret and nothing else. Default: standard input, or a prompt."`
}

// Run never takes the secret from the command line, where everybody on the machine can read it.
func (cmd *keyAdd) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	secret, err := readClientSecret(std, cmd.SecretFile)
	if err != nil {
		return err
	}
	k, err := p.broker.AddKey(ctx, policy.LocalOperator(), broker.NewKey{ClientID: cmd.ClientID, Environment: cmd.environment(), Products: cmd.Product,
		Name: cmd.Name, Note: cmd.Note, SharedReason: cmd.SharedReason}, secret, "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "access key %v is prepared for %s. It mints once it is active:\n  selo key activate %s%s --config %s\n",
		k.ID(), strings.Join(k.Products, ", "), k.ClientID, cmd.flag(), cmd.Config)
	return err
}

func (k keyID) flag() string {
	if k.Sandbox {
		return " --sandbox"
	}
	return ""
}

// readClientSecret reads from a file, a prompt that does not show it, or standard input, without one trailing line break.
func readClientSecret(std streams, file string) ([]byte, error) {
	if file != "" {
		secret, err := readSecretFile(file)
		if err != nil {
			return nil, usagef("--secret-file: %w", err)
		}
		return secret, nil
	}
	if f, ok := std.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(std.err, "Client secret (it is not shown): ")
		secret, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(std.err)
		return secret, err
	}
	secret, err := io.ReadAll(io.LimitReader(std.in, 4<<10+1))
	if err != nil {
		return nil, err
	}
	if len(secret) > 4<<10 {
		return nil, usagef("the secret on standard input is longer than 4096 bytes")
	}
	secret, _ = bytes.CutSuffix(secret, []byte("\n"))
	secret, _ = bytes.CutSuffix(secret, []byte("\r"))
	return secret, nil
}

type keyList struct{ withConfig }

// Run lists them also where the KEK is not at hand, and then says so and fails.
func (cmd *keyList) Run(ctx context.Context, std streams) (err error) {
	p, closed := cmd.open(ctx, std)
	if closed != nil {
		if p, err = cmd.openSealed(ctx, std); err != nil {
			return closed
		}
	}
	defer func() { err = errors.Join(err, closed) }()
	defer closing(p, &err)
	all, err := p.broker.AccessKeys(ctx, policy.LocalOperator(), "")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(std.err, "there is no access key; selo key add seals one")
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CLIENT ID\tENVIRONMENT\tNAME\tSTATE\tPRODUCTS\tLAST USED (SECONDS LATE)")
	for _, k := range all {
		name := k.Name
		if name == "" {
			name = "-"
		}
		fmt.Fprintln(table, strings.Join([]string{k.ClientID, string(k.Environment), name, keyState(k), strings.Join(k.Products, ","), date(k.LastUsedAt)}, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if closed == nil {
		for _, w := range p.broker.Warnings() {
			fmt.Fprintln(std.err, "warning:", w)
		}
	}
	return nil
}

func keyState(k *store.AccessKey) string {
	switch {
	case k.State == store.KeyRetiring && !time.Now().Before(k.RetireUntil):
		return "retired " + date(k.RetireUntil)
	case k.State == store.KeyRetiring:
		return "retiring until " + date(k.RetireUntil)
	case k.Leaked:
		return "revoked, leaked"
	}
	return string(k.State)
}

type keyShow struct {
	withConfig
	keyID
}

func (cmd *keyShow) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.openSealed(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	k, err := p.broker.AccessKey(ctx, policy.LocalOperator(), cmd.ClientID, cmd.environment(), "")
	switch {
	case errors.Is(err, selo.ReasonKeyUnknown):
		return errNoKey
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(std.out, "client ID      %s\nenvironment    %s\nname           %s\nnote           %s\nstate          %s\nproducts       %s\n"+
		"shared because %s\nsealed under   kek %s\nadded          %s\nactivated      %s\nrevoked        %s\nlast used      %s\n",
		k.ClientID, k.Environment, k.Name, k.Note, keyState(k), strings.Join(k.Products, " "), k.SharedReason, k.KEK,
		date(k.CreatedAt), date(k.ActivatedAt), date(k.RevokedAt), date(k.LastUsedAt))
	return err
}

var errNoKey = errors.New("there is no access key of this client ID in this environment; see selo key list, and --sandbox")

type keyActivate struct {
	withConfig
	keyID
}

func (cmd *keyActivate) Run(ctx context.Context, std streams) error {
	return cmd.change(ctx, std, cmd.withConfig, broker.KeyChange{To: string(store.KeyActive)})
}

type keyRetire struct {
	withConfig
	keyID
	Until string `required:"" placeholder:"TIME" help:"Until when it still verifies: 2027-01-31T12:00:00Z, or how long from now, such as 7d. At least respond_within."`
}

func (cmd *keyRetire) Run(ctx context.Context, std streams) error {
	until, err := time.Parse(time.RFC3339, cmd.Until)
	if err != nil {
		d, wrong := days(cmd.Until)
		if wrong != nil {
			return usagef("--until: must be a time such as 2027-01-31T12:00:00Z, or how long from now, such as 7d")
		}
		until = time.Now().Add(d)
	}
	return cmd.change(ctx, std, cmd.withConfig, broker.KeyChange{To: string(store.KeyRetiring), Until: until})
}

type keyRevoke struct {
	withConfig
	keyID
	Leaked bool   `help:"Somebody else has the secret: say, and record, what they may have touched."`
	Since  string `placeholder:"TIME" help:"With --leaked: from when on grants are counted: 2026-01-31T12:00:00Z, or how long ago, such as 90d. Default 30d."`
}

func (cmd *keyRevoke) Run(ctx context.Context, std streams) error {
	if cmd.Since != "" && !cmd.Leaked {
		return usagef("--since is only for --leaked; nothing is revoked")
	}
	since, err := time.Parse(time.RFC3339, cmd.Since)
	if err != nil {
		d, wrong := days(cmp.Or(cmd.Since, "30d"))
		if wrong != nil {
			return usagef("--since: must be a time such as 2027-01-31T12:00:00Z, or how long ago, such as 30d")
		}
		since = time.Now().Add(-d)
	}
	return cmd.change(ctx, std, cmd.withConfig, broker.KeyChange{To: string(store.KeyRevoked), Leaked: cmd.Leaked, Since: since})
}

func (k keyID) change(ctx context.Context, std streams, config withConfig, c broker.KeyChange) (err error) {
	open := config.open
	if c.To == string(store.KeyRevoked) { // which must be possible wherever somebody stands
		open = config.openSealed
	}
	p, err := open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	c.ClientID, c.Environment = k.ClientID, k.environment()
	changed, radius, err := p.broker.ChangeKey(ctx, policy.LocalOperator(), c, "")
	switch {
	case errors.Is(err, selo.ReasonKeyUnknown):
		return errNoKey
	case err != nil:
		return err
	}
	if _, err := fmt.Fprintf(std.out, "access key %v is %s. Every server knows within a second.\n", changed.ID(), keyState(changed)); err != nil {
		return err
	}
	if radius == nil {
		return nil
	}
	return printRadius(std.out, k, config.Config, c.Since, radius)
}

// mostSubjects and grants are printed: a report is to be read.
const mostSubjects = 10

// printRadius says what a leaked key may have touched, and what to do next.
func printRadius(out io.Writer, k keyID, config string, since time.Time, r *broker.Radius) error {
	until := "none is"
	if r.TokensAlive > 0 {
		until = "the last until " + date(r.LatestTokenExpiry)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nWhoever has the secret could start the SDK, and forge responses to sessions that they opened or could answer.\n"+
		"  tokens alive    %d; %s\n  open sessions   %d, which take no response any more\n  since %s: %d sessions, %d grants\n  subjects        %d\n",
		r.TokensAlive, until, r.OpenSessions, date(since), r.SessionsSince, r.GrantsSince, r.Subjects)
	for i, s := range r.Pseudonyms {
		if i == mostSubjects {
			fmt.Fprintf(&b, "                  and others; the API gives up to 100\n")
			break
		}
		fmt.Fprintf(&b, "                  %s\n", s)
	}
	fmt.Fprintf(&b, "This is in the audit trail as well. Next:\n"+
		"  1. Revoke the key in the provider's console too: tokens that are alive start the SDK until they expire.\n"+
		"  2. Make a new key there, and:  selo key add NEW_CLIENT_ID%s --config %s --product ...\n"+
		"                                 selo key activate NEW_CLIENT_ID%s --config %s\n", k.flag(), config, k.flag(), config)
	if len(r.Grants) > 0 {
		fmt.Fprintf(&b, "  3. Look at the grants, the newest first:\n")
	}
	for i, session := range r.Grants {
		if i == mostSubjects {
			fmt.Fprintf(&b, "     and so on; the API gives up to 100\n")
			break
		}
		fmt.Fprintf(&b, "     selo policy explain --config %s --session %s\n", config, session)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

type keyFingerprint struct{ withConfig }

func (cmd *keyFingerprint) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	all, err := p.broker.Fingerprints(ctx, policy.LocalOperator(), "")
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if _, err := fmt.Fprintf(std.out, "%s  %s\n", all[id], id); err != nil {
			return err
		}
	}
	return nil
}

type keyPepper struct{ withConfig }

func (cmd *keyPepper) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	version, err := keyring.AddPepper(ctx, p.store, p.keeper, localAudit())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "pepper version %d is there. Pseudonyms of before are of the older ones, which stay.\n", version)
	return err
}

// localAudit begins the audit row of an act that somebody does with this program.
func localAudit() store.Audit {
	return store.Audit{At: time.Now(), CallerKind: string(policy.KindOperator), Service: policy.LocalOperator().Name}
}

type keyRewrap struct{ withConfig }

func (cmd *keyRewrap) Run(ctx context.Context, std streams) (err error) {
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	count, err := keyring.Rewrap(ctx, p.store, p.keeper, localAudit())
	if err != nil {
		return fmt.Errorf("%d values are sealed under the kek now; run this again: %w", count, err)
	}
	_, err = fmt.Fprintf(std.out, "%d values were sealed under another kek. All are under kek %s now; previous_keks may go.\n", count, p.keeper.Current())
	return err
}

type keyImport struct {
	withConfig
	File string `arg:"" type:"path" help:"File with access_keys and, if it has any, peppers. Its other fields are passed over."`
}

func (cmd *keyImport) Run(ctx context.Context, std streams) (err error) {
	from, err := readKeyFile(cmd.File)
	if err != nil {
		return err
	}
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	if err := cfg.importPeppers(ctx, from); err != nil {
		return err
	}
	p, err := cmd.open(ctx, std)
	if err != nil {
		return err
	}
	defer closing(p, &err)
	count, err := from.importInto(ctx, p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%d access keys were taken over, and %d peppers are in the database. Keep the files until the server has run with it, then shred them.\n", count, len(from.Peppers))
	return err
}

// importPeppers seals the peppers of a file, before anything makes a first one. Those that are there already stay.
func (c *Config) importPeppers(ctx context.Context, from *KeyFile) (err error) {
	if len(from.Peppers) == 0 {
		return nil
	}
	f := faults(nil)
	keeper := c.keeper(ctx, &f)
	from.peppers(&f)
	if len(f) > 0 {
		return errors.Join(f...)
	}
	s, err := store.Open(ctx, c.path(c.Database))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, p := range from.Peppers {
		material, err := readSecretFile(from.path(p.File))
		if err != nil {
			return err
		}
		err = keyring.ImportPepper(ctx, s, keeper, p.Version, material, localAudit())
		clear(material)
		switch {
		case errors.Is(err, store.ErrPepperChanged):
			return fmt.Errorf("pepper %d: the database has another one already, which an earlier command made in it: import into a database that nothing has used yet", p.Version)
		case err != nil && !errors.Is(err, store.ErrPepperConflict):
			return err
		}
	}
	return nil
}

// importInto seals the access keys of a file that are not in the database yet, each at once in the state that it has in the
// file, and returns how many there were. Stopped half-way, it goes on when it is run again.
func (c *KeyFile) importInto(ctx context.Context, p *parts) (count int, _ error) {
	f := faults(nil)
	c.ring(&f)
	if len(f) > 0 {
		return 0, errors.Join(f...)
	}
	by := policy.LocalOperator()
	all, err := p.broker.AccessKeys(ctx, by, "")
	if err != nil {
		return 0, err
	}
	there := make(map[store.KeyID]bool)
	for _, k := range all {
		there[k.ID()] = true
	}
	for i, k := range c.AccessKeys {
		n := broker.NewKey{ClientID: k.ClientID, Environment: selo.Environment(k.Environment), Products: k.Products, SharedReason: k.SharedReason,
			State: store.KeyState(cmp.Or(k.State, string(keyring.Active))), Note: "imported"}
		n.Until, _ = time.Parse(time.RFC3339, k.Until) // ring has checked it
		if there[store.KeyID{ClientID: n.ClientID, Environment: n.Environment}] || n.State == store.KeyRevoked || n.State == store.KeyRetiring && !n.Until.After(time.Now()) {
			continue // it is there, or does nothing any more
		}
		secret, err := readSecretFile(c.path(k.SecretFile))
		if err != nil {
			return count, fmt.Errorf("access_keys[%d].secret_file: %w", i, err)
		}
		if _, err := p.broker.AddKey(ctx, by, n, secret, ""); err != nil {
			return count, fmt.Errorf("access_keys[%d]: %w", i, err)
		}
		count++
	}
	return count, nil
}

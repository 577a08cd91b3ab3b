package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

type sandboxCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Its access keys with their secrets in files, all of them sandbox keys; for /v1/faces/attempts also caf.sandbox.api_token_file." type:"path"`
	Listen string `default:"127.0.0.1:8402" placeholder:"HOST:PORT" help:"Address to listen on; default ${default}."`

	Webhook           string `placeholder:"URL" help:"Post an event of every finished attempt there: a loopback address."`
	WebhookSecretFile string `placeholder:"FILE" type:"path" help:"Secret that signs the events."`
	BadSignatureEvery int    `placeholder:"N" help:"Send a copy with a wrong signature before every Nth event, as Caf may."`

	InsecureListen bool `help:"Allow an address that is not loopback. Whoever reaches it can have anyone approved under these keys."`
}

// Run serves the sandbox until ctx ends.
func (cmd *sandboxCommand) Run(ctx context.Context, std streams) error {
	host, _, err := net.SplitHostPort(cmd.Listen)
	if err != nil {
		return usagef("--listen: must be host:port, such as 127.0.0.1:8402")
	}
	if !cmd.InsecureListen && !isLoopback(host) {
		return usagef("--listen: is not a loopback address; --insecure-listen allows it")
	}
	cfg, err := readKeyFile(cmd.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(std.err, nil))
	if (cmd.Webhook == "") != (cmd.WebhookSecretFile == "") || cmd.BadSignatureEvery != 0 && cmd.Webhook == "" {
		return usagef("--webhook and --webhook-secret-file go together, and --bad-signature-every with them")
	}
	box := sandbox.Config{Log: log, BadSignatureEvery: cmd.BadSignatureEvery}
	if cmd.Webhook != "" {
		secret, err := readSecretFile(cmd.WebhookSecretFile)
		if err != nil {
			return usagef("--webhook-secret-file: %w", err)
		}
		box.Webhooks = []sandbox.Webhook{{URL: cmd.Webhook, Secret: secret}}
	}
	provider, err := cfg.sandbox(box)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cmd.Listen)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer stop()
	sending.Go(func() { provider.Run(ctx) })
	return serveHTTP(ctx, l, provider, log, nil)
}

// sandbox makes the provider's side of the access keys, which is the one that signs responses, and of the API token.
func (c *KeyFile) sandbox(box sandbox.Config) (*sandbox.Sandbox, error) {
	f := slices.Clone(c.unknown)
	c.ring(&f)
	for i, k := range c.AccessKeys {
		if k.Environment == string(selo.EnvironmentProduction) {
			f.add(fmt.Sprintf("access_keys[%d].environment", i), "is production; a pretend provider must not hold a real key")
			continue
		}
		secret, err := readSecretFile(c.path(k.SecretFile))
		if err != nil {
			continue // ring has said so
		}
		box.Keys = append(box.Keys, sandbox.Key{ClientID: k.ClientID, Secret: secret, Products: k.Products})
	}
	if file := c.Caf[string(selo.EnvironmentSandbox)].APITokenFile; file != "" {
		token, err := readSecretFile(c.path(file))
		if err != nil {
			f.add("caf.sandbox.api_token_file", "%v", err)
		}
		box.APIToken = sandbox.APIToken(token)
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return sandbox.New(box)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

type sandboxCommand struct {
	Config string `required:"" placeholder:"FILE" help:"A selo.yaml, or a file with nothing but its access_keys; all must be sandbox keys." type:"path"`
	Listen string `default:"127.0.0.1:8402" placeholder:"HOST:PORT" help:"Address to listen on."`

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
	cfg, err := readConfig(cmd.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(std.err, nil))
	provider, err := cfg.sandbox(log)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cmd.Listen)
	if err != nil {
		return err
	}
	return serveHTTP(ctx, l, provider, log, nil)
}

// sandbox makes the provider's side of the access keys, which is the one that signs responses.
func (c *Config) sandbox(log *slog.Logger) (*sandbox.Sandbox, error) {
	f := slices.Clone(c.unknown)
	c.ring(&f)
	var keys []sandbox.Key
	for i, k := range c.AccessKeys {
		if k.Environment == string(selo.EnvironmentProduction) {
			f.add(fmt.Sprintf("access_keys[%d].environment", i), "is production; a pretend provider must not hold a real key")
			continue
		}
		secret, err := readSecretFile(c.path(k.SecretFile))
		if err != nil {
			continue // ring has said so
		}
		keys = append(keys, sandbox.Key{ClientID: k.ClientID, Secret: secret, Products: k.Products})
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return sandbox.New(sandbox.Config{Keys: keys, Log: log})
}

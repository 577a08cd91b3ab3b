package broker

import (
	"context"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/provider"
)

// smartAuth is the one product that the provider is asked about in another place than the faces.
const smartAuth = "caf/smart-auth"

// rechecks reports whether the provider can be asked about attempts at a product.
func (cfg Config) rechecks(app App, p *selo.Profile) bool {
	client := cfg.Providers[app.Environment]
	switch {
	case client == nil || p.Recheck == selo.AssuranceUnset:
		return false
	case p.Product == smartAuth:
		return client.RechecksSmartAuth()
	default:
		return client.RechecksFaces()
	}
}

// recheckURL is the field of the configuration that says where a product is asked about.
func recheckURL(product string) string {
	if product == smartAuth {
		return "identity_url"
	}
	return "faces_url"
}

// rechecker asks the provider about attempts at a product under a key.
func rechecker(client *provider.Client, p *selo.Profile, key selo.AccessKey, now func() time.Time) selo.Recheck {
	if p.Product != smartAuth {
		return client.Face
	}
	return func(ctx context.Context, attemptID string) (*selo.Attempt, error) {
		token, err := selo.MintServerToken(key, now())
		if err != nil {
			return nil, err
		}
		return client.SmartAuth(ctx, token.JWT, attemptID)
	}
}

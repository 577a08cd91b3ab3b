package policy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// discoveredFor is how long the URL of the keys is remembered, so that most fetches are one request.
	discoveredFor = time.Hour

	maxKeyURL = 2048
)

// checkDiscovery refuses an issuer under which there can be no document of OpenID Connect Discovery.
func checkDiscovery(issuer string) error {
	err := checkKeyURL(issuer)
	if err == nil && strings.ContainsAny(issuer, "?#") {
		err = errors.New("must not have a query or fragment")
	}
	if err != nil {
		return fmt.Errorf("issuer %w for its keys to be discovered; set jwks_url or jwks_file instead", err)
	}
	return nil
}

// discover returns the URL of the issuer's keys, from its document (OpenID Connect Discovery 1.0, section 4).
func (k *remoteKeys) discover(ctx context.Context) (string, error) {
	now := k.now()
	if age := now.Sub(k.discoveredAt); k.jwksURI != "" && age >= 0 && age < discoveredFor {
		return k.jwksURI, nil
	}
	from := strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
	document, err := download(ctx, k.client, from, "application/json")
	if err != nil {
		return "", err
	}
	found, err := readDiscovery(document, k.issuer)
	if err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	k.jwksURI, k.discoveredAt = found, now
	return found, nil
}

// readDiscovery returns the jwks_uri of a document that is about this issuer and no other: whoever may put one
// under the address of another would otherwise be the other's source of keys.
func readDiscovery(document []byte, issuer string) (string, error) {
	members := map[string]string{}
	err := readObject(document, func(name string, value jsontext.Value) {
		if known, _ := match([]string{"issuer", "jwks_uri"}, name); known == name {
			members[name], _ = unquote(value)
		}
	})
	if err != nil {
		return "", err
	}
	jwksURI := members["jwks_uri"]
	switch found := members["issuer"]; {
	case found == issuer:
	case isText(found) && !strings.ContainsFunc(found, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("the document is of the issuer %q, not of the app's; if that is what tokens have as iss, set issuer to it", found)
	default:
		return "", errors.New("the document names another issuer or none; correct issuer, or set jwks_url or jwks_file")
	}
	if len(jwksURI) > maxKeyURL {
		return "", fmt.Errorf("jwks_uri is longer than %d bytes", maxKeyURL)
	}
	if err := checkKeyURL(jwksURI); err != nil {
		return "", fmt.Errorf("jwks_uri %w", err)
	}
	if isHTTPS(issuer) && !isHTTPS(jwksURI) {
		return "", errors.New("jwks_uri must be https, as the issuer is")
	}
	return jwksURI, nil
}

func isHTTPS(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https"
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/checklist"
	"github.com/selo-id/selo/internal/sandbox"
)

const (
	demoCheckFile = "check.yaml"
	demoOtherApp  = "somebody-elses-app" // whose tokens the sign-in makes, and Selo does not know
	demoProduct   = "caf/face-authentication"
	demoPurpose   = "new-device"
)

// demoCheck writes the check.yaml of the demo: Selo, as the app of its users comes to it.
func demoCheck(dir string, urls demoURLs, keys *KeyFile) error {
	i := slices.IndexFunc(keys.AccessKeys, func(k AccessKeyConfig) bool { return slices.Equal(k.Products, []string{demoProduct}) })
	if i < 0 {
		return errors.New("the demo has no access key of " + demoProduct)
	}
	bearer := map[string]string{"Authorization": "Bearer {{credential}}"}
	t := checklist.Target{
		Target: urls.API, Environment: "staging", Product: demoProduct,
		Key: &checklist.Key{ClientID: keys.AccessKeys[i].ClientID, SecretFile: keys.AccessKeys[i].SecretFile},
		Login: []checklist.Step{{URL: urls.IdP + "/idp/token",
			JSON: map[string]any{"user": "{{user}}", "audience": "{{audience}}", "age": "{{age}}"},
			Take: map[string]string{"credential": "body.access_token"}}},
		Token: []checklist.Step{{URL: "/v1/sessions", Headers: bearer,
			JSON: map[string]any{"product": "{{product}}", "purpose": demoPurpose},
			Take: map[string]string{"token": "body.tokens.mobile", "session": "body.session_id"}}},
		Submit: checklist.Submit{Granted: "status == 200", Request: checklist.Step{URL: "/v1/sessions/{{session}}/response", Headers: bearer,
			JSON: map[string]any{"signed_response": "{{response}}"}}},
		BadCredentials: checklist.BadCredentials{
			Expired:       &checklist.BadCredential{With: map[string]string{"age": "1h"}},
			WrongAudience: &checklist.BadCredential{With: map[string]string{"audience": demoOtherApp}},
		},
		Webhook: &checklist.Webhook{SecretFile: webhookSecretFile, Accepted: "status == 200", Acted: `body.status == "recorded"`,
			Request: checklist.Step{URL: "/v1/webhooks/caf/" + demoWebhook, Headers: map[string]string{selo.WebhookSignatureHeader: "{{signature}}"}, Raw: "{{event}}"}},
		Limits: checklist.Limits{Rate: demoCheckRate, Burst: demoSessions + 100},
	}
	for _, name := range []string{"ana", "bruno", "davi", "fabio", "gina", "hugo", "iris", "carla"} {
		t.Users = append(t.Users, checklist.User{Name: name, CPF: sandbox.DemoUsers()[name].CPF.Digits(),
			Values: map[string]string{"audience": demoAudience, "age": "0s"}})
	}
	text, err := yaml.Marshal(t)
	if err != nil {
		return err
	}
	header := []byte("# Written by selo demo, for selo check. selo check init writes one with every field explained.\n")
	return os.WriteFile(filepath.Join(dir, demoCheckFile), append(header, text...), 0o600)
}

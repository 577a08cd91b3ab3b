package checklist

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/finding"
	"github.com/selo-id/selo/internal/sandbox"
)

// webhookProbes are about the provider's events, where the target takes them.
func webhookProbes() []Probe {
	refused := func(id, title, titlePT string, severity finding.Severity, signature func(b *bench, body string) []string) Probe {
		return Probe{ID: id, Title: title, TitlePT: titlePT, Topic: 0, Severity: severity,
			run: func(ctx context.Context, b *bench) (verdict, error) { return webhookRefuses(ctx, b, signature) }}
	}
	return []Probe{
		{
			ID: "webhook-accepted", Title: "A properly signed event is accepted", TitlePT: "Evento assinado corretamente é aceito",
			Topic: 0, Severity: finding.Medium,
			run: webhookAccepted,
		},
		refused("webhook-unsigned", "An event without a signature is refused", "Evento sem assinatura é recusado", finding.High,
			func(*bench, string) []string { return []string{""} }),
		refused("webhook-wrong-signature", "An event with a wrong signature is refused", "Evento com assinatura incorreta é recusado", finding.High,
			func(b *bench, body string) []string {
				right := hexMAC(b.webhookSecret, body)
				return []string{hexMAC([]byte(sandbox.NewUUID()), body), hexMAC(nil, body), right[:8], right[:63] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", right[63])+1)%16]), "undefined"}
			}),
		refused("webhook-reserialised", "The signature is checked over the bytes received", "A assinatura é verificada sobre os bytes recebidos", finding.Medium,
			func(b *bench, body string) []string {
				var sorted any
				_ = json.Unmarshal([]byte(body), &sorted) // ours
				return []string{hexMAC(b.webhookSecret, reserialised(body)), hexMAC(b.webhookSecret, string(asJSON(sorted)))}
			}),
		{
			ID: "webhook-replay", Title: "An event is acted on once", TitlePT: "Um evento é processado uma única vez",
			Topic: 0, Severity: finding.Medium,
			run: webhookReplay,
		}}
}

func hexMAC(secret []byte, body string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// reserialised is a JSON text as a library that keeps the order of names writes it.
func reserialised(text string) string {
	value := jsontext.Value(text)
	_ = value.Compact() // ours; and then without needless escapes
	_ = value.Format(jsontext.PreserveRawStrings(false))
	return string(value)
}

// event is written with spaces, an escape and a slash that no two libraries write alike.
func (b *bench) event() string {
	data := sandbox.WebhookData{AttemptID: sandbox.NewUUID(), RequestID: sandbox.NewUUID(), PersonID: b.users[0].cpf.Digits(), IsMatch: new(bool)}
	kind := "FACEAUTHENTICATIONEVENT"
	if b.profile.Product == selo.CafSmartAuth().Product {
		kind, data.IsMatch, data.IsAuthorized, data.RequestID = "smart_auth", nil, new(bool), ""
	}
	text := string(asJSON(sandbox.WebhookEvent{SpecVersion: "1.0", ID: sandbox.NewUUID(), Source: "selo/check", Type: kind,
		Time: b.now().UTC().Format(time.RFC3339), Data: data}))
	return strings.Replace(strings.Replace(text, `{"specversion"`, "{ \"specversion\" ", 1), "selo/check", `selo\/ch\u0065ck`, 1)
}

func (b *bench) deliver(ctx context.Context, body, signature string, ideal bool) (accepted bool, x sent, err error) {
	x, err = b.send(ctx, &b.target.Webhook.Request, values{valueEvent: body, valueSignature: signature}, ideal, []edit{setHeader("Content-Type", "application/json")})
	if err != nil {
		return false, x, err
	}
	if x.answer.ideal != nil {
		return *x.answer.ideal, x, nil
	}
	return b.accepted.holds(x.answer), x, nil
}

const noWebhook = "describe webhook to have it tried"

func webhookAccepted(ctx context.Context, b *bench) (verdict, error) {
	if b.target.Webhook == nil {
		return notApplicable(noWebhook), nil
	}
	body := b.event()
	yes, x, err := b.deliver(ctx, body, hexMAC(b.webhookSecret, body), true)
	const want = "that it is taken"
	switch {
	case err != nil:
		return verdict{}, err
	case !yes:
		return failed("an event with the right signature of its bytes was refused").with(b, x, want), nil
	}
	return passed("taken").with(b, x, want), nil
}

func webhookRefuses(ctx context.Context, b *bench, signatures func(*bench, string) []string) (verdict, error) {
	if b.target.Webhook == nil {
		return notApplicable(noWebhook), nil
	}
	const want = "a refusal"
	good := b.event()
	switch yes, _, err := b.deliver(ctx, good, hexMAC(b.webhookSecret, good), true); {
	case err != nil:
		return verdict{}, err
	case !yes:
		return verdict{}, interruptedf("an event as the provider signs it was refused, so a refusal proves nothing: is it the right webhook secret, and webhook.accepted?")
	}
	var shown verdict
	for i := range signatures(b, b.event()) {
		body := b.event()
		yes, x, err := b.deliver(ctx, body, signatures(b, body)[i], false)
		switch {
		case err != nil:
			return verdict{}, err
		case yes:
			return failed("the event was taken").with(b, x, want), nil
		}
		if i == 0 {
			shown = passed("refused").with(b, x, want)
		}
	}
	return shown, nil
}

func webhookReplay(ctx context.Context, b *bench) (verdict, error) {
	if b.target.Webhook == nil {
		return notApplicable(noWebhook), nil
	}
	if b.acted == nil {
		return notApplicable("describe webhook.acted to have it tried: what tells a new event from a repeated one"), nil
	}
	body := b.event()
	const want = "that it is not acted on again"
	for i := range 2 {
		_, x, err := b.deliver(ctx, body, hexMAC(b.webhookSecret, body), i == 0)
		if err != nil {
			return verdict{}, err
		}
		acted := x.answer.ideal == nil && b.acted.holds(x.answer) || x.answer.ideal != nil && *x.answer.ideal
		switch {
		case i == 0 && !acted:
			return verdict{}, interruptedf("a new event was not acted on, so a repeated one proves nothing")
		case i == 1 && acted:
			return failed("an event that came twice was acted on twice").with(b, x, want), nil
		case i == 1:
			return passed("the second time it was not acted on").with(b, x, want), nil
		}
	}
	return passed(""), nil
}

package selo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/selo-id/selo"
)

// In production the secret comes from a file: see ReadSecretFile.
func exampleKey() selo.AccessKey {
	secret, err := selo.NewSecret([]byte("an example secret of forty characters.."))
	if err != nil {
		panic(err)
	}
	return selo.AccessKey{ClientID: "64b7f3c2a1d0e9f8b7a6c5d4", Secret: secret}
}

func ExampleMint() {
	cpf, err := selo.ParseCPF("529.982.247-25")
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := selo.Mint(selo.MintRequest{
		Profile: selo.CafFaceLiveness(),
		Key:     exampleKey(),
		CPF:     cpf,
		Now:     time.Unix(1700000000, 0), // leave out for now
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("for", cpf, "until", token.ExpiresAt)
	// Output: for ***.***.***-25 until 2023-11-14 22:18:20 +0000 UTC
}

func ExampleVerify() {
	cpf, err := selo.ParseCPF("529.982.247-25")
	if err != nil {
		fmt.Println(err)
		return
	}
	want := selo.Expectation{
		Profile: selo.CafFaceLiveness(),
		Key:     exampleKey(),
		CPF:     cpf,
		Opened:  time.Unix(1700000000, 0),
		Once:    new(selo.MemoryOnce), // one for the whole process

		Assurance: selo.AssurancePresence, // liveness proves no more; without this a match is required

		Now: time.Unix(1700000060, 0), // leave out for now
	}
	fromApp := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyZXF1ZXN0SWQiOiI3ZDQ0NDg0MC05ZGMwIiwiaXNBbGl2ZSI6dHJ1ZSwicGVyc29uSWQiOiI1Mjk5ODIyNDcyNSIsImlhdCI6MTcwMDAwMDAzMH0.Cv5Pe-R78xPXz2oYwzThTruTxudbZuYdrZVuEFpiBQI"

	granted, err := selo.Verify(context.Background(), fromApp, want)
	if err != nil {
		fmt.Println("first:", selo.ReasonsOf(err))
	} else {
		fmt.Println("first: granted,", granted.Assurance)
	}
	_, err = selo.Verify(context.Background(), fromApp, want)
	fmt.Println("again: replayed is", errors.Is(err, selo.ReasonReplayed))
	// Output:
	// first: granted, presence
	// again: replayed is true
}

// Smart Auth starts with two tokens at once, one for each role, and runs a policy of the provider's. Its attestation
// cannot say that a face was matched; the provider's own record of the attempt can.
func ExampleVerify_smartAuth() {
	cpf, err := selo.ParseCPF("529.982.247-25")
	if err != nil {
		fmt.Println(err)
		return
	}
	profile, opened := selo.CafSmartAuth(), time.Unix(1700000000, 0)
	for _, role := range profile.Roles {
		p, err := selo.LookupProfile(role.Product)
		if err != nil {
			fmt.Println(err)
			return
		}
		// One key for both here; in production each is activated for its role's product and no more.
		token, err := selo.Mint(selo.MintRequest{Profile: p, Key: exampleKey(), CPF: cpf, Now: opened})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(role.Name, "token until", token.ExpiresAt.Format(time.TimeOnly))
	}

	// In production this asks the provider, with a token of MintServerToken.
	ask := func(ctx context.Context, attemptID string) (*selo.Attempt, error) {
		if attemptID != "65537f2e9dc0" {
			return nil, &selo.Error{Reason: selo.ReasonNotFinal, Detail: "the provider knows no such attempt"}
		}
		return &selo.Attempt{
			Outcome: selo.AttemptApproved, CPF: cpf, At: opened.Add(20 * time.Second), Policy: "login",
			Assurance: selo.AssuranceMatch, // it shows a live face that matched
		}, nil
	}
	fromApp := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdHRlbXB0SWQiOiI2NTUzN2YyZTlkYzAiLCJwZW9wbGVJZCI6IjUyOTk4MjI0NzI1IiwicG9saWN5SWQiOiJsb2dpbiIsImlzQXV0aG9yaXplZCI6dHJ1ZSwiaXNOZXdDb250ZXh0Ijp0cnVlLCJpYXQiOjE3MDAwMDAwMzAsImV4cCI6MTcwMDAwMDE1MH0.iMNtk-FIxHo99vb3exc9mjhd0gV-f0Akx9qpWiq0q6I"
	want := selo.Expectation{
		Profile: profile,
		Key:     exampleKey(), // that of the first role
		CPF:     cpf,
		Opened:  opened,
		Policy:  "login", // as configured, never as the app says
		Once:    new(selo.MemoryOnce),

		Assurance: selo.AssuranceMatch,

		Now: time.Unix(1700000060, 0), // leave out for now
	}
	_, err = selo.Verify(context.Background(), fromApp, want)
	fmt.Println("by itself:", selo.ReasonsOf(err))

	want.Recheck = ask
	granted, err := selo.Verify(context.Background(), fromApp, want)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("with the record:", granted.Assurance)
	// Output:
	// identity token until 22:18:20
	// face token until 22:18:20
	// by itself: [assurance_too_low]
	// with the record: match
}

func ExampleVerifyWebhook() {
	// In an HTTP handler: the body as it came, before anything parses it, and the header.
	body := []byte(`{"id":"evt_1","type":"FACEAUTHENTICATIONEVENT"}`)
	header := http.Header{selo.WebhookSignatureHeader: {"871bbcd28cb5c870f494f62680be70a6781735492e8c7fd7297fb8fabbe6d200"}}

	secret := exampleKey().Secret // or the webhook's own
	fmt.Println(selo.VerifyWebhook(body, header.Get(selo.WebhookSignatureHeader), secret))

	header.Del(selo.WebhookSignatureHeader)
	err := selo.VerifyWebhook(body, header.Get(selo.WebhookSignatureHeader), secret)
	fmt.Println("without the header:", selo.ReasonsOf(err))
	// Output:
	// <nil>
	// without the header: [signature_invalid]
}

func ExampleReceiptKey_Sign() {
	key, err := selo.GenerateReceiptKey() // ParseReceiptKey for one that lives in a file
	if err != nil {
		fmt.Println(err)
		return
	}
	ana := selo.Subject{Issuer: "https://id.bank.example", ID: "ana"}
	now := time.Now()
	receipt, err := key.Sign(selo.Receipt{
		Issuer: "https://selo.bank.example", App: "bank-app", Subject: ana,
		Session: "ses_1", Product: "caf/face-authentication", Purpose: "new-device",
		Assurance: selo.AssuranceMatch, IssuedAt: now, ExpiresAt: now.Add(time.Minute), ID: "rct_1",
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// In the service that registers the new device:
	got, err := selo.VerifyReceipt(context.Background(), receipt, selo.ReceiptExpectation{
		Keys:    key.Public(), // ParseReceiptKeys of /.well-known/jwks.json
		Issuer:  "https://selo.bank.example",
		App:     "bank-app",
		Subject: ana,
		Purpose: "new-device",
		Once:    new(selo.MemoryOnce),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Purpose, got.Assurance)
	// Output: new-device match
}

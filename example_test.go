package selo_test

import (
	"context"
	"errors"
	"fmt"
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

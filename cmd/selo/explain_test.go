package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

// Whatever the token says, explaining it shows neither its signature nor a CPF, and does not fail but by
// saying that it cannot be read.
func FuzzExplain(f *testing.F) {
	f.Add(sandbox.HS256Header, `{"requestId":"r","isAlive":true,"personId":"52998224725","iat":1800000030}`)
	f.Add(`{"alg":"none","typ":"selo-receipt+jwt"}`, `{"iss":"x","sub":"529.982.247-25","exp":1e99}`)
	f.Add(`{}`, `{"a":[[]],"a":1}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := sandbox.Sign([]byte("a secret of this test"), []byte(header), []byte(payload))
		var out strings.Builder
		err := explain(t.Context(), &out, token, selo.Secret{}, time.Unix(1800000060, 0))
		if err != nil && !errors.Is(err, errNotGranted) {
			t.Fatal(err)
		}
		if out.Len() == 0 {
			t.Error("says nothing")
		}
		signature := token[strings.LastIndexByte(token, '.')+1:]
		if strings.Contains(out.String(), signature) {
			t.Error("shows the signature")
		}
		for _, cpf := range []string{"52998224725", "529.982.247-25"} {
			if strings.Contains(out.String(), cpf) {
				t.Errorf("shows a CPF: %s", out.String())
			}
		}
	})
}

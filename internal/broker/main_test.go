package broker_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// The people of these tests. None of them exists.
var (
	anaCPF   = person("390.533.447-05")
	brunoCPF = person("714.287.938-60")
)

// secrets are the client secrets by client ID. Which products each key is for says house.
var secrets = map[string][]byte{
	"sbx-liveness":  plant(randomHex()),
	"sbx-faceauth":  plant(randomHex()),
	"sbx-both":      plant(randomHex()),
	"prd-both":      plant(randomHex()),
	"sbx-successor": plant(randomHex()),
	"sbx-smart":     plant(randomHex()),
	"sbx-documents": plant(randomHex()),
}

var (
	pepper1 = plant(randomHex())
	pepper2 = plant(randomHex())

	receiptKey = newReceiptKey()
)

func TestMain(m *testing.M) {
	os.Exit(transcript.Main(run{m}))
}

func plant(secret []byte) []byte { return transcript.Secret(secret) }

func randomHex() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return []byte(hex.EncodeToString(b))
}

func person(number string) selo.CPF {
	cpf, err := selo.ParseCPF(number)
	if err != nil {
		panic(err)
	}
	transcript.CPF(cpf.Digits())
	return cpf
}

func newReceiptKey() *selo.ReceiptKey {
	key, err := selo.GenerateReceiptKey()
	if err != nil {
		panic(err)
	}
	text, err := key.PEM()
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(text)
	transcript.Secret(block.Bytes[len(block.Bytes)-32:]) // the seed
	transcript.Secret(strings.Split(string(text), "\n")[1])
	return key
}

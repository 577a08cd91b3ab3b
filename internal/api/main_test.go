package api_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

// The people of these tests. None of them exists.
var (
	anaCPF   = person("390.533.447-05")
	brunoCPF = person("714.287.938-60")
)

var (
	livenessSecret = plant(randomHex())
	faceAuthSecret = plant(randomHex())
	shopSecret     = plant(randomHex())
	smartSecret    = plant(randomHex())
	documentSecret = plant(randomHex())
	webhookSecret  = plant(randomHex())
	cafToken       = plant(randomHex())

	lookupSecret        = plant(randomHex())
	introspectionSecret = plant(randomHex())

	pepper      = plant(randomHex())
	kekMaterial = plant(randomHex())
	// newClientSecret is of an access key that a scenario adds.
	newClientSecret = plant(randomHex())

	// apiKeys are those of the services, by name.
	apiKeys = map[string]string{
		"backend": newAPIKey(), "opener": newAPIKey(), "reader": newAPIKey(), "mapped": newAPIKey(), "shop-backend": newAPIKey(), "lab-backend": newAPIKey(),
		"viewer": newOperatorKey(), "operator": newOperatorKey(), "admin": newOperatorKey(),
	}
	unknownAPIKey = newAPIKey()

	receiptKey = newReceiptKey()
)

func TestMain(m *testing.M) {
	os.Exit(transcript.Main(m))
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

func newAPIKey() string      { return transcript.Secret(policy.NewAPIKey(store.CredentialService)) }
func newOperatorKey() string { return transcript.Secret(policy.NewAPIKey(store.CredentialOperator)) }

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

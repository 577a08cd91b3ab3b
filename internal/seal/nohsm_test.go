//go:build !pkcs11 || !cgo

package seal

import (
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

func endHSM() {}

func TestWithoutPKCS11(t *testing.T) {
	kek, err := Open(t.Context(), Source{PKCS11: &PKCS11{"/usr/lib/softhsm/libsofthsm2.so", "selo", "kek", "pin"}})
	if transcript.Error(err) == nil || kek != nil || !strings.Contains(err.Error(), "pkcs11: this binary was built without PKCS#11: go build -tags pkcs11 (needs cgo)") {
		t.Errorf("error %v", err)
	}
}

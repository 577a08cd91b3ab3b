//go:build !pkcs11 || !cgo

package seal

import (
	"context"
	"errors"
)

// OpenPKCS11 always fails: this binary was built without it.
func OpenPKCS11(context.Context, PKCS11) (KEK, error) {
	return nil, errors.New("this binary was built without PKCS#11: go build -tags pkcs11 (needs cgo)")
}

package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source says where a KEK is. Exactly one field is set.
type Source struct {
	// File is the path of a file that holds the material of NewKEK and nothing else. One trailing LF or CRLF, which
	// editors add, is not part of it.
	File string
	// Env is the name of an environment variable that holds the material.
	Env string
	// Credential is the name of a systemd credential: the file $CREDENTIALS_DIRECTORY/NAME, read as File is.
	Credential string
	// PKCS11 is a key in an HSM.
	PKCS11 *PKCS11
}

// PKCS11 says where an HSM's key is. All fields are required.
type PKCS11 struct {
	// Module is the absolute path of the HSM's PKCS#11 library. It runs inside this process.
	Module string
	// TokenLabel and KeyLabel are names that one token, and one AES key in it, have.
	TokenLabel, KeyLabel string
	// PINFile is the path of a file that holds the user PIN and nothing else, but for one trailing line break. It
	// is read at every login, so a changed PIN needs no restart.
	PINFile string
}

// Open makes the KEK that s names. Its errors begin with the field, and repeat neither paths nor long names: it
// happens that somebody sets the key where its place belongs.
func Open(ctx context.Context, s Source) (KEK, error) {
	var set []string
	for field, isSet := range map[string]bool{"file": s.File != "", "env": s.Env != "", "credential": s.Credential != "", "pkcs11": s.PKCS11 != nil} {
		if isSet {
			set = append(set, field)
		}
	}
	if len(set) != 1 {
		return nil, fmt.Errorf("the KEK needs exactly one of file, env, credential and pkcs11; %d are set", len(set))
	}
	field := set[0]
	kek, err := open(ctx, s, field)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return kek, nil
}

func open(ctx context.Context, s Source, field string) (KEK, error) {
	if field == "pkcs11" {
		return OpenPKCS11(ctx, *s.PKCS11)
	}
	material, err := readMaterial(s, field)
	if err != nil {
		return nil, err
	}
	defer clear(material)
	return NewKEK(material)
}

func readMaterial(s Source, field string) ([]byte, error) {
	switch field {
	case "env":
		value, ok := os.LookupEnv(s.Env)
		if !ok {
			return nil, fmt.Errorf("%s is not set", short(s.Env))
		}
		return []byte(value), nil
	case "credential":
		if s.Credential != filepath.Base(s.Credential) || strings.HasPrefix(s.Credential, ".") {
			return nil, errors.New("must be the name of a systemd credential, without a path")
		}
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, errors.New("$CREDENTIALS_DIRECTORY is not set: the unit needs LoadCredential= or LoadCredentialEncrypted=, or is not run by systemd")
		}
		return readFile(filepath.Join(dir, s.Credential))
	}
	return readFile(s.File)
}

// readFile reads a small file without one trailing line break. Its errors do not repeat the path.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // G703: systemd sets $CREDENTIALS_DIRECTORY, and the name has no path
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxMaterial+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(b) > maxMaterial {
		clear(b)
		return nil, fmt.Errorf("is longer than %d bytes", maxMaterial)
	}
	if trimmed, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b, _ = bytes.CutSuffix(trimmed, []byte("\r"))
	}
	return b, nil
}

func withoutPath(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// short repeats a name unless it may be the key itself, set by mistake.
func short(name string) string {
	if len(name) >= minMaterial {
		return "(a long name)"
	}
	return name
}

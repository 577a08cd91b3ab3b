package seal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/transcript"
)

func TestNewKEK(t *testing.T) {
	id := newKEK(t, material).ID()
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" || id != newKEK(t, bytes.Clone(material)).ID() || id == newKEK(t, otherMaterial).ID() {
		t.Errorf("ID %q", id)
	}
	wiped := bytes.Clone(material)
	kek := newKEK(t, wiped)
	clear(wiped)
	mustOpen(t, newKeeper(t, kek), record, sealed(t, newKeeper(t, newKEK(t, material)), record, clientSecret), clientSecret)

	for name, tc := range map[string]struct {
		material []byte
		want     string
	}{
		"none":      {nil, "has 0 bytes"},
		"short":     {material[:31], "has 31 bytes and needs at least 32"},
		"zeros":     {make([]byte, 32), "not random"},
		"all equal": {bytes.Repeat([]byte("a"), 64), "not random"},
		"a pattern": {bytes.Repeat([]byte("abc"), 20), "not random"},
		"too long":  {bytes.Repeat(material, 200), "more than 4096 bytes"},
	} {
		kek, err := NewKEK(tc.material)
		if transcript.Error(err) == nil || kek != nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "openssl rand -hex 32") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("kek", material)
	lf := write("lf", append(bytes.Clone(material), '\n'))
	crlf := write("crlf", append(bytes.Clone(material), '\r', '\n'))
	t.Setenv("SELO_TEST_KEK", string(material))
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, s := range []Source{{File: file}, {File: lf}, {File: crlf}, {Env: "SELO_TEST_KEK"}, {Credential: "lf"}} {
		kek, err := Open(t.Context(), s)
		if transcript.Error(err) != nil {
			t.Errorf("%+v: %v", s, err)
		} else if kek.ID() != newKEK(t, material).ID() {
			t.Errorf("%+v is another KEK", s)
		}
	}
	two := write("two", append(bytes.Clone(material), '\n', '\n'))
	if kek, err := Open(t.Context(), Source{File: two}); err != nil || kek.ID() == newKEK(t, material).ID() {
		t.Errorf("more than one line break was taken off: %v", err)
	}
}

func TestOpenSourceFails(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"short": material[:20], "long": bytes.Repeat(material, 200), "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("SELO_TEST_SHORT", string(material[:20]))
	for _, tc := range []struct {
		source Source
		want   string
	}{
		{Source{}, "exactly one of file, env, credential and pkcs11; 0 are set"},
		{Source{File: "a", Env: "b"}, "2 are set"},
		{Source{Env: "b", PKCS11: &PKCS11{}}, "2 are set"},
		{Source{File: filepath.Join(dir, "none")}, "file: no such file or directory"},
		{Source{File: dir}, "file: is a directory"},
		{Source{File: filepath.Join(dir, "short")}, "file: the KEK has 20 bytes"},
		{Source{File: filepath.Join(dir, "empty")}, "file: the KEK has 0 bytes"},
		{Source{File: filepath.Join(dir, "long")}, "file: is longer than 4096 bytes"},
		{Source{File: string(material)}, "file: no such file or directory"}, // the key where the path belongs
		{Source{Env: "SELO_TEST_NONE"}, "env: SELO_TEST_NONE is not set"},
		{Source{Env: "SELO_TEST_SHORT"}, "env: the KEK has 20 bytes"},
		{Source{Env: string(material)}, "env: (a long name) is not set"}, // the key where the name belongs
		{Source{Credential: "none"}, "credential: no such file or directory"},
		{Source{Credential: "../kek"}, "credential: must be the name of a systemd credential"},
		{Source{Credential: ".."}, "credential: must be the name of a systemd credential"},
	} {
		kek, err := Open(t.Context(), tc.source)
		if transcript.Error(err) == nil || kek != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.source, err, tc.want)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := Open(context.Background(), Source{Credential: "kek"}); transcript.Error(err) == nil || !strings.Contains(err.Error(), "LoadCredential") {
		t.Errorf("without systemd: %v", err)
	}
}

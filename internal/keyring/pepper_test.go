package keyring

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// The derivation, made by other programs: HKDF-SHA256 (RFC 5869, no salt) of the pepper for "selo pseudonym v1"
// keys an HMAC-SHA256 over the parts, each after its length in eight bytes; HKDF for "selo subject seal v1"
// keys AES-256-GCM over the subject with the session as additional data, nonce first. A change of any of it
// would lose everybody who is in a database already.
func TestGoldenVectors(t *testing.T) {
	subject := selo.Subject{Issuer: "https://id.example", ID: ana}
	for _, tc := range []struct {
		material                       []byte
		fingerprint, cpf, subj, sealed string
	}{
		{
			material,
			"8958125486d264df8e99ac351fdbc4df83dd3b839c75d35eebb5583193c10815",
			"56046bcf82c964e88eabe6731d72797b800e6ee209daf59a073a0cf849c0e69f",
			"688e163d442e6624bbbd1a94eec26abfa69a55bcee91030ac9f76f19927be1ba",
			"6669786564206e6f6e636521a42bc056bd7c741c9f4cf07d5c03c31d58445e10eeb7753695a049",
		},
		{
			otherMaterial,
			"dd30fdf4da2ad01ca2635ebd99dc102e9dcd2a2016fe45cf4df529df3ae2aea9",
			"705b3071f75315792da95b816c23311120ef18142d1e8c5d9149c9bc18c82be8",
			"bcdeac4eee9f9aa7d46a6ca312ffdfd1d267545eeaf1424ded846b3ea1fe588e",
			"6669786564206e6f6e6365218f18456b6798838ab92d3c1164e4beeaf55dbf6af40660054cb8dd",
		},
	} {
		for version := 1; version <= 2; version++ { // the version is a label and no part of the derivation
			p := newPepper(t, version, tc.material)
			for what, got := range map[string][2]string{
				"fingerprint": {hex.EncodeToString(p.Fingerprint()), tc.fingerprint},
				"CPF":         {hex.EncodeToString(p.CPF(parseCPF(t, ana))), tc.cpf},
				"subject":     {hex.EncodeToString(p.Subject(subject)), tc.subj},
			} {
				if got[0] != got[1] {
					t.Errorf("%s is %s, want %s", what, got[0], got[1])
				}
			}
			sealed, err := hex.DecodeString(tc.sealed)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.OpenSubject("ses_GOLDEN", sealed); transcript.Error(err) != nil || got != ana {
				t.Errorf("an old sealed subject does not open: %v", err)
			}
		}
	}
}

// No two things have the same pseudonym: not of two kinds, not by moving a border between parts, not under
// two peppers.
func TestPseudonymsApart(t *testing.T) {
	p, other := newPepper(t, 1, material), newPepper(t, 1, otherMaterial)
	seen := map[string]string{}
	for _, pepper := range []struct {
		name string
		*Pepper
	}{{"p", p}, {"other", other}} {
		for name, pseudonym := range map[string][]byte{
			"fingerprint":           pepper.Fingerprint(),
			"cpf ana":               pepper.CPF(parseCPF(t, ana)),
			"cpf bruno":             pepper.CPF(parseCPF(t, bruno)),
			"no cpf":                pepper.CPF(selo.CPF{}),
			"subject ana":           pepper.Subject(selo.Subject{Issuer: "https://id.example", ID: ana}),
			"subject, other issuer": pepper.Subject(selo.Subject{Issuer: "https://id2.example", ID: ana}),
			"subject ab c":          pepper.Subject(selo.Subject{Issuer: "ab", ID: "c"}),
			"subject a bc":          pepper.Subject(selo.Subject{Issuer: "a", ID: "bc"}),
			"subject abc":           pepper.Subject(selo.Subject{Issuer: "abc"}),
			"subject of no issuer":  pepper.Subject(selo.Subject{ID: "abc"}),
			"subject of lengths":    pepper.Subject(selo.Subject{Issuer: "a\x00\x00\x00\x00\x00\x00\x00\x02bc"}),
			"subject cpf":           pepper.Subject(selo.Subject{Issuer: "cpf", ID: ana}),
			"subject, only its CPF": pepper.Subject(selo.Subject{ID: ana}),
			"subject nobody":        pepper.Subject(selo.Subject{}),
		} {
			if len(pseudonym) != 32 {
				t.Errorf("%s: %d bytes, want 32", name, len(pseudonym))
			}
			if twin, ok := seen[string(pseudonym)]; ok {
				t.Errorf("%s %s has the pseudonym of %s", pepper.name, name, twin)
			}
			seen[string(pseudonym)] = pepper.name + " " + name
			// As it may stand in a database or a log.
			fmt.Fprintf(transcript.ReplyTo(io.Discard), "%x\n%s\n", pseudonym, pseudonym)
		}
	}
	if !bytes.Equal(p.CPF(parseCPF(t, ana)), newPepper(t, 1, material).CPF(parseCPF(t, ana[:3]+"."+ana[3:6]+"."+ana[6:9]+"-"+ana[9:]))) {
		t.Error("one CPF in two spellings has two pseudonyms")
	}
}

func TestSealedSubject(t *testing.T) {
	p, other := newPepper(t, 1, material), newPepper(t, 2, otherMaterial)
	for _, id := range []string{ana, "", "a subject", strings.Repeat("long ", 100), "\xff\x00"} {
		sealed := p.SealSubject("ses_1", id)
		fmt.Fprintf(transcript.ReplyTo(io.Discard), "%x\n%s\n", sealed, sealed)
		if got, err := p.OpenSubject("ses_1", sealed); transcript.Error(err) != nil || got != id {
			t.Errorf("%q came back as %q, %v", id, got, err)
		}
		if again := p.SealSubject("ses_1", id); bytes.Equal(sealed, again) {
			t.Error("sealed twice to the same bytes, which tells that two sessions have the same subject")
		}
		if id == "" {
			continue
		}
		for name, open := range map[string]func() (string, error){
			"another session":   func() (string, error) { return p.OpenSubject("ses_2", sealed) },
			"no session":        func() (string, error) { return p.OpenSubject("", sealed) },
			"another pepper":    func() (string, error) { return other.OpenSubject("ses_1", sealed) },
			"shortened":         func() (string, error) { return p.OpenSubject("ses_1", sealed[:len(sealed)-1]) },
			"lengthened":        func() (string, error) { return p.OpenSubject("ses_1", append(bytes.Clone(sealed), 0)) },
			"nonce only":        func() (string, error) { return p.OpenSubject("ses_1", sealed[:12]) },
			"shorter than that": func() (string, error) { return p.OpenSubject("ses_1", sealed[:5]) },
			"nothing":           func() (string, error) { return p.OpenSubject("ses_1", nil) },
		} {
			if got, err := open(); transcript.Error(err) == nil || got != "" {
				t.Errorf("%s: opened to %q", name, got)
			}
		}
		for i := range sealed {
			forged := bytes.Clone(sealed)
			forged[i] ^= 1
			if got, err := p.OpenSubject("ses_1", forged); err == nil || got != "" {
				t.Errorf("changed at byte %d: opened to %q", i, got)
			}
		}
	}
}

func TestNewPepperRefuses(t *testing.T) {
	for _, tc := range []struct {
		version, size int
		want          string
	}{
		{1, 32, ""}, {1, 4096, ""}, {1 << 30, 32, ""},
		{0, 32, "must be 1 or more"}, {-1, 32, "must be 1 or more"},
		{1, 31, "needs at least 32 random ones"}, {7, 0, "pepper version 7: has 0 bytes"},
	} {
		p, err := NewPepper(tc.version, bytes.Repeat([]byte{0xa5}, tc.size))
		if tc.want == "" {
			if transcript.Error(err) != nil || p.Version() != tc.version {
				t.Errorf("version %d, %d bytes: %v", tc.version, tc.size, err)
			}
		} else if transcript.Error(err) == nil || p != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("version %d, %d bytes: %v, want %q", tc.version, tc.size, err, tc.want)
		}
	}
	_, err := NewPepper(1, material[:31])
	if transcript.Error(err) == nil {
		t.Error("a short pepper was taken")
	}
}

// A pepper keeps what it was made of, even when its caller wipes or reuses the bytes.
func TestPepperKeepsItsOwn(t *testing.T) {
	bytesOf := bytes.Clone(material)
	p := newPepper(t, 1, bytesOf)
	before := p.CPF(parseCPF(t, ana))
	clear(bytesOf)
	if !bytes.Equal(before, p.CPF(parseCPF(t, ana))) {
		t.Error("the pseudonym changed with the caller's bytes")
	}
}

func TestPeppers(t *testing.T) {
	one, two, ten := newPepper(t, 1, material), newPepper(t, 2, otherMaterial), newPepper(t, 10, bytes.Repeat(material, 2))
	list := []*Pepper{ten, one, two}
	ps, err := NewPeppers(list...)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	versions := func(all []*Pepper) (v []int) {
		for _, p := range all {
			v = append(v, p.Version())
		}
		return v
	}
	if got := ps.Current().Version(); got != 10 {
		t.Errorf("the current version is %d, want the highest", got)
	}
	if diff := cmp.Diff([]int{1, 2, 10}, versions(ps.All())); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{10, 1, 2}, versions(list)); diff != "" {
		t.Errorf("the caller's list was changed (-want +got):\n%s", diff)
	}
	ps.All()[0] = nil // the caller's own
	for version, want := range map[int]*Pepper{1: one, 2: two, 10: ten} {
		if got, err := ps.Version(version); transcript.Error(err) != nil || got != want {
			t.Errorf("version %d: %v", version, err)
		}
	}
	for _, version := range []int{0, 3, -1} {
		got, err := ps.Version(version)
		if transcript.Error(err) == nil || got != nil || !strings.Contains(err.Error(), fmt.Sprint("version ", version, " is not configured")) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := NewPeppers(); transcript.Error(err) == nil {
		t.Error("no pepper at all was taken")
	}
	if _, err := NewPeppers(two, one, newPepper(t, 2, material)); transcript.Error(err) == nil || !strings.Contains(err.Error(), "version 2 is listed twice") {
		t.Errorf("a version twice: %v", err)
	}
}

// A sealed token opens for its own session and under its own pepper, and is no sealed subject.
func TestSealToken(t *testing.T) {
	p, err := NewPepper(1, []byte(strings.Repeat("p", 32)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewPepper(1, []byte(strings.Repeat("q", 32)))
	if err != nil {
		t.Fatal(err)
	}
	sealed := p.SealToken("ses_1", "the token")
	if got, err := p.OpenToken("ses_1", sealed); err != nil || got != "the token" {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() (string, error){
		"another session": func() (string, error) { return p.OpenToken("ses_2", sealed) },
		"another pepper":  func() (string, error) { return other.OpenToken("ses_1", sealed) },
		"as a subject":    func() (string, error) { return p.OpenSubject("ses_1", sealed) },
		"a subject":       func() (string, error) { return p.OpenToken("ses_1", p.SealSubject("ses_1", "ana")) },
		"cut":             func() (string, error) { return p.OpenToken("ses_1", sealed[:len(sealed)-1]) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened as %q", name, got)
		}
	}
	if string(p.Request("a", "bc")) == string(p.Request("ab", "c")) || string(p.Request("a")) == string(other.Request("a")) {
		t.Error("two requests are one")
	}
}

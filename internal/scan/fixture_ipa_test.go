package scan

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/selo-id/selo/internal/finding"
)

// iosTools are of the Debian packages clang, libplist-utils, lld and llvm. No file of Apple's is needed.
var iosTools = []string{"clang", "ld64.lld", "llvm-lipo", "plistutil"}

// buildIPA builds testdata/fixture/ios, with testdata/fixture/js as its bundle, and returns the path of the IPA and of
// the executable in it.
func buildIPA(t *testing.T, s *seeds) (ipa, executable string) {
	t.Helper()
	bundle := hermesBundle(t, s, "96")
	src := s.sources(t, "ios")
	widen(t, filepath.Join(src, "Localizable.strings"))
	link := func(source, to, target, arch, platform string, args ...string) error {
		if err := tool(t, src, "clang", "-target", target, "-O1", "-c", "-o", to+".o", source); err != nil {
			return err
		}
		return tool(t, src, "ld64.lld", append(args, "-arch", arch, "-platform_version", platform, "14.0", "14.0", "-o", to, to+".o")...)
	}
	binary := func(from, to string) func() error {
		return func() error { return tool(t, src, "plistutil", "-i", from, "-o", to, "-f", "bin") }
	}
	together(t,
		func() error { return link("main.c", "Fixture", "arm64-apple-ios14.0", "arm64", "ios") },
		func() error { return link("framework.c", "device", "arm64-apple-ios14.0", "arm64", "ios", "-dylib") },
		func() error {
			return link("framework.c", "simulator", "x86_64-apple-ios14.0-simulator", "x86_64", "ios-simulator", "-dylib")
		},
		binary("Info.plist", "Info.bin"),
		binary("compiled.strings", "compiled.bin"),
	)
	if err := tool(t, src, "llvm-lipo", "-create", "-output", "Core", "device", "simulator"); err != nil {
		t.Fatal(err)
	}
	const app = "Payload/Fixture.app/"
	ipa, executable = filepath.Join(src, "Fixture.ipa"), filepath.Join(src, "Fixture")
	zipFiles(t, ipa, []zipped{
		{name: app + "Info.plist", from: filepath.Join(src, "Info.bin")},
		{name: app + "Service.plist", from: filepath.Join(src, "Service.plist")},
		{name: app + "pt.lproj/Localizable.strings", from: filepath.Join(src, "Localizable.strings")},
		{name: app + "en.lproj/Localizable.strings", from: filepath.Join(src, "compiled.bin")},
		{name: app + "Fixture", from: executable},
		{name: app + "Frameworks/Core.framework/Core", from: filepath.Join(src, "Core")},
		{name: app + "main.jsbundle", from: bundle, stored: true},
	})
	return ipa, executable
}

func iosPlants() []plant {
	const (
		executable, framework = "Fixture.app/Fixture", "Core.framework/Core"
		info, service         = "Fixture.app/Info.plist", "Fixture.app/Service.plist"
	)
	return append(hermesPlants(),
		plant{name: "macho_cstring", path: executable, whole: true},
		plant{name: "macho_cfstring", path: executable, whole: true},
		plant{name: "macho_ustring", path: executable, spelling: "UTF-16LE", whole: true},
		plant{name: "macho_data", path: executable, whole: true},
		plant{name: "macho_bytes", path: executable, whole: true},
		plant{name: "macho_ints", path: executable, spelling: "32-bit numbers"},
		plant{name: "macho_xor", path: executable, spelling: "XOR with a key of 3 bytes"},
		plant{name: "macho_framework", path: framework, whole: true},

		plant{name: "plist_string", path: info, key: "CafClientSecret", whole: true},
		plant{name: "plist_nested", path: info, key: "Caf.Secret", whole: true},
		plant{name: "plist_wide", path: info, spelling: "UTF-16BE", key: "Wide", whole: true},
		plant{name: "plist_data", path: info, key: "Blob", whole: true},
		plant{name: "plist_array", path: info, key: "List[1]", whole: true},
		plant{name: "plist_xml", path: service, key: "SERVICE_TOKEN", whole: true},
		plant{name: "plist_xml_data", path: service, spelling: "base64", key: "SERVICE_BLOB", whole: true},
		plant{name: "strings_text", path: "pt.lproj/Localizable.strings", spelling: "UTF-16LE", key: "caf.secret", whole: true},
		plant{name: "strings_compiled", path: "en.lproj/Localizable.strings", key: "caf.compiled", whole: true},
	)
}

// TestFixtureIPA builds an app for iOS and sees that its secrets are found.
func TestFixtureIPA(t *testing.T) {
	t.Parallel()
	needsTools(t, iosTools...)
	s := newSeeds(iosPlants())
	ipa, executable := buildIPA(t, s)
	s.allPlanted(t)

	t.Run("IPA", func(t *testing.T) {
		t.Parallel()
		r := s.look(t, Options{Secrets: s.sought()}, ipa)
		s.found(t, r, nil)
		wantRules(t, r, finding.Inconclusive)
	})
	t.Run("fingerprints", func(t *testing.T) {
		t.Parallel()
		s.found(t, s.look(t, Options{Fingerprints: NewFingerprints(s.sought())}, ipa), byFingerprint)
	})

	// As the App Store sends it: what stands in the text segment is encrypted, and nobody knows what it is.
	t.Run("FairPlay", func(t *testing.T) {
		t.Parallel()
		sealed := filepath.Join(t.TempDir(), "Sealed.ipa")
		zipFiles(t, sealed, []zipped{{name: "Payload/Fixture.app/Fixture", data: fairPlay(t, executable)}})
		of := func(name string) Options { return Options{Secrets: []Secret{{name, []byte(s.secrets[name])}}} }

		r := s.look(t, of("macho_cstring"), sealed)
		if r.ExitCode() != 3 {
			t.Errorf("exit code %d, want 3\n%s", r.ExitCode(), lines(r))
		}
		wantTold(t, r, ruleEverything, "!Payload/Fixture.app/Fixture", "encrypted")
		r = s.look(t, of("macho_data"), sealed) // which is not in the text segment
		if r.ExitCode() != 1 {
			t.Errorf("exit code %d, want 1\n%s", r.ExitCode(), lines(r))
		}
		wantTold(t, r, ruleOwnSecret, "!Payload/Fixture.app/Fixture", "macho_data")
	})
}

// fairPlay returns an executable as Apple's store encrypts it, but for the key.
func fairPlay(t *testing.T, executable string) []byte {
	t.Helper()
	b, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	f, err := macho.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	const encryptionInfo64 = 0x2c
	for _, load := range f.Loads {
		raw, le := load.Raw(), f.ByteOrder
		if le.Uint32(raw) != encryptionInfo64 {
			continue
		}
		at, size := le.Uint32(raw[8:]), le.Uint32(raw[12:])
		copy(b[at:at+size], spellings["aes"](b[at:at+size]))
		binary.LittleEndian.PutUint32(b[bytes.Index(b, raw)+16:], 1) // cryptid
		return b
	}
	t.Fatal("the linker left no room for encryption")
	return nil
}

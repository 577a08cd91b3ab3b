package scan

import (
	"archive/zip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/finding"
)

// frameworkRes is what the tools of resources need to know Android's own names.
const frameworkRes = "/usr/share/android-framework-res/framework-res.apk"

// needsAndroid needs the Debian packages aapt, android-framework-res, apksigner, clang, libsmali-java (an assembler of
// dex), lld, sqlite3 and zipalign.
func needsAndroid(t *testing.T) {
	t.Helper()
	needsTools(t, "aapt", "aapt2", "apksigner", "clang", "ld.lld", "smali", "sqlite3", "zipalign")
	if _, err := os.Stat(frameworkRes); err != nil {
		needTool(t, "%v", err)
	}
}

// androidApp is one app, built as an APK and from it as an app bundle and an XAPK.
type androidApp struct{ apk, aab, xapk string }

// buildAndroid builds testdata/fixture/android. Only the APK is built if that is what is wanted.
func buildAndroid(t *testing.T, s *seeds, apkOnly bool) androidApp {
	t.Helper()
	src := s.sources(t, "android")
	app := androidApp{filepath.Join(src, "app.apk"), filepath.Join(src, "app.aab"), filepath.Join(src, "app.xapk")}
	lib := filepath.Join("raw", "lib", "arm64-v8a")
	if err := os.MkdirAll(filepath.Join(src, lib), 0o755); err != nil {
		t.Fatal(err)
	}
	widen(t, filepath.Join(src, "assets", "utf16.txt"))
	zipFiles(t, filepath.Join(src, "assets", "inner.zip"), []zipped{{name: "deep/nested.txt", from: filepath.Join(src, "nested.txt")}})

	// Resources in UTF-16, as apps for old systems have them.
	wide := func(name, to string) func() error {
		return func() error {
			return tool(t, filepath.Join(src, name), "aapt", "package", "-f", "--utf16", "-M", "AndroidManifest.xml", "-S", "res",
				"-I", frameworkRes, "-F", filepath.Join(src, to))
		}
	}
	together(t,
		func() error {
			return tool(t, src, "smali", "assemble", "--api", "28", "-o", "raw/classes.dex", "smali")
		},
		func() error {
			return tool(t, src, "clang", "--target=aarch64-linux-gnu", "-fuse-ld=lld", "-shared", "-nostdlib", "-ffreestanding", "-fPIC",
				"-O2", "-s", "-o", filepath.Join(lib, "libfixture.so"), "native/native.c")
		},
		func() error { return tool(t, src, "sqlite3", "-init", "tables.sql", "assets/settings.db", ".quit") },
		wide("plugin", "assets/plugin.apk"),
		wide("split", "split.apk"),
		func() error { return signingKey(src) },
	)
	steps := []func() error{func() error {
		if err := tool(t, src, "aapt", "package", "-f", "-M", "AndroidManifest.xml", "-S", "res", "-A", "assets", "-I", frameworkRes,
			"-F", "unaligned.apk", "raw"); err != nil {
			return err
		}
		if err := tool(t, src, "zipalign", "-f", "4", "unaligned.apk", "app.apk"); err != nil {
			return err
		}
		return tool(t, src, "apksigner", "sign", "--key", "key.pk8", "--cert", "cert.pem", "app.apk")
	}}
	if !apkOnly {
		steps = append(steps, func() error {
			if err := tool(t, src, "aapt2", "compile", "--dir", "res", "-o", "compiled.zip"); err != nil {
				return err
			}
			return tool(t, src, "aapt2", "link", "--proto-format", "-I", frameworkRes, "--manifest", "AndroidManifest.xml", "-A", "assets",
				"-o", "proto.apk", "compiled.zip")
		})
	}
	together(t, steps...)
	intoSigningBlock(t, app.apk, filepath.Join(src, "channel.txt"))
	if apkOnly {
		return app
	}
	bundleOf(t, src, app.aab)
	zipFiles(t, app.xapk, []zipped{
		{name: "manifest.json", from: filepath.Join(src, "xapk.json")},
		{name: "com.example.fixture.apk", from: app.apk, stored: true},
		{name: "config.pt.apk", from: filepath.Join(src, "split.apk"), extra: filepath.Join(src, "extra.txt")},
		{name: "", from: filepath.Join(src, "comment.txt")},
	})
	return app
}

// bundleOf makes an app bundle as bundletool does, of what aapt2 linked for it.
func bundleOf(t *testing.T, src, to string) {
	t.Helper()
	r, err := zip.OpenReader(filepath.Join(src, "proto.apk"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := []zipped{
		{name: "BundleConfig.pb", data: []byte("\x0a\x08\x12\x061.15.6")},
		{name: "BUNDLE-METADATA/com.android.tools.build.obfuscation/proguard.map", from: filepath.Join(src, "proguard.map")},
		{name: "base/dex/classes.dex", from: filepath.Join(src, "raw", "classes.dex")},
		{name: "base/lib/arm64-v8a/libfixture.so", from: filepath.Join(src, "raw", "lib", "arm64-v8a", "libfixture.so")},
	}
	for _, f := range r.File {
		name := "base/" + f.Name
		if f.Name == "AndroidManifest.xml" {
			name = "base/manifest/AndroidManifest.xml"
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, zipped{name: name, data: data})
	}
	zipFiles(t, to, files)
}

// signingKey makes a key that is thrown away, in the form that apksigner reads.
func signingKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	name := pkix.Name{CommonName: "fixture"}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, Issuer: name, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pk8"), pkcs8, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// androidPlants is every place of the app.
func androidPlants() []plant {
	const (
		dex, arsc, manifest           = "!classes.dex", "!resources.arsc", "!AndroidManifest.xml"
		config, props, notes, js, lib = "!assets/config.json", "!assets/app.properties", "!assets/notes.txt", "!assets/www/app.js", "!lib/arm64-v8a/libfixture.so"
	)
	return []plant{
		{name: "dex_string", path: dex, whole: true},
		{name: "dex_static", path: dex, key: "com.example.fixture.Config.CLIENT_SECRET", whole: true},
		{name: "dex_mutf8", path: dex, whole: true},
		{name: "dex_json", path: dex, whole: true},
		{name: "dex_bytes", path: dex, key: "com.example.fixture.Config.key", whole: true},
		{name: "dex_chars", path: dex, spelling: "UTF-16LE", whole: true},
		{name: "dex_ints", path: dex, spelling: "32-bit numbers", whole: true},
		{name: "dex_pieces", path: dex, pieces: true},
		{name: "dex_char_plus", path: dex, missed: "a secret put together by arithmetic"},

		{name: "resource", path: arsc, key: "string/caf_secret", whole: true},
		{name: "styled_resource", path: arsc, key: "string/greeting", whole: true},
		{name: "array_item", path: arsc, key: "array/keys[1]", whole: true},
		{name: "plural", path: arsc, key: "plurals/tries", whole: true},
		{name: "style_item", path: arsc, key: "style/Hidden", whole: true},
		{name: "gzip_base64", path: arsc, missed: "compression within a string (gzip, then base64)"},
		{name: "utf16_resource", path: "!assets/plugin.apk!resources.arsc", spelling: "UTF-16LE", key: "string/plugin_secret", whole: true},
		{name: "manifest", path: manifest, spelling: "UTF-16LE", key: "meta-data/com.example.CLIENT_SECRET", whole: true},
		{name: "deep_link", path: manifest, spelling: "hex", key: "data@pathPrefix"},
		{name: "layout", path: "!res/layout/main.xml", key: "TextView@tag", whole: true},
		{name: "xml_entry", path: "!res/xml/defaults.xml", key: "entry/api_key", whole: true},
		{name: "xml_text", path: "!res/xml/defaults.xml", key: "text", whole: true},
		{name: "basic_auth", path: "!res/raw/credentials.txt", spelling: "base64", whole: true},

		{name: "json", path: config, key: "caf.clientSecret", whole: true},
		{name: "json_escaped", path: config, key: "escaped", whole: true},
		{name: "properties", path: props, key: "caf.client.secret", whole: true},
		{name: "wrapped", path: props, key: "wrapped", whole: true},
		{name: "env", path: "!assets/prod.env", key: "CAF_SECRET", whole: true},
		{name: "yaml", path: "!assets/settings.yaml", key: "caf.secret", whole: true},
		{name: "reversed", path: notes, spelling: "reversed"},
		{name: "rot13", path: notes, spelling: "rot13"},
		{name: "hex", path: notes, spelling: "hex", whole: true},
		{name: "base64url", path: notes, spelling: "base64", whole: true},
		{name: "base64_twice", path: notes, spelling: "base64 twice", whole: true},
		{name: "percent", path: notes, spelling: "percent encoding"},
		{name: "js_u", path: js, spelling: `\u escapes`, whole: true},
		{name: "js_x", path: js, spelling: `\x escapes`, whole: true},
		{name: "js_decimals", path: js, spelling: "an array of numbers", whole: true},
		{name: "js_hex_array", path: js, spelling: "an array of numbers", whole: true},
		{name: "js_template", path: js, whole: true},
		{name: "js_concat", path: js, whole: true},
		{name: "js_mixed", path: js, whole: true},
		{name: "html", path: "!assets/www/index.html", spelling: "character references"},
		{name: "source_map", path: "!assets/www/app.js.map", whole: true},
		{name: "utf16_text", path: "!assets/utf16.txt", spelling: "UTF-16LE", whole: true},
		{name: "nested_zip", path: "!assets/inner.zip!deep/nested.txt", whole: true},
		{name: "sqlite", path: "!assets/settings.db"},
		{name: "base64_wrapped", path: notes, missed: "base64 with line breaks in it"},
		{name: "two_spellings", path: notes, missed: "two spellings one upon the other"},
		{name: "short_pieces", path: dex, missed: "in pieces shorter than six bytes"},
		{name: "aes", path: "!assets/sealed.txt", missed: "decrypted with AES"},

		{name: "elf_rodata", path: lib, whole: true},
		{name: "elf_wide", path: lib, spelling: "UTF-16LE", whole: true},
		{name: "elf_xor1", path: lib, spelling: "XOR with a key of 1 byte"},
		{name: "elf_xor4", path: lib, spelling: "XOR with a key of 4 bytes"},
		{name: "elf_xor7", path: lib, missed: "XOR with a longer key than four bytes"},
		{name: "elf_stack", path: lib, missed: "What the app computes"},

		{name: "signing_block", path: "app.apk!(between entries)"},

		// In the app bundle and the XAPK only.
		{name: "proguard_map"},
		{name: "split_resource"},
		{name: "xapk_manifest"},
		{name: "zip_comment"},
		{name: "zip_extra"},

		// A token is signed with it.
		{name: "signs"},
	}
}

// inBundle says where a plant of the APK is in the app bundle.
func inBundle(p plant) plant {
	switch {
	case p.name == "proguard_map":
		p.path, p.whole = "!BUNDLE-METADATA/com.android.tools.build.obfuscation/proguard.map", true
	case p.name == "signing_block":
		p.path = ""
	case p.path == "!classes.dex":
		p.path = "!base/dex/classes.dex"
	case p.path == "!resources.arsc":
		p.path = "!base/resources.pb"
	case p.path == "!AndroidManifest.xml":
		p.path = "!base/manifest/AndroidManifest.xml"
		if p.spelling == "UTF-16LE" {
			p.spelling = "" // that of an app bundle has UTF-8
		}
	case p.path != "":
		p.path = "!base/" + p.path[1:]
	}
	return p
}

// inXAPK says where a plant of the APK is in the XAPK.
func inXAPK(p plant) plant {
	switch {
	case p.name == "split_resource":
		p.path, p.spelling, p.key = "!config.pt.apk!resources.arsc", "UTF-16LE", "string/segredo"
	case p.name == "xapk_manifest":
		p.path, p.key = "!manifest.json", "split_apks[0].secret"
	case p.name == "zip_comment", p.name == "zip_extra":
		p.path = "app.xapk!(between entries)"
	case p.name == "signing_block":
		p.path = "!com.example.fixture.apk!(between entries)"
	case p.path != "":
		p.path = "!com.example.fixture.apk" + p.path
	}
	return p
}

func newAndroidSeeds() *seeds {
	s := newSeeds(androidPlants())
	s.others["hint"], s.others["key"] = randomText(40, letters62), randomText(40, letters62)
	issuer := randomText(24, letters16)
	at := func(d time.Duration) int64 { return fixtureTime.Add(d).Unix() }
	s.tokens["of_own_secret"] = fixtureToken(s.secrets["signs"], `{"iss":"https://backend.example","sub":"app"}`)
	s.tokens["with_its_key"] = fixtureToken(s.others["key"], `{"iss":"https://backend.example","sub":"web"}`)
	s.tokens["without_expiry"] = fixtureToken(rand.Text(), fmt.Sprintf(`{"iss":%q,"peopleId":"52998224725"}`, issuer))
	s.tokens["valid"] = fixtureToken(rand.Text(), fmt.Sprintf(`{"iss":%q,"exp":%d}`, issuer, at(time.Hour)))
	s.tokens["expired"] = fixtureToken(rand.Text(), fmt.Sprintf(`{"iss":%q,"exp":%d,"peopleId":"52998224725"}`, issuer, at(-time.Hour)))
	return s
}

// withoutSecrets are the seeds of the same app, with other values everywhere, and with tokens that are no provider's.
func (s *seeds) withoutSecrets() *seeds {
	c := *s
	c.clean, c.tokens = true, make(map[string]string)
	for name := range s.tokens {
		c.tokens[name] = fixtureToken(rand.Text(), fmt.Sprintf(`{"iss":"https://accounts.example","sub":%q,"exp":%d}`, rand.Text(), fixtureTime.Unix()+100))
	}
	return &c
}

// TestFixtureAndroid builds an app with secrets in it and sees that they are found in an APK, in an app bundle and in an
// XAPK of it; and that nothing is found in the same app without them.
func TestFixtureAndroid(t *testing.T) {
	t.Parallel()
	needsAndroid(t)
	needsTools(t, "node", "tar")
	s := newAndroidSeeds()
	app := buildAndroid(t, s, false)
	s.allPlanted(t)
	proof := Options{Secrets: s.sought(), Now: fixtureTime}
	all := []string{ruleOwnSecret, ruleOwnPieces, ruleOwnToken, ruleTokenKey, ruleNoExpiry, ruleValidToken, ruleExpired}

	t.Run("APK", func(t *testing.T) {
		t.Parallel()
		r := s.look(t, proof, app.apk)
		s.found(t, r, nil)
		wantRules(t, r, finding.Fail, all...)
		wantRules(t, r, finding.Warn, ruleTelling)
		wantRules(t, r, finding.Inconclusive)
		wantTold(t, r, ruleOwnToken, "!resources.arsc", `signed with the secret "signs"`, ", as string/seed_token")
		wantTold(t, r, ruleTokenKey, "!assets/www/app.js", "is a string in "+app.apk+"!classes.dex")
		wantTold(t, r, ruleNoExpiry, "!assets/config.json", ", for a CPF, that never expires", ", as tokens.forever")
		wantTold(t, r, ruleValidToken, "!assets/config.json", "valid until 2026-07-01T13:00:00Z", ", as tokens.future")
		wantTold(t, r, ruleExpired, "!assets/config.json", "expired on 2026-07-01T11:00:00Z", ", as tokens.past")
		wantTold(t, r, ruleTelling, "!classes.dex", "40 characters", ", as com.example.fixture.Config.HINT_API_SECRET")
	})
	t.Run("AAB", func(t *testing.T) {
		t.Parallel()
		r := s.look(t, proof, app.aab)
		s.found(t, r, inBundle)
		wantRules(t, r, finding.Fail, all...)
		wantRules(t, r, finding.Inconclusive)
	})
	t.Run("XAPK", func(t *testing.T) {
		t.Parallel()
		r := s.look(t, proof, app.xapk)
		s.found(t, r, inXAPK)
		wantRules(t, r, finding.Fail, all...)
		wantRules(t, r, finding.Inconclusive)
	})

	// With fingerprints instead of the secrets the strings that are a secret are found, and no others.
	t.Run("fingerprints", func(t *testing.T) {
		t.Parallel()
		o := Options{Fingerprints: NewFingerprints(s.sought()), Now: fixtureTime}
		s.found(t, s.look(t, o, app.apk), byFingerprint)
	})

	// As it lies on a developer's disk, and as it is sent about.
	dir := t.TempDir()
	unpack(t, app.apk, filepath.Join(dir, "app"))
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		s.found(t, s.look(t, proof, filepath.Join(dir, "app")), inFolder)
	})
	t.Run("tar.gz", func(t *testing.T) {
		t.Parallel()
		if err := tool(t, dir, "tar", "-czf", "app.tar.gz", "app"); err != nil {
			t.Fatal(err)
		}
		s.found(t, s.look(t, proof, filepath.Join(dir, "app.tar.gz")), inFolder)
	})
	t.Run("tar.br", func(t *testing.T) {
		t.Parallel()
		const brotli = `const fs = require("fs"); fs.writeFileSync("app.tar.br", require("zlib").brotliCompressSync(fs.readFileSync("app.tar")))`
		if err := tool(t, dir, "tar", "-cf", "app.tar", "app"); err != nil {
			t.Fatal(err)
		}
		if err := tool(t, dir, "node", "-e", brotli); err != nil {
			t.Fatal(err)
		}
		s.found(t, s.look(t, proof, filepath.Join(dir, "app.tar.br")), inFolder)
	})
}

// TestFixtureAndroidClean sees that nothing is found in the same app without the secrets.
func TestFixtureAndroidClean(t *testing.T) {
	t.Parallel()
	needsAndroid(t)
	s := newAndroidSeeds()
	app := buildAndroid(t, s.withoutSecrets(), true)
	r := s.look(t, Options{Secrets: s.sought(), Now: fixtureTime}, app.apk)
	wantRules(t, r, finding.Fail)
	wantRules(t, r, finding.Inconclusive)
	if r.ExitCode() != 0 {
		t.Errorf("exit code %d", r.ExitCode())
	}
}

// inFolder is for what has been unpacked from the APK: of that itself nothing is left.
func inFolder(p plant) plant {
	switch {
	case p.name == "signing_block":
		p.path = ""
	case p.path != "":
		p.path = p.path[1:]
	}
	return p
}

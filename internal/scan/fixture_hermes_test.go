package scan

import (
	"path/filepath"
	"testing"

	"github.com/selo-id/selo/internal/finding"
)

// fixtureEsbuild is the bundler's version: one of npmPackages.
const fixtureEsbuild = "0.28.2"

// jsBundle bundles testdata/fixture/js, as apps of React Native are bundled before they are compiled.
func jsBundle(t *testing.T, s *seeds) string {
	t.Helper()
	esbuild := filepath.Join(npmTarball(t, "@esbuild/linux-x64", fixtureEsbuild), "bin", "esbuild")
	src := s.sources(t, "js")
	if err := tool(t, src, esbuild, "index.js", "--bundle", "--minify", "--target=es2015", "--outfile=out/main.jsbundle", "--log-level=error"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(src, "out", "main.jsbundle")
}

// hermesBundle compiles it to a version of the bytecode.
func hermesBundle(t *testing.T, s *seeds, version string) string {
	t.Helper()
	return hermesCompiled(t, jsBundle(t, s), version)
}

func hermesCompiled(t *testing.T, bundle, version string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "main.jsbundle")
	if err := tool(t, filepath.Dir(bundle), hermesc(t, version), "-O", "-w", "-emit-binary", "-out", to, bundle); err != nil {
		t.Fatal(err)
	}
	return to
}

func hermesPlants() []plant {
	const bundle = "main.jsbundle"
	return []plant{
		{name: "hermes_literal", path: bundle, whole: true},
		{name: "hermes_property", path: bundle, whole: true},
		{name: "hermes_template", path: bundle, whole: true},
		{name: "hermes_wide", path: bundle, spelling: "UTF-16LE", whole: true},
		{name: "hermes_folded", path: bundle, whole: true},
		{name: "hermes_escapes", path: bundle, whole: true},
		{name: "hermes_pieces", path: bundle, pieces: true, adjoin: true},
		{name: "hermes_base64", path: bundle, spelling: "base64", whole: true},
		{name: "hermes_array", path: bundle, whole: true},
		{name: "hermes_numbers", path: bundle, spelling: "32-bit numbers", whole: true},
	}
}

// TestFixtureHermes sees that secrets are found in a bundle, and in what Hermes makes of it.
func TestFixtureHermes(t *testing.T) {
	t.Parallel()
	s := newSeeds(hermesPlants())
	source := jsBundle(t, s)
	s.allPlanted(t)
	proof := Options{Secrets: s.sought()}

	for _, version := range hermesVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := s.look(t, proof, hermesCompiled(t, source, version))
			s.found(t, r, nil)
			wantRules(t, r, finding.Inconclusive)
		})
	}
	t.Run("source", func(t *testing.T) {
		t.Parallel()
		r := s.look(t, proof, source)
		s.found(t, r, func(p plant) plant {
			switch p.name {
			case "hermes_wide":
				p.spelling = ""
			case "hermes_numbers":
				p.spelling = "an array of numbers"
			}
			return p
		})
		wantRules(t, r, finding.Inconclusive)
	})
}

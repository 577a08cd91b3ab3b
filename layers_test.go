package selo_test

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const modulePath = "github.com/selo-id/selo"

// layer is one package of the module and what of the module it may import.
type layer struct {
	dir     string   // "." is the root
	imports []string // dirs; every package may import the root
}

// layers is the whole house, from top to bottom. A package that is not here, an import that is not here,
// and a line here without its package all fail TestLayers.
//
// A test may import every package that stands below its own, for it may need a real store or a provider
// to talk to. It may never reach up.
var layers = []layer{
	{"cmd/selo", []string{"internal/api", "internal/broker", "internal/checklist", "internal/finding", "internal/keyring", "internal/metrics", "internal/policy", "internal/provider", "internal/sandbox", "internal/scan", "internal/seal", "internal/store"}},
	{"internal/api", []string{"internal/broker", "internal/metrics", "internal/policy"}},
	{"internal/broker", []string{"internal/keyring", "internal/metrics", "internal/policy", "internal/provider", "internal/store"}},
	{"internal/metrics", nil},
	{"internal/policy", []string{"internal/store"}},
	{"internal/provider", nil},
	{"internal/keyring", []string{"internal/seal", "internal/store"}},
	{"internal/seal", nil},
	{"internal/store", nil},
	{"internal/checklist", []string{"internal/finding", "internal/sandbox"}}, // works against servers that are not Selo, so it knows nothing of ours
	{"internal/scan", []string{"internal/finding"}},
	{"internal/finding", nil},
	{"internal/sandbox", nil},
	{".", nil},
	{"internal/transcript", nil}, // imports nothing of ours, so that every test may use it; nothing else may
}

// reserved names the packages that may import a module or a package of the standard library that nobody
// else may. The path stands for everything below it.
var reserved = []struct {
	path string
	only []string
	why  string
}{
	{"database/sql", []string{"internal/store"}, "only the store speaks SQL"},
	{"modernc.org/sqlite", []string{"internal/store"}, "only the store imports drivers"},
	{"github.com/jackc/pgx", []string{"internal/store"}, "only the store imports drivers"},
	{"cel.dev/cel-go", []string{"internal/policy", "internal/checklist"}, "only rules are written in it, and what means that access was granted"},
	{"github.com/pressly/goose", []string{"internal/store"}, "only the store migrates"},
	{"github.com/prometheus", []string{"internal/metrics"}, "only the metrics know Prometheus"},
	{"github.com/tink-crypto", []string{"internal/seal"}, "only the sealing encrypts with it"},
	{"github.com/miekg/pkcs11", []string{"internal/seal"}, "only the sealing talks to HSMs"},
	{"encoding/json", nil, "it folds the case of names and keeps the last of two; use github.com/go-json-experiment/json"},
	{"C", nil, "the binary is built without cgo"},
}

// tagged names the modules that are made with cgo, and the build tag without which no file that imports one, not
// even a test, may be built: the rule about C sees only our own files.
var tagged = []struct{ path, tag string }{
	{"github.com/miekg/pkcs11", "pkcs11"},
}

// rootImports are the only modules beside the standard library that the root, which other programs
// import, may draw in.
var rootImports = []string{"github.com/go-json-experiment/json"}

// TestLayers reads every Go file of the module, whatever its build constraints.
func TestLayers(t *testing.T) {
	for _, fault := range layerFaults(os.DirFS("."), layers) {
		t.Error(fault)
	}
}

// layerFaults returns what in fsys goes against the table.
func layerFaults(fsys fs.FS, table []layer) []string {
	var faults []string
	faultf := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	rank := func(dir string) int {
		return slices.IndexFunc(table, func(l layer) bool { return l.dir == dir })
	}
	seen := make(map[string]bool)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipDir(fsys, name)
		case path.Ext(name) != ".go":
			return nil
		}
		dir, isTest := path.Dir(name), strings.HasSuffix(name, "_test.go")
		from := rank(dir)
		if from < 0 && !seen[dir] {
			faultf("%s: the package is not in the table of layers", dir)
		}
		seen[dir] = true
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			faultf("%v", err)
			return nil
		}
		if isTest && sleeps(file) {
			faultf("%s: calls time.Sleep outside testing/synctest; tests do not wait for time", name)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				faultf("%s: has an init function", name)
			}
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			for _, m := range tagged {
				if within(imported, m.path) && !needsTag(file, m.tag) {
					faultf("%s imports %s: the binary is built without cgo; the file needs //go:build %s", name, imported, m.tag)
				}
			}
			if from < 0 {
				continue // said above
			}
			if why := forbidden(table, from, imported, isTest); why != "" {
				faultf("%s imports %s: %s", name, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		faultf("reading the module: %v", err)
	}
	for _, l := range table {
		if !seen[l.dir] {
			faultf("%s: is in the table of layers, and there is no such package", l.dir)
		}
	}
	return faults
}

// needsTag reports that the file is in no build without the tag.
func needsTag(file *ast.File, tag string) bool {
	for _, group := range file.Comments {
		for _, line := range group.List {
			if line.Pos() < file.Package && constraint.IsGoBuild(line.Text) {
				expr, err := constraint.Parse(line.Text)
				return err == nil && demands(expr, tag)
			}
		}
	}
	return false
}

// demands reports that an expression is false without the tag. It knows the plain ways to say so.
func demands(expr constraint.Expr, tag string) bool {
	switch x := expr.(type) {
	case *constraint.TagExpr:
		return x.Tag == tag
	case *constraint.AndExpr:
		return demands(x.X, tag) || demands(x.Y, tag)
	case *constraint.OrExpr:
		return demands(x.X, tag) && demands(x.Y, tag)
	}
	return false
}

// sleeps reports a call of time.Sleep in a file that does not use testing/synctest, where time is not real.
func sleeps(file *ast.File) (found bool) {
	for _, spec := range file.Imports {
		if spec.Path.Value == `"testing/synctest"` {
			return false
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			x, ok := sel.X.(*ast.Ident)
			found = found || ok && x.Name == "time"
		}
		return !found
	})
	return found
}

// skipDir skips what the go command does not take for packages of this module.
func skipDir(fsys fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, name+"/go.mod"); err == nil {
		return fs.SkipDir // another module
	}
	return nil
}

// forbidden says why table[from] may not import a path, or "".
func forbidden(table []layer, from int, imported string, isTest bool) string {
	l := table[from]
	if dir, ok := moduleDir(imported); ok {
		if isTest && within(dir, l.dir+"/testdata") {
			return "" // programs that the test holds its package against
		}
		to := slices.IndexFunc(table, func(l layer) bool { return l.dir == dir })
		switch {
		case to < 0:
			return "it is not in the table of layers"
		case to == from || dir == ".": // a test outside its package; the root, which everyone may import
			return ""
		case isTest && to > from, slices.Contains(l.imports, dir):
			return ""
		}
		return "the table of layers has no such arrow"
	}
	if isTest {
		return ""
	}
	for _, r := range reserved {
		if within(imported, r.path) && !slices.Contains(r.only, l.dir) {
			return r.why
		}
	}
	inRootImports := slices.ContainsFunc(rootImports, func(p string) bool { return within(imported, p) })
	if l.dir == "." && !isStandard(imported) && !inRootImports {
		return "the root imports the standard library and the strict JSON decoder only"
	}
	return ""
}

// moduleDir returns the directory of an import path of this module.
func moduleDir(imported string) (string, bool) {
	if imported == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, modulePath+"/")
}

func within(imported, prefix string) bool {
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}

// isStandard tells the standard library by the rule the go command keeps: no dot in the first element.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// TestLayersCatch shows that every rule of TestLayers can fail.
func TestLayersCatch(t *testing.T) {
	table := []layer{
		{"cmd/selo", []string{"internal/broker"}},
		{"internal/broker", []string{"internal/store"}},
		{"internal/store", nil},
		{"internal/seal", nil},
		{".", nil},
	}
	for _, tc := range []struct {
		name, file, source string
		want               string // in the one fault; "" for none
	}{
		{"clean", "internal/broker/b.go", `import "github.com/selo-id/selo/internal/store"`, ""},
		{"unknown package", "internal/utils/u.go", ``, "internal/utils: the package is not in the table"},
		{"unknown package of tests", "internal/fixtures/u_test.go", ``, "internal/fixtures: the package is not in the table"},
		{"hidden by a build constraint", "internal/store/x_windows.go", `import "github.com/selo-id/selo/internal/broker"`, "no such arrow"},
		{"import up", "internal/store/up.go", `import "github.com/selo-id/selo/internal/broker"`, "no such arrow"},
		{"import past a layer", "cmd/selo/past.go", `import "github.com/selo-id/selo/internal/store"`, "no such arrow"},
		{"renamed import", "cmd/selo/past.go", `import s "github.com/selo-id/selo/internal/store"`, "no such arrow"},
		{"import of a package that is not there", "cmd/selo/gone.go", `import "github.com/selo-id/selo/internal/gone"`, "not in the table"},
		{"test imports down past a layer", "cmd/selo/past_test.go", `import "github.com/selo-id/selo/internal/store"`, ""},
		{"test imports up", "internal/store/up_test.go", `import "github.com/selo-id/selo/internal/broker"`, "no such arrow"},
		{"test imports its own package", "internal/store/own_test.go", `import "github.com/selo-id/selo/internal/store"`, ""},
		{"root imports internal", "up.go", `import "github.com/selo-id/selo/internal/store"`, "no such arrow"},
		{"root imports a module", "jose.go", `import "github.com/go-jose/go-jose/v4"`, "standard library and the strict JSON decoder only"},
		{"root imports a namesake", "json.go", `import "github.com/go-json-experiment/jsonplus"`, "standard library and the strict JSON decoder only"},
		{"root imports strict JSON", "json.go", `import "github.com/go-json-experiment/json/jsontext"`, ""},
		{"root's test imports a module", "cmp_test.go", `import "github.com/google/go-cmp/cmp"`, ""},
		{"driver outside the store", "internal/broker/db.go", `import _ "modernc.org/sqlite"`, "only the store imports drivers"},
		{"part of a driver", "internal/broker/db.go", `import "github.com/jackc/pgx/v5/pgxpool"`, "only the store imports drivers"},
		{"Prometheus outside the metrics", "internal/broker/count.go", `import "github.com/prometheus/client_golang/prometheus"`, "only the metrics know Prometheus"},
		{"SQL outside the store", "internal/broker/db.go", `import "database/sql"`, "only the store speaks SQL"},
		{"driver in the store", "internal/store/db.go", `import _ "modernc.org/sqlite"`, ""},
		{"encoding/json", "internal/store/json.go", `import "encoding/json"`, "folds the case"},
		{"encoding/json in a test", "internal/store/json_test.go", `import "encoding/json"`, ""},
		{"cgo", "internal/store/c.go", `import "C"`, "without cgo"},
		{"cgo in the sealing", "internal/seal/c.go", `import "C"`, "without cgo"},
		{"Tink outside the sealing", "internal/store/t.go", `import "github.com/tink-crypto/tink-go/v2/aead"`, "only the sealing encrypts"},
		{"HSM outside the sealing", "internal/store/h.go", "//go:build pkcs11\n\npackage p\n\nimport \"github.com/miekg/pkcs11\"", "only the sealing talks to HSMs"},
		{"HSM with its tag", "internal/seal/h.go", "//go:build pkcs11 && cgo\n\npackage p\n\nimport \"github.com/miekg/pkcs11\"", ""},
		{"HSM without its tag", "internal/seal/h.go", `import "github.com/miekg/pkcs11"`, "needs //go:build pkcs11"},
		{"HSM with another tag too", "internal/seal/h.go", "//go:build pkcs11 || cgo\n\npackage p\n\nimport \"github.com/miekg/pkcs11\"", "needs //go:build pkcs11"},
		{"HSM with its tag turned round", "internal/seal/h.go", "//go:build !pkcs11\n\npackage p\n\nimport \"github.com/miekg/pkcs11\"", "needs //go:build pkcs11"},
		{"HSM in a test without its tag", "internal/seal/h_test.go", `import "github.com/miekg/pkcs11"`, "needs //go:build pkcs11"},
		{"HSM with its tag too late", "internal/seal/h.go", "//go:build pkcs11\n\nimport \"github.com/miekg/pkcs11\"", "needs //go:build pkcs11"},
		{"init", "internal/store/init.go", `func init() {}`, "has an init function"},
		{"init in a test", "internal/store/init_test.go", `func init() {}`, "has an init function"},
		{"sleeping test", "internal/store/s_test.go", "import \"time\"\n\nfunc f() { time.Sleep(1) }", "calls time.Sleep"},
		{"test that sleeps in a bubble", "internal/store/s_test.go", "import (\"time\"; \"testing/synctest\")\n\nfunc f() { synctest.Test(nil, nil); time.Sleep(1) }", ""},
		{"method named init", "internal/store/m.go", "type t int\n\nfunc (t) init() {}", ""},
		{"testdata", "internal/store/testdata/t.go", `import "C"`, ""},
		{"test imports its testdata", "internal/store/t_test.go", `import "github.com/selo-id/selo/internal/store/testdata/t"`, ""},
		{"package imports its testdata", "internal/store/t.go", `import "github.com/selo-id/selo/internal/store/testdata/t"`, "not in the table"},
		{"test imports another's testdata", "internal/store/t_test.go", `import "github.com/selo-id/selo/internal/broker/testdata/t"`, "not in the table"},
		{"another module", "tools/t.go", `import "C"`, ""},
		{"does not parse", "internal/store/broken.go", `import import`, "missing import path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := fstest.MapFS{"tools/go.mod": {Data: []byte("module example.com/tools")}}
			for _, l := range table {
				fsys[path.Join(l.dir, "doc.go")] = &fstest.MapFile{Data: []byte("package p\n")}
			}
			source := tc.source + "\n"
			if !strings.Contains(source, "package p") {
				source = "package p\n\n" + source
			}
			fsys[tc.file] = &fstest.MapFile{Data: []byte(source)}
			expectFault(t, layerFaults(fsys, table), tc.want)
		})
	}
	t.Run("package that is not there", func(t *testing.T) {
		fsys := fstest.MapFS{"doc.go": {Data: []byte("package p\n")}}
		expectFault(t, layerFaults(fsys, []layer{{"internal/gone", nil}, {".", nil}}), "internal/gone: is in the table of layers, and there is no such package")
	})
}

func expectFault(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("faults, want none: %q", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("faults %q, want one that contains %q", got, want)
	}
}

package scan

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

const wantClass = `
	com.example.Sample.CLIENT_SECRET = static-é\x00x😀
	com.example.Sample.SECOND = second-value
	= second-value
	= dynamic-value`

func TestClass(t *testing.T) {
	t.Parallel()
	data := decSample(t, "sample.class")
	if !isClass(data) {
		t.Error("not recognized")
	}
	if isClass([]byte("\xCA\xFE\xBA\xBE\x00\x00\x00\x02\x01\x00\x00\x07")) {
		t.Error("a fat Mach-O is recognized")
	}
	wantGiven(t, data, classTexts, wantClass)
	if _, err := decGather(t, []byte("\xCA\xFE\xBA\xBE\x00\x00\x00\x41\x00\x02\x63\x00\x00"), classTexts); !errors.Is(err, errVersion) {
		t.Errorf("an unknown constant: %v", err)
	}
}

// javac writes it, and what javap reads in its constants is given.
func TestClassOfJavac(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	decTool(t, "javac", "-d", dir, filepath.Join("testdata", "dec", "src", "Sample.java"))
	path := filepath.Join(dir, "com", "example", "Sample.class")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantGiven(t, data, classTexts, wantClass)
	all, _ := decGather(t, data, classTexts)
	found := regexp.MustCompile(`(?m)= Utf8 +([!-~]+)$`).FindAllSubmatch(decTool(t, "javap", "-v", path), -1)
	if len(found) < 10 {
		t.Errorf("javap has %d texts", len(found))
	}
	for _, m := range found {
		if !slices.Contains(all, " = "+string(m[1])) {
			t.Errorf("%q is missing", m[1])
		}
	}
}

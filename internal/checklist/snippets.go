package checklist

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/selo-id/selo/internal/finding"
)

// The servers that the tests hold the checker against. What they do right is shown to whoever does it wrong.
//
//go:embed testdata/servers/*.go testdata/node-correct/*.js
var sources embed.FS

var cutServers = sync.OnceValues(func() (map[string][]finding.Snippet, error) { return cutAll(sources) })

// snippets returns the pieces of the servers by their names: Go before Node.js, and what uses Selo's library first.
func snippets() (map[string][]finding.Snippet, error) { return cutServers() }

// rulePieces returns what a rule shows beside its texts. What is not there is left out; the tests find that.
func (t text) rulePieces() (code []finding.Snippet, refs []finding.Reference) {
	pieces, _ := snippets() // TestSnippets reads the error: it depends on nothing but what is embedded
	for _, name := range t.Snippets {
		code = append(code, pieces[name]...)
	}
	all := references()
	for _, key := range t.Refs {
		if r, ok := all[key]; ok {
			refs = append(refs, r)
		}
	}
	return code, refs
}

// cutAll cuts the pieces out of every source file, and refuses a file that has one name twice.
func cutAll(files fs.FS) (map[string][]finding.Snippet, error) {
	var names []string
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for servers: %w", err)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	all := make(map[string][]finding.Snippet)
	for _, name := range names {
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading a server: %w", err)
		}
		pieces, err := cutPieces(string(source))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, p := range pieces {
			all[p.name] = append(all[p.name], finding.Snippet{Language: language(name), Code: explained(name, p.code)})
		}
	}
	return all, nil
}

func rank(name string) int {
	switch {
	case path.Base(name) == "library.go":
		return 0
	case path.Ext(name) == ".go":
		return 1
	}
	return 2
}

func language(name string) string {
	if path.Ext(name) == ".go" {
		return "Go"
	}
	return "Node.js"
}

// explained says in a piece what it uses and does not show.
func explained(name, code string) string {
	if language(name) == "Node.js" && strings.Contains(code, "new Refused(") {
		return "// Refused(status, reason) is an Error: the status is for whoever asked, the reason for the log.\n" + code
	}
	return code
}

type piece struct{ name, code string }

// cutPieces returns what stands between "// snippet: NAME" and "// end", without the indentation that all of it has.
func cutPieces(source string) ([]piece, error) {
	var pieces []piece
	var lines []string
	open := ""
	for i, line := range strings.Split(source, "\n") {
		mark := strings.TrimSpace(line)
		name, begins := strings.CutPrefix(mark, "// snippet: ")
		switch {
		case begins && open != "":
			return nil, fmt.Errorf("line %d: a snippet begins within %s", i+1, open)
		case begins && slices.ContainsFunc(pieces, func(p piece) bool { return p.name == name }):
			return nil, fmt.Errorf("line %d: there are two snippets called %s", i+1, name)
		case begins:
			open, lines = name, nil
		case mark == "// end" && open == "":
			return nil, fmt.Errorf("line %d: an end without a snippet", i+1)
		case mark == "// end":
			pieces = append(pieces, piece{open, dedent(lines)})
			open = ""
		case open != "":
			lines = append(lines, strings.TrimRight(line, " \t\r"))
		}
	}
	if open != "" {
		return nil, fmt.Errorf("the snippet %s has no end", open)
	}
	return pieces, nil
}

func dedent(lines []string) string {
	margin, found := "", false
	for _, line := range lines {
		space := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		switch {
		case line == "":
		case !found:
			margin, found = space, true
		default:
			for !strings.HasPrefix(space, margin) {
				margin = margin[:len(margin)-1]
			}
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimPrefix(line, margin) + "\n")
	}
	return strings.Trim(b.String(), "\n") + "\n"
}

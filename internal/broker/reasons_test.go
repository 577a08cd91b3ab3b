package broker_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/selo-id/selo"
)

// elsewhere are the reasons that no act of the broker has, and why.
var elsewhere = map[selo.Reason]string{
	selo.ReasonCallerUnauthenticated: "package policy refuses before there is a caller",
	selo.ReasonPurposeMismatch:       "selo.VerifyReceipt refuses for it",
}

// provoked are the reasons that the broker refused with in these tests; refused notes them.
var provoked sync.Map

// run is the tests, and then the question whether they provoked every reason.
type run struct{ tests *testing.M }

func (r run) Run() int {
	code := r.tests.Run()
	if code != 0 || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	all, err := reasonCodes()
	if err != nil || len(all) < 38 {
		fmt.Fprintf(os.Stderr, "reading errors.go: %d reasons, %v\n", len(all), err)
		return 1
	}
	for _, reason := range all {
		_, seen := provoked.Load(reason)
		if _, not := elsewhere[reason]; seen == not {
			fmt.Fprintf(os.Stderr, "reason %s: provoked by a test is %v, listed as elsewhere is %v\n", reason, seen, not)
			code = 1
		}
	}
	return code
}

// reasonCodes reads the constants of type Reason out of the root package.
func reasonCodes() (all []selo.Reason, err error) {
	tree, err := parser.ParseFile(token.NewFileSet(), "../../errors.go", nil, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if kind, isName := spec.Type.(*ast.Ident); !ok || !isName || kind.Name != "Reason" {
			return true
		}
		text, unquoted := strconv.Unquote(literal.Value)
		if unquoted != nil {
			err = unquoted
		}
		all = append(all, selo.Reason(text))
		return true
	})
	return all, err
}

package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// names walks a parsed rule and says which of its names do not exist. CEL would say so too, but not which
// do. It also holds rules to what the guard check understands: claims are only looked at one by one, and no
// variable of a loop hides another name.
type names struct {
	env   *ruleEnv
	tree  *ast.AST
	calls []string
	errs  []error
}

func (e *ruleEnv) checkNames(tree *ast.AST) []error {
	n := &names{env: e, tree: tree, calls: ruleFunctions()}
	n.walk(tree.Expr(), nil)
	return n.errs
}

func (n *names) wrong(e ast.Expr, format string, args ...any) {
	n.errs = append(n.errs, located(n.tree.SourceInfo().GetStartLocation(e.ID()), fmt.Sprintf(format, args...)))
}

// walk visits e, inside of loops with these variables.
func (n *names) walk(e ast.Expr, loops []string) {
	switch e.Kind() {
	case ast.LiteralKind:
	case ast.IdentKind:
		n.ident(e, loops)
	case ast.SelectKind:
		n.selected(e, loops)
	case ast.CallKind:
		n.call(e)
		for _, one := range operands(e) {
			n.walk(one, loops)
		}
	case ast.ListKind:
		for _, one := range e.AsList().Elements() {
			n.walk(one, loops)
		}
	case ast.MapKind:
		for _, one := range e.AsMap().Entries() {
			n.walk(one.AsMapEntry().Key(), loops)
			n.walk(one.AsMapEntry().Value(), loops)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		n.walk(c.IterRange(), loops)
		n.walk(c.AccuInit(), loops)
		if v := c.IterVar(); v == varClaims || slices.Contains(loops, v) || slices.Contains(n.roots(), v) {
			n.wrong(e, "%q is the name of something else; call the variable of the loop otherwise", v)
		}
		inside := append(slices.Clone(loops), c.IterVar(), c.AccuVar())
		n.walk(c.LoopCondition(), inside)
		n.walk(c.LoopStep(), inside)
		n.walk(c.Result(), inside)
	default:
		n.wrong(e, "rules construct no objects")
	}
}

func (n *names) ident(e ast.Expr, loops []string) {
	name := e.AsIdent()
	if name == varClaims {
		n.wrong(e, "claims is only for claims.NAME and has(claims.NAME)")
		return
	}
	if slices.Contains(loops, name) || ruleVariables()[name] != nil {
		return
	}
	there := slices.Concat(n.variables(), loops)
	there = slices.DeleteFunc(there, func(s string) bool { return strings.HasPrefix(s, "@") })
	n.wrong(e, "there is no %q%s", name, suggest(name, there))
}

func (n *names) selected(e ast.Expr, loops []string) {
	s := e.AsSelect()
	root := ""
	if s.Operand().Kind() == ast.IdentKind && !slices.Contains(loops, s.Operand().AsIdent()) {
		root = s.Operand().AsIdent()
	}
	full := root + "." + s.FieldName()
	switch {
	case root == varClaims:
		if _, there := n.env.claims[s.FieldName()]; !there {
			n.wrong(e, "there is no claim %q%s; others are declared under claims", s.FieldName(),
				suggest(s.FieldName(), slices.Collect(maps.Keys(n.env.claims))))
		}
	case s.IsTestOnly():
		n.wrong(e, "has() is only for claims, as in has(claims.acr)")
	case root != "" && ruleVariables()[full] != nil:
	case root != "" && ruleVariables()[root] == nil:
		n.wrong(e, "there is no %q%s", full, suggest(full, n.variables()))
	default:
		n.wrong(e, "only claims and caller have parts, as in claims.acr and caller.kind")
	}
}

func (n *names) call(e ast.Expr) {
	c := e.AsCall()
	name := c.FunctionName()
	if !slices.Contains(n.calls, name) {
		there := slices.DeleteFunc(slices.Clone(n.calls), func(s string) bool { return strings.ContainsAny(s, "_@") })
		there = append(there, "has", "all", "exists", "exists_one", "acr_in", "amr_has", "scope_has", "signed_in_within")
		n.wrong(e, "there is no function %s%s", name, suggest(name, there))
		return
	}
	args := c.Args()
	switch {
	case name == overloads.Matches && len(args) > 0:
		text, isText := literalText(args[len(args)-1])
		if !isText {
			n.wrong(e, "the pattern of matches must be a text as it is, so that it is checked when loading")
		} else if _, err := regexp.Compile(text); err != nil {
			n.wrong(e, "the pattern of matches is none: %v", err)
		}
	case strings.HasPrefix(name, "get") && len(args) > 0:
		// A zone is looked up at every evaluation, in files: a name from a claim must not get there.
		text, isText := literalText(args[0])
		if isText {
			noon := types.Timestamp{Time: time.Unix(0, 0)}
			isText = !types.IsError(noon.Receive(overloads.TimeGetHours, overloads.TimestampToHoursWithTz, []ref.Val{types.String(text)}))
		}
		if !isText {
			n.wrong(e, `%s takes a time zone that this machine knows, such as "America/Sao_Paulo", or "-03:00"`, name)
		}
	}
}

// operands are what a call is made with, in order.
func operands(e ast.Expr) []ast.Expr {
	c := e.AsCall()
	if c.IsMemberFunction() {
		return append([]ast.Expr{c.Target()}, c.Args()...)
	}
	return c.Args()
}

func (n *names) variables() []string {
	return append(slices.Sorted(maps.Keys(ruleVariables())), "claims.NAME")
}

// roots are the names of the variables up to their dots.
func (n *names) roots() []string {
	var roots []string
	for name := range ruleVariables() {
		root, _, _ := strings.Cut(name, ".")
		roots = append(roots, root)
	}
	return roots
}

// guards walks a parsed rule and finds the claims that may be missing where they are read, at places where
// the error could get lost: error || true is true and error && false is false, and neither says that the
// claim was missing.
//
// The guarantee, which TestRuleGuards tests against an evaluator of its own: if an Allow that was accepted is
// true then no missing claim was read, and a Deny that was accepted never reads one.
type guards struct {
	tree *ast.AST
	deny bool
	errs []error
	told map[string]bool
}

func findUnguarded(tree *ast.AST, kind string) []error {
	g := &guards{tree: tree, deny: kind == kindDeny, told: make(map[string]bool)}
	start := chain
	if g.deny {
		start = inside
	}
	g.walk(tree.Expr(), nil, start)
	return g.errs
}

// spot is where in a rule an expression stands, by what becomes of an error of it.
type spot int

const (
	inside  spot = iota // it may get lost
	operand             // the whole rule is an error too, or another part of its outermost && is false
	chain               // of the outermost &&: likewise, and a false is the rule's
)

// walk visits e where the claims in there are known to be there.
func (g *guards) walk(e ast.Expr, there set, at spot) {
	below := min(at, operand)
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		if !s.IsTestOnly() && !there[s.FieldName()] && at == inside && isClaim(s) {
			g.unguarded(e, s.FieldName())
		}
	case ast.ListKind:
		for _, one := range e.AsList().Elements() {
			g.walk(one, there, below)
		}
	case ast.MapKind:
		for _, one := range e.AsMap().Entries() {
			g.walk(one.AsMapEntry().Key(), there, below)
			g.walk(one.AsMapEntry().Value(), there, below)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		g.walk(c.IterRange(), there, below)
		for _, one := range []ast.Expr{c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			g.walk(one, there, inside) // an error of one round may be lost in the next, and there may be no round
		}
	case ast.CallKind:
		args := operands(e)
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd:
			if at != chain {
				at = inside // (error && false) == false is true
			}
			g.walk(args[0], there, at)
			g.walk(args[1], there.and(unlessFalse(args[0])), at)
		case operators.LogicalOr:
			g.walk(args[0], there, inside)
			g.walk(args[1], there.and(unlessTrue(args[0])), inside)
		case operators.Conditional:
			g.walk(args[0], there, inside)
			g.walk(args[1], there.and(unlessFalse(args[0])), inside)
			g.walk(args[2], there.and(unlessTrue(args[0])), inside)
		case operators.LogicalNot, operators.NotStrictlyFalse:
			// An error stays one under !, but who writes !claims.blocked may think that a missing one is false.
			g.walk(args[0], there, inside)
		default: // strict: an error among the operands is the result
			for _, one := range args {
				g.walk(one, there, below)
			}
		}
	}
}

func isClaim(s ast.SelectExpr) bool {
	return s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == varClaims
}

func (g *guards) unguarded(e ast.Expr, name string) {
	if g.told[name] {
		return
	}
	g.told[name] = true
	where := g.tree.SourceInfo().GetStartLocation(e.ID())
	if g.deny {
		g.errs = append(g.errs, located(where, fmt.Sprintf("guard claims.%s with has(), or say what a missing one means: "+
			"has(claims.%[1]s) && ... denies nobody without it, !has(claims.%[1]s) || ... denies everybody without it", name)))
		return
	}
	g.errs = append(g.errs, located(where, fmt.Sprintf("guard claims.%s with has(), or say what a missing one means: "+
		"has(claims.%[1]s) && ... is false without it, !has(claims.%[1]s) || ... is true without it", name)))
}

// set is a set of names of claims.
type set map[string]bool

func (s set) and(more set) set {
	if len(more) == 0 {
		return s
	}
	both := maps.Clone(more)
	maps.Copy(both, s)
	return both
}

func (s set) common(other set) set {
	both := make(set)
	for name := range s {
		if other[name] {
			both[name] = true
		}
	}
	return both
}

// unlessFalse are the claims that are there if e is true, or an error: && looks at its right side after either.
func unlessFalse(e ast.Expr) set {
	switch e.Kind() {
	case ast.SelectKind:
		if s := e.AsSelect(); s.IsTestOnly() && isClaim(s) {
			return set{s.FieldName(): true}
		}
	case ast.CallKind:
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd:
			return unlessFalse(args[0]).and(unlessFalse(args[1]))
		case operators.LogicalOr:
			return unlessFalse(args[0]).common(unlessFalse(args[1]))
		case operators.LogicalNot:
			return unlessTrue(args[0])
		}
	}
	return nil
}

// unlessTrue are the claims that are there if e is false, or an error.
func unlessTrue(e ast.Expr) set {
	if e.Kind() != ast.CallKind {
		return nil
	}
	args := e.AsCall().Args()
	switch e.AsCall().FunctionName() {
	case operators.LogicalOr:
		return unlessTrue(args[0]).and(unlessTrue(args[1]))
	case operators.LogicalAnd:
		return unlessTrue(args[0]).common(unlessTrue(args[1]))
	case operators.LogicalNot:
		return unlessFalse(args[0])
	}
	return nil
}

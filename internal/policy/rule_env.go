package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The names of what a rule knows.
const (
	varProduct   = "product"
	varPurpose   = "purpose"
	varAssurance = "assurance"
	varCPFKnown  = "cpf_known"
	varNow       = "now"
	varKind      = "caller.kind"
	varService   = "caller.service"
	varScopes    = "caller.scopes"
	varClaims    = "claims"
)

const (
	maxRuleBytes = 4096
	maxRuleDepth = 64
	maxRuleNodes = 2000
	// maxRuleCost is in CEL's units, a step being one or a few. They take some milliseconds at the most.
	maxRuleCost = 50_000
	// A list of more elements, or a text of more bytes, is an error to the rule that reads such a claim: the
	// cost of a pattern is only counted when it was matched.
	maxElements, maxTextClaim = 1024, 32 << 10
	// maxSignedIn is far below what a Duration can hold, and beyond any use.
	maxSignedIn = 10 * 366 * 24 * time.Hour
	// maxRegex is the most instructions of a compiled pattern.
	maxRegex = 500
	// What the estimate at load takes for a large claim. Larger ones are held by maxRuleCost as they come.
	largeList, largeString = 100, 64
)

// ruleEnv compiles the rules of one app.
type ruleEnv struct {
	env    *cel.Env
	claims map[string]ClaimType
}

// program is a compiled rule.
type program = cel.Program

// ruleFunctions is everything that rules can call. What is not strict, so that it may take an error and yield
// a value, must be known to the guard check. type and dyn are left out because they would go round the types.
func ruleFunctions() []string {
	return []string{
		operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.NotStrictlyFalse, // not strict
		operators.LogicalNot, operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals,
		operators.Greater, operators.GreaterEquals, operators.Add, operators.Subtract, operators.Multiply,
		operators.Divide, operators.Modulo, operators.Negate, operators.Index, operators.In,
		"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "duration", "timestamp",
		"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours",
		"getMinutes", "getSeconds", "getMilliseconds", functionSignedIn,
	}
}

func ruleVariables() map[string]*cel.Type {
	return map[string]*cel.Type{
		varProduct: cel.StringType, varPurpose: cel.StringType, varAssurance: cel.StringType, varCPFKnown: cel.BoolType,
		varNow: cel.TimestampType, varKind: cel.StringType, varService: cel.StringType, varScopes: cel.ListType(cel.StringType),
	}
}

func newRuleEnv(claims map[string]ClaimType) (*ruleEnv, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	// Without map and filter no rule can build a list or a text that grows with its input.
	subset := &env.LibrarySubset{IncludeMacros: []string{"has", "all", "exists", "exists_one"}}
	for _, name := range ruleFunctions() {
		subset.IncludeFunctions = append(subset.IncludeFunctions, &env.Function{Name: name})
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(newClaimTypes(registry, claims)),
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.Macros(ruleMacros()...),
		cel.Function(functionSignedIn, cel.Overload(functionSignedIn,
			[]*cel.Type{cel.TimestampType, cel.TimestampType, cel.DurationType}, cel.BoolType, cel.FunctionBinding(signedInWithin))),
		cel.ParserExpressionSizeLimit(maxRuleBytes),
		cel.ParserRecursionLimit(maxRuleDepth),
		cel.ExpressionNodeLimit(maxRuleNodes),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(), cel.ValidateComprehensionNestingLimit(2)),
		cel.Variable(varClaims, cel.ObjectType(varClaims)),
	}
	for name, t := range ruleVariables() {
		options = append(options, cel.Variable(name, t))
	}
	made, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, err
	}
	return &ruleEnv{made, claims}, nil
}

// compile returns a program, or every mistake that can be found.
func (e *ruleEnv) compile(kind, text string) (program, []error) {
	parsed, errs := e.parse(text)
	if errs != nil {
		return nil, errs
	}
	// Before the check, which rewrites the tree.
	unguarded := findUnguarded(parsed.NativeRep(), kind)
	checked, errs := e.check(parsed)
	if errs != nil {
		return nil, errs
	}
	if unguarded != nil {
		return nil, unguarded
	}
	made, err := e.plan(checked, maxRuleCost)
	if err != nil {
		return nil, []error{err}
	}
	return made, nil
}

// parse refuses what is no CEL and names that do not exist.
func (e *ruleEnv) parse(text string) (*cel.Ast, []error) {
	if len(text) > maxRuleBytes {
		return nil, []error{fmt.Errorf("is %d bytes, at most %d", len(text), maxRuleBytes)}
	}
	parsed, issues := e.env.Parse(text)
	if errs := issueErrors(issues); errs != nil {
		return nil, errs
	}
	return parsed, e.checkNames(parsed.NativeRep())
}

// check refuses wrong types, and what may take too long.
func (e *ruleEnv) check(parsed *cel.Ast) (*cel.Ast, []error) {
	checked, issues := e.env.Check(parsed)
	if errs := issueErrors(issues); errs != nil {
		return nil, errs
	}
	if got := checked.OutputType(); !got.IsExactType(cel.BoolType) {
		return nil, []error{fmt.Errorf("must be true or false (bool), is %s", cel.FormatCELType(got))}
	}
	estimate, err := e.env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, []error{fmt.Errorf("estimating its cost: %w", err)}
	}
	if estimate.Max > maxRuleCost {
		return nil, []error{fmt.Errorf("may take %d steps with large claims, at most %d; nest no loops over claims", estimate.Max, maxRuleCost)}
	}
	return checked, nil
}

func (e *ruleEnv) plan(checked *cel.Ast, limit uint64) (program, error) {
	return e.env.Program(checked, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(limit))
}

// sizes tells the cost estimate how large a claim may be.
type sizes struct{}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if node.ComputedSize() != nil {
		return nil
	}
	switch node.Type().Kind() {
	case types.ListKind:
		return &cost.SizeEstimate{Max: largeList}
	case types.StringKind:
		return &cost.SizeEstimate{Max: largeString}
	default:
		return nil
	}
}

// issueErrors are CEL's own words, which are about the text of a rule, one line each.
func issueErrors(issues *cel.Issues) []error {
	if issues.Err() == nil {
		return nil
	}
	var errs []error
	for _, one := range issues.Errors() {
		message := strings.ReplaceAll(one.Message, " (in container '')", "")
		errs = append(errs, located(one.Location, strings.Join(strings.Fields(message), " ")))
	}
	if len(errs) == 0 {
		errs = append(errs, issues.Err())
	}
	return errs
}

func located(where common.Location, message string) error {
	if where.Line() < 1 {
		return errors.New(message)
	}
	return fmt.Errorf("line %d, column %d: %s", where.Line(), where.Column()+1, message)
}

// ruleMacros are the helpers. Each guards its own claim.
func ruleMacros() []cel.Macro {
	claim := func(f cel.MacroExprFactory, name string) ast.Expr { return f.NewSelect(f.NewIdent(varClaims), name) }
	guarded := func(f cel.MacroExprFactory, name string, condition ast.Expr) ast.Expr {
		return f.NewCall(operators.LogicalAnd, f.NewPresenceTest(f.NewIdent(varClaims), name), condition)
	}
	return []cel.Macro{
		cel.GlobalVarArgMacro("acr_in", func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			if err := wantTexts(f, "acr_in", args); err != nil {
				return nil, err
			}
			return guarded(f, "acr", f.NewCall(operators.In, claim(f, "acr"), f.NewList(args...))), nil
		}),
		cel.GlobalVarArgMacro("amr_has", func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			if err := wantTexts(f, "amr_has", args); err != nil {
				return nil, err
			}
			one := f.NewCall(operators.In, args[0], claim(f, "amr"))
			for _, arg := range args[1:] {
				one = f.NewCall(operators.LogicalOr, one, f.NewCall(operators.In, arg, claim(f, "amr")))
			}
			return guarded(f, "amr", one), nil
		}),
		cel.GlobalMacro("scope_has", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			if err := wantTexts(f, "scope_has", args); err != nil {
				return nil, err
			}
			return guarded(f, "scope", f.NewCall(operators.In, args[0], claim(f, "scope"))), nil
		}),
		cel.GlobalMacro("signed_in_within", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			text, isText := literalText(args[0])
			if d, err := time.ParseDuration(text); !isText || err != nil || d <= 0 || d > maxSignedIn {
				return nil, f.NewError(args[0].ID(), `signed_in_within takes one time as text, such as "15m" or "24h", up to ten years`)
			}
			return guarded(f, "auth_time", f.NewCall(functionSignedIn, f.NewIdent(varNow), claim(f, "auth_time"),
				f.NewCall("duration", f.NewLiteral(types.String(text))))), nil
		}),
	}
}

// functionSignedIn is what signed_in_within comes down to. No text can spell it.
const functionSignedIn = "@signed_in_within"

func signedInWithin(args ...ref.Val) ref.Val {
	// The clocks of issuers are off by a little: half a minute ahead is still now.
	const ahead = 30 * time.Second
	now, isNow := args[0].(types.Timestamp)
	at, isAt := args[1].(types.Timestamp)
	limit, isLimit := args[2].(types.Duration)
	if !isNow || !isAt || !isLimit {
		return types.NewErr("arguments of another type") // CEL has checked the types
	}
	ago := now.Sub(at.Time) // stays at the ends of its range, which are far beyond any limit
	return types.Bool(ago <= limit.Duration && ago >= -ahead)
}

func wantTexts(f cel.MacroExprFactory, name string, args []ast.Expr) *cel.Error {
	if len(args) == 0 {
		return f.NewError(0, name+` takes at least one text, such as `+name+`("x")`)
	}
	for _, arg := range args {
		if _, isText := literalText(arg); !isText {
			return f.NewError(arg.ID(), name+` takes texts as they are, such as `+name+`("x")`)
		}
	}
	return nil
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, isText := e.AsLiteral().(types.String)
	return string(text), isText
}

// claimTypes tells CEL of claims: an object with one field for each, any of which may be missing.
type claimTypes struct {
	*types.Registry
	names  []string
	fields map[string]*types.FieldType
}

func newClaimTypes(registry *types.Registry, claims map[string]ClaimType) *claimTypes {
	c := &claimTypes{registry, slices.Sorted(maps.Keys(claims)), make(map[string]*types.FieldType)}
	for name, t := range claims {
		c.fields[name] = &types.FieldType{
			Type:    celType(t),
			IsSet:   func(target any) bool { return target.(*activation).has(name) },
			GetFrom: func(target any) (any, error) { return target.(*activation).claim(name, t) },
		}
	}
	return c
}

func celType(t ClaimType) *types.Type {
	switch t {
	case ClaimString:
		return types.StringType
	case ClaimStrings:
		return types.NewListType(types.StringType)
	case ClaimBoolean:
		return types.BoolType
	case ClaimInteger:
		return types.IntType
	case ClaimNumber:
		return types.DoubleType
	case ClaimTime:
		return types.TimestampType
	default:
		return nil
	}
}

func (c *claimTypes) FindStructType(name string) (*types.Type, bool) {
	if name != varClaims {
		return nil, false
	}
	return types.NewTypeTypeWithParam(types.NewObjectType(varClaims)), true
}

func (c *claimTypes) FindStructFieldNames(name string) ([]string, bool) {
	return c.names, name == varClaims
}

func (c *claimTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	one, there := c.fields[field]
	return one, there && name == varClaims
}

// NewValue makes nothing: no rule constructs objects.
func (c *claimTypes) NewValue(string, map[string]ref.Val) ref.Val {
	return types.NewErr("rules construct no objects")
}

// checkClaim says what is wrong with the name or type of an app's claim.
func checkClaim(name string, t ClaimType) error {
	if celType(t) == nil {
		known := []ClaimType{ClaimString, ClaimStrings, ClaimBoolean, ClaimInteger, ClaimNumber, ClaimTime}
		return fmt.Errorf("type must be one of %q", known)
	}
	bare, err := cel.NewCustomEnv(cel.StdLib())
	if err != nil {
		return err
	}
	if _, issues := bare.Parse(varClaims + "." + name); issues.Err() != nil || !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`).MatchString(name) {
		return errors.New("the name for rules must be 1 to 64 letters, digits and _, begin with no digit and be no word of CEL; say where it is in the token with its path")
	}
	return nil
}

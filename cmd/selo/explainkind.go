package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo"
)

// kind is what a token is, by its claims.
type kind int

const (
	kindUnknown   kind = iota
	kindResponse       // has a claim that decides
	kindUndecided      // has a response's claims, and none that decides
	kindMobile         // starts the SDK
	kindServer         // iss and exp alone
	kindSession        // the provider's
	kindBearer         // an identity provider's
	kindReceipt        // Selo's
)

// judged reports whether it is known what a token of that kind must be like, beyond what products say of it.
func (k kind) judged() bool {
	return k == kindMobile || k == kindServer || k == kindBearer || k == kindReceipt
}

// decisions are the claims that decide, of all products.
var decisions = func() (all []string) {
	for _, p := range selo.Profiles() {
		for _, s := range p.Shapes {
			all = append(all, s.Decision...)
		}
	}
	return all
}()

func (e *explained) classify() kind {
	iss, names := e.has("iss"), e.hasAny("peopleId", "personId")
	switch {
	case strings.EqualFold(e.typ, selo.ReceiptType):
		return kindReceipt
	case e.hasAny(decisions...):
		return kindResponse
	case iss && e.publicKey():
		return kindBearer
	case iss && names:
		return kindMobile
	case iss && len(e.beyond("iss", "exp", "iat", "nbf")) == 0:
		return kindServer
	case iss && e.has("sub"):
		return kindBearer
	case names && e.hasAny("requestId", "sessionId", "attemptId"):
		return kindUndecided
	case !names && !e.has("sub") && e.hasAny("jti", "sid", "sessionId", "session_id", "clientId"):
		return kindSession
	case iss:
		return kindMobile
	}
	return kindUnknown
}

// beyond returns the names of the claims that are none of these.
func (e *explained) beyond(names ...string) (more []string) {
	for _, name := range e.order {
		if !slices.Contains(names, name) {
			more = append(more, e.safe(name))
		}
	}
	return more
}

// publicKey reports whether the signature is one that a public key verifies.
func (e *explained) publicKey() bool {
	return len(e.alg) > 2 && slices.Contains([]string{"RS", "ES", "PS", "Ed"}, e.alg[:2])
}

func (e *explained) unsigned() bool {
	return strings.HasSuffix(e.token, ".") || strings.EqualFold(e.alg, "none") && e.signature != holds
}

// what says in one sentence what the token is.
func (e *explained) what(fits []fit) string {
	text := e.named(fits)
	if e.unsigned() && e.kind != kindUnknown {
		return "not signed, but made like " + text
	}
	return text
}

func (e *explained) named(fits []fit) string {
	switch e.kind {
	case kindReceipt:
		return "a receipt of Selo: the statement that a session was granted"
	case kindResponse:
		return e.namedResponse(fits)
	case kindUndecided:
		return "something like a signed response, with no claim that decides"
	case kindBearer:
		if e.publicKey() {
			return "a token of an identity provider, such as a bearer token: it shows who calls, and is no response"
		}
		return "a token of an identity provider, such as a bearer token, made with a shared secret"
	case kindServer:
		return "a server's own token, for session exchange or a re-check; in an app it would start the SDK for anybody"
	case kindSession:
		return "perhaps a session token of the provider, from a session exchange: it names no person, and is not made by us"
	case kindMobile:
		return e.namedMobile()
	}
	return "no token that Selo knows"
}

func (e *explained) namedResponse(fits []fit) string {
	var found []string
	for _, f := range fits {
		if len(f.shapes) > 0 {
			found = append(found, f.profile.Product+" ("+strings.Join(f.shapes, ", ")+")")
		}
	}
	switch {
	case len(found) == 0:
		return "something like a signed response, of no product that Selo knows"
	case e.has("iss"):
		return "a signed response of " + strings.Join(found, " and of ") + " and a mobile token at once, which nothing is"
	case e.has("isAuthorized"):
		return "a signed response of " + strings.Join(found, " and of ") + ": Smart Auth's attestation" + e.attested()
	}
	return "a signed response of " + strings.Join(found, " and of ") + ": what an SDK brings back"
}

func (e *explained) attested() string {
	switch e.payload["isAuthorized"].Kind() {
	case 't':
		return ", which approves"
	case 'f':
		return ", pending or refused"
	}
	return ""
}

func (e *explained) namedMobile() string {
	people, person := e.has("peopleId"), e.has("personId")
	switch {
	case people && person:
		return "a mobile token that names a person as two kinds of key do"
	case people:
		return "a mobile token of a Mobile Key: it starts " + startedBy("peopleId") + " for one person, and Smart Auth's role face"
	case person:
		return "a mobile token of an Identity key: it starts " + startedBy("personId") + " for one person, in the role identity"
	}
	return "a mobile token without a person: it starts the SDK for anybody"
}

// startedBy lists the products whose tokens name the person in that claim.
func startedBy(subject string) string {
	var all []string
	for _, p := range selo.Profiles() {
		if p.TokenSubject == subject {
			all = append(all, p.Product)
		}
	}
	return enumerate(all, "or")
}

func enumerate(all []string, last string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " " + last + " " + all[len(all)-1]
}

// signedBy says how the token is signed and whether the signature holds, never what it is.
func (e *explained) signedBy() string {
	alg := e.alg
	if alg == "" {
		alg = "no alg"
	}
	switch {
	case strings.HasSuffix(e.token, "."):
		return alg + ", not signed at all"
	case e.signature == holds:
		return alg + ", the signature holds under this secret" + e.madeBy()
	case e.publicKey():
		return alg + ", checked with a public key: no client secret can tell whether the signature holds"
	case e.signature == doesNotHold && e.kind == kindSession:
		return alg + ", the signature does NOT hold under this secret, which is as it should be: the provider made it"
	case e.signature == doesNotHold:
		return alg + ", the signature does NOT hold under this secret: another key made it, or somebody changed it"
	}
	return alg + ", signature not checked (give --secret-file): anybody can have written this"
}

// madeBy says what follows from a signature that holds.
func (e *explained) madeBy() string {
	switch e.kind {
	case kindMobile, kindServer:
		return ": made with your key"
	case kindSession:
		return ": then it is not the provider's, but made with your key"
	}
	return ""
}

// who says whom the token is for, masked.
func (e *explained) who() string {
	var found, not []string
	for _, p := range e.people {
		if p.cpf.IsZero() {
			not = append(not, p.claim)
			continue
		}
		found = append(found, fmt.Sprintf("%s (%s)", p.cpf, p.claim))
	}
	switch {
	case len(found) > 0:
		return strings.Join(found, ", ")
	case len(not) > 0:
		return "nobody: no CPF is in " + enumerate(not, "or")
	case e.has("sub"):
		return "the user in sub, which is no CPF and not shown"
	}
	return "nobody: no claim holds a CPF"
}

// statement is what a receipt says.
func (e *explained) statement() string {
	said := func(name string) string {
		if text := e.word(e.payload[name]); text != "" {
			return text
		}
		return "(missing)"
	}
	return fmt.Sprintf("granted by %s for the purpose %s, which proved %s", said("product"), said("purpose"), said("assurance"))
}

// when says what a claim of time says, or "" when there is nothing to say.
func (e *explained) when(claim string) string {
	t, there := e.times[claim]
	switch {
	case !there && claim != "exp":
		return ""
	case !there && (e.kind == kindResponse || e.kind == kindUndecided):
		if !e.has("iat") {
			return "not by itself: it has neither exp nor iat"
		}
		return "not by itself: it has no exp, and only its iat bounds its age"
	case !there:
		return "never: it has no exp"
	case t.bad:
		return claim + " is no time"
	case t.millis && claim == "exp":
		return fmt.Sprintf("%s if it were milliseconds; it is read as seconds, and so never", t.at.UTC().Format(time.RFC3339))
	case t.millis:
		return fmt.Sprintf("%s if it were milliseconds, which it must not be", t.at.UTC().Format(time.RFC3339))
	}
	return t.at.UTC().Format(time.RFC3339) + ", " + relative(t.at.Unix()-e.at.Unix())
}

func relative(seconds int64) string {
	size := max(seconds, -seconds)
	text := (time.Duration(size) * time.Second).String()
	if days := size / (24 * 60 * 60); days >= 3 {
		text = fmt.Sprintf("%d days", days)
	}
	if seconds < 0 {
		return text + " ago"
	}
	return "in " + text
}

// wrong lists what is wrong with a token as the kind of token that it is. What is wrong with it as a response
// stands with the product.
func (e *explained) wrong() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if strings.EqualFold(e.alg, "none") && e.kind != kindResponse {
		say("alg none: nobody signed it, and whoever has it can change it (algorithm_refused)")
	}
	switch e.kind {
	case kindMobile, kindServer:
		if !strings.EqualFold(e.alg, "none") {
			if fault := e.headerFault(); fault != nil {
				say("%s", inWords(fault))
			}
		}
		e.wrongExpiry(say, maxLifetime(), "for any product")
		e.wrongMobile(say)
	case kindReceipt:
		if e.alg != "EdDSA" && !strings.EqualFold(e.alg, "none") {
			say("alg is not EdDSA, which every receipt has (algorithm_refused)")
		}
		e.wrongExpiry(say, selo.MaxReceiptLifetime, "for a receipt")
	case kindSession:
		e.wrongExpiry(say, 0, "")
	case kindBearer:
		e.wrongExpiry(say, 0, "")
		if !e.publicKey() && !strings.EqualFold(e.alg, "none") {
			say("Selo takes bearer tokens with a public key's signature only (RS256, ES256 and the like)")
		}
	}
	return all
}

// wrongExpiry judges exp. most is how far ahead it may be, 0 for as far as it likes.
func (e *explained) wrongExpiry(say func(string, ...any), most time.Duration, of string) {
	t, there := e.times["exp"]
	switch {
	case !there:
		say("never expires: it has no exp, so whoever gets a copy can use it for ever")
	case t.bad:
		say("exp is no number of seconds since 1970")
	case t.millis:
		say("exp is in milliseconds: read as the seconds that it must be, it never expires")
	case !e.at.Before(t.at):
		say("has expired")
	case most > 0 && t.at.After(e.at.Add(most)):
		say("expires more than %s ahead, which is the longest that a token lives %s", minutes(most), of)
	}
}

func minutes(d time.Duration) string { return fmt.Sprintf("%.0f minutes", d.Minutes()) }

// maxLifetime is the ceiling that no product's token exceeds.
func maxLifetime() (most time.Duration) {
	for _, p := range selo.Profiles() {
		most = max(most, p.MaxLifetime)
	}
	return most
}

func (e *explained) wrongMobile(say func(string, ...any)) {
	if client, ok := textOf(e.payload["iss"]); !ok || client == "" {
		say("iss is not the client ID: it must be a text")
	}
	for _, p := range e.people {
		if p.cpf.IsZero() {
			say("%s is no CPF: it must be 11 digits with correct check digits", p.claim)
		}
	}
	if e.has("peopleId") && e.has("personId") {
		say("names the person in peopleId and in personId: a Mobile Key's token has the one, an Identity key's the other")
	}
	if e.kind == kindMobile && !e.hasAny("peopleId", "personId") {
		say("names nobody, so the app chooses whom the SDK runs for")
	}
	if more := e.beyond("iss", "exp", "peopleId", "personId"); len(more) > 0 {
		const most = 5
		if len(more) > most {
			more = append(more[:most:most], "others")
		}
		say("has more claims than it needs: %s. The same secret signs responses, so each helps a forger", enumerate(more, "and"))
	}
}

package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/store"
)

// TestScenarios plays testdata/*.txt. A line of a scenario begins with
//
//	#  a comment
//	@  something done elsewhere: see (*player).do
//	>  a request: method, path, and who sends it: "as ana", "as backend", "as ana@impostor", or nobody
//	>> a header of that request, after which it has no other of that name
//	|  its body; several lines are joined without a line break
//	<  the status that is expected; "< Name: value" is a header, "< Name: -" one that must not be there
//	=  a member of the answer: "= a.b {JSON}" must be equal, "= a.b -" must not be there, "= a.b -> NAME"
//	   keeps a string for later
//	!  what must not stand anywhere in the answer, headers and body
//
// and ${NAME} stands for what was kept; ${NOW} for the time in seconds, ${pad:N} for N letters. A request is sent when its first "<" is
// read; each has one. The answers are also held to openapi.yaml: an answer that it does not document fails.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	t.Run("all", func(t *testing.T) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				t.Parallel()
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				p := &player{t: t, kept: map[string]string{"ANA": anaCPF.Digits(), "BRUNO": brunoCPF.Digits(), "NEVER_ISSUED_KEY": unknownAPIKey, "SECRET": string(newClientSecret)}}
				for i, line := range strings.Split(string(text), "\n") {
					p.at = fmt.Sprintf("%s:%d", file, i+1)
					p.line(line)
				}
				if p.request != nil || p.answers == 0 {
					t.Errorf("%s: ends without an answer", p.at)
				}
			})
		}
	})
	// What is documented is what happens: no status stands there that never comes.
	d := theDocument(t)
	for _, operation := range d.operations() {
		method, path, _ := strings.Cut(operation, " ")
		responses, err := d.at(pointer("paths", path, strings.ToLower(method), "responses"))
		if err != nil {
			t.Fatal(err)
		}
		for status := range responses.(map[string]any) {
			if !d.seen[operation+" "+status] {
				t.Errorf("%s: status %s is documented, and no scenario has it", operation, status)
			}
		}
	}
}

type player struct {
	t        *testing.T
	at       string // file and line
	settings settings
	house    *house
	kept     map[string]string

	request *request // not sent yet
	answer  answer
	answers int
}

type request struct {
	method, path, who string
	header            http.Header
	body              string
}

var variable = regexp.MustCompile(`\$\{([^}]+)\}`)

func (p *player) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		name := v[2 : len(v)-1]
		if count, ok := strings.CutPrefix(name, "pad:"); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				p.t.Fatalf("%s: %v", p.at, err)
			}
			return strings.Repeat("x", n)
		}
		value, ok := p.kept[name]
		if !ok {
			p.t.Fatalf("%s: nothing was kept as %s", p.at, name)
		}
		return value
	})
}

func (p *player) line(line string) {
	p.t.Helper()
	mark, rest, _ := strings.Cut(line, " ")
	rest = p.expand(rest)
	if p.request != nil && (mark == "@" || mark == ">") {
		p.t.Fatalf("%s: the request before has no expected status", p.at)
	}
	switch mark {
	case "", "#":
	case "@":
		p.do(strings.Fields(rest))
	case ">":
		words := strings.Fields(rest)
		p.request = &request{method: words[0], path: words[1], header: http.Header{}}
		if len(words) == 4 && words[2] == "as" {
			p.request.who = words[3]
		} else if len(words) != 2 {
			p.t.Fatalf("%s: want METHOD PATH [as WHO]", p.at)
		}
	case ">>":
		name, value, _ := strings.Cut(rest, ": ")
		p.request.header.Add(name, value)
	case "|":
		p.request.body += rest
	case "<":
		p.expect(rest)
	case "=":
		p.member(rest)
	case "!":
		if strings.Contains(p.answer.text(), rest) {
			p.t.Errorf("%s: %q stands in the answer:\n%s", p.at, rest, p.answer.text())
		}
	default:
		p.t.Fatalf("%s: what is %q?", p.at, mark)
	}
}

// expect sends the request that is waiting, and compares its status or a header of its answer.
func (p *player) expect(want string) {
	p.t.Helper()
	if r := p.request; r != nil {
		p.request = nil
		p.answer = p.ready().send(r.method, r.path, r.who, r.body, r.header)
		p.answers++
		if got := strconv.Itoa(p.answer.status); got != want {
			p.t.Fatalf("%s: status %s, want %s\n%s", p.at, got, want, p.answer.text())
		}
		return
	}
	name, value, ok := strings.Cut(want, ": ")
	if !ok {
		p.t.Fatalf("%s: want a header", p.at)
	}
	got := strings.Join(p.answer.header.Values(name), " | ")
	if value == "-" {
		value = ""
	}
	if got != value {
		p.t.Errorf("%s: %s is %q, want %q", p.at, name, got, value)
	}
}

// member compares or keeps one member of the answer.
func (p *player) member(rest string) {
	p.t.Helper()
	path, want, _ := strings.Cut(rest, " ")
	var value any = p.answer.json(p.t)
	there := true
	for step := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if value, there = object[step]; !ok || !there {
			there = false
			break
		}
	}
	if want == "-" {
		if there {
			p.t.Errorf("%s: %s is there: %v", p.at, path, value)
		}
		return
	}
	if !there {
		p.t.Fatalf("%s: there is no %s in\n%s", p.at, path, p.answer.body)
	}
	if name, ok := strings.CutPrefix(want, "-> "); ok {
		p.kept[name] = value.(string)
		return
	}
	var wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		p.t.Fatalf("%s: %s is not JSON: %v", p.at, want, err)
	}
	if !reflect.DeepEqual(wanted, value) {
		p.t.Errorf("%s: %s is %v, want %s", p.at, path, value, want)
	}
}

// ready builds the house before the first thing that needs one.
func (p *player) ready() *house {
	if p.house == nil {
		p.house = newHouse(p.t, p.settings)
	}
	p.kept["NOW"] = strconv.FormatInt(p.house.clock.Now().Unix(), 10)
	return p.house
}

// do does what a scenario needs from outside the API:
//
//	limit N DURATION [BY]          at most N sessions of a subject in that time, or by what else is said; before the first request
//	trust NETWORK                  a proxy in front; likewise
//	jwt NAME ALG KID WHO CHANGES   keeps a bearer token of the lab for ana, bruno or nobody; CHANGES is a JSON object, null takes a
//	                               claim away. ALG may be none, and HS256 is under the public key
//	lab down|up                    the lab cannot be reached, or can; its keys and its backend
//	lab fetches|lookups|asked N    how often it was asked for keys, a CPF, or what a token is
//	lab publish KID…               the kids under which its RSA key is published
//	lab backend|introspect TEXT    what these answer from now on
//	minted NAME CLIENT             the mobile token NAME is by the access key of CLIENT
//	sign64 NAME SIGNED             keeps a liveness response for bruno by the access key that a scenario added
//	revoke NAME                    revokes an API key
//	insist N WHO                   asks so often, as somebody, for what is refused
//	expired N                      sends so many requests with a genuine token of the lab's that has expired
//	flood N HEADER VALUE           sends so many requests without a good credential
//	attempts N                     refused responses until a session is denied; likewise
//	clock DURATION                 lets time pass
//	store close                    loses the database
//	panic on|off                   makes the broker panic
//	token WHO NAME                 keeps WHO's bearer token
//	sdk PRODUCT TOKEN WHO OUTCOME NAME   runs the SDK and keeps its signed response
//	sign KEY NAME PAYLOAD          keeps a payload signed by the provider with a client's secret
//	caf METHOD PATH TOKEN NAME [HEADER=VALUE…] [BODY]   asks the sandbox over HTTP, with "-" for no token; keeps the signed
//	                               response, session token or bare JWT of its answer as NAME, the whole answer as NAME_BODY,
//	                               and the id of its attempt as NAME_ATTEMPT
//	fault PATH FAULT COUNT [MEMBER=VALUE…]   has the sandbox fail the next COUNT requests to PATH
//	calls PATTERN COUNT            how often the sandbox was asked there so far
//	hmac NAME BODY                 keeps the webhook's signature of a body
func (p *player) do(words []string) {
	p.t.Helper()
	switch words[0] {
	case "limit":
		p.limit(words[1:])
	case "trust":
		p.settings.trusted = words[1:]
	case "jwt":
		cpf := map[string]selo.CPF{"ana": anaCPF, "bruno": brunoCPF}[words[4]]
		lab := p.ready().lab
		p.kept[words[1]] = lab.jwt(words[2], words[3], lab.user(words[4], cpf, p.house.clock.Now().Unix(), strings.Join(words[5:], " ")))
	case "lab":
		p.lab(words[1:])
	case "minted":
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(p.kept[words[1]], ".")[1])
		if err != nil || !strings.Contains(string(payload), `"iss":"`+words[2]+`"`) {
			p.t.Errorf("%s: %s is not minted by %s", p.at, words[1], words[2])
		}
	case "sign64":
		p.kept[words[2]] = sandbox.Sign(newClientSecret, []byte(sandbox.HS256Header), []byte(fmt.Sprintf(
			`{"requestId":"r-%s","isAlive":true,"token":"t","userId":"u","imageUrl":"https://images.test/1.jpg","personId":%q,"sdkVersion":"1","iat":%d}`,
			p.kept[words[1]], brunoCPF.Digits(), p.house.clock.Now().Unix())))
	case "revoke":
		p.ready().revoke(words[1])
	case "insist":
		for range p.number(words[1]) {
			if a := p.ready().send("POST", "/v1/sessions", words[2], `{"product":"caf/palm","purpose":"login"}`, nil); a.status < 400 || a.status >= 429 {
				p.t.Fatalf("%s: %d %s", p.at, a.status, a.body)
			}
		}
	case "expired":
		lab := p.ready().lab
		token := lab.jwt("RS256", "r1", lab.user("ana", anaCPF, p.house.clock.Now().Unix(), `{"exp":1}`))
		for range p.number(words[1]) {
			if a := p.house.send("POST", "/v1/sessions", "", "", http.Header{"Authorization": {"Bearer " + token}}); a.status != http.StatusUnauthorized {
				p.t.Fatalf("%s: %d %s", p.at, a.status, a.body)
			}
		}
	case "flood":
		header := http.Header{"Authorization": {"Bearer a.b.c"}}
		for range p.number(words[1]) {
			if len(words) > 2 {
				header.Set(words[2], strings.Join(words[3:], " "))
			}
			if a := p.ready().send("POST", "/v1/sessions", "", "", header); a.status != http.StatusUnauthorized {
				p.t.Fatalf("%s: %d %s", p.at, a.status, a.body)
			}
		}
	case "attempts":
		p.settings.attempts = p.number(words[1])
	case "clock":
		p.ready().clock.move(p.duration(words[1]))
		p.ready()
	case "store":
		if err := p.ready().store.Close(); err != nil {
			p.t.Fatal(err)
		}
	case "panic":
		p.ready().broken.Store(words[1] == "on")
	case "token":
		p.kept[words[2]] = strings.TrimPrefix(p.ready().credential(words[1]), "Bearer ")
	case "sdk":
		cpf := map[string]selo.CPF{"ana": anaCPF, "bruno": brunoCPF}[words[3]]
		p.kept[words[5]] = p.ready().sdk(words[2], words[1], cpf, words[4])
	case "sign":
		secret := map[string][]byte{"client-liveness": livenessSecret, "client-faceauth": faceAuthSecret, "client-shop": shopSecret, "client-smart": smartSecret}[words[1]]
		p.kept[words[2]] = sandbox.Sign(secret, []byte(sandbox.HS256Header), []byte(strings.Join(words[3:], " ")))
	case "caf":
		p.caf(words[1], words[2], words[3], words[4], words[5:])
	case "fault":
		body := `{"path":"` + words[1] + `","fault":"` + words[2] + `","count":` + words[3]
		for _, more := range words[4:] {
			name, value, _ := strings.Cut(more, "=")
			body += `,"` + name + `":"` + value + `"`
		}
		p.caf("POST", "/_sandbox/faults", "-", "FAULT", []string{body + "}"})
	case "calls":
		p.caf("GET", "/_sandbox/requests", "-", "CALLS", nil)
		var counted struct{ Counts map[string]int }
		if err := json.Unmarshal([]byte(p.kept["CALLS_BODY"]), &counted); err != nil || strconv.Itoa(counted.Counts[words[1]]) != words[2] {
			p.t.Errorf("%s: %s, %v", p.at, p.kept["CALLS_BODY"], err)
		}
	case "hmac":
		mac := hmac.New(sha256.New, webhookSecret)
		mac.Write([]byte(strings.Join(words[2:], " ")))
		p.kept[words[1]] = hex.EncodeToString(mac.Sum(nil))
	default:
		p.t.Fatalf("%s: cannot do %q", p.at, words[0])
	}
}

// caf asks the sandbox as an app, or the provider's side of a test, would.
func (p *player) caf(method, path, token, name string, more []string) {
	p.t.Helper()
	h := p.ready()
	header := http.Header{}
	for len(more) > 0 && !strings.HasPrefix(more[0], "{") {
		key, value, _ := strings.Cut(more[0], "=")
		header.Set(key, value)
		more = more[1:]
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, h.cafURL+path, strings.NewReader(strings.Join(more, " ")))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = header
	if token != "-" {
		r.Header.Set("Authorization", token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: the sandbox answered %d %s, %v", p.at, resp.StatusCode, body, err)
	}
	p.kept[name+"_BODY"] = string(body)
	p.kept[name+"_ATTEMPT"] = resp.Header.Get("X-Sandbox-Attempt")
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		p.kept[name] = string(body) // a bare JWT
		return
	}
	for _, member := range []string{"signedResponse", "sessionToken"} {
		if text, ok := members[member].(string); ok {
			p.kept[name] = text
		}
	}
}

func (p *player) limit(words []string) {
	l := store.Limit{By: store.LimitSubject, Sessions: p.number(words[0]), Window: p.duration(words[1])}
	if len(words) > 2 {
		l.By = store.LimitBy(words[2])
	}
	switch l.By {
	case store.LimitDaily:
		p.settings.daily = map[string]int{"caf/face-liveness": l.Sessions}
		return
	case store.LimitProduct:
		p.settings.products = map[string][]store.Limit{"caf/face-liveness": {l}}
		return
	case store.LimitSubject:
		p.settings.limits = append(p.settings.limits, l)
		return
	}
	if p.settings.limits == nil {
		p.settings.limits = broker.DefaultLimits()
	}
	p.settings.limits = append(p.settings.limits, l)
}

// lab changes the lab, or compares what was asked of it.
func (p *player) lab(words []string) {
	p.t.Helper()
	l := p.ready().lab
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.Join(words[1:], " ")
	counted := func(n int) {
		if strconv.Itoa(n) != text {
			p.t.Errorf("%s: %d, want %s", p.at, n, text)
		}
	}
	switch words[0] {
	case "down", "up":
		l.down = words[0] == "down"
	case "fetches":
		counted(l.fetches)
	case "lookups":
		counted(l.lookedUp)
	case "asked":
		counted(l.asked)
	case "publish":
		l.kids = words[1:]
	case "backend":
		l.lookups = text
	case "introspect":
		l.opaque = strings.ReplaceAll(text, "LAB", l.url)
	default:
		p.t.Fatalf("%s: the lab cannot %q", p.at, words[0])
	}
}

func (p *player) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	return n
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	return d
}

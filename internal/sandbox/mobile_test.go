package sandbox_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

const (
	signed = "?shouldSignResponse=true"
	image  = `"imageUrl":"https://images.example/1.jpg"`
)

// bareJWT returns the payload of an answer that is nothing but a JWT.
func bareJWT(t testing.TB, w *httptest.ResponseRecorder, secret string) map[string]any {
	t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/jwt" || len(w.Header().Get("X-Sandbox-Attempt")) != 36 {
		t.Fatalf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
	_, claims := decode(t, w.Body.String(), secret)
	return claims
}

func TestMobileAnswers(t *testing.T) {
	s, log := newSandbox(t)
	forAna := sign(payload(`,"peopleId":"52998224725"`))
	person := map[string]any{"cpf": ana, "name": "Ana"}
	for _, tt := range []struct {
		name, path, body string
		want             map[string]any // with neither requestId nor attemptId
		attempt          bool           // attemptId is in the answer
	}{
		{"alive", "/faces/liveness", `{` + image + `}`, map[string]any{"isAlive": true, "message": "somebody alive was seen"}, true},
		{"alive, person", "/faces/liveness", `{` + image + `,"person":{"cpf":"529.982.247-25","name":"Ana"}}`,
			map[string]any{"isAlive": true, "person": person, "message": "somebody alive was seen"}, true},
		{"not alive", "/faces/liveness", `{` + image + `,"outcome":"not-alive"}`, map[string]any{"isAlive": false, "message": "nobody alive was seen"}, true},
		{"match", "/faces/authenticate", `{` + image + `,"peopleId":"52998224725"}`, map[string]any{"isMatch": true}, false},
		{"no match", "/faces/authenticate", `{` + image + `,"peopleId":"52998224725","outcome":"no-match"}`, map[string]any{"isMatch": false}, false},
		{"match, not alive", "/faces/authenticate", `{` + image + `,"peopleId":"52998224725","outcome":"not-alive"}`, map[string]any{"isMatch": false}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, query := range []string{"", "?shouldSignResponse=false", signed} {
				w := send(t, s, "POST", tt.path+query, tt.body, "Authorization", "Bearer "+forAna)
				var got map[string]any
				if query == signed {
					got = bareJWT(t, w, bothSecret)
				} else {
					got = wantOK(t, w)
				}
				if id, _ := got["requestId"].(string); len(id) != 36 {
					t.Errorf("requestId %q", id)
				}
				if tt.attempt && got["attemptId"] != w.Header().Get("X-Sandbox-Attempt") {
					t.Errorf("attemptId %v", got["attemptId"])
				}
				delete(got, "requestId")
				if tt.attempt {
					delete(got, "attemptId")
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", query, diff)
				}
			}
		})
	}
	wantNothingSecret(t, log.Bytes(), forAna)
}

// TestMobileTestPeople lets the CPF decide, of the body or of the token.
func TestMobileTestPeople(t *testing.T) {
	s, _ := newSandbox(t)
	token := sign(payload(""))
	if got := wantOK(t, send(t, s, "POST", "/faces/liveness", `{`+image+`,"person":{"cpf":"10000000108"}}`, "Authorization", token)); got["isAlive"] != false {
		t.Errorf("by person: %v", got)
	}
	if got := wantOK(t, send(t, s, "POST", "/faces/liveness", `{`+image+`}`, "Authorization", sign(payload(`,"peopleId":"10000000108"`)))); got["isAlive"] != false || got["person"] != nil {
		t.Errorf("by token: %v", got)
	}
	if got := wantOK(t, send(t, s, "POST", "/faces/authenticate", `{`+image+`,"peopleId":"10000000280"}`, "Authorization", token)); got["isMatch"] != false {
		t.Errorf("by peopleId: %v", got)
	}
}

func TestMobileRecords(t *testing.T) {
	s, _ := newSandbox(t)
	token := exchanged(t, s, sign(payload(""))) // a session token is good here too
	run := func(path, body string) map[string]any {
		w := send(t, s, "POST", path, body, "Authorization", token)
		wantOK(t, w)
		return faceRecord(t, s, w.Header().Get("X-Sandbox-Attempt"))
	}
	if got := run("/faces/liveness", `{`+image+`}`); got["personId"] != nil || got["isMatch"] != nil {
		t.Errorf("a run for nobody: %v", got)
	}
	if got := run("/faces/liveness", `{`+image+`,"person":{"cpf":"52998224725"}}`); got["personId"] != ana {
		t.Errorf("a run for Ana: %v", got["personId"])
	}
	if got := run("/faces/authenticate", `{`+image+`,"peopleId":"52998224725","outcome":"no-match"}`); got["isMatch"] != false || got["personId"] != ana {
		t.Errorf("authenticate: %v", got["isMatch"])
	}
}

func TestRegistration(t *testing.T) {
	s, _ := newSandboxWith(t, func(c *sandbox.Config) { c.RequireRegistration = true })
	token := sign(payload(""))
	run := func(path, person string) *httptest.ResponseRecorder {
		return send(t, s, "POST", path, `{`+image+`,"peopleId":"`+person+`"}`, "Authorization", token)
	}
	wantRefusal(t, run("/faces/authenticate", ana), 404, "face_not_registered", "POST /faces/register comes first")
	got := wantOK(t, run("/faces/register", ana))
	if diff := cmp.Diff(map[string]any{"requestId": got["requestId"], "message": "the face is registered"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantOK(t, run("/faces/authenticate", ana))
	wantRefusal(t, run("/faces/authenticate", bruno), 404, "face_not_registered", "")
	wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
	wantRefusal(t, run("/faces/authenticate", ana), 404, "face_not_registered", "")
}

func TestMobileRefusals(t *testing.T) {
	forAna := sign(payload(`,"peopleId":"52998224725"`))
	const alive, match, register = "/faces/liveness", "/faces/authenticate", "/faces/register"
	for _, tt := range []struct {
		name, path, token, body string
		status                  int
		code, message           string
	}{
		{"no token", alive, "", `{` + image + `}`, 401, "tokenException", "Authorization"},
		{"not activated", match, faceToken, `{` + image + `}`, 403, "tokenException", "not activated"},
		{"no body", alive, forAna, "", 400, "request_invalid", "one JSON object"},
		{"unknown name", alive, forAna, `{` + image + `,"x":1}`, 400, "request_invalid", "one JSON object"},
		{"image twice", alive, forAna, `{` + image + `,` + image + `}`, 400, "request_invalid", "one JSON object"},
		{"no image", alive, forAna, `{}`, 400, "request_invalid", "imageUrl is required"},
		{"image of no host", alive, forAna, `{"imageUrl":"https:///etc/passwd"}`, 400, "request_invalid", "imageUrl is required"},
		{"image file", alive, forAna, `{"imageUrl":"file://localhost/etc/passwd"}`, 400, "request_invalid", "imageUrl is required"},
		{"image in itself", alive, forAna, `{"imageUrl":"data:image/jpeg;base64,52998224725"}`, 400, "request_invalid", "imageUrl is required"},
		{"peopleId for liveness", alive, forAna, `{` + image + `,"peopleId":"52998224725"}`, 400, "request_invalid", "here it is person"},
		{"person who is none", alive, forAna, `{` + image + `,"person":{"cpf":"52998224726"}}`, 400, "cpf_invalid", "person.cpf"},
		{"person without CPF", alive, forAna, `{` + image + `,"person":{"name":"Ana"}}`, 400, "cpf_invalid", "person.cpf"},
		{"another person", alive, forAna, `{` + image + `,"person":{"cpf":"11144477735"}}`, 403, "cpf_mismatch", "person.cpf"},
		{"liveness compares nobody", alive, forAna, `{` + image + `,"outcome":"no-match"}`, 400, "request_invalid", "outcome must be one"},
		{"punctuation", match, forAna, `{` + image + `,"peopleId":"529.982.247-25"}`, 400, "cpf_invalid", "without punctuation"},
		{"no peopleId", match, forAna, `{` + image + `}`, 400, "cpf_invalid", "peopleId"},
		{"person for authenticate", match, forAna, `{` + image + `,"peopleId":"52998224725","person":{"cpf":"52998224725"}}`, 400, "request_invalid", "here it is peopleId"},
		{"another peopleId", match, forAna, `{` + image + `,"peopleId":"11144477735"}`, 403, "cpf_mismatch", "peopleId"},
		{"registration of another", register, forAna, `{` + image + `,"peopleId":"11144477735"}`, 403, "cpf_mismatch", "peopleId"},
		{"registration with outcome", register, forAna, `{` + image + `,"peopleId":"52998224725","outcome":"approve"}`, 400, "request_invalid", "no outcome"},
		{"registration signed", register + signed, forAna, `{` + image + `,"peopleId":"52998224725"}`, 400, "request_invalid", "not signed"},
		{"query misspelled", alive + "?shouldSignResponce=true", forAna, `{` + image + `}`, 400, "request_invalid", "shouldSignResponse=true or"},
		{"query in capitals", alive + "?shouldSignResponse=TRUE", forAna, `{` + image + `}`, 400, "request_invalid", "shouldSignResponse=true or"},
		{"query twice", alive + signed + "&shouldSignResponse=true", forAna, `{` + image + `}`, 400, "request_invalid", "shouldSignResponse=true or"},
		{"query and more", alive + signed + "&x=52998224725", forAna, `{` + image + `}`, 400, "request_invalid", "shouldSignResponse=true or"},
		{"query broken", alive + "?shouldSignResponse=%zz", forAna, `{` + image + `}`, 400, "request_invalid", "shouldSignResponse=true or"},
		{"too long", alive, forAna, `{` + image + `}` + strings.Repeat(" ", 8<<10), 413, "too_large", "8192 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSandbox(t)
			w := send(t, s, "POST", tt.path, tt.body, "Authorization", tt.token)
			wantRefusal(t, w, tt.status, tt.code, tt.message)
			wantNothingSecret(t, w.Body.Bytes(), tt.token)
			wantNothingSecret(t, log.Bytes(), tt.token)
		})
	}
}

// form makes a multipart body of fields, given as name and value; a name that begins with @ is a file.
func form(t testing.TB, fields ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("boundary-of-the-test"); err != nil {
		t.Fatal(err)
	}
	for field := range slices.Chunk(fields, 2) {
		create := func(name string) (io.Writer, error) { return w.CreateFormField(name) }
		name, isFile := strings.CutPrefix(field[0], "@")
		if isFile {
			create = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "face.jpg") }
		}
		part, err := create(name)
		if err == nil {
			_, err = part.Write([]byte(field[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestMultipart(t *testing.T) {
	forAna := sign(payload(`,"peopleId":"52998224725"`))
	const alive, match = "/faces/liveness", "/faces/authenticate"
	for _, tt := range []struct {
		name, path string
		fields     []string
		status     int // 0 is 200
		message    string
	}{
		{"liveness", alive, []string{"@image", "\xff\xd8"}, 0, ""},
		{"liveness with outcome", alive, []string{"outcome", "not-alive", "@image", "x"}, 0, ""},
		{"authenticate", match, []string{"@image", "x", "peopleId", ana}, 0, ""},
		{"registration", "/faces/register", []string{"peopleId", ana, "@image", "x"}, 0, ""},
		{"no image", match, []string{"peopleId", ana}, 400, "one file part image"},
		{"image no file", alive, []string{"image", "x"}, 400, "one file part image"},
		{"two images", alive, []string{"@image", "x", "@image", "y"}, 400, "none twice"},
		{"peopleId twice", match, []string{"@image", "x", "peopleId", ana, "peopleId", bruno}, 400, "none twice"},
		{"peopleId a file", match, []string{"@image", "x", "@peopleId", ana}, 400, "one file part image"},
		{"unknown field", alive, []string{"@image", "x", "person", ana}, 400, "nothing else"},
		{"no name", alive, []string{"@image", "x", "", ana}, 400, "nothing else"},
		{"empty image", alive, []string{"@image", ""}, 400, "image is empty"},
		{"empty field", match, []string{"@image", "x", "peopleId", ""}, 400, "1 to 256 bytes"},
		{"long field", match, []string{"@image", "x", "peopleId", strings.Repeat(ana, 30)}, 400, "1 to 256 bytes"},
		{"unknown outcome", alive, []string{"@image", "x", "outcome", "no-match"}, 400, "outcome must be one"},
		{"another person", match, []string{"@image", "x", "peopleId", bruno}, 403, "peopleId is not the CPF"},
		{"peopleId for liveness", alive, []string{"@image", "x", "peopleId", ana}, 400, "here it is person"},
		{"large image", alive, []string{"@image", strings.Repeat("x", 4<<20)}, 413, "4194304 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSandbox(t)
			body, contentType := form(t, tt.fields...)
			w := send(t, s, "POST", tt.path, body, "Authorization", forAna, "Content-Type", contentType)
			if tt.status == 0 {
				wantOK(t, w)
			} else {
				var code = map[int]string{400: "request_invalid", 403: "cpf_mismatch", 413: "too_large"}[tt.status]
				wantRefusal(t, w, tt.status, code, tt.message)
				wantNothingSecret(t, w.Body.Bytes(), forAna)
			}
			wantNothingSecret(t, log.Bytes(), forAna)
		})
	}
	good, contentType := form(t, "@image", "x")
	for name, tt := range map[string]struct{ body, contentType string }{
		"cut":            {good[:len(good)-10], contentType},
		"other boundary": {good, "multipart/form-data; boundary=other"},
		"no boundary":    {good, "multipart/form-data"},
		"empty":          {"", contentType},
		"not JSON then":  {good, "multipart/mixed; boundary=boundary-of-the-test"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSandbox(t)
			wantRefusal(t, send(t, s, "POST", alive, tt.body, "Authorization", forAna, "Content-Type", tt.contentType), 400, "request_invalid", "")
		})
	}
}

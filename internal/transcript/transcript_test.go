package transcript

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type fakeRun int

func (f fakeRun) Run() int { return int(f) }

// Each way out that a test may record is searched, and each form of a planted value is found in it.
func TestFindsWhatLeaks(t *testing.T) {
	secret := Secret("a planted secret, of no use")
	person := CPF("52998224725")
	token := "eyJhbGciOiJIUzI1NiJ9.eyJwZXJzb25JZCI6IjUyIn0.c2lnbmF0dXJlLWxvbmctZW5vdWdo"
	if found := search(); len(found) != 0 {
		t.Fatalf("found in nothing: %v", found)
	}
	if missed := control(); len(missed) != 0 {
		t.Fatal(missed)
	}
	for name, leak := range map[string]func(string){
		"log":   func(s string) { _, _ = io.WriteString(Log(), s) },
		"error": func(s string) { _ = Error(errors.New(s)) },
		"reply": func(s string) { reply(t, s) },
	} {
		values := map[string]string{"token": token}
		for _, f := range forms(secret) {
			values["secret "+f.name] = f.text
		}
		for _, f := range cpfForms(person) {
			values["cpf "+f.name] = f.text
		}
		for what, value := range values {
			reset()
			leak("before " + value + " after")
			want := name != "reply" || what != "token"
			if got := len(search()) > 0; got != want {
				t.Errorf("%s in a %s: found is %v, want %v", what, name, got, want)
			}
			if got := strings.Join(search(), "\n"); strings.Contains(got, secret) || strings.Contains(got, person) {
				t.Errorf("%s in a %s: the report repeats it", what, name)
			}
		}
	}
	reset()
}

func TestMainFails(t *testing.T) {
	if got := Main(fakeRun(3)); got != 3 {
		t.Errorf("failing tests: exit %d, want 3", got)
	}
}

func reply(t *testing.T, body string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
	defer server.Close()
	resp, err := Client(nil).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func reset() {
	mu.Lock()
	defer mu.Unlock()
	for _, b := range said {
		b.Reset()
	}
}

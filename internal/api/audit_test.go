package api_test

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lastRow is the newest row of the audit trail.
func lastRow(t *testing.T, db *sql.DB) (id int, row []string) {
	t.Helper()
	row = make([]string, 7)
	err := db.QueryRowContext(context.Background(), `SELECT id, act, outcome, reasons, caller_kind, service, app, request_id FROM audit ORDER BY id DESC LIMIT 1`).
		Scan(&id, &row[0], &row[1], &row[2], &row[3], &row[4], &row[5], &row[6])
	if err != nil && err != sql.ErrNoRows {
		t.Fatal(err)
	}
	return id, row
}

// Whoever is known and is refused leaves a row that can be found from the answer, whatever stage refused
// them. Bug: bodies that were no request left none.
func TestEveryRefusalLeavesARow(t *testing.T) {
	h := newHouse(t, settings{})
	db, err := sql.Open("sqlite", "file:"+h.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	session, _ := h.opened("ana", "caf/face-liveness", "login")
	long := strings.Repeat("x", 70<<10)
	for _, tc := range []struct {
		who, method, path, body string
		status                  int
		act, reasons            string
	}{
		{"ana", "POST", "/v1/sessions", ``, 400, "open", "request_invalid"},
		{"ana", "POST", "/v1/sessions", `{}`, 400, "open", "request_invalid"},
		{"backend", "POST", "/v1/sessions", `{"product":1}`, 400, "open", "request_invalid"},
		{"ana", "POST", "/v1/sessions", long, 413, "open", "too_large"},
		{"ana", "POST", "/v1/sessions", `{"product":"caf/palm","purpose":"login"}`, 400, "open", "product_unknown"},
		{"ana", "POST", "/v1/sessions", `{"product":"caf/face-liveness","purpose":"login","cpf":null}`, 400, "open", "request_invalid"},
		{"carla", "POST", "/v1/sessions", `{"product":"caf/face-liveness","purpose":"login"}`, 403, "open", "cpf_missing"},
		{"reader", "POST", "/v1/sessions", `{"product":"caf/face-liveness","purpose":"login"}`, 403, "open", "caller_forbidden"},
		{"ana", "POST", "/v1/sessions/" + session + "/response", ``, 400, "respond", "request_invalid"},
		{"bruno", "POST", "/v1/sessions/" + session + "/response", `{"signed_response":null}`, 400, "respond", "request_invalid"},
		{"ana", "POST", "/v1/sessions/" + session + "/response", long, 413, "respond", "too_large"},
		{"ana", "POST", "/v1/sessions/" + session + "/response", `{"signed_response":"x"}`, 403, "respond", "malformed"},
		{"bruno", "POST", "/v1/sessions/" + session + "/response", `{"signed_response":"x"}`, 404, "respond", "session_unknown"},
		{"bruno", "GET", "/v1/sessions/" + session, ``, 404, "read", "session_unknown"},
		{"shop-backend", "GET", "/v1/sessions/none", ``, 404, "read", "session_unknown"},
	} {
		before, _ := lastRow(t, db)
		a := h.send(tc.method, tc.path, tc.who, tc.body, nil)
		if a.status != tc.status {
			t.Errorf("%s %s by %s: %d %s", tc.method, tc.path, tc.who, a.status, a.body)
			continue
		}
		after, row := lastRow(t, db)
		kind, service, app := "end_user", "", "bank"
		if _, ok := apiKeys[tc.who]; ok {
			kind, service = "service", tc.who
			if strings.HasPrefix(tc.who, "shop") {
				app = "shop"
			}
		}
		want := []string{tc.act, "refused", tc.reasons, kind, service, app, a.header.Get("X-Request-Id")}
		if diff := cmp.Diff(want, row); diff != "" || after != before+1 {
			t.Errorf("%s %s by %s: %d new rows, the last (-want +got):\n%s", tc.method, tc.path, tc.who, after-before, diff)
		}
	}
	// Who is nobody leaves none: a flood must not fill the disk.
	before, _ := lastRow(t, db)
	if a := h.send("POST", "/v1/sessions", "", `{}`, nil); a.status != http.StatusUnauthorized {
		t.Errorf("status %d", a.status)
	}
	if after, _ := lastRow(t, db); after != before {
		t.Error("a row for nobody")
	}
}

// Bug: net/http ends a request's context when its body breaks off or its client leaves, and with it the
// record of the refusal.
func TestRefusalIsRecordedWhenTheClientLeaves(t *testing.T) {
	h := newHouse(t, settings{})
	db, err := sql.Open("sqlite", "file:"+h.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	server := httptest.NewServer(h.handler)
	defer server.Close()
	for _, tc := range []struct{ request, status, reasons string }{
		{"POST /v1/sessions HTTP/1.1\r\nContent-Length: 500\r\n", "400", "request_invalid"},
		{"GET /v1/sessions/none HTTP/1.1\r\n", "404", "session_unknown"},
	} {
		before, _ := lastRow(t, db)
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(tc.request + "Host: selo\r\nAuthorization: " + h.credential("backend") + "\r\n\r\n{")); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 "+tc.status) {
			t.Errorf("%q: %v", reply, err)
		}
		_ = conn.Close()
		if after, row := lastRow(t, db); after != before+1 || row[2] != tc.reasons {
			t.Errorf("%d new rows, the last %v", after-before, row)
		}
	}
}

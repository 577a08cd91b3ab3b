package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// LimitBy is what a limit counts the sessions of.
type LimitBy string

// What sessions can be limited by.
const (
	LimitSubject LimitBy = "subject" // of the subject in the app
	LimitCPF     LimitBy = "cpf"     // of the CPF in the environment, whoever asked, in whatever app; does not apply without a CPF
	LimitProduct LimitBy = "product" // of the app for the product
	LimitService LimitBy = "service" // of the service, by name; does not apply to end users
	LimitDaily   LimitBy = "daily"   // of the product in the environment, over all apps, in any 24 hours, which is its Window
	LimitOpen    LimitBy = "open"    // of the subject in the app, open at the same time; has no Window
)

// Limit is how many sessions may be opened in a sliding window, those that are being opened included. Zero
// sessions is none.
//
// Limits by subject and CPF are exact, and find what was opened before they were configured. Those by product, service
// and day count only while they are configured: one that is configured later, or with another window, starts from zero.
// Never are more than Sessions opened in any window, but a session may be refused for longer than it must, by a
// sixtieth of the window or a second, whichever is more.
//
// A limit of open sessions does not count the one for the same product, which opening supersedes.
//
// A clock that goes back makes no room in any window: what was opened in its future counts.
type Limit struct {
	By       LimitBy
	Sessions int
	Window   time.Duration
}

// String returns the limit in the form "subject 30/1h0m0s" or "open 3".
func (l Limit) String() string {
	if l.By == LimitOpen {
		return fmt.Sprint(l.By, " ", l.Sessions)
	}
	return fmt.Sprint(l.By, " ", l.Sessions, "/", l.Window)
}

// Usage is how much of a limit is used.
type Usage struct {
	Limit Limit
	Used  int           // with the session that was just opened or reserved
	Reset time.Duration // until the oldest that is counted counts no more; always > 0
}

// LimitError says that too many sessions were opened. The refusal is in the audit trail.
type LimitError struct {
	Limit Limit
	// RetryAfter is when there is room if nobody else opens a session meanwhile; always > 0. A limit of none has no
	// such time, and names its window.
	RetryAfter time.Duration
}

func (e *LimitError) Error() string { return "too many sessions: limit " + e.Limit.String() }

const (
	bucketsPerWindow = 60
	leastWidth       = time.Second
	day              = 24 * time.Hour
)

// check reports a limit that would not limit.
func (l Limit) check() error {
	switch l.By {
	case LimitSubject, LimitCPF, LimitProduct, LimitService:
		if l.Window < time.Microsecond { // times are kept to the microsecond
			return fmt.Errorf("limit %v: has no window", l)
		}
	case LimitDaily:
		if l.Window != day {
			return fmt.Errorf("limit %v: the window of a daily limit is %v", l, day)
		}
	case LimitOpen:
	default:
		return fmt.Errorf("limit %v: nothing is limited by %q", l, l.By)
	}
	return nil
}

func (l Limit) applies(act OpenAct) bool {
	return (l.By != LimitCPF || len(act.CPFs) > 0) && (l.By != LimitService || act.Session.Service != "")
}

// series returns the key and the width under which the sessions of a limit are counted in buckets; ok is false
// for limits that are counted otherwise.
func (l Limit) series(n Session) (key string, width int64, ok bool) {
	switch l.By {
	case LimitProduct:
		key = fmt.Sprintf("product %q %q", n.App, n.Product)
	case LimitService:
		key = fmt.Sprintf("service %q", n.Service)
	case LimitDaily:
		key = fmt.Sprintf("daily %q %q", string(n.Environment), n.Product)
	default:
		return "", 0, false
	}
	return key, max(leastWidth, l.Window/bucketsPerWindow).Microseconds(), true
}

// counted is what a limit finds without the session that asks, with times in microseconds.
type counted struct {
	used int
	next int64 // when there is room for one more or, where there is room now, when the oldest counts no more
	own  int64 // when the session that asks would count no more
}

// checkLimits counts what the limits of act limit. It returns the use of each with the session of act or, if one
// has no room for it, the one that has none for the longest.
func checkLimits(ctx context.Context, tx *sql.Tx, act OpenAct) (all []Usage, over *LimitError, _ error) {
	now := act.Session.OpenedAt.UnixMicro()
	for _, l := range act.Limits {
		if err := l.check(); err != nil {
			return nil, nil, err
		}
		if !l.applies(act) {
			continue
		}
		c, err := l.count(ctx, tx, act, now)
		if err != nil {
			return nil, nil, fmt.Errorf("counting for limit %v: %w", l, err)
		}
		if c.used < l.Sessions {
			all = append(all, Usage{l, c.used + 1, micros(min(c.next, c.own) - now)})
			continue
		}
		retry := micros(c.next - now)
		if l.Sessions <= 0 {
			retry = cmp.Or(l.Window, reservedFor)
		}
		if over == nil || retry > over.RetryAfter {
			over = &LimitError{l, retry}
		}
	}
	if over != nil {
		return nil, over, nil
	}
	return all, nil, nil
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func (l Limit) count(ctx context.Context, tx *sql.Tx, act OpenAct, now int64) (counted, error) {
	switch l.By {
	case LimitSubject:
		subjects, args := inClause(act.Subjects)
		return l.countRows(ctx, tx, now, `subject IN `+subjects+` AND app = ?`, append(args, act.Session.App))
	case LimitCPF:
		cpfs, args := inClause(act.CPFs)
		return l.countRows(ctx, tx, now, `cpf IN `+cpfs+` AND environment = ?`, append(args, string(act.Session.Environment)))
	case LimitOpen:
		return l.countOpen(ctx, tx, act, now)
	default:
		return l.countBuckets(ctx, tx, act, now)
	}
}

// countRows counts sessions and reservations one by one, up to the limit.
func (l Limit) countRows(ctx context.Context, tx *sql.Tx, now int64, where string, args []any) (counted, error) {
	window := l.Window.Microseconds()
	args = append(args, now-window)
	where = ` WHERE ` + where + ` AND opened_at > ?`
	c := counted{own: now + window}
	var oldest sql.NullInt64
	// The newest N in the window: with N of them, room comes when the oldest of those leaves.
	err := tx.QueryRowContext(ctx, `SELECT count(*), min(opened_at) FROM (SELECT opened_at FROM sessions`+where+
		` UNION ALL SELECT opened_at FROM reservations`+where+` ORDER BY opened_at DESC LIMIT ?)`,
		slices.Concat(args, args, []any{max(0, l.Sessions)})...).Scan(&c.used, &oldest)
	c.next = c.own
	if oldest.Valid {
		c.next = oldest.Int64 + window
	}
	return c, err
}

// countBuckets counts the buckets that the window touches, and so the oldest one whole.
func (l Limit) countBuckets(ctx context.Context, tx *sql.Tx, act OpenAct, now int64) (counted, error) {
	key, width, _ := l.series(act.Session)
	window := l.Window.Microseconds()
	leaves := func(bucket int64) int64 { return (bucket+1)*width + window }
	first := floor(now-window, width) // the one that leaves next
	c := counted{own: leaves(floor(now, width))}
	const from = ` FROM usage WHERE key = ? AND width = ? AND bucket >= ? AND count > 0`
	var oldest sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(count), 0), min(bucket)`+from, key, width, first).Scan(&c.used, &oldest); err != nil {
		return c, err
	}
	c.next = c.own
	if oldest.Valid {
		c.next = leaves(oldest.Int64)
	}
	if c.used < l.Sessions || c.used == 0 {
		return c, nil
	}
	// The last bucket with which there are still too many.
	var last int64
	err := tx.QueryRowContext(ctx, `SELECT bucket FROM (SELECT bucket, sum(count) OVER (ORDER BY bucket DESC) AS since`+from+
		`) WHERE since >= ? ORDER BY bucket DESC LIMIT 1`, key, width, first, max(1, l.Sessions)).Scan(&last)
	c.next = leaves(last)
	return c, err
}

// countOpen counts the other products for which the subject has a session that is open, or being opened: for each
// product one stays. A reservation that could still open after its time asks again.
func (l Limit) countOpen(ctx context.Context, tx *sql.Tx, act OpenAct, now int64) (counted, error) {
	subjects, args := inClause(act.Subjects)
	args = append(args, act.Session.App, act.Session.Product, now)
	where := ` WHERE subject IN ` + subjects + ` AND app = ? AND product <> ?`
	ends, err := scanTimes(tx.QueryContext(ctx, `SELECT max(ends) AS ends FROM (
		SELECT product, respond_by AS ends FROM sessions`+where+` AND state = 'open' AND respond_by > ? UNION ALL
		SELECT product, opened_at + ? AS ends FROM reservations`+where+` AND ends > ?)
		GROUP BY product ORDER BY ends`, slices.Concat(args, []any{reservedFor.Microseconds()}, args)...))
	own := act.Session.RespondBy.UnixMicro()
	c := counted{used: len(ends), next: own, own: own}
	if c.used > 0 {
		c.next = ends[max(0, min(c.used-l.Sessions, c.used-1))]
	}
	return c, err
}

func scanTimes(rows *sql.Rows, err error) (all []int64, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var at int64
		if err := rows.Scan(&at); err != nil {
			return nil, err
		}
		all = append(all, at)
	}
	return all, rows.Err()
}

// floor divides rounding down, also before 1970.
func floor(a, b int64) int64 {
	if q := a / b; a%b >= 0 {
		return q
	}
	return a/b - 1
}

// countUp counts the session of act in the buckets of its limits, and notes where for a reservation.
func countUp(ctx context.Context, tx *sql.Tx, act OpenAct, reserved bool) error {
	type series struct {
		key   string
		width int64
	}
	var done []series // of limits that share one only the first counts, and each keeps it as long as it needs
	now := act.Session.OpenedAt.UnixMicro()
	for _, l := range act.Limits {
		key, width, ok := l.series(act.Session)
		if !ok || !l.applies(act) {
			continue
		}
		bucket := floor(now, width)
		one := 1
		if slices.Contains(done, series{key, width}) {
			one = 0
		}
		done = append(done, series{key, width})
		if _, err := tx.ExecContext(ctx, `INSERT INTO usage (key, width, bucket, count, until) VALUES (?, ?, ?, ?4, ?)
			ON CONFLICT DO UPDATE SET count = count + ?4, until = max(until, excluded.until)`,
			key, width, bucket, one, (bucket+1)*width+l.Window.Microseconds()); err != nil {
			return fmt.Errorf("counting session: %w", err)
		}
		if !reserved || one == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO reservation_usage (session_id, key, width, bucket) VALUES (?, ?, ?, ?)`,
			act.Session.ID, key, width, bucket); err != nil {
			return fmt.Errorf("counting reservation: %w", err)
		}
	}
	return nil
}

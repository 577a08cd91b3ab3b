package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// stepDriver is the real driver with a hook before and after each call that reaches the database. An error
// of the hook before a call is what the call fails with, undone.
type stepDriver struct {
	driver.Driver
	mu   sync.Mutex
	hook func(step string) error // nil lets everything pass
}

var stepDrivers atomic.Int64

// registerSteps registers a stepDriver of its own and returns its name for openDriver.
func registerSteps(t testing.TB) (string, *stepDriver) {
	t.Helper()
	d, err := newStepDriver()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint("sqlite with steps ", stepDrivers.Add(1))
	sql.Register(name, d)
	return name, d
}

func newStepDriver() (*stepDriver, error) {
	db, err := sql.Open("sqlite", "")
	if err != nil {
		return nil, err
	}
	return &stepDriver{Driver: db.Driver()}, db.Close()
}

func (d *stepDriver) setHook(hook func(step string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *stepDriver) step(name string) error {
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(name)
}

// around runs one call between its two steps.
func (d *stepDriver) around(name string, call func() error) error {
	if err := d.step("before " + name); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	_ = d.step("after " + name) // what is done is done
	return nil
}

func (d *stepDriver) Open(dsn string) (c driver.Conn, err error) {
	err = d.around("Connect", func() error { c, err = d.Driver.Open(dsn); return err })
	if err != nil {
		return nil, err
	}
	return &stepConn{c.(realConn), d}, nil
}

// realConn is what database/sql uses of the driver's connections.
type realConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type stepConn struct {
	realConn
	d *stepDriver
}

var errPrepare = errors.New("a prepared statement would go round the steps; give stepConn a stepStmt")

func (c *stepConn) Prepare(string) (driver.Stmt, error) { return nil, errPrepare }
func (c *stepConn) PrepareContext(context.Context, string) (driver.Stmt, error) {
	return nil, errPrepare
}

func (c *stepConn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.d.around("Begin", func() error { tx, err = c.realConn.BeginTx(ctx, opts); return err })
	if err != nil {
		return nil, err
	}
	return &stepTx{tx, c.d}, nil
}

func (c *stepConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.d.around("Exec", func() error { r, err = c.realConn.ExecContext(ctx, query, args); return err })
	return r, err
}

func (c *stepConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.d.around("Query", func() error { r, err = c.realConn.QueryContext(ctx, query, args); return err })
	if err != nil {
		return nil, err
	}
	return &stepRows{r, c.d}, nil
}

type stepRows struct {
	driver.Rows
	d *stepDriver
}

func (r *stepRows) Next(dest []driver.Value) error {
	return r.d.around("Next", func() error { return r.Rows.Next(dest) })
}

type stepTx struct {
	driver.Tx
	d *stepDriver
}

// Commit that fails has rolled back, as with the real driver.
func (tx *stepTx) Commit() error {
	if err := tx.d.step("before Commit"); err != nil {
		return errors.Join(err, tx.Tx.Rollback())
	}
	err := tx.Tx.Commit()
	if err == nil {
		_ = tx.d.step("after Commit")
	}
	return err
}

func (tx *stepTx) Rollback() error {
	return tx.d.around("Rollback", tx.Tx.Rollback)
}

// counter is a hook that does something at the Nth step, counted from 1.
type counter struct {
	at   int
	only string // beginning of the steps that count
	do   func() error

	mu    sync.Mutex
	steps []string // those that went by
}

func (c *counter) hook(step string) error {
	if !strings.HasPrefix(step, c.only) {
		return nil
	}
	c.mu.Lock()
	c.steps = append(c.steps, step)
	hit := len(c.steps) == c.at
	c.mu.Unlock()
	if hit {
		return c.do()
	}
	return nil
}

// reached reports whether the Nth step came, and which it was.
func (c *counter) reached() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.steps) < c.at {
		return "", false
	}
	return c.steps[c.at-1], true
}

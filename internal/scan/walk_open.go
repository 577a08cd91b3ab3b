package scan

import (
	"context"
	"io/fs"
	"os"
	"time"
)

// openPatiently is os.Open, which waits for a writer if the file is a pipe. That wait ends when ctx does, with its error. Not to
// block in the first place would be wrong: until there is a writer, a pipe that was opened so looks empty.
func openPatiently(ctx context.Context, name string, info fs.FileInfo) (*os.File, error) {
	if info.Mode()&fs.ModeNamedPipe == 0 {
		return os.Open(name) //nolint:gosec // it is what the caller wants to look at
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(name) //nolint:gosec // likewise
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		// The goroutine stays until somebody writes, or the program ends.
		go func() {
			if o := <-done; o.err == nil {
				_ = o.f.Close() // it was not even read
			}
		}()
		return nil, ctx.Err()
	}
}

// wakeUp ends a Read of f that waits for a writer when ctx is over, until stop is called.
func wakeUp(ctx context.Context, f *os.File) (stop func()) {
	unregister := context.AfterFunc(ctx, func() {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // files for which there is no deadline do not wait
	})
	return func() { unregister() }
}

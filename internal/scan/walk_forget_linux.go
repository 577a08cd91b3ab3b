package scan

import "syscall"

// forget tells the system that the pages of b are not needed until they are written to. b may be of Go's heap.
func forget(b []byte) {
	if len(b) > 0 {
		_ = syscall.Madvise(b, syscall.MADV_DONTNEED) // an advice
	}
}

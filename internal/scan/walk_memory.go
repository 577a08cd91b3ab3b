//go:build linux || darwin || freebsd

package scan

import "syscall"

// mapMemory returns n bytes outside of Go's heap, and what gives them back. If the system refuses, they are of the heap.
func mapMemory(n int) ([]byte, func()) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n), nil
	}
	return b, func() { _ = syscall.Munmap(b) } // fails for what was not mapped only
}

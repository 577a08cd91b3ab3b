//go:build !linux && !darwin && !freebsd

package scan

// mapMemory returns n bytes of Go's heap. Their pages, too, come into being when they are written to.
func mapMemory(n int) ([]byte, func()) { return make([]byte, n), nil }

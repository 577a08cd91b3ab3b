//go:build linux || darwin

package store

import "syscall"

// freeBytes returns how much more a process without privileges may write to the file system of path.
func freeBytes(path string) (int64, error) {
	var f syscall.Statfs_t
	if err := syscall.Statfs(path, &f); err != nil {
		return 0, err
	}
	return int64(f.Bavail) * int64(f.Bsize), nil //nolint:gosec // G115: no file system has 2^63 bytes
}

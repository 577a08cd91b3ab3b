package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/selo-id/selo/internal/scan"
)

// staged returns the files of the index of the repository around this folder that differ from the last commit, as they
// are in the index: a file that was changed again since is scanned as it would be committed.
func staged(ctx context.Context) ([]scan.Target, error) {
	// --raw names objects, so that no name of a file is ever read by git again.
	list, err := git(ctx, nil, "diff", "--cached", "--raw", "--no-renames", "--no-abbrev", "--diff-filter=d", "--ignore-submodules", "-z")
	if err != nil {
		return nil, fmt.Errorf("--staged: %w", err)
	}
	var targets []scan.Target
	var ask bytes.Buffer
	for fields := strings.Split(string(list), "\x00"); len(fields) >= 2; fields = fields[2:] {
		// ":100644 100644 <object of before> <object> M", and the path.
		info := strings.Fields(fields[0])
		if len(info) != 5 {
			return nil, errors.New("--staged: git diff says something that is not understood")
		}
		targets = append(targets, scan.Target{Path: fields[1]})
		ask.WriteString(info[3] + "\n")
	}
	if len(targets) == 0 {
		return nil, nil
	}
	blobs, err := git(ctx, &ask, "cat-file", "--batch")
	if err != nil {
		return nil, fmt.Errorf("--staged: %w", err)
	}
	r := bufio.NewReader(bytes.NewReader(blobs))
	for i := range targets {
		if targets[i].Data, err = blob(r); err != nil {
			return nil, fmt.Errorf("--staged: %s: %w", targets[i].Path, err)
		}
	}
	return targets, nil
}

// blob reads "<object> blob <size>", a line break, the blob, and a line break.
func blob(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(head)
	if len(fields) != 3 {
		return nil, errors.New("git does not have its content")
	}
	size, err := strconv.Atoi(fields[2])
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	_, err = r.Discard(1)
	return data, err
}

func git(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // the arguments are those above
	cmd.Stdin = in
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("git is not installed")
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(failed.Stderr)), "\n")
		return nil, fmt.Errorf("git %s: %s", args[0], first)
	}
	return out, err
}

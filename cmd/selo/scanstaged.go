package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/selo-id/selo/internal/scan"
)

// staged returns the files of the index of the repository around this folder that differ from the last commit, as they
// are in the index: a file that was changed again since is scanned as it would be committed. Nothing that the
// repository says, of itself or in its configuration, changes what is scanned.
func staged(ctx context.Context) ([]scan.Target, error) {
	switch inside, err := git(ctx, "rev-parse", "--is-inside-work-tree"); {
	case err != nil:
		return nil, fmt.Errorf("--staged: %w", err)
	case strings.TrimSpace(string(inside)) != "true":
		return nil, errors.New("--staged: this is a bare repository, in which nothing is staged")
	}
	// --raw names objects, so that no name of a file is ever read by git again.
	list, err := git(ctx, "diff", "--cached", "--raw", "--no-renames", "--no-relative", "--no-ext-diff", "--no-abbrev", "-O/dev/null",
		"--diff-filter=d", "--ignore-submodules", "-z")
	if err != nil {
		return nil, fmt.Errorf("--staged: %w", err)
	}
	var targets []scan.Target
	for fields := strings.Split(string(list), "\x00"); len(fields) >= 2; fields = fields[2:] {
		// ":100644 100644 <object of before> <object> M", and the path.
		info := strings.Fields(fields[0])
		if len(info) != 5 {
			return nil, errors.New("--staged: git diff says something that is not understood")
		}
		if info[4] == "U" {
			return nil, fmt.Errorf("--staged: %q is not merged yet; git add it when it is", fields[1])
		}
		targets = append(targets, scan.Target{Path: fields[1], Open: func(ctx context.Context) (io.ReadCloser, error) {
			return blob(ctx, info[3])
		}})
	}
	return targets, nil
}

// blob gives what is in an object, as git sends it.
func blob(ctx context.Context, object string) (io.ReadCloser, error) {
	cmd := gitCommand(ctx, "cat-file", "blob", object)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &sending{out, cmd}, nil
}

// sending is what a command says. To close it is to wait for its end.
type sending struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (r *sending) Close() error {
	_, _ = io.Copy(io.Discard, r.ReadCloser) // or it would not end
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("--staged: git cat-file: %w", err)
	}
	return nil
}

func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // the arguments are ours, and an object's name
	cmd.Env = append(os.Environ(), "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C")
	return cmd
}

func git(ctx context.Context, args ...string) ([]byte, error) {
	out, err := gitCommand(ctx, args...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("git is not installed")
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(failed.Stderr)), "\n")
		return nil, fmt.Errorf("git %s: %s", args[0], strings.TrimPrefix(first, "fatal: "))
	}
	return out, err
}

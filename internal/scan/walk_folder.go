package scan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folder walks through all files below root.
func (w *walk) folder(root string) {
	f := folderReader{w: w, root: root, todo: []string{root}}
	defer f.close()
	each(w, f.next, func(h *hand, name string) (later bool) {
		w.withFile(name, func(b *body) {
			o := w.take(h, nest{}, b)
			later = o.format != formatNone
			w.report(name, o.err)
		})
		return later
	}, func(name string) {
		w.withFile(name, func(b *body) { w.one(nest{}, b).report(w, name) })
	})
}

func (w *walk) withFile(name string, read func(*body)) {
	f, err := os.Open(name)
	if err != nil {
		w.report(name, err)
		return
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	if err != nil {
		w.report(name, err)
		return
	}
	read(&body{path: name, at: metered{f, w.walker.read}, n: info.Size(), size: info.Size(), deep: true})
}

// folderReader lists the files of a tree, some at a time: a folder may have millions. It has one folder open.
//
// It leaves out what git has packed, as of the history of a repository that is only a part, and mostly of differences; what git
// keeps file by file is read.
type folderReader struct {
	w     *walk
	root  string
	todo  []string // folders
	dir   *os.File
	name  string
	batch []fs.DirEntry
}

func (f *folderReader) close() {
	if f.dir != nil {
		_ = f.dir.Close() // it was read only
		f.dir = nil
	}
}

func (f *folderReader) next() (string, bool) {
	for {
		for len(f.batch) > 0 {
			e := f.batch[0]
			f.batch = f.batch[1:]
			name := filepath.Join(f.name, e.Name())
			switch {
			case e.IsDir():
				f.todo = append(f.todo, name)
			case e.Type()&fs.ModeSymlink != 0:
				f.link(name)
			case e.Type().IsRegular() && !f.isPacked(name):
				return name, f.w.count(name)
			}
		}
		if !f.more() {
			return "", false
		}
	}
}

// isPacked says whether a file is a pack of git, or an index of one: in objects/pack somewhere in .git, as a submodule's is deeper
// in it. What the folder itself is called that is looked at does not count, nor where it lies.
func (f *folderReader) isPacked(name string) bool {
	switch filepath.Ext(name) {
	case ".pack", ".idx", ".rev":
	default:
		return false
	}
	below, err := filepath.Rel(f.root, f.name)
	if err != nil {
		return false
	}
	parts := strings.Split(below, string(filepath.Separator))
	n := len(parts)
	return n >= 3 && parts[n-1] == "pack" && parts[n-2] == "objects" && slices.Contains(parts[:n-2], ".git")
}

// link tells of a symbolic link that leads to what is not read, as it is not below root. One that leads nowhere, or to a device,
// hides nothing.
func (f *folderReader) link(name string) {
	target, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrPermission) {
		f.w.report(name, err)
	}
	if err != nil {
		return
	}
	root, err := filepath.EvalSymlinks(f.root)
	if err != nil {
		f.w.report(name, err)
		return
	}
	if f.inside(root, target) {
		return
	}
	if info, err := os.Stat(target); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return
	}
	f.w.report(name, fmt.Errorf("a link that leads out of the folder; what it leads to was %w", errUnread))
}

func (f *folderReader) inside(root, target string) bool {
	root, err := filepath.Abs(root)
	if err != nil {
		return false
	}
	if target, err = filepath.Abs(target); err != nil {
		return false
	}
	below, err := filepath.Rel(root, target)
	return err == nil && filepath.IsLocal(below)
}

func (f *folderReader) more() bool {
	for !f.w.over() {
		if f.dir != nil {
			batch, err := f.dir.ReadDir(512)
			if err != nil && !errors.Is(err, io.EOF) {
				f.w.report(f.name, err)
			}
			if len(batch) > 0 {
				f.batch = batch
				return true
			}
			f.close()
		}
		if len(f.todo) == 0 {
			return false
		}
		f.name = f.todo[len(f.todo)-1]
		f.todo = f.todo[:len(f.todo)-1]
		dir, err := os.Open(f.name)
		if err != nil {
			f.w.report(f.name, err)
			continue
		}
		f.dir = dir
	}
	return false
}

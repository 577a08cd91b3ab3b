package scan

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// folder walks through all files below root.
func (w *walk) folder(root string) {
	f := folderReader{w: w, todo: []string{root}}
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
type folderReader struct {
	w     *walk
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
			case e.IsDir() && !f.isGitStore(e.Name()):
				f.todo = append(f.todo, name)
			case e.Type().IsRegular():
				return name, f.w.count(name)
			}
		}
		if !f.more() {
			return "", false
		}
	}
}

// isGitStore says whether the folder of that name here is that in which git keeps its objects; a submodule's is deeper in .git.
func (f *folderReader) isGitStore(name string) bool {
	return name == "objects" && slices.Contains(splitPath(f.name), ".git")
}

func splitPath(name string) []string {
	var parts []string
	for name != "" {
		dir, last := filepath.Split(filepath.Clean(name))
		if last == "" {
			break
		}
		parts = append(parts, last)
		name = dir
	}
	return parts
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

package scan

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"
)

// zipped is a file that is to be zipped. One without a name is the comment of the whole.
type zipped struct {
	name   string
	from   string // a file, unless data is set
	data   []byte
	stored bool
	extra  string // a file that becomes an extra field
}

func zipFiles(t *testing.T, to string, files []zipped) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, f := range files {
		if f.data == nil {
			f.data = read(f.from)
		}
		if f.name == "" {
			if err := w.SetComment(string(f.data)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.stored {
			h.Method = zip.Store
		}
		if f.extra != "" {
			field := read(f.extra)
			h.Extra = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, 0x7373), uint16(len(field)))
			h.Extra = append(h.Extra, field...)
		}
		entry, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		entry.Write(f.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// widen makes a file of UTF-8 one of UTF-16, with a byte order mark.
func widen(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := []byte("\xff\xfe")
	for _, r := range string(b) {
		out = binary.LittleEndian.AppendUint16(out, uint16(r))
	}
	if err := os.WriteFile(name, out, 0o644); err != nil {
		t.Fatal(err)
	}
}

// intoSigningBlock puts what is in a file into the signing block of an APK, where app stores and their tools write what
// tells one download from another. The signature is about the rest, so it stays valid.
func intoSigningBlock(t *testing.T, apk, from string) {
	t.Helper()
	b, err := os.ReadFile(apk)
	if err != nil {
		t.Fatal(err)
	}
	value, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	end := bytes.LastIndex(b, []byte("PK\x05\x06"))
	directory := int(le.Uint32(b[end+16:]))
	if string(b[directory-16:directory]) != "APK Sig Block 42" {
		t.Fatal("apksigner wrote no signing block")
	}
	size := le.Uint64(b[directory-24:])
	start := directory - int(size) - 8
	pair := le.AppendUint64(nil, uint64(4+len(value)))
	pair = append(le.AppendUint32(pair, 0x71777777), value...)
	b = slices.Insert(b, directory-24, pair...)
	le.PutUint64(b[start:], size+uint64(len(pair)))
	le.PutUint64(b[directory+len(pair)-24:], size+uint64(len(pair)))
	le.PutUint32(b[end+len(pair)+16:], uint32(directory+len(pair)))
	if err := os.WriteFile(apk, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// unpack does what unzip does.
func unpack(t *testing.T, archive, to string) {
	t.Helper()
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.CopyFS(to, r); err != nil {
		t.Fatal(err)
	}
}

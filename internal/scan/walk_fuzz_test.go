package scan

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// fuzzed walks through data, in memory and as a reader, and checks what must hold for anything: it ends, and what is visited is
// bounded. Data is written to, as memory that is not the visitor's any more will be.
func fuzzed(t *testing.T, name string, data []byte) {
	l := smallLimits()
	l.total, l.entry = 512<<10, 128<<10
	for _, read := range []func(*walker){
		func(w *walker) { w.bytes(context.Background(), name, data) },
		func(w *walker) { _ = w.reader(context.Background(), name, bytes.NewReader(data)) },
		func(w *walker) {
			s := w.start(context.Background(), name)
			defer s.end()
			br := s.buffer(&s.small, bytes.NewReader(data))
			s.zipStream(nest{path: name, depth: 1}, wholeOf(br))
		},
	} {
		var mu sync.Mutex
		var visits, visited, problems int64
		ends := map[string]int64{}
		w := &walker{limits: l, workers: 2, visit: func(e *entry) {
			mu.Lock()
			defer mu.Unlock()
			visits++
			visited += int64(len(e.data))
			if e.offset < 0 || e.offset > 0 && !e.part {
				t.Errorf("%q: offset %d", e.path, e.offset)
			}
			if e.part && !e.raw && e.offset > ends[e.path] {
				t.Errorf("%q: nothing was visited from %d to %d", e.path, ends[e.path], e.offset)
			}
			if len(e.path) > len(name)+l.depth*(maxName+100) {
				t.Errorf("a path of %d bytes", len(e.path))
			}
			ends[e.path] = max(ends[e.path], e.offset+int64(len(e.data)))
		}, problem: func(path string, err error) {
			problems++
			if !errors.Is(err, errDamaged) && !errors.Is(err, errVersion) && !errors.Is(err, errEncrypted) && !errors.Is(err, errTooMuch) && !errors.Is(err, errUnread) {
				t.Errorf("%q: %v", path, err)
			}
		}}
		read(w)
		// At every level of nesting, what is inflated and what its containers leave over; and of that, some twice, as it
		// was inflated in part before it turned out to be damaged; windows overlap.
		most := int64(l.depth+2) * 2 * (l.overlapping + 2) * (l.total + int64(len(data)) + 64<<10)
		if visited > most || problems > l.problems+2 || visits > 4*(most+l.entries) {
			t.Errorf("%d visits of %d bytes, %d problems, from %d bytes", visits, visited, problems, len(data))
		}
		if visits == 0 && len(data) > len(arMagic) && problems == 0 {
			t.Error("nothing was visited, and no problem told")
		}
	}
}

// fuzzSeeds are archives of every kind, small.
func fuzzSeeds(t testing.TB) map[string][]byte {
	text := bytes.Repeat([]byte("so much of this that it deflates "), 5)
	tarred := makeTar(t, tar.FormatPAX, map[string][]byte{"a": text, "dir/": nil})
	ar := fmt.Appendf([]byte(arMagic), "%-16s%-32s%-10d`\n%s\n", "a/", "0", 5, "abcde")
	z := zipBuilder{comment: []byte(endSig + "comment that begins like an end record")}
	z.buf.WriteString("prefix")
	z.add(t, zipEntry{name: "a", data: text, method: zipDeflated, extra: []byte("\x01\x00\x08\x0012345678"), comment: "c"})
	z.add(t, zipEntry{name: "a", data: text, desc: true, method: zipDeflated})
	z.add(t, zipEntry{name: "hidden", data: text, hidden: true, method: zipDeflated})
	z.add(t, zipEntry{name: "u", data: text, method: 0x999})
	z.add(t, zipEntry{name: "e", data: text, method: zipDeflated, flags: 1})
	z.add(t, zipEntry{name: "in.apk", data: makeZip(t, zipEntry{name: "x", data: text}), method: zipDeflated})
	z.add(t, zipEntry{name: "g.gz", data: gzipped(t, text)})
	return map[string][]byte{
		"a.txt": text, "x.tar": tarred, "x.tar.gz": gzipped(t, tarred), "x.a": ar, "x.apk": z.bytes(), "x.js.br": brotlied(t, text), "x.zst": zstded(t, text),
		"x.bz2":  []byte("BZh91AY&SY\x9d\xa5\x16\x0a\x00\x00\x02\xd1\x80\x00\x10\x40\x00\x00\x10\x20\x00\x21\x9a\x68\x33\x4d\x13\x3c\x5d\xc9\x14\xe1\x42\x42\x76\x94\x58\x28"),
		"object": zlibbed(t, text), "x.dmg": append(bytes.Clone(text), append([]byte("koly"), make([]byte, 508)...)...), "png": append([]byte("\x89PNG"), z.bytes()...),
		"two.gz": bytes.Join([][]byte{gzipped(t, text), make([]byte, 9), gzipped(t, text), []byte("junk"), gzipped(t, text)}, nil), "skip.zst": append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zstded(t, text)...),
		"no.zip": []byte(localSig), "end.zip": []byte(endSig + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	}
}

func FuzzWalk(f *testing.F) {
	for name, data := range fuzzSeeds(f) {
		f.Add(name, data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if len(name) > 100 {
			return
		}
		fuzzed(t, name, data)
	})
}

// FuzzZip changes numbers of a zip that is in order, where they are: arbitrary bytes seldom have a header at all.
func FuzzZip(f *testing.F) {
	f.Add([]byte("what is in it"), []byte{})
	f.Add([]byte("what is in it"), []byte("\x01\x08\x00\xff\xff\xff\xff\x02\x12\x00\x00\x00\x00\x00"))
	f.Add(bytes.Repeat([]byte("aaaa "), 3000), []byte("\x07\x10\x00\xff\x00\x00\x00\x00\x1a\x00\xff\xff\x00\x00"))
	f.Fuzz(func(t *testing.T, content, changes []byte) {
		if len(content) > 64<<10 {
			return
		}
		var z zipBuilder
		z.add(t, zipEntry{name: "first", data: content, method: zipDeflated})
		z.add(t, zipEntry{name: "second", data: content, extra: []byte("\x01\x00\x10\x001234567812345678")})
		z.add(t, zipEntry{name: "third", data: content, method: zipDeflated, desc: true, hidden: len(content)%2 == 1})
		z.add(t, zipEntry{name: "in.zip", data: makeZip(t, zipEntry{name: "x", data: content, method: zipDeflated}), method: zipDeflated})
		data := bytes.Clone(z.bytes())
		var headers []int
		for _, sig := range []string{localSig, dirSig, endSig} {
			for at := 0; ; at++ {
				i := bytes.Index(data[at:], []byte(sig))
				if i < 0 {
					break
				}
				at += i
				headers = append(headers, at)
			}
		}
		// A change is a header, a place in it, and four bytes that are put there, with a byte to say how many.
		for ; len(changes) >= 7; changes = changes[7:] {
			at := headers[int(changes[0])%len(headers)] + int(changes[1])%dirLen
			n := 1 + int(changes[2])%4
			if at+n <= len(data) {
				copy(data[at:at+n], changes[3:3+n])
			}
		}
		fuzzed(t, "x.apk", data)
	})
}

// FuzzTar changes fields of headers and mends the checksum.
func FuzzTar(f *testing.F) {
	f.Add([]byte("what is in it"), []byte{})
	f.Add([]byte("30 GNU.sparse.map=0,4,100,4\n22 GNU.sparse.size=900\n"), []byte("\x00\x9cx"))
	f.Add([]byte("10\n0\n5\n"), []byte("\x00\x9cS\x01\x7c\xff"))
	f.Fuzz(func(t *testing.T, content, changes []byte) {
		if len(content) > 64<<10 {
			return
		}
		one := makeTar(t, tar.FormatUSTAR, map[string][]byte{"first": content})
		data := append(one[:len(one)-1024:len(one)-1024], makeTar(t, tar.FormatGNU, map[string][]byte{"second": content})...)
		second := len(one) - 1024
		for ; len(changes) >= 3; changes = changes[3:] {
			data[int(changes[0])%2*second+(int(changes[0])/2*256+int(changes[1]))%tarBlock] = changes[2]
		}
		for _, at := range []int{0, second} {
			sum := int(8 * ' ')
			for i, c := range data[at : at+tarBlock] {
				if i < 148 || i >= 156 {
					sum += int(c)
				}
			}
			copy(data[at+148:], fmt.Sprintf("%06o\x00 ", sum))
		}
		fuzzed(t, "x.tar", data)
		if len(data)%2 == 0 {
			fuzzed(t, "x.tar.gz", gzipped(t, data))
		}
	})
}

package scan

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// gunzip reads gzip (RFC 1952), several members as one. It does not ask whether checksums are right: what was inflated has been
// read in any case, and a member that follows a wrong one is read too.
type gunzip struct {
	br      *bufio.Reader
	inflate io.ReadCloser
	within  bool // a member
	members int
	meta    loose // what the headers hold beside the data
	n       int64 // how many bytes that were
}

func (g *gunzip) Read(p []byte) (int, error) {
	for {
		if !g.within {
			if err := g.next(); err != nil {
				return 0, err
			}
		}
		n, err := g.inflate.Read(p)
		if errors.Is(err, io.EOF) {
			g.within = false
			if _, err = g.br.Discard(8); err != nil { // checksum and size
				err = io.ErrUnexpectedEOF
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the data of the next member, or says that there is none: what follows the last is not of the file, but for zeros,
// behind which there may be another.
func (g *gunzip) next() error {
	head, err := g.br.Peek(10)
	for g.members > 0 && len(head) > 0 && head[0] == 0 {
		have, _ := g.br.Peek(g.br.Buffered())
		_, _ = g.br.Discard(skipZeros(have)) // they are there
		head, err = g.br.Peek(10)
	}
	if len(head) < 10 || string(head[:3]) != "\x1f\x8b\x08" {
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case g.members == 0:
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	flags := head[3]
	_, _ = g.br.Discard(10) // they are there
	if flags&4 != 0 {
		low, _ := g.byte()
		high, _ := g.byte()
		for n := int(low) + int(high)<<8; n > 0; n-- {
			if _, err := g.byte(); err != nil {
				return err
			}
		}
	}
	for _, flag := range [...]byte{8, 16} { // name, comment
		for more := flags&flag != 0; more; {
			c, err := g.byte()
			if err != nil {
				return err
			}
			more = c != 0
		}
	}
	if flags&2 != 0 {
		_, _ = g.br.Discard(2) // a checksum; if it is missing, so is the data
	}
	g.members++
	g.within = true
	if g.inflate == nil {
		g.inflate = flate.NewReader(g.br)
		return nil
	}
	return g.inflate.(flate.Resetter).Reset(g.br, nil)
}

func (g *gunzip) byte() (byte, error) {
	c, err := g.br.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case err == nil:
		g.meta.note(g.n, []byte{c})
		g.n++
	}
	return c, err
}

// zlibProof is how many bytes do not come out of what is none.
const zlibProof = 1 << 20

// isZlib says whether a file that begins with head is a zlib stream (RFC 1950), as git's loose objects are. Two bytes say little, so
// all that head has must inflate; and if all says that it is all there is, to the end, where its checksum is.
func isZlib(head []byte, all bool) bool {
	if len(head) < 8 || head[0] != 0x78 || head[1] != 0x01 && head[1] != 0x5e && head[1] != 0x9c && head[1] != 0xda {
		return false
	}
	r, err := zlib.NewReader(bytes.NewReader(head))
	if err != nil {
		return false
	}
	_, err = io.CopyN(io.Discard, r, zlibProof)
	return err == nil || errors.Is(err, io.EOF) || !all && errors.Is(err, io.ErrUnexpectedEOF)
}

// unzlib reads a zlib stream. Like gunzip it does not ask for the checksum.
type unzlib struct {
	br      *bufio.Reader
	inflate io.Reader
	err     error
}

func (u *unzlib) Read(p []byte) (int, error) {
	if u.inflate == nil {
		_, u.err = u.br.Discard(2)
		u.inflate = flate.NewReader(u.br)
	}
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.inflate.Read(p)
	if errors.Is(err, io.EOF) {
		if _, cut := u.br.Discard(4); cut != nil {
			err = io.ErrUnexpectedEOF
		}
	}
	u.err = err
	return n, err
}

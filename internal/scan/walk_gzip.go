package scan

import (
	"bufio"
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
	meta    []byte // what the headers hold beside the data, until there are maxMeta bytes
}

const maxMeta = 64 << 10

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

// next goes to the data of the next member, or says that there is none: what follows the last is not of the file.
func (g *gunzip) next() error {
	head, err := g.br.Peek(10)
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
	case err == nil && len(g.meta) < maxMeta:
		g.meta = append(g.meta, c)
	}
	return c, err
}

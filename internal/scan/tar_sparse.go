package scan

import (
	"bytes"
	"io"
)

// tarSparse is what is said of a file of which only some pieces are there.
type tarSparse struct {
	name   []byte
	pieces []sparsePiece
	size   int64 // of the whole file
	inData bool  // the pieces are listed before the data
	offset int64 // of a piece whose length is to come
}

type sparsePiece struct{ offset, length int64 }

// maxSparse is how many pieces of a sparse file are known, which is about what fits into maxTarMeta. Of a file with more, the
// others are visited as if nothing lay between them.
const maxSparse = 64 << 10

func (s *tarSparse) add(offset, length int64) {
	if len(s.pieces) < maxSparse {
		s.pieces = append(s.pieces, sparsePiece{min(offset, 1<<60), min(length, 1<<60)})
	}
}

// record reads what GNU's versions 0.0, 0.1 and 1.0 say.
func (s *tarSparse) record(key string, value []byte) {
	n, _ := decimal(value)
	switch key {
	case "GNU.sparse.size", "GNU.sparse.realsize":
		s.size = n
	case "GNU.sparse.offset":
		s.offset = n
	case "GNU.sparse.numbytes":
		s.add(s.offset, n)
	case "GNU.sparse.major":
		s.inData = n == 1
	case "GNU.sparse.map":
		for len(value) > 0 {
			var offset, length int64
			offset, value = decimal(value)
			length, value = decimal(bytes.TrimPrefix(value, []byte(",")))
			s.add(offset, length)
			if !bytes.HasPrefix(value, []byte(",")) {
				return
			}
			value = value[1:]
		}
	}
}

// readMap reads the list before the data: numbers with a line each, of which the first is how many pieces follow.
func (s *tarSparse) readMap(e *part) {
	var block [tarBlock]byte
	var number int64
	var numbers []int64
	for {
		if n, _ := fill(e, block[:]); n < tarBlock {
			return
		}
		for _, c := range block {
			switch {
			case c == '\n':
				numbers = append(numbers, number)
				number = 0
			case c < '0' || c > '9', number > 1<<58:
				return
			default:
				number = number*10 + int64(c-'0')
			}
			if len(numbers) > 0 && (numbers[0] > maxSparse || int64(len(numbers)) == 1+2*numbers[0]) {
				for i := 1; i+1 < len(numbers); i += 2 {
					s.add(numbers[i], numbers[i+1])
				}
				return
			}
		}
	}
}

// oldSparse reads the pieces that GNU's older form has in the header, and in blocks behind it.
func (t *tarReader) oldSparse(h []byte) bool {
	t.sparse.size, _ = tarNumber(h[483:495])
	table, more := h[386:482], h[482] != 0
	var block [tarBlock]byte
	for {
		for ; len(table) >= 24 && table[0] != 0; table = table[24:] {
			offset, ok1 := tarNumber(table[:12])
			length, ok2 := tarNumber(table[12:24])
			if ok1 && ok2 {
				t.sparse.add(offset, length)
			}
		}
		if !more || t.w.over() {
			return true
		}
		n, err := fill(t.p, block[:])
		t.note(block[:n])
		if err != nil {
			return false
		}
		table, more = block[:504], block[504] != 0
	}
}

// mostZeros is how many zeros are put into one hole.
const mostZeros = 8 << 10

// sparseReader puts zeros between the pieces: as many as there are, but at most most of them, for a bomb is made of little
// else, and nobody hides anything in zeros.
type sparseReader struct {
	r      io.Reader
	pieces []sparsePiece
	at     int64 // in the whole file
	zeros  int64 // to come before the next piece
	left   int64 // of the piece; before the first, the size of the whole
	most   int64
	size   int64
	begun  bool
}

func (s *sparseReader) Read(p []byte) (int, error) {
	if !s.begun {
		s.begun, s.size, s.left = true, s.left, 0
	}
	for len(p) > 0 {
		if s.zeros > 0 {
			n := int(min(s.zeros, int64(len(p))))
			clear(p[:n])
			s.zeros -= int64(n)
			return n, nil
		}
		if s.left > 0 {
			n, err := s.r.Read(p[:min(s.left, int64(len(p)))])
			s.left -= int64(n)
			return n, err
		}
		if len(s.pieces) == 0 {
			if s.size > s.at {
				s.hole(s.size)
				continue
			}
			return s.r.Read(p) // nothing, but for what lies behind the last piece
		}
		next := s.pieces[0]
		s.pieces = s.pieces[1:]
		s.hole(next.offset)
		s.at, s.left = max(s.at, next.offset)+next.length, next.length
	}
	return 0, nil
}

func (s *sparseReader) hole(to int64) {
	if to > s.at {
		s.zeros, s.at = min(to-s.at, s.most), to
	}
}

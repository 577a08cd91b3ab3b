package selo_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// freeOnce costs nothing and remembers nothing: the store of a real one is not what is measured.
type freeOnce struct{}

func (freeOnce) Use(context.Context, []selo.UsedID, time.Time) error { return nil }

// floor is the least that any implementation does: a pooled HMAC and base64.
type floor struct {
	macs sync.Pool
	text []byte
	sum  []byte
}

func newFloor() *floor {
	return &floor{
		macs: sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(testSecret)) }},
		text: make([]byte, 0, 1024),
		sum:  make([]byte, 0, sha256.Size),
	}
}

func (f *floor) mac(signed []byte) []byte {
	h := f.macs.Get().(hash.Hash)
	h.Reset()
	h.Write(signed)
	f.sum = h.Sum(f.sum[:0])
	f.macs.Put(h)
	return f.sum
}

func BenchmarkMint(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		f := newFloor()
		header := segment(plainHeader)
		payload := []byte(`{"iss":"` + testClientID + `","exp":1700000000,"peopleId":"` + testCPF + `"}`)
		b.ReportAllocs()
		for b.Loop() {
			f.text = append(f.text[:0], header...)
			f.text = append(f.text, '.')
			f.text = base64.RawURLEncoding.AppendEncode(f.text, payload)
			sum := f.mac(f.text)
			f.text = append(f.text, '.')
			f.text = base64.RawURLEncoding.AppendEncode(f.text, sum)
			_ = string(f.text)
		}
	})
	b.Run("selo", func(b *testing.B) {
		req := selo.MintRequest{Profile: selo.CafFaceLiveness(), Key: testKey(b), CPF: cpfOf(b, testCPF)}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := selo.Mint(req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	token := sign(auth())
	b.Run("floor", func(b *testing.B) {
		f := newFloor()
		first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
		in := []byte(token)
		b.ReportAllocs()
		for b.Loop() {
			sum := f.mac(in[:last])
			f.text, _ = base64.RawURLEncoding.AppendDecode(f.text[:0], in[first+1:last])
			f.text, _ = base64.RawURLEncoding.AppendDecode(f.text[:0], in[last+1:])
			if !hmac.Equal(sum, f.text) {
				b.Fatal("the floor does not verify")
			}
		}
	})
	b.Run("selo", func(b *testing.B) {
		want := expecting(b, authentication)
		want.Once = freeOnce{}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := selo.Verify(context.Background(), token, want); err != nil {
				b.Fatal(err)
			}
		}
	})
}

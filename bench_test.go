package selo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
	"testing"
	"time"
)

type noOnce struct{}

func (noOnce) Use(context.Context, []ProviderID) error { return nil }

var benchPayload = `{"requestId":"7d444840-9dc0-11d1-b245-5ffdce74fad2","isAlive":true,"isMatch":true,"message":"ok","token":"5ffdce74-9dc0-11d1-b245-7d444840fad2","userId":"ana","imageUrl":"https://images.example/7d444840-9dc0-11d1-b245-5ffdce74fad2.jpg","personId":"52998224725","sdkVersion":"7.1.0","iat":1700000000}`

func benchKey(b testing.TB) AccessKey {
	s, err := NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		b.Fatal(err)
	}
	return AccessKey{ClientID: "64b7f3c2a1d0e9f8b7a6c5d4", Secret: s}
}

func BenchmarkVerify(b *testing.B) {
	key := benchKey(b)
	signed := hs256Header + "." + b64.EncodeToString([]byte(benchPayload))
	token := signed + "." + b64.EncodeToString(key.Secret.mac(nil, []byte(signed)))
	b.Run("floor", func(b *testing.B) {
		pool := sync.Pool{New: func() any { return hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef")) }}
		buf := make([]byte, 0, 1024)
		sum := make([]byte, 0, 32)
		tok := []byte(token)
		b.ReportAllocs()
		for b.Loop() {
			h := pool.Get().(hash.Hash)
			h.Reset()
			h.Write(tok[:len(signed)])
			sum = h.Sum(sum[:0])
			pool.Put(h)
			buf, _ = base64.RawURLEncoding.AppendDecode(buf[:0], tok[len(hs256Header)+1:len(signed)])
			buf, _ = base64.RawURLEncoding.AppendDecode(buf[:0], tok[len(signed)+1:])
			if !hmac.Equal(sum, buf) {
				b.Fatal()
			}
		}
	})
	cpf, _ := ParseCPF("52998224725")
	b.Run("selo", func(b *testing.B) {
		b.ReportAllocs()
		want := Expectation{Profile: CafFaceAuthentication(), Key: key, CPF: cpf, Once: noOnce{}, Now: time.Unix(1700000010, 0)}
		for b.Loop() {
			if _, err := Verify(context.Background(), token, want); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMint(b *testing.B) {
	key := benchKey(b)
	cpf, _ := ParseCPF("52998224725")
	tok, err := Mint(MintRequest{Profile: CafFaceLiveness(), Key: key, CPF: cpf})
	if err != nil {
		b.Fatal(err)
	}
	_ = tok
	b.Run("floor", func(b *testing.B) {
		pool := sync.Pool{New: func() any { return hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef")) }}
		buf := make([]byte, 0, 1024)
		sum := make([]byte, 0, 32)
		payload := []byte(`{"iss":"64b7f3c2a1d0e9f8b7a6c5d4","exp":1700000000,"peopleId":"52998224725"}`)
		b.ReportAllocs()
		for b.Loop() {
			buf = append(buf[:0], hs256Header...)
			buf = append(buf, '.')
			buf = base64.RawURLEncoding.AppendEncode(buf, payload)
			h := pool.Get().(hash.Hash)
			h.Reset()
			h.Write(buf)
			sum = h.Sum(sum[:0])
			pool.Put(h)
			buf = append(buf, '.')
			buf = base64.RawURLEncoding.AppendEncode(buf, sum)
			_ = string(buf)
		}
	})
	b.Run("selo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Mint(MintRequest{Profile: CafFaceLiveness(), Key: key, CPF: cpf}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

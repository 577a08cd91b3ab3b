package scan

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
)

// fuzzDecoder runs a decoder on anything: it must end, give no more than a multiple of the data, of places within it,
// and no error but those of the contract.
func fuzzDecoder(f *testing.F, times int, decode func([]byte, func(text)) error) {
	f.Helper()
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		err := decode(data, func(x text) {
			if x.off < 0 || x.off >= len(data) {
				t.Errorf("text at %d of %d", x.off, len(data))
			} else if !x.made && (len(x.b) > len(data)-x.off || string(data[x.off:x.off+len(x.b)]) != string(x.b)) {
				t.Errorf("%q does not lie at %d", x.b, x.off)
			}
			if len(x.key) > 4*keyLimit {
				t.Errorf("key of %d bytes", len(x.key))
			}
			total += len(x.b)
		})
		if total > times*len(data)+128<<10 {
			t.Errorf("%d bytes of %d", total, len(data))
		}
		switch {
		case err == nil, errors.Is(err, errDamaged), errors.Is(err, errVersion), errors.Is(err, errEncrypted), errors.Is(err, errTooMuch):
		default:
			t.Error(err)
		}
	})
}

func addSources(f *testing.F) {
	f.Helper()
	for _, name := range []string{"testdata/dec/literals.js", "testdata/dec/modern.js", "testdata/dec/literals.mjs"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzHermes(f *testing.F) {
	for _, version := range []uint32{84, 96, 98} {
		f.Add(hermesByHand(version, 16))
		f.Add(hermesByHand(version, 12))
	}
	for _, name := range []string{"testdata/dec/small-84.hbc", "testdata/dec/small-96.hbc", "testdata/dec/small-98.hbc"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	fuzzDecoder(f, 10, hermesTexts)
}

func FuzzMachO(f *testing.F) {
	f.Add(machByHand(binary.LittleEndian, 0))
	f.Add(machByHand(binary.BigEndian, 1))
	fat := binary.BigEndian.AppendUint32(nil, machFat)
	for _, v := range []uint32{2, 7, 3, 48, 0x1000, 0, 12, 0, 48, 0x1000, 0} {
		fat = binary.BigEndian.AppendUint32(fat, v)
	}
	f.Add(append(fat, machByHand(binary.LittleEndian, 0)...))
	f.Add(append(machByHand(binary.LittleEndian, 0), dartSnapshotHeader()...))
	fuzzDecoder(f, 12, func(data []byte, emit func(text)) error {
		if !isMachO(data) {
			return nil
		}
		return machOTexts(data, emit)
	})
}

func FuzzELF(f *testing.F) {
	for _, wide := range []bool{true, false} {
		data := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 200)...)
		if wide {
			data[4] = 2
		}
		data = append(data, dartSnapshotHeader()...)
		for _, word := range []string{"client", "secret", "values", "in a row", "more", "of them"} {
			data = append(append(data, dartLength(2*len(word))...), word...)
		}
		f.Add(data)
	}
	fuzzDecoder(f, 8, elfTexts)
}

func FuzzRuns(f *testing.F) {
	f.Add([]byte("\x00abcdef\x00segredo-\xc3\xa7\x00w\x00i\x00d\x00e\x00 \x00t\x00e\x00x\x00t\x00\x00\x00"))
	fuzzDecoder(f, 3, func(data []byte, emit func(text)) error {
		runs(data, 6, emit)
		return nil
	})
}

func FuzzSource(f *testing.F) {
	addSources(f)
	f.Add([]byte(`[d setObject:@"v1" forKey:@"clientSecret"]; buildConfigField("String", "K", "\"v\"") /* x */ // y`))
	f.Add([]byte("s = \"\"\"a\\\"\"\" + r'b' \"c\" \"d\"; x = ['a','b'].join('') + `${`${1}`}`; # d"))
	fuzzDecoder(f, 9, sourceTexts)
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":{"b":["x",{"c":"\ud83d\ude00"}]},'d':1234567,e:"f",} // g`))
	f.Add([]byte(`{"sources":["a",null],"sourcesContent":["x='y'",null,"k=[1,2,3,4,5,6,7,8]"]}`))
	fuzzDecoder(f, 41, jsonTexts)
}

func FuzzProps(f *testing.F) {
	f.Add([]byte("# c\nexport A=\"b\"\nc=d\\\n e\n[s]\nx: |\n  y\n  z\nm=\"\"\"\nn\"\"\"\n- o: 'p' # q\n"))
	fuzzDecoder(f, 25, propsTexts)
}

func FuzzNumbers(f *testing.F) {
	f.Add([]byte(`k = [0x53, 101, 'a', '\x41', (byte) 3, 4.toByte(), -5, 067, 0x65e5]`))
	fuzzDecoder(f, 3, func(data []byte, emit func(text)) error {
		numberTexts(data, emit)
		return nil
	})
}

package scan

import (
	"bytes"
	"testing"
)

// fuzzDecoders checks that decoders end, keep to what they promise about places and bytes, and give no more than times
// the size of what they are given.
func fuzzDecoders(f *testing.F, times int, decoders ...decodeFunc) {
	f.Helper()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, decode := range decoders {
			given, before := 0, bytes.Clone(data)
			all, _ := decGather(t, data, decode)
			for _, s := range all {
				given += len(s) - len(" = ")
			}
			if given > times*2*len(data)+64<<10 {
				t.Errorf("%d bytes of %d", given, len(data))
			}
			if !bytes.Equal(before, data) {
				t.Error("the data was changed")
			}
		}
	})
}

func FuzzDex(f *testing.F) {
	f.Add(decSample(f, "sample.dex"))
	f.Add(decDex("038", 0, "odd\xC0\x80", []byte("array-bytes")))
	container := decDex("041", 0, "odd", []byte("array-bytes"))
	f.Add(append(container, decDex("041", len(container), "even", []byte{1, 2, 3, 4, 5, 6, 250})...))
	fuzzDecoders(f, 8, dexTexts)
}

func FuzzARSC(f *testing.F) {
	for _, name := range []string{"aapt-utf8.arsc", "aapt-utf16.arsc", "aapt2.arsc"} {
		f.Add(decSample(f, name))
	}
	for _, form := range []string{"plain", "offset16", "sparse", "compact"} {
		f.Add(decTable(form))
	}
	fuzzDecoders(f, 16, arscTexts)
}

func FuzzAXML(f *testing.F) {
	for _, name := range []string{"aapt.axml", "aapt2.axml", "net.axml"} {
		f.Add(decSample(f, name))
	}
	fuzzDecoders(f, 16, axmlTexts, visited(axmlAttrs))
}

// visited makes a decoder of what visits attributes.
func visited(attrs func([]byte, func(element, attribute, value string)) error) decodeFunc {
	return func(data []byte, emit func(text)) error {
		return attrs(data, func(_, _, value string) {
			if len(data) > 0 {
				emit(text{b: []byte(value), made: true})
			}
		})
	}
}

func FuzzProtobuf(f *testing.F) {
	f.Add(decSample(f, "resources.pb"))
	f.Add(decSample(f, "manifest.pb"))
	f.Add([]byte(pbPreferences()))
	fuzzDecoders(f, 8, protobufTexts, visited(protoXMLAttrs))
}

func FuzzBinaryPlist(f *testing.F) {
	f.Add(decSample(f, "sample.bplist"))
	fuzzDecoders(f, 16, binaryPlistTexts)
}

func FuzzXML(f *testing.F) {
	for _, name := range []string{"src/sample.plist", "src/AndroidManifest.xml", "src/res/values/strings.xml"} {
		f.Add(decSample(f, name))
		f.Add(decWide(string(decSample(f, name))))
	}
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY e "value">]><a b=c d='&#65;'>1 < 2<![CDATA[x]]><!-- y --></a>`))
	fuzzDecoders(f, 16, xmlTexts, plistTexts)
}

func FuzzClass(f *testing.F) {
	f.Add(decSample(f, "sample.class"))
	fuzzDecoders(f, 8, classTexts)
}

package scan

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// pbField is one length-delimited field, pbNumber one that is a varint.
func pbField(number int, content ...string) string {
	s := strings.Join(content, "")
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3|2), uint64(len(s)))) + s
}

func pbNumber(number int, v uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), v))
}

// pbPreferences is what Android's DataStore writes: map<string, Value>, Value{integer=3, string=5, string_set=6}.
func pbPreferences() string {
	return pbField(1, pbField(1, "api_key"), pbField(2, pbField(5, "stored-value"))) +
		pbField(1, pbField(1, "count"), pbField(2, pbNumber(3, 7))) +
		pbField(1, pbField(1, "set"), pbField(2, pbField(6, pbField(1, "member-one"), pbField(1, "member-two"))))
}

func TestProtobuf(t *testing.T) {
	t.Parallel()
	wantGiven(t, decSample(t, "resources.pb"), protobufTexts, wantResources+"\n= pool-value-é😀-end")
	wantGiven(t, decSample(t, "manifest.pb"), protobufTexts, wantManifest+"\n= meta-value-é😀")
	wantManifestAttrs(t, decSample(t, "manifest.pb"), protoXMLAttrs)
	wantGiven(t, []byte(pbPreferences()), protobufTexts, `
		api_key = stored-value
		set = member-one
		set = member-two
		= api_key`)
	wantGiven(t, []byte(pbField(3, pbField(1, "plain_key"), pbField(2, "plain-value"))), protobufTexts, "plain_key = plain-value")
}

func TestProtobufOfAAPT2(t *testing.T) {
	t.Parallel()
	apk := decBuild(t, "--proto-format")
	wantGiven(t, decZipped(t, apk, "resources.pb"), protobufTexts, wantResources)
	manifest := decZipped(t, apk, "AndroidManifest.xml")
	wantGiven(t, manifest, protobufTexts, wantManifest)
	wantManifestAttrs(t, manifest, protoXMLAttrs)
	wantGiven(t, decZipped(t, apk, "res/xml/net.xml"), protobufTexts, "domain = insecure.example.com")
}

func TestIsProtobuf(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"resources.pb", "manifest.pb"} {
		data := decSample(t, name)
		if !isProtobuf(data) || isResourceTable(data) != (name == "resources.pb") || isProtoXML(data) != (name == "manifest.pb") {
			t.Errorf("%s is not recognized", name)
		}
	}
	if !isProtobuf([]byte(pbPreferences())) || isProtoXML([]byte(pbPreferences())) || isResourceTable([]byte(pbPreferences())) {
		t.Error("preferences are not recognized")
	}
	for _, other := range []string{"", "hello", "{\"a\": 1}", "\x00\x01\x02", "PK\x03\x04", pbNumber(1, 7), pbField(1, "text")[:5]} {
		if isProtobuf([]byte(other)) {
			t.Errorf("%q is recognized", other)
		}
	}
	for _, name := range []string{"sample.dex", "sample.class", "sample.bplist", "aapt2.arsc", "aapt2.axml"} {
		if isProtobuf(decSample(t, name)) {
			t.Errorf("%s is recognized", name)
		}
	}
}

func TestProtobufNestedTooDeeply(t *testing.T) {
	t.Parallel()
	s := pbField(1, "the innermost text")
	for range 40 {
		s = pbField(1, s)
	}
	if _, err := decGather(t, []byte(s), protobufTexts); !errors.Is(err, errTooMuch) {
		t.Errorf("got %v", err)
	}
}

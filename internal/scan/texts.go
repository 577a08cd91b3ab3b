package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// minRun is the length in bytes of the shortest string that is looked for in a format that nobody knows.
const minRun = 6

// texts gives every string of an entry, by the decoder for what the entry is: by its content where that tells, else by
// its name. A mistake in a decoder costs the rest of one entry, and is told as an entry that was not read whole. With bare
// also what stands in a source text without quotes.
func texts(e *entry, bare bool, emit func(text)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("its decoder failed, which is a fault of selo: %w", errDamaged)
		}
	}()
	data := e.data
	if e.part {
		runs(data, minRun, emit)
		return nil
	}
	for _, f := range []struct {
		is    func([]byte) bool
		texts func([]byte, func(text)) error
	}{
		{isDex, dexTexts},
		{isARSC, arscTexts},
		{isAXML, axmlTexts},
		{isHermes, hermesTexts},
		{isMachO, machOTexts},
		{isELF, elfTexts},
		{isClass, classTexts},
		{isBinaryPlist, binaryPlistTexts},
		{isPlist, plistTexts},
		{isXML, xmlTexts},
	} {
		if f.is(data) {
			err := f.texts(data, emit)
			if (errors.Is(err, errDamaged) || errors.Is(err, errVersion)) && looksLikeText(data) {
				break // prose that begins with a tag or with the name of a format: read as text it is read whole
			}
			return err
		}
	}
	if order := byteOrderMark(data); order != nil {
		return wideTexts(e, order, bare, emit)
	}
	switch base, ext := lowerName(e.path); {
	case jsonExtensions[ext] && !looksLikeText(data):
		return jsonTexts(data, emit)
	case jsonExtensions[ext]: // or of another kind: proguard.map, several values, one with comments
		if err := jsonTexts(data, emit); !errors.Is(err, errDamaged) {
			return err
		}
	case propsExtensions[ext], base == ".env", strings.HasPrefix(base, ".env."), strings.HasSuffix(base, ".env"):
		return propsTexts(data, emit)
	case sourceExtensions[ext]:
		if bare {
			runs(data, minRun, emit)
		}
		numberTexts(data, emit)
		return sourceTexts(data, emit)
	case ext == ".pb", base == "androidmanifest.xml":
		if isProtobuf(data) {
			return protobufTexts(data, emit)
		}
	}
	if !looksLikeText(data) {
		if isProtobuf(data) {
			return protobufTexts(data, emit)
		}
		runs(data, minRun, emit)
		return nil
	}
	if first := bytes.TrimLeft(data[:min(len(data), 256)], " \t\r\n\ufeff"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		if jsonTexts(data, emit) == nil {
			return nil
		}
	}
	runs(data, minRun, emit)
	numberTexts(data, emit)
	if err := propsTexts(data, emit); err != nil {
		return err
	}
	return sourceTexts(data, emit)
}

// byteOrderMark returns the byte order of a text in UTF-16 that says it, as far as its beginning looks like one; nil for
// anything else.
func byteOrderMark(data []byte) binary.ByteOrder {
	var order binary.ByteOrder
	switch {
	case len(data) < 4 || len(data)%2 != 0:
		return nil
	case data[0] == 0xff && data[1] == 0xfe:
		order = binary.LittleEndian
	case data[0] == 0xfe && data[1] == 0xff:
		order = binary.BigEndian
	default:
		return nil
	}
	head, latin := data[2:min(len(data), 1<<10)], 0
	for i := 0; i < len(head); i += 2 {
		switch u := order.Uint16(head[i:]); {
		case u == 0: // binary, or UTF-32
			return nil
		case u < 0x100:
			latin++
		}
	}
	if latin < len(head)/8 { // of a text in any language blanks, marks and names are
		return nil
	}
	return order
}

// wideTexts is texts for a text in UTF-16, such as the .strings of apps for iOS. Where strings lie is told as if all
// characters before them were of one byte in UTF-8.
func wideTexts(e *entry, order binary.ByteOrder, bare bool, emit func(text)) error {
	narrow := *e
	narrow.data = appendUTF16(nil, e.data[2:], order)
	return texts(&narrow, bare, func(t text) {
		t.off, t.made = min(2+2*t.off, len(e.data)-2), true
		emit(t)
	})
}

func lowerName(p string) (base, ext string) {
	base = strings.ToLower(path.Base(p[strings.LastIndexByte(p, '!')+1:]))
	return base, path.Ext(base)
}

var sourceExtensions = set(`.js .jsx .mjs .cjs .ts .tsx .bundle .jsbundle .hbc .java .kt .kts .groovy .gradle .swift .m .mm .h .c .cc .cpp
	.hpp .dart .go .py .rb .cs .vb .php .lua .rs .scala .vue .svelte .html .htm .strings .smali .pbxproj .podspec .xcscheme`)

var jsonExtensions = set(`.json .map .webmanifest .arb .ipynb`)

var propsExtensions = set(`.properties .env .ini .cfg .conf .toml .yml .yaml .xcconfig .pro .sh .rc`)

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// looksLikeText reports that data begins as a text in UTF-8 does.
func looksLikeText(data []byte) bool {
	head := data[:min(len(data), 4<<10)]
	if bytes.IndexByte(head, 0) >= 0 {
		return false
	}
	for cut := 0; cut < utf8.UTFMax && cut <= len(head); cut++ { // the end may fall into a character
		if utf8.Valid(head[:len(head)-cut]) {
			return true
		}
	}
	return false
}

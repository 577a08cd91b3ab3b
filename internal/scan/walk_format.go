package scan

import (
	"bytes"
	"path"
	"strings"
)

// format is what kind of container something is.
type format int

const (
	formatNone format = iota
	formatZip
	formatTar
	formatAr
	formatGzip
	formatBzip2
	formatZstd
	formatBrotli

	// Those below are known and not read.
	formatXz
	format7z
	formatRar
)

func (f format) String() string {
	return [...]string{"no container", "zip", "tar", "ar", "gzip", "bzip2", "Zstandard", "Brotli", "xz", "7z", "rar"}[f]
}

// headSize is how many bytes of a file tell its format. Those of a tar end at 512.
const headSize = 512

// formatOf tells the format of a file from its first headSize bytes, or all if it has fewer, and for Brotli from its name.
func formatOf(name string, head []byte) format {
	is := func(magic string) bool { return len(head) >= len(magic) && string(head[:len(magic)]) == magic }
	switch {
	case is(localSig), is("PK\x05\x06"), is("PK\x07\x08" + localSig), is("PK00" + localSig):
		return formatZip
	case is("\x1f\x8b\x08"):
		return formatGzip
	case is("BZh") && len(head) >= 10 && '1' <= head[3] && head[3] <= '9' &&
		(string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return formatBzip2
	case is("\x28\xb5\x2f\xfd"), len(head) >= 12 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return formatZstd
	case is("\xfd7zXZ\x00"):
		return formatXz
	case is("7z\xbc\xaf\x27\x1c"):
		return format7z
	case is("Rar!\x1a\x07"):
		return formatRar
	case is(arMagic):
		return formatAr
	case len(head) >= tarBlock && (string(head[257:262]) == "ustar" || tarChecksum(head)):
		return formatTar
	case len(head) > 0 && hasExt(name, ".br"):
		return formatBrotli
	}
	return formatNone
}

func hasExt(name, ext string) bool {
	return len(name) >= len(ext) && strings.EqualFold(name[len(name)-len(ext):], ext)
}

// namedZip says whether the name is one of a zip, also of one behind a program that unpacks it.
func namedZip(name string) bool {
	switch ext := path.Ext(name); len(ext) {
	case 4:
		switch strings.ToLower(ext) {
		case ".apk", ".aab", ".ipa", ".aar", ".jar", ".war", ".ear", ".zip", ".exe", ".sfx":
			return true
		}
	case 5:
		switch strings.ToLower(ext) {
		case ".apks", ".xapk", ".apkm":
			return true
		}
	}
	return false
}

// contentOf is what the one file within a compressed file is called: bundle.js in bundle.js.gz.
func contentOf(name string) string {
	name = name[strings.LastIndexAny(name, "!/\\")+1:]
	for _, e := range [...][2]string{{".gz"}, {".bz2"}, {".zst"}, {".br"}, {".tgz", ".tar"}, {".tbz2", ".tar"}, {".tzst", ".tar"}} {
		if stem := len(name) - len(e[0]); stem > 0 && hasExt(name, e[0]) {
			return name[:stem] + e[1]
		}
	}
	return name
}

// skipZeros returns how many of the bytes at the start of b are zero.
func skipZeros(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "\x00")) }

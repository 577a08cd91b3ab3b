package scan

import (
	"bytes"
	"fmt"
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
	formatZlib

	// Those below are known and not read.
	formatXz
	format7z
	formatRar
	formatDmg
	formatISO
	formatSquash
	formatXar
	formatPbzx
	formatLzip
	formatCompress
	formatLZ4
	formatCab
	formatRpm
	formatAge
	formatXamarin
	formatUnity
	formatLZFSE
	formatLZMA
	formatPack
)

func (f format) String() string {
	return [...]string{"no container", "zip", "tar", "ar", "gzip", "bzip2", "Zstandard", "Brotli", "zlib",
		"xz", "7z", "rar", "dmg", "ISO 9660", "SquashFS", "xar", "pbzx", "lzip", "compress", "LZ4", "cab", "rpm", "age",
		"a compressed assembly of Xamarin", "a bundle of Unity", "LZFSE", "LZMA", "git pack"}[f]
}

// unread is the problem of a format that is not read.
func (f format) unread() error { return fmt.Errorf("%s, which selo does %w", f, errUnread) }

// unreadMagics are what files begin with that are known and not read. Those of few letters count with an extension only.
var unreadMagics = [...]struct {
	magic, ext string
	format     format
}{
	{"\xfd7zXZ\x00", "", formatXz},
	{"7z\xbc\xaf\x27\x1c", "", format7z},
	{"Rar!\x1a\x07", "", formatRar},
	{"encrcdsa", "", formatDmg},
	{"cdsaencr", "", formatDmg},
	{"hsqs", "", formatSquash},
	{"sqsh", "", formatSquash},
	{"xar!", "", formatXar},
	{"pbzx", "", formatPbzx},
	{"LZIP\x00", "", formatLzip},
	{"LZIP\x01", "", formatLzip},
	{"\x1f\x9d", ".Z", formatCompress},
	{"\x04\x22\x4d\x18", "", formatLZ4},
	{"\x02\x21\x4c\x18", "", formatLZ4},
	{"MSCF", "", formatCab},
	{"\xed\xab\xee\xdb", "", formatRpm},
	{"age-encryption.org/", "", formatAge},
	{"-----BEGIN AGE ENCRYPTED FILE-----", "", formatAge},
	{"XALZ", "", formatXamarin},
	{"UnityFS\x00", "", formatUnity},
	{"UnityWeb", "", formatUnity},
	{"UnityRaw", "", formatUnity},
	{"bvx2", "", formatLZFSE},
	{"bvxn", "", formatLZFSE},
	{"bvx1", "", formatLZFSE},
	{"bvx-", "", formatLZFSE},
	{"\x5d\x00\x00", ".lzma", formatLZMA},
	{"PACK\x00\x00\x00\x02", ".pack", formatPack},
	{"PACK\x00\x00\x00\x03", ".pack", formatPack},
}

// isoMagic is in the first sector of an ISO 9660 image that means anything.
const (
	isoMagic = "CD001"
	isoAt    = 0x8001
)

// headSize is how many bytes of a file tell its format. A tar is known by 512, an ISO 9660 image by all.
const headSize = isoAt + 5 // of isoMagic

// dmgTrailer is how far from its end an Apple disk image says that it is one. It may begin like anything, often with a zlib stream.
const (
	dmgMagic   = "koly"
	dmgTrailer = 512
)

func endsAsDmg(data []byte) bool {
	return len(data) >= dmgTrailer && string(data[len(data)-dmgTrailer:][:len(dmgMagic)]) == dmgMagic
}

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
	case is(arMagic):
		return formatAr
	case len(head) >= tarBlock && (string(head[257:262]) == "ustar" || tarChecksum(head)):
		return formatTar
	}
	for _, m := range unreadMagics {
		if is(m.magic) && hasExt(name, m.ext) {
			return m.format
		}
	}
	switch {
	case len(head) == headSize && string(head[isoAt:]) == isoMagic:
		return formatISO
	case len(head) > 0 && hasExt(name, ".br"):
		return formatBrotli
	case isZlib(head, len(head) < headSize):
		return formatZlib
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
	for _, e := range [...][2]string{{".gz"}, {".bz2"}, {".zst"}, {".br"}, {".zlib"}, {".tgz", ".tar"}, {".tbz2", ".tar"}, {".tzst", ".tar"}} {
		if stem := len(name) - len(e[0]); stem > 0 && hasExt(name, e[0]) {
			return name[:stem] + e[1]
		}
	}
	return name
}

// skipZeros returns how many of the bytes at the start of b are zero.
func skipZeros(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "\x00")) }

package scan

import "errors"

// errUnread is wrapped by the problem of what is known and not read.
var errUnread = errors.New("not read")

// limits bound what is done about an input, which may have been made to use up all there is.
type limits struct {
	// entry is how many inflated bytes of one entry are read. 1 GiB is several times the largest file that stores
	// distribute (an APK expansion file has at most 2 GiB, and is stored, which this does not count).
	entry int64

	// total is how many inflated bytes of everything are read, at every level of nesting. 16 GiB take minutes; the
	// largest packages inflate to 4 GiB.
	total int64

	// ratio is how many times what it was deflated to an entry may inflate to, once it is larger than ratioFrom. DEFLATE
	// ends at 1,032, which it reaches for one byte repeated; programs, texts and pictures of this size stay below 100. So a
	// bomb costs 64 MiB, not the GiB of entry.
	ratio     int64
	ratioFrom int64

	// depth is how many containers may lie in one another. Seven are the most that are met (a .tar within a .gz, an XAPK, an
	// APK, a JAR, a gzipped bundle counts six); a file that contains itself has no end.
	depth int

	// entries is how many entries are looked at, in everything. Android's limit for one APK is 65,535, and an XAPK or
	// a folder has several. Each costs some 32 bytes for as long as its zip is read, see zipTables.
	entries int64

	// problems is how many problems are told. One more says how many others there were: each may be remembered, so that a
	// million of damaged entries would take more memory than all the walk.
	problems int64

	// whole is the largest entry that is held whole. 48 MiB hold every DEX file (at most 65,536 methods) and every
	// bundle that was ever seen; what is larger is a native library, or media.
	whole int64

	// window and overlap are how what is larger is given: 8 MiB at a time, each window beginning with the last 256 KiB of
	// the one before, which is longer than anything that is looked for: a token has up to 72 KiB, and twice that in UTF-16; a
	// secret of 4 KiB as 64-bit numbers has 32 KiB.
	window  int64
	overlap int64

	// live is how many bytes of entries and nested containers are in memory at one moment, all workers together. Under
	// 100 MB for the process this leaves some 20 MB for the program itself, decoders and what a visitor needs. It is
	// enough for the largest entry of a container that is itself held and up to 24 MiB large.
	live int64

	// overlapping is how many times the size of a zip its entries may have together, before they are inflated. Honest entries
	// do not overlap. Some hundred files that share one deflated kernel make 5 GB out of 42 kB
	// (https://www.bamsoftware.com/hacks/zipbomb/).
	overlapping int64
}

func defaultLimits() limits {
	return limits{
		entry:       1 << 30,
		total:       16 << 30,
		ratio:       500,
		ratioFrom:   64 << 20,
		depth:       8,
		entries:     1_000_000,
		problems:    1000,
		whole:       48 << 20,
		window:      8 << 20,
		overlap:     256 << 10,
		live:        60 << 20,
		overlapping: 4,
	}
}

// reserve is what no container that is held may take: the window in which a large entry of it is read, and for every
// container some pages for the least tables, and for the rounding.
func (l *limits) reserve() int64 { return pages(l.window+l.overlap) + int64(2*l.depth+2)*pageSize }

// wholeIn is the largest entry that is held whole in a container for whose sake held bytes are in memory already. It depends on
// the input alone, so that the same input is always read in the same way.
func (l *limits) wholeIn(held int64) int64 {
	return max(min(l.whole, l.live-held-pageSize), 0)
}

// heldIn is the largest container that is held there.
func (l *limits) heldIn(held int64) int64 {
	return max(min(l.whole, l.live-held-l.reserve()-pageSize), 0)
}

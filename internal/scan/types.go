package scan

import (
	"errors"
)

// entry is a file that was found somewhere within what is scanned, or a part of one.
type entry struct {
	// path says where it is: "app.xapk!base.apk!classes.dex". A name is as the container spells it.
	path string

	// data is what the entry holds, inflated. Of an entry that is too large to be held it is one window; windows
	// overlap. It may be used and kept until visit returns.
	data []byte

	// offset is where in the entry data begins: 0 but for the later windows.
	offset int64

	// part says that data is a window, in which formats cannot be read as a whole.
	part bool

	// raw says that data may not be what the path promises: bytes as they lie in a container whose method nobody
	// knows, or between its entries.
	raw bool
}

// text is a string that a decoder found in an entry.
type text struct {
	// b is the string, as UTF-8 where its characters are known, and as it is where not. It is valid until emit returns.
	b []byte

	// off is where in the data it begins, in whatever encoding it has there.
	off int

	// key is what stands beside it in a key/value store or names it in a source: "resources/string/api_key",
	// "CafConfig.clientSecret", "API_KEY"; "" when nothing does.
	key string

	// made says that b does not lie at off byte for byte: it was unescaped, converted or put together.
	made bool

	// named says that it comes from a key/value store or a source text, in which a key tells what the value is.
	named bool
}

// What decoders and containers return, wrapped, when they did not read everything. What they have read they have given.
var (
	errDamaged   = errors.New("damaged")
	errVersion   = errors.New("of a version that is not known")
	errEncrypted = errors.New("encrypted")
	errTooMuch   = errors.New("more than the limits allow")
)

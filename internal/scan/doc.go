// Package scan looks inside app packages, as they are shipped, for keys and tokens that must not be there.
//
// It goes through containers within containers (walk.go), reads the formats in which programs keep their strings
// (the files dec_*.go), and looks for what it was told to look for in every spelling in which it may stand there
// (needle.go, finder.go). What could not be read makes the result incomplete, never clean.
package scan

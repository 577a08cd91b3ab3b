package scan

import "bytes"

// manifest is what the compiled manifest of an Android app says of it, or a network security configuration.
type manifest struct {
	path      string
	pkg       string
	version   string
	isApp     bool // it is a manifest, of an application
	debug     bool
	backup    string // of allowBackup: "true", "false", a reference, or "" when it is not there
	rules     bool   // says what is in a backup
	cleartext bool
	network   bool // has a network security configuration, which then says what is in clear text
}

var cleartextPermitted = []byte("cleartextTrafficPermitted")

// manifestOf returns what an entry says, nil for anything else.
func manifestOf(e *entry) *manifest {
	if e.part || len(e.data) > 4<<20 {
		return nil
	}
	base, ext := lowerName(e.path)
	isManifest := base == "androidmanifest.xml"
	if !isManifest && (ext != ".xml" || !bytes.Contains(e.data, cleartextPermitted) && !bytes.Contains(e.data, wide(cleartextPermitted, 2, false))) {
		return nil
	}
	m := &manifest{path: e.path}
	visit := func(element, attribute, value string) {
		switch element + "@" + attribute {
		case "manifest@package":
			m.pkg = value
		case "manifest@versionName":
			m.version = value
		case "application@debuggable":
			m.debug = value == "true"
		case "application@allowBackup":
			m.backup = value
		case "application@fullBackupContent", "application@dataExtractionRules":
			m.rules = true
		case "application@usesCleartextTraffic":
			m.cleartext = value == "true"
		case "application@networkSecurityConfig":
			m.network = true
		case "base-config@cleartextTrafficPermitted", "domain-config@cleartextTrafficPermitted":
			m.cleartext = m.cleartext || value == "true"
		}
		m.isApp = m.isApp || isManifest && element == "application"
	}
	switch {
	case isAXML(e.data):
		_ = axmlAttrs(e.data, visit) // what is damaged is told by the decoder
	case isProtobuf(e.data):
		_ = protoXMLAttrs(e.data, visit)
	default:
		return nil
	}
	if !m.isApp && !m.cleartext {
		return nil
	}
	return m
}

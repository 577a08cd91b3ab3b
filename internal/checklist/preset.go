package checklist

import _ "embed"

//go:embed presets/example.yaml
var examplePreset string

//go:embed presets/selo.yaml
var seloPreset string

// Preset returns a commented check.yaml to begin with: "example" for any server, "selo" for Selo's own API; "" for others.
func Preset(name string) string {
	switch name {
	case "example":
		return examplePreset
	case "selo":
		return seloPreset
	}
	return ""
}

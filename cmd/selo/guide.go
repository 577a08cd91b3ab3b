package main

import (
	_ "embed"
	"io"
	"path/filepath"
	"text/template"

	"github.com/selo-id/selo/internal/sandbox"
)

//go:embed guide.txt
var guideText string

// printGuide prints the journey as lines to paste into a shell that has curl and sed.
func printGuide(out io.Writer, urls demoURLs, dir string, kept bool) error {
	t := template.Must(template.New("guide").Parse(guideText))
	users := sandbox.DemoUsers()
	return t.Execute(out, map[string]any{
		"API": urls.API, "Sandbox": urls.Sandbox, "IdP": urls.IdP,
		"ServiceKey":    filepath.Join(dir, serviceKeyFile),
		"NewServiceKey": filepath.Join(dir, newServiceKeyFile),
		"OperatorKey":   filepath.Join(dir, operatorKeyFile),
		"Config":        filepath.Join(dir, demoConfigFile),
		"Check":         filepath.Join(dir, demoCheckFile),
		"Metrics":       urls.Metrics,
		"Policy":        demoPolicy,
		"Dir":           dir, "Kept": kept,
		"AnaCPF":   users["ana"].CPF.Digits(),
		"BrunoCPF": users["bruno"].CPF.Digits(),
		"DaviCPF":  users["davi"].CPF.Digits(),
	})
}

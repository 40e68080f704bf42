// Reads dashboards as strictly as Grafana's own schemas allow: a field that is unknown, missing or of another kind is an error.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		for _, err := range faults(path) {
			// An error without a word is what the library gives when there is none.
			if err != nil && err.Error() != "" {
				fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
				failed = true
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

func faults(path string) []error {
	text, err := os.ReadFile(path)
	if err != nil {
		return []error{err}
	}
	var strict, read dashboard.Dashboard
	faulty := []error{strict.UnmarshalJSONStrict(text), json.Unmarshal(text, &read)}
	return append(faulty, read.Validate())
}

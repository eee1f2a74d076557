// Reads dashboards strictly by Grafana's schema: a field that the schema lacks, one of another type,
// and one that is missing are errors, in panels' options and queries too.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Of a panel of another kind the options would not be looked at.
var known = map[string]bool{"row": true, "stat": true, "timeseries": true}

func read(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var board dashboard.Dashboard
	// Without errors it returns a list of none, which is not nil.
	if err := board.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		return err
	}
	for _, it := range board.Panels {
		if it.Panel != nil && !known[it.Panel.Type] {
			return fmt.Errorf("nothing is known here of panels of type %q", it.Panel.Type)
		}
	}
	return board.Validate()
}

func main() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	wrong := false
	for _, path := range os.Args[1:] {
		if err := read(path); err != nil {
			fmt.Printf("%s:\n%s\n", path, err)
			wrong = true
		}
	}
	if wrong {
		os.Exit(1)
	}
}

package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/internal/contract"
)

// docs/openapi.yaml has every route, and no other. What they answer is held against it by all tests here
// that use HTTP.
func TestContractHasEveryRoute(t *testing.T) {
	t.Parallel()
	document, err := contract.Document()
	if err != nil {
		t.Fatal(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	var told, served []string
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			told = append(told, strings.ToUpper(method)+" "+path+" "+strings.Join(operation.Tags, ","))
		}
	}
	callers := map[caller]string{device: "device", anyone: "everybody", operator: "operator"}
	for _, r := range routes() {
		served = append(served, r.method+" "+r.path+" "+callers[r.caller])
	}
	slices.Sort(told)
	slices.Sort(served)
	if !slices.Equal(told, served) {
		t.Errorf("docs/openapi.yaml has\n%s\nand there are\n%s", strings.Join(told, "\n"), strings.Join(served, "\n"))
	}
}

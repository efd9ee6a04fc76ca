package install

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/pgtide/pgtide/migrations"
)

func TestSectionsOfAMigration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, up, down, refused string }{
		"up alone":              {text: "-- about\n-- +goose Up\nSELECT 1;\n", up: "SELECT 1;"},
		"up and down":           {text: "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;\n", up: "SELECT 1;", down: "SELECT 2;"},
		"statements are joined": {text: "-- +goose up\n-- +goose StatementBegin\nSELECT 1;\n-- +goose StatementEnd\n  --  +goose StatementBegin\nSELECT 2;\n-- +goose StatementEnd", up: "SELECT 1;\nSELECT 2;"},
		"no annotation":         {text: "SELECT 1;\n", refused: "+goose Up"},
		"no transaction":        {text: "-- +goose NO TRANSACTION\n-- +goose Up\nSELECT 1;\n", refused: "NO TRANSACTION"},
		"substitution":          {text: "-- +goose Up\n-- +goose ENVSUB ON\n", refused: "ENVSUB ON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, down, err := sections(test.text)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want an error with %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if up != test.up || down != test.down {
				t.Errorf("got %q and %q, want %q and %q", up, down, test.up, test.down)
			}
		})
	}
}

// A single step down is not supported, and nothing may pretend that it is.
func TestOnlyTheFirstMigrationHasAWayBack(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		up, down, err := sections(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if up == "" {
			t.Errorf("%s does nothing", name)
		}
		if first := i == 0; first != (down != "") || first != (name == firstMigration) {
			t.Errorf("%s: way back %t, first %t", name, down != "", first)
		}
	}
}

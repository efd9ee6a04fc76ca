package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBundleKeepsTheOrderOfTheManifest(t *testing.T) {
	t.Parallel()
	got, err := bundle(fstest.MapFS{
		"install.sql":         {Data: []byte("-- first\n\\ir functions/b.sql\n\\ir a.sql\n")},
		"a.sql":               {Data: []byte("SELECT 'a';\n")},
		"functions/b.sql":     {Data: []byte("SELECT 'b';\n")},
		"functions/README.md": {Data: []byte("not SQL")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, a := strings.Index(got, "'b'"), strings.Index(got, "'a'"); b < 0 || a < b {
		t.Errorf("order of the manifest is lost:\n%s", got)
	}
}

func TestBundleRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"a file nobody lists":     {fstest.MapFS{"install.sql": {}, "a.sql": {}}, "sql/a.sql is not listed"},
		"a file that is not":      {fstest.MapFS{"install.sql": {Data: []byte("\\ir a.sql\n")}}, "a.sql"},
		"psql meta commands":      {fstest.MapFS{"install.sql": {Data: []byte("\\ir a.sql\n")}, "a.sql": {Data: []byte("\\set x 1\n")}}, "works in psql alone"},
		"goose annotations":       {fstest.MapFS{"install.sql": {Data: []byte("\\ir a.sql\n")}, "a.sql": {Data: []byte("-- +goose Down\n")}}, "belong to migrations/"},
		"a tree with no manifest": {fstest.MapFS{}, "read manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bundle(test.files)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestGeneratedMigrationIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := bundle(os.DirFS("../../sql"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../" + target)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run make generate", target)
	}
}

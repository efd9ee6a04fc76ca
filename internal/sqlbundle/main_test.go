package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestBundleKeepsTheOrderOfTheManifest(t *testing.T) {
	t.Parallel()
	got, err := bundle(fstest.MapFS{
		"install.sql":         file("-- first\n\\ir functions/b.sql\n\n\\ir a.sql\n"),
		"a.sql":               file("SELECT 'a';\n"),
		"functions/b.sql":     file("SELECT 'b';\n"),
		"functions/README.md": file("not SQL"),
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
	one := func(text string) fstest.MapFS {
		return fstest.MapFS{"install.sql": file("\\ir a.sql\n"), "a.sql": file(text)}
	}
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"a file nobody lists":         {fstest.MapFS{"install.sql": {}, "a.sql": {}}, "sql/a.sql is not listed"},
		"a file that is not there":    {fstest.MapFS{"install.sql": file("\\ir a.sql\n")}, "a.sql"},
		"a file listed twice":         {fstest.MapFS{"install.sql": file("\\ir a.sql\n\\ir a.sql\n"), "a.sql": {}}, "a second time"},
		"SQL in the manifest":         {fstest.MapFS{"install.sql": file("SELECT 1;\n")}, "neither"},
		"an absolute include":         {fstest.MapFS{"install.sql": file("\\i a.sql\n"), "a.sql": {}}, "neither"},
		"psql commands":               {one("\\set x 1\n"), "works in psql alone"},
		"psql commands after a query": {one("SELECT 1 AS x \\gset\n"), "works in psql alone"},
		"goose annotations":           {one("-- +goose Down\n"), "belong into migrations/"},
		"an end of the transaction":   {one("commit;\n"), "end the transaction"},
		"a tree with no manifest":     {fstest.MapFS{}, "read manifest"},
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

func TestTheRoutinesAreTheLastMigrationOfTheirVersion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version    string
		migrations []string
		target     string
		superseded []string
	}{
		"the first time":             {"0.1.0", []string{"00001_a.sql", "00002_b.sql"}, "00003_routines_0.1.0.sql", nil},
		"again":                      {"0.1.0", []string{"00001_a.sql", "00002_b.sql", "00003_routines_0.1.0.sql"}, "00003_routines_0.1.0.sql", nil},
		"after a table was added":    {"0.1.0", []string{"00001_a.sql", "00002_routines_0.1.0.sql", "00003_b.sql"}, "00004_routines_0.1.0.sql", []string{"00002_routines_0.1.0.sql"}},
		"with the next version":      {"0.2.0", []string{"00001_a.sql", "00002_routines_0.1.0.sql"}, "00003_routines_0.2.0.sql", nil},
		"beside files of other kind": {"0.1.0", []string{"embed.go", "00007_a.sql"}, "00008_routines_0.1.0.sql", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrations := fstest.MapFS{}
			for _, m := range test.migrations {
				migrations[m] = file("")
			}
			target, superseded, err := place(fstest.MapFS{versionFile: file("    RETURN '" + test.version + "';\n")}, migrations)
			if err != nil {
				t.Fatal(err)
			}
			if target != test.target || !slices.Equal(superseded, test.superseded) {
				t.Errorf("got %s replacing %v, want %s replacing %v", target, superseded, test.target, test.superseded)
			}
		})
	}
}

func TestAMissingVersionIsSaid(t *testing.T) {
	t.Parallel()
	_, _, err := place(fstest.MapFS{versionFile: file("SELECT 1;")}, fstest.MapFS{})
	if err == nil || !strings.Contains(err.Error(), versionFile) {
		t.Errorf("got %v, want an error that names %s", err, versionFile)
	}
}

func TestGeneratedMigrationIsCurrent(t *testing.T) {
	t.Parallel()
	sql := os.DirFS("../../sql")
	want, err := bundle(sql)
	if err != nil {
		t.Fatal(err)
	}
	target, superseded, err := place(sql, os.DirFS("../../migrations"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("../../migrations", target))
	if err != nil || string(got) != want || len(superseded) > 0 {
		t.Errorf("migrations/%s is stale (%v): run make generate", target, err)
	}
}

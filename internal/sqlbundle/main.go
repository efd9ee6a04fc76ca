// Command sqlbundle writes the migration that installs every replaceable object of sql/, in the
// order of sql/install.sql. It closes a release: once tagged, the file is frozen and the next
// release gets a new one.
package main

import (
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const target = "migrations/00003_routines_0.1.0.sql"

func main() {
	log.SetFlags(0)
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	text, err := bundle(os.DirFS(filepath.Join(root, "sql")))
	if err != nil {
		log.Fatalf("sqlbundle: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, target), []byte(text), 0o644); err != nil {
		log.Fatalf("sqlbundle: %v", err)
	}
}

var (
	includeLine = regexp.MustCompile(`(?m)^\\ir +(\S+)$`)
	metaLine    = regexp.MustCompile(`(?m)^\\\w+`)
	gooseLine   = regexp.MustCompile(`(?m)^-- *\+goose`)
)

// bundle reads the manifest install.sql and returns the migration. Every file below sql/ must be
// named there, and none may hold what only psql or goose understands.
func bundle(sql fs.FS) (string, error) {
	manifest, err := fs.ReadFile(sql, "install.sql")
	if err != nil {
		return "", fmt.Errorf("read manifest: %w", err)
	}
	var listed []string
	for _, match := range includeLine.FindAllStringSubmatch(string(manifest), -1) {
		listed = append(listed, match[1])
	}
	if err := everyFileListed(sql, listed); err != nil {
		return "", err
	}

	var out strings.Builder
	out.WriteString("-- Code generated from sql/ by internal/sqlbundle. DO NOT EDIT.\n\n-- +goose Up\nSET LOCAL ROLE tide_owner;\n")
	for _, name := range listed {
		text, err := fs.ReadFile(sql, name)
		if err != nil {
			return "", fmt.Errorf("read what sql/install.sql lists: %w", err)
		}
		if bad := metaLine.Find(text); bad != nil {
			return "", fmt.Errorf("sql/%s: %q works in psql alone; migrations are also applied by goose", name, bad)
		}
		if gooseLine.Match(text) {
			return "", fmt.Errorf("sql/%s: goose annotations belong to migrations/", name)
		}
		fmt.Fprintf(&out, "\n-- +goose StatementBegin\n%s\n-- +goose StatementEnd\n", strings.TrimSpace(string(text)))
	}
	out.WriteString("\nRESET ROLE;\n")
	return out.String(), nil
}

func everyFileListed(sql fs.FS, listed []string) error {
	return fs.WalkDir(sql, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || filepath.Ext(name) != ".sql" || name == "install.sql" || slices.Contains(listed, name) {
			return nil
		}
		return fmt.Errorf("sql/%s is not listed in sql/install.sql: add it where what it refers to is there already", name)
	})
}

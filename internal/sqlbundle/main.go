// Command sqlbundle writes the migration that installs every replaceable object of sql/, in the
// order of sql/install.sql. The migration closes a release, whose number is what tide.version()
// returns: within a release it is written anew and stays the last one, with the next version a
// new one begins and the old one is frozen.
package main

import (
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := write(root); err != nil {
		log.Fatalf("sqlbundle: %v", err)
	}
}

// write brings root/migrations up to date with root/sql.
func write(root string) error {
	sql := os.DirFS(filepath.Join(root, "sql"))
	text, err := bundle(sql)
	if err != nil {
		return err
	}
	folder := filepath.Join(root, "migrations")
	target, superseded, err := place(sql, os.DirFS(folder))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, target), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the migration: %w", err)
	}
	for _, name := range superseded {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			return fmt.Errorf("remove the migration that %s replaces: %w", target, err)
		}
	}
	return nil
}

// The routines are created by tide_owner, whose they must be. search_path is pinned meanwhile: a
// function of the same name in a schema of the installer's path would otherwise be called by it.
// goose writes its version row in the same transaction, by a name that the path must find.
const (
	head = `-- Code generated from sql/ by internal/sqlbundle. DO NOT EDIT.

-- +goose Up
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL ROLE tide_owner;
`
	tail = `
RESET ROLE;
SET LOCAL search_path TO DEFAULT;
`
)

// bundle returns the text of the migration.
func bundle(sql fs.FS) (string, error) {
	listed, err := manifest(sql)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(head)
	for _, name := range listed {
		text, err := fs.ReadFile(sql, name)
		if err != nil {
			return "", fmt.Errorf("read what sql/install.sql lists: %w", err)
		}
		if err := portable(name, text); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "\n-- +goose StatementBegin\n%s\n-- +goose StatementEnd\n", strings.TrimSpace(string(text)))
	}
	out.WriteString(tail)
	return out.String(), nil
}

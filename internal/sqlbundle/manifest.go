package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

var includeLine = regexp.MustCompile(`^\\ir +(\S+)$`)

// manifest returns the files that install.sql lists, in its order. Every file below sql/ must be
// among them: one that is forgotten would be in no installation, and nobody would notice.
func manifest(sql fs.FS) ([]string, error) {
	text, err := fs.ReadFile(sql, "install.sql")
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var listed []string
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		match := includeLine.FindStringSubmatch(line)
		if match == nil {
			return nil, fmt.Errorf(`sql/install.sql:%d: %q is neither \ir FILE nor a comment: SQL belongs into a file of its own`, i+1, line)
		}
		if slices.Contains(listed, match[1]) {
			return nil, fmt.Errorf("sql/install.sql:%d: %s is listed a second time", i+1, match[1])
		}
		listed = append(listed, match[1])
	}
	return listed, fs.WalkDir(sql, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || path.Ext(name) != ".sql" || name == "install.sql" || slices.Contains(listed, name) {
			return nil
		}
		return fmt.Errorf("sql/%s is not listed in sql/install.sql: add it where what it refers to is there already", name)
	})
}

var (
	metaCommand = regexp.MustCompile(`(?m)^\s*\\\w+|\\(gset|gexec|gx|gdesc|crosstabview)\b`)
	gooseLine   = regexp.MustCompile(`(?m)^\s*--\s*\+goose`)
	transaction = regexp.MustCompile(`(?mi)^(BEGIN|COMMIT|ROLLBACK|START TRANSACTION)\s*;`)
)

// portable refuses what only one of goose and psql understands.
func portable(name string, text []byte) error {
	if bad := metaCommand.Find(text); bad != nil {
		return fmt.Errorf("sql/%s: %s works in psql alone; migrations are also applied by goose", name, strings.TrimSpace(string(bad)))
	}
	if gooseLine.Match(text) {
		return fmt.Errorf("sql/%s: goose annotations belong into migrations/", name)
	}
	if bad := transaction.Find(text); bad != nil {
		return fmt.Errorf("sql/%s: %s would end the transaction of the migration", name, bad)
	}
	return nil
}

package main

import (
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// The one place that has the version number.
const versionFile = "functions/tide.version.sql"

var (
	versionLine   = regexp.MustCompile(`(?m)^\s*RETURN '(\d+\.\d+\.\d+)';$`)
	migrationName = regexp.MustCompile(`^(\d+)_.*\.sql$`)
)

// place returns the name of the migration: after all others, so that it finds every table. A file
// of the same version that stands elsewhere was not released yet, and is superseded.
func place(sql, migrations fs.FS) (target string, superseded []string, err error) {
	text, err := fs.ReadFile(sql, versionFile)
	if err != nil {
		return "", nil, fmt.Errorf("read the version: %w", err)
	}
	match := versionLine.FindSubmatch(text)
	if match == nil {
		return "", nil, fmt.Errorf("sql/%s: there is no line RETURN 'MAJOR.MINOR.PATCH'; to take the version from", versionFile)
	}
	suffix := fmt.Sprintf("_routines_%s.sql", match[1])

	entries, err := fs.ReadDir(migrations, ".")
	if err != nil {
		return "", nil, fmt.Errorf("list migrations: %w", err)
	}
	last := 0
	for _, entry := range entries {
		match := migrationName.FindStringSubmatch(entry.Name())
		switch {
		case match == nil:
		case strings.HasSuffix(entry.Name(), suffix):
			superseded = append(superseded, entry.Name())
		default:
			number, err := strconv.Atoi(match[1])
			if err != nil {
				return "", nil, fmt.Errorf("number of migration %s: %w", entry.Name(), err)
			}
			last = max(last, number)
		}
	}
	target = fmt.Sprintf("%05d%s", last+1, suffix)
	for i, name := range superseded {
		if name == target {
			superseded = append(superseded[:i], superseded[i+1:]...)
			break
		}
	}
	return target, superseded, nil
}

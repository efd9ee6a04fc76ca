// Package migrations holds the goose migrations that install pgtide. They also work with stock goose:
//
//	goose -table tide_goose_version -dir migrations postgres "$DATABASE_URL" up
package migrations

import (
	"embed"
	"regexp"
)

// FS holds every migration.
//
//go:embed *.sql
var FS embed.FS

// VersionTable is goose's bookkeeping of these migrations. It has a name of its own because the
// database they are applied to may well use goose itself.
const VersionTable = "tide_goose_version"

var routines = regexp.MustCompile(`^\d+_routines_(.+)\.sql$`)

// Version is the version of pgtide that these migrations install, which tide.version() returns then.
func Version() string {
	entries, err := FS.ReadDir(".")
	if err != nil {
		panic(err) // the directory is part of this program
	}
	version := ""
	for _, entry := range entries { // sorted by name: the newest comes last
		if match := routines.FindStringSubmatch(entry.Name()); match != nil {
			version = match[1]
		}
	}
	return version
}

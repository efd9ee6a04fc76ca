// Package migrations holds the goose migrations that install pgtide. They also work with stock goose:
//
//	goose -table tide_goose_version -dir migrations postgres "$DATABASE_URL" up
package migrations

import "embed"

// FS holds every migration.
//
//go:embed *.sql
var FS embed.FS

// VersionTable is goose's bookkeeping of these migrations. It has a name of its own because the
// database they are applied to may well use goose itself.
const VersionTable = "tide_goose_version"

// Package workspace is an example of buckets: a product in which organisations share projects, folders
// and documents with teams and single people. docs/buckets.md walks through it.
package workspace

import _ "embed" // the SQL is the example

// Schema creates the tables, Seed some rows in them.
var (
	//go:embed schema.sql
	Schema string
	//go:embed seed.sql
	Seed string
)

// Register is every rule of it: what lies in which bucket, who reads it, who writes it.
//
//go:embed register.sql
var Register string

// Visible is the query for what a user ($1) sees: table_name, key, payload.
//
//go:embed visible.sql
var Visible string

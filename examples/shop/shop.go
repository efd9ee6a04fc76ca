// Package shop is an example database: tables with rows in them, and how they are registered.
package shop

import _ "embed" // the SQL is the example

// Schema creates the shop with its rows.
//
//go:embed schema.sql
var Schema string

// Register puts its tables under pgtide.
//
//go:embed register.sql
var Register string

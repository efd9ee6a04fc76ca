// Package conformance holds any client of pgtide against what a client must do. The cases are YAML files; the
// client is a program that reads commands as lines of JSON and answers each with one: docs/clients.md.
package conformance

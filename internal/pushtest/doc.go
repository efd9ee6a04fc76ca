// Package pushtest has the tests of pushing and of snapshots as a DBA would call them, in SQL. Those
// over HTTP are elsewhere.
package pushtest

// Package troubletest runs the server while its database is away, slow, full, read-only, replaced or
// behind a pooler.
package troubletest

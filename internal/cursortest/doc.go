// Package cursortest holds cursor clients against a real PostgreSQL: devices that read many buckets, and
// what they hold against what their user may see.
package cursortest

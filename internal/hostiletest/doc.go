// Package hostiletest sends the server what nobody should: every answer blames the request, and
// nothing of it stays.
package hostiletest

// Package exchangetest runs devices of protocol v1 against the HTTP server on real PostgreSQL, over
// networks that lose, repeat, cut and delay. Its tests are named after what must hold.
package exchangetest

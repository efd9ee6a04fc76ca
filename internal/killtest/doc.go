// Package killtest kills what serves devices, amid their pushes and pulls: the runtime, and
// PostgreSQL as by a power failure.
package killtest

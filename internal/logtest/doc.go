// Package logtest tests the SQL of pgtide on real PostgreSQL: that nothing is lost, torn, invented or
// out of order, whoever writes and however. Its tests are named after what must hold.
package logtest

// Package buckettest holds the bucket rules of tables that look at other tables against plain SQL.
package buckettest

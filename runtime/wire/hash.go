package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
)

// Row is one row of a bundle or a snapshot as the database sent it: names as text, Key and Payload
// as JSON. The slices belong to whoever filled it.
type Row struct {
	Schema, Table, Key, Op, Payload []byte
	Buckets                         []byte // a JSON array, for who reads several; no part of the hash
}

// BundleHash computes the bundle hash of protocol v1 row by row, so that a bundle of any size takes
// no more memory than its largest row. The zero value is not ready: use NewBundleHash.
type BundleHash struct {
	sum       hash.Hash
	canonical canonical
	buffer    []byte
	rows      int64
	bytes     int64
}

// NewBundleHash begins the hash of one bundle.
func NewBundleHash() *BundleHash {
	h := &BundleHash{sum: sha256.New()}
	h.write([]byte{'['})
	return h
}

func (h *BundleHash) write(b []byte) {
	h.bytes += int64(len(b))
	h.sum.Write(b) // a hash takes everything
}

// Add takes the next row. The fields come in the order of their names.
func (h *BundleHash) Add(row Row, version int64) error {
	b := h.buffer[:0]
	if h.rows > 0 {
		b = append(b, ',')
	}
	var err error
	b = append(b, `{"key":`...)
	if b, err = h.canonical.appendValue(b, row.Key); err != nil {
		return fmt.Errorf("key of row %d: %w", h.rows, err)
	}
	b = AppendString(append(b, `,"op":`...), row.Op)
	b = append(b, `,"payload":`...)
	if row.Payload == nil {
		b = append(b, `null`...)
	} else if b, err = h.canonical.appendValue(b, row.Payload); err != nil {
		return fmt.Errorf("payload of row %d: %w", h.rows, err)
	}
	b = strconv.AppendInt(append(b, `,"row_ordinal":`...), h.rows, 10)
	b = strconv.AppendInt(append(b, `,"row_version":`...), version, 10)
	b = AppendString(append(b, `,"schema":`...), row.Schema)
	b = AppendString(append(b, `,"table":`...), row.Table)
	b = append(b, '}')
	h.write(b)
	h.buffer = b
	h.rows++
	return nil
}

// Rows is how many rows were added.
func (h *BundleHash) Rows() int64 { return h.rows }

// Finish returns the hash, and how many bytes it is made of. Nothing can be added after it.
func (h *BundleHash) Finish() (sum string, bytes int64) {
	h.write([]byte{']'})
	return hex.EncodeToString(h.sum.Sum(nil)), h.bytes
}

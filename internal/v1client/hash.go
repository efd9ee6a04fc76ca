package v1client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// BundleHash is v1's hash of the rows of a bundle. The canonical form was defined by what Go's
// encoding/json does with decoded values (sorted keys, escaped HTML, numbers through float64), so
// exactly that is done here: decode everything, encode it again.
func BundleHash(rows []Row) (string, error) {
	list := make([]map[string]any, 0, len(rows))
	for i, row := range rows {
		var payload any
		if row.Op != Delete {
			if err := json.Unmarshal(row.Payload, &payload); err != nil {
				return "", fmt.Errorf("hash row %d: %w", i, err)
			}
		}
		list = append(list, map[string]any{
			"row_ordinal": i, "schema": row.Schema, "table": row.Table, "key": row.Key,
			"op": row.Op, "row_version": row.Version, "payload": payload,
		})
	}
	canonical, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

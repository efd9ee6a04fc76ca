package client

import (
	"context"
	"encoding/json"
)

// Inbound is a row of the server that does not fit into this database: a CHECK or a unique index that only
// this database has, or a parent that the user does not see. It is tried again with each pull.
type Inbound struct {
	Table  string `json:"table"`
	Key    string `json:"key"`
	Row    Row    `json:"row"`
	Reason string `json:"reason"`
}

// Inbox lists them.
func (c *Client) Inbox(ctx context.Context) (list []Inbound, err error) {
	err = c.transact(ctx, func(w *writer) error {
		list, err = all(w, func(scan func(...any) error) (in Inbound, err error) {
			var tab int64
			var payload string
			if err := scan(&tab, &in.Key, &payload, &in.Reason); err != nil {
				return in, err
			}
			t := w.tables[tab]
			if t == nil {
				return in, nil
			}
			i, err := t.fromWire(json.RawMessage(payload))
			in.Table, in.Row = t.local, t.row(i)
			return in, err
		}, `SELECT tab, key, payload, reason FROM _tide_inbox ORDER BY tab, key`)
		return err
	})
	return list, err
}

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"slices"

	"github.com/pgtide/pgtide/internal/v1client"
)

// What a device of the shop has in its SQLite.
var tables = []v1client.Table{
	{Name: "customer", Key: []string{"customer_id"}, Columns: []string{"customer_id", "name", "email", "created_at"}},
	{Name: "purchase", Key: []string{"purchase_id"}, Columns: []string{"purchase_id", "customer_id", "note", "status"}},
	{Name: "purchase_item", Key: []string{"purchase_id", "product_id"}, Columns: []string{"purchase_id", "product_id", "customer_id", "quantity"}},
}

// device is a simulated phone: rows in memory, edits while it is offline, and HTTP.
type device struct {
	*v1client.Device
	name    string
	network *v1client.Faults

	refused, lost int
}

func newDevice(name, url, token string, clientWins bool) (*device, error) {
	d := &device{name: name, network: &v1client.Faults{}}
	var err error
	d.Device, err = v1client.New(v1client.Config{
		URL: url, Token: token, SourceID: name, Schema: "shop", Tables: tables, ClientWins: clientWins,
		Client: &http.Client{Transport: d.network},
	})
	return d, err
}

// sync is what an app does in the background: it tries again after an answer that got lost, and takes
// back the edits that the database refuses.
func (d *device) sync(ctx context.Context) error {
	for {
		err := d.Sync(ctx)
		var lost *v1client.LostError
		var rejected *v1client.RejectedError
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.As(err, &lost):
			d.lost++
		case errors.As(err, &rejected):
			d.refused += len(rejected.Rows)
			for _, row := range rejected.Rows {
				if err := d.Discard(row.Table, row.Key); err != nil {
					return fmt.Errorf("%s: %w", d.name, err)
				}
			}
		default:
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
}

// pushes counts what the device has pushed.
func (d *device) pushes() int64 { return d.NextBundle() - 1 }

func (d *device) held() (n int) {
	for _, table := range tables {
		n += len(d.Rows(table.Name))
	}
	return n
}

// purchase is what a scene shows of one.
type purchase struct{ Note, Status string }

func (d *device) purchase(id string) purchase { return readPurchase(d.Rows("purchase")[id]) }

func readPurchase(payload string) (p purchase) {
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return purchase{Note: err.Error()}
	}
	return p
}

// buy adds a purchase with items, and returns its id.
func (d *device) buy(note string, quantities ...int) (string, error) {
	id := newID()
	err := d.Insert("purchase", toJSON(map[string]any{"purchase_id": id, "customer_id": customer, "note": note, "status": "open"}))
	for i, quantity := range quantities {
		err = errors.Join(err, d.Insert("purchase_item", item(id, 10+i, quantity)))
	}
	return id, err
}

func item(purchase string, product, quantity int) string {
	return toJSON(map[string]any{"purchase_id": purchase, "product_id": product, "customer_id": customer, "quantity": quantity})
}

// change sets one column of a row.
func (d *device) change(table, key, column string, value any) error {
	var row map[string]json.RawMessage
	if err := json.Unmarshal([]byte(d.Rows(table)[key]), &row); err != nil {
		return fmt.Errorf("%s holds no row %s of %s: %w", d.name, key, table, err)
	}
	row[column] = json.RawMessage(toJSON(value))
	return d.Update(table, toJSON(row))
}

// cancel deletes a purchase with its items, as the foreign key does in SQLite.
func (d *device) cancel(purchase string) error {
	for key, payload := range maps.Clone(d.Rows("purchase_item")) {
		var row struct {
			Purchase string `json:"purchase_id"`
		}
		if err := json.Unmarshal([]byte(payload), &row); err != nil {
			return err
		}
		if row.Purchase == purchase {
			if err := d.Delete("purchase_item", key); err != nil {
				return err
			}
		}
	}
	return d.Delete("purchase", purchase)
}

// any returns the key of some row of a table, or nothing.
func (d *device) any(table string) string {
	keys := slices.Sorted(maps.Keys(d.Rows(table)))
	if len(keys) == 0 {
		return ""
	}
	return keys[mathrand.IntN(len(keys))]
}

// edit does something that its user might.
func (d *device) edit() error {
	purchase, position := d.any("purchase"), d.any("purchase_item")
	switch n := mathrand.IntN(10); {
	case n < 3 || purchase == "" || position == "":
		_, err := d.buy("from the "+d.name, 1, 2)
		return err
	case n < 6:
		return d.change("purchase", purchase, "note", fmt.Sprintf("changed on the %s %d", d.name, mathrand.IntN(1000)))
	case n < 9:
		return d.change("purchase_item", position, "quantity", 1+mathrand.IntN(9))
	default:
		return d.cancel(purchase)
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func toJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // texts, numbers, and JSON that was read before
	}
	return string(text)
}

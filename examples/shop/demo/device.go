package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/pgtide/pgtide/client"
	"github.com/pgtide/pgtide/internal/v1client"
)

// tables are what a device of the shop holds, with their keys.
var tables = []struct {
	name string
	key  []string
}{{"customer", []string{"customer_id"}}, {"purchase", []string{"purchase_id"}}, {"purchase_item", []string{"product_id", "purchase_id"}}, {"product", []string{"product_id"}}}

// device is the shop's app on a phone: a SQLite file that stays in sync, and a network that loses answers.
type device struct {
	*client.Client
	name    string
	network *v1client.Faults

	refused, lost int
}

func newDevice(ctx context.Context, folder, name, url, token string, resolve client.Resolver) (*device, error) {
	d := &device{name: name, network: &v1client.Faults{}}
	var err error
	d.Client, err = client.Open(ctx, filepath.Join(folder, name+".db"), client.Config{
		URL: url, User: fmt.Sprint(customer), Token: func(context.Context) (string, error) { return token, nil },
		HTTPClient: &http.Client{Transport: d.network}, Resolvers: map[string]client.Resolver{"purchase": resolve},
	})
	return d, err
}

// sync is what the app does in the background: it tries again after an answer that got lost, and takes
// back what the database refused.
func (d *device) sync(ctx context.Context) error {
	for {
		err := d.Sync(ctx)
		switch {
		case errors.Is(err, v1client.ErrLost):
			d.lost++
			continue
		case errors.Is(err, client.ErrBusy):
			continue
		case ctx.Err() != nil:
			return err
		case err != nil:
			return fmt.Errorf("%s: %w", d.name, err)
		}
		letters, err := d.DeadLetters(ctx)
		if err != nil || len(letters) == 0 {
			return err
		}
		d.refused += len(letters)
		for _, l := range letters {
			if err := d.Discard(ctx, l.Table, l.Key); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
		}
	}
}

// conflicts counts what the device lists.
func (d *device) conflicts(ctx context.Context) (int, error) {
	status, err := d.Status(ctx)
	return status.Conflicts, err
}

// sql runs a statement of the app.
func (d *device) sql(ctx context.Context, statement string, args ...any) error {
	if _, err := d.DB().ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("%s: %s: %w", d.name, statement, err)
	}
	return nil
}

// one reads one value of a row.
func (d *device) one(ctx context.Context, query string, args ...any) (text string, err error) {
	if err = d.DB().QueryRowContext(ctx, query, args...).Scan(&text); err != nil {
		err = fmt.Errorf("%s: %s: %w", d.name, query, err)
	}
	return text, err
}

func (d *device) held(ctx context.Context) (total int, err error) {
	for _, table := range tables {
		var n int
		if err := d.DB().QueryRowContext(ctx, `SELECT count(*) FROM `+table.name).Scan(&n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// purchase is what a scene shows of one.
type purchase struct{ note, status string }

func purchaseOf(row client.Row) purchase {
	return purchase{fmt.Sprint(row["note"]), fmt.Sprint(row["status"])}
}

func (d *device) purchase(ctx context.Context, id string) (p purchase, err error) {
	err = d.DB().QueryRowContext(ctx, `SELECT note, status FROM purchase WHERE purchase_id = ?`, id).Scan(&p.note, &p.status)
	return p, err
}

// buy adds a purchase with items, in one transaction, and returns its id.
func (d *device) buy(ctx context.Context, note string, quantities ...int) (id string, err error) {
	tx, err := d.DB().BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() //nolint:errcheck // It is committed, or there is nothing in it.
	id = newID()
	if _, err := tx.ExecContext(ctx, `INSERT INTO purchase (purchase_id, customer_id, note) VALUES (?, ?, ?)`, id, customer, note); err != nil {
		return "", err
	}
	for i, quantity := range quantities {
		if _, err := tx.ExecContext(ctx, `INSERT INTO purchase_item (purchase_id, product_id, customer_id, quantity) VALUES (?, ?, ?, ?)`, id, 10+i, customer, quantity); err != nil {
			return "", err
		}
	}
	return id, tx.Commit()
}

// edit does something that its user might.
func (d *device) edit(ctx context.Context) error {
	switch n := mathrand.IntN(10); {
	case n < 3:
		_, err := d.buy(ctx, "from the "+d.name, 1, 2)
		return err
	case n < 6:
		return d.sql(ctx, `UPDATE purchase SET note = ? WHERE purchase_id = (SELECT purchase_id FROM purchase ORDER BY random() LIMIT 1)`, fmt.Sprintf("changed on the %s %d", d.name, mathrand.IntN(1000)))
	case n < 9:
		return d.sql(ctx, `UPDATE purchase_item SET quantity = ? WHERE rowid = (SELECT rowid FROM purchase_item ORDER BY random() LIMIT 1)`, 1+mathrand.IntN(9))
	default:
		return d.sql(ctx, `DELETE FROM purchase WHERE purchase_id = (SELECT purchase_id FROM purchase ORDER BY random() LIMIT 1)`)
	}
}

// rows are those of a table as the server says them, by key.
func (d *device) rows(ctx context.Context, table string, key []string) (map[string]string, error) {
	found, err := d.DB().QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // Err says it.
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]any{}
		for i, name := range columns {
			row[name] = values[i]
			switch v := values[i].(type) {
			case []byte:
				row[name] = base64.StdEncoding.EncodeToString(v)
			case string:
				if name == "price" { // a decimal, which SQLite keeps as text
					row[name] = json.RawMessage(v)
				}
			}
		}
		var name []string
		for _, column := range key {
			name = append(name, fmt.Sprint(row[column]))
		}
		text, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		held[strings.Join(name, " ")] = string(text)
	}
	return held, found.Err()
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

package causal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pgtide/pgtide/client"
)

// file is a device of client/: its user reads and writes in transactions of a SQLite database, also while
// rows of the server are brought, and what he wrote goes to the server with whatever waits.
type file struct {
	client  *client.Client
	checker *Checker
	values  *atomic.Int64
	called  string

	mu   sync.Mutex // its requests are made side by side
	made []Txn
	err  error
}

// larger is the resolver of the workload.
func larger(c client.Conflict) (client.Row, string) {
	local, _ := c.Local["v"].(int64)
	server, _ := c.Server["v"].(int64)
	if c.Server == nil || local <= server {
		return c.Server, "the larger value"
	}
	row := client.Row{}
	for column, value := range c.Server {
		row[column] = value
	}
	row["v"] = local
	return row, "the larger value"
}

func (f *file) name() string { return f.called }

// act is a transaction of the user: he reads all, and now and then writes some.
func (f *file) act(random *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.transact(random); err != nil && f.err == nil {
		f.err = err
	}
}

func (f *file) transact(random *rand.Rand) error {
	ctx := context.Background()
	tx, err := f.client.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // It is done as a rule, or cannot be saved.
	read, err := readFile(ctx, tx)
	if err != nil || read == nil {
		return err
	}
	f.checker.Read(f.called, *read)
	if random.IntN(2) == 0 {
		return nil
	}
	txn := Txn{Client: f.called, Read: *read, Value: f.values.Add(1), Writes: random.Perm(Keys)[:1+random.IntN(4)]}
	f.checker.Wrote(txn)
	for _, k := range txn.Writes {
		if _, err := tx.ExecContext(ctx, `UPDATE register SET v = ? WHERE k = ?`, txn.Value, k); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	f.checker.Acknowledged(txn)
	f.made = append(f.made, txn)
	return nil
}

// readFile is what the user sees; nil before there is anything.
func readFile(ctx context.Context, tx *sql.Tx) (*State, error) {
	rows, err := tx.QueryContext(ctx, `SELECT k, v FROM register`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err says it.
	var s State
	count := 0
	for ; rows.Next(); count++ {
		var k int
		var v int64
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		s[k] = v
	}
	if err := rows.Err(); err != nil || count == 0 {
		return nil, err
	}
	if count != Keys {
		return nil, fmt.Errorf("%d of %d keys are there", count, Keys)
	}
	return &s, nil
}

func (f *file) sync(ctx context.Context) error {
	err := f.client.Sync(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return errors.Join(errWrong, f.err)
	}
	return err
}

// errWrong is what no network excuses.
var errWrong = errors.New("the user could not read or write")

func (f *file) look() (s State) {
	tx, err := f.client.DB().BeginTx(context.Background(), nil)
	if err != nil {
		return s
	}
	defer tx.Rollback() //nolint:errcheck // It only read.
	if read, err := readFile(context.Background(), tx); err == nil && read != nil {
		s = *read
	}
	return s
}

func (f *file) waits() int {
	status, err := f.client.Status(context.Background())
	if err != nil {
		return 1
	}
	return status.Pending + status.Refused
}

func (f *file) through() []Txn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

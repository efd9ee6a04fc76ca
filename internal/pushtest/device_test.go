package pushtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// device pushes as one source of one user, with numbers that go on after each push that was applied.
type device struct {
	db           *pgtest.DB
	user, source string
	number       int64
}

// row is one row of a push.
type row struct {
	Schema  string          `json:"schema"`
	Table   string          `json:"table"`
	Key     any             `json:"key"`
	Op      string          `json:"op"`
	Base    int64           `json:"base_row_version"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// answer is what tide.push says.
type answer struct {
	Status    string
	Conflicts []conflict
	Rejected  []rejection
	Unsealed  bool
	Code      string // SQLSTATE, when it raised
	Detail    string
	Data      string // of the error
}

type conflict struct {
	Table   string          `json:"table"`
	Key     json.RawMessage `json:"key"`
	Version int64           `json:"server_row_version"`
	Deleted bool            `json:"server_row_deleted"`
	Row     json.RawMessage `json:"server_row"`
}

type rejection struct {
	Ordinal    int64  `json:"row_ordinal"`
	SQLState   string `json:"sqlstate"`
	Constraint string `json:"constraint"`
	Column     string `json:"column"`
	Detail     string `json:"detail"`
}

// connected begins the home bucket of a user.
func connected(t *testing.T, db *pgtest.DB, user string) *device {
	t.Helper()
	exec(t, db, `SELECT tide.seal()`)
	exec(t, db, fmt.Sprintf(`SELECT tide.connect(%s, 'phone', false)`, quote(user)))
	return &device{db: db, user: user, source: "phone"}
}

func insert(table string, id any, payload string) row {
	return row{Schema: "app", Table: table, Key: keyOf(id), Op: "INSERT", Payload: json.RawMessage(payload)}
}

func update(table string, id any, base int64, payload string) row {
	return row{Schema: "app", Table: table, Key: keyOf(id), Op: "UPDATE", Base: base, Payload: json.RawMessage(payload)}
}

func remove(table string, id any, base int64) row {
	return row{Schema: "app", Table: table, Key: keyOf(id), Op: "DELETE", Base: base}
}

func keyOf(id any) any {
	if key, composite := id.(map[string]string); composite {
		return key
	}
	return map[string]string{"id": fmt.Sprint(id)}
}

// push pushes under the next number and does not seal.
func (d *device) push(ctx context.Context, rows ...row) answer {
	text, err := json.Marshal(rows)
	if err != nil {
		return answer{Code: err.Error()}
	}
	a := d.pushText(ctx, d.number+1, string(text))
	if a.Status == "applied" {
		d.number++
	}
	return a
}

func (d *device) pushText(ctx context.Context, number int64, rows string) answer {
	return d.pushNamed(ctx, number, rows, nil)
}

func (d *device) pushNamed(ctx context.Context, number int64, rows string, bundleUUID *string) answer {
	var a answer
	var conflicts, rejected *string
	err := d.db.QueryRow(ctx, `SELECT status, conflicts::text, rejected::text, unsealed FROM tide.push($1, $2, $3, $4::text::json, bundle_uuid => $5::text::uuid)`,
		d.user, d.source, number, rows, bundleUUID).Scan(&a.Status, &conflicts, &rejected, &a.Unsealed)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		return answer{Code: pgErr.Code, Detail: pgErr.Message + ": " + pgErr.Detail, Data: pgErr.DataTypeName}
	case err != nil:
		return answer{Code: err.Error()}
	}
	for text, into := range map[*string]any{conflicts: &a.Conflicts, rejected: &a.Rejected} {
		if text == nil {
			continue
		}
		if err := json.Unmarshal([]byte(*text), into); err != nil {
			return answer{Code: err.Error()}
		}
	}
	return a
}

// applied pushes and seals, and returns the version that the rows have then.
func (d *device) applied(t *testing.T, rows ...row) int64 {
	t.Helper()
	if a := d.push(t.Context(), rows...); a.Status != "applied" {
		t.Fatalf("push: %+v", a)
	}
	exec(t, d.db, `SELECT tide.seal()`)
	return value[int64](t, d.db, `SELECT bundle_seq FROM tide.push_result($1, $2, $3)`, d.user, d.source, d.number)
}

// refused pushes, wants the SQLSTATE of each refused row, by ordinal, and that nothing is left.
func (d *device) refused(t *testing.T, want map[int64]string, rows ...row) []rejection {
	t.Helper()
	before := value[int64](t, d.db, `SELECT count(*) FROM tide.change_log`)
	a := d.push(t.Context(), rows...)
	got := map[int64]string{}
	for _, r := range a.Rejected {
		got[r.Ordinal] = r.SQLState
	}
	if a.Status != "rejected" || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("push: %+v, want rows rejected %v", a, want)
	}
	if after := value[int64](t, d.db, `SELECT count(*) FROM tide.change_log`); after != before {
		t.Errorf("a refused push left %d changes", after-before)
	}
	return a.Rejected
}

func exec(t testing.TB, db *pgtest.DB, sql string) {
	t.Helper()
	if _, err := db.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

func value[T any](t testing.TB, db *pgtest.DB, sql string, args ...any) T {
	t.Helper()
	rows, err := db.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func code(t testing.TB, db *pgtest.DB, sql string) string {
	t.Helper()
	_, err := db.Exec(context.Background(), sql)
	var pgErr *pgconn.PgError
	if err == nil {
		return ""
	}
	if !errors.As(err, &pgErr) {
		t.Fatalf("%s: %v", sql, err)
	}
	return pgErr.Code
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

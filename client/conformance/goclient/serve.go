// Package goclient lets the conformance suite drive client/: what an adapter of any other client does as well.
package goclient

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pgtide/pgtide/client"
	"github.com/pgtide/pgtide/client/conformance"
)

type adapter struct {
	*client.Client
}

// Serve answers commands until the input ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	var a adapter
	for lines.Scan() {
		var r conformance.Request
		decoder := json.NewDecoder(strings.NewReader(lines.Text()))
		decoder.UseNumber()
		var answer conformance.Answer
		err := decoder.Decode(&r)
		if err == nil {
			answer.Result, err = a.do(ctx, r)
		}
		if err != nil {
			answer = conformance.Answer{Error: &conformance.Failed{Kind: kindOf(err), Message: err.Error()}}
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if _, err := out.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	return lines.Err()
}

func kindOf(err error) string {
	var network *url.Error
	var refused *client.ServerError
	switch {
	case errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF):
		return "network"
	case errors.Is(err, client.ErrBusy) || errors.Is(err, client.ErrWait) || errors.As(err, &refused) && refused.Retryable:
		return "busy"
	case errors.Is(err, client.ErrOtherUser):
		return "user"
	}
	return "other"
}

func (a *adapter) do(ctx context.Context, r conformance.Request) (result any, err error) {
	switch r.Do {
	case "open":
		a.Client, err = client.Open(ctx, r.Path, client.Config{URL: r.URL, User: r.User, MaxRowsPerRequest: 3, MaxRowsPerChunk: 3,
			Token: func(context.Context) (string, error) { return r.Token, nil }})
		return nil, err
	case "write":
		return nil, a.write(ctx, r.Changes)
	case "sync":
		return nil, a.Sync(ctx)
	case "push":
		a.SetMode(client.PushOnly)
		defer a.SetMode(client.Both)
		return nil, a.Sync(ctx)
	case "read":
		return a.read(ctx, r.Table)
	case "verify":
		found, err := a.Verify(ctx)
		return map[string]int{"repaired": len(found.Repaired)}, err
	case "rebuild":
		return nil, a.Rebuild(ctx)
	case "retry":
		return nil, a.Retry(ctx, r.Table, keyOf(r.Key))
	case "discard":
		return nil, a.Discard(ctx, r.Table, keyOf(r.Key))
	case "status":
		s, err := a.Status(ctx)
		return map[string]int{"pending": s.Pending, "refused": s.Refused, "waiting": s.Inbound, "conflicts": s.Conflicts}, err
	}
	return a.list(ctx, r.Do)
}

// list is what waits for the application.
func (a *adapter) list(ctx context.Context, what string) (any, error) {
	list := []map[string]any{}
	switch what {
	case "refused":
		letters, err := a.DeadLetters(ctx)
		for _, l := range letters {
			list = append(list, map[string]any{"table": l.Table, "row": wire(l.Row), "code": l.Code, "constraint": l.Constraint})
		}
		return list, err
	case "conflicts":
		resolved, err := a.Conflicts(ctx, 0)
		for _, c := range resolved {
			list = append(list, map[string]any{"table": c.Table, "base": wire(c.Base), "local": wire(c.Local), "server": wire(c.Server), "result": wire(c.Result)})
		}
		return list, err
	case "waiting":
		inbox, err := a.Inbox(ctx)
		for _, in := range inbox {
			list = append(list, map[string]any{"table": in.Table, "row": wire(in.Row)})
		}
		return list, err
	}
	return nil, fmt.Errorf("this adapter does not know %q", what)
}

func keyOf(key map[string]any) string {
	for _, value := range key {
		return fmt.Sprint(value)
	}
	return ""
}

// write is one local transaction.
func (a *adapter) write(ctx context.Context, changes []any) error {
	tx, err := a.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // It is committed, or its error is told.
	for _, change := range changes {
		statement, values, err := statementOf(change.(map[string]any))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, statement, values...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func statementOf(change map[string]any) (statement string, values []any, err error) {
	columns := func(of string, between string) string {
		row, _ := change[of].(map[string]any)
		var terms []string
		for _, name := range slices.Sorted(maps.Keys(row)) {
			terms, values = append(terms, fmt.Sprintf(`"%s"%s`, name, between)), append(values, local(name, row[name]))
		}
		return strings.Join(terms, map[string]string{"key": " AND "}[of]+map[string]string{"row": ", "}[of])
	}
	switch {
	case change["insert"] != nil:
		names := columns("row", "")
		return fmt.Sprintf(`INSERT INTO "%s" (%s) VALUES (?%s)`, change["insert"], names, strings.Repeat(", ?", len(values)-1)), values, nil
	case change["update"] != nil:
		set := columns("row", " = ?")
		return fmt.Sprintf(`UPDATE "%s" SET %s WHERE %s`, change["update"], set, columns("key", " = ?")), values, nil
	case change["delete"] != nil:
		return fmt.Sprintf(`DELETE FROM "%s" WHERE %s`, change["delete"], columns("key", " = ?")), values, nil
	}
	return "", nil, fmt.Errorf("no insert, update or delete: %v", change)
}

// local is a value of the wire in SQLite, which has no boolean, no decimal, and text for JSON.
func local(name string, value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil && name != "amount" {
			return n
		}
		if name == "amount" {
			return v.String()
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case string:
		if name == "data" {
			if blob, err := base64.StdEncoding.DecodeString(v); err == nil {
				return blob
			}
		}
	case map[string]any, []any:
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was JSON
		}
		return string(text)
	}
	return value
}

// wire is the same the other way round.
func wire(row client.Row) map[string]any {
	if row == nil {
		return nil
	}
	values := map[string]any{}
	for name, v := range row {
		values[name] = v
		switch v := v.(type) {
		case []byte:
			values[name] = base64.StdEncoding.EncodeToString(v)
		case string:
			if name == "amount" || name == "extra" {
				values[name] = json.RawMessage(v)
			}
		case int64:
			if name == "done" {
				values[name] = v == 1
			}
		}
	}
	return values
}

func (a *adapter) read(ctx context.Context, table string) (any, error) {
	found, err := a.DB().QueryContext(ctx, `SELECT * FROM "`+table+`"`)
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // Err says it.
	list := []any{}
	for found.Next() {
		row, err := rowOf(found)
		if err != nil {
			return nil, err
		}
		list = append(list, wire(row))
	}
	return list, found.Err()
}

func rowOf(found *sql.Rows) (client.Row, error) {
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	row := client.Row{}
	err = found.Scan(into...)
	for i, name := range columns {
		row[name] = values[i]
	}
	return row, err
}

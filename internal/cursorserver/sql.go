// Package cursorserver answers the devices of tests that read many buckets: with SQL, or over HTTP.
package cursorserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/runtime/wire"
)

// SQL answers a device with the functions themselves, as the runtime calls them.
type SQL struct {
	Pool         *pgxpool.Pool
	User, Source string
	// ChunkRows of a snapshot session are fetched at a time; 0 takes it as a stream.
	ChunkRows int
}

// Connect implements cursorclient.Server.
func (s *SQL) Connect(ctx context.Context, cursor string, positions map[string]cursorclient.Position) (answer cursorclient.Connected, err error) {
	var text *string
	if positions != nil {
		encoded, err := json.Marshal(positions)
		if err != nil {
			return answer, err
		}
		text = ptr(string(encoded))
	}
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT tide.connect($1, $2, false, true)`, s.User, s.Source); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT next_cursor, bundle_id, add, remove, repair FROM tide.connect_buckets($1, $2, $3, $4::text::json)`, s.User, s.Source, cursor, text).
			Scan(&answer.Cursor, &answer.BundleID, &answer.Add, &answer.Remove, &answer.Repair)
	})
	return answer, asRefusal(err)
}

// asRefusal gives the codes that a device reacts to, as the wire has them.
func asRefusal(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if answer := wire.FromError(err, "failed"); answer.Code.Status() < 500 {
			return &cursorclient.Refusal{Status: answer.Code.Status(), Code: string(answer.Code), Text: answer.Message}
		}
	}
	return err
}

func ptr[T any](v T) *T { return &v }

// Pull implements cursorclient.Server.
func (s *SQL) Pull(ctx context.Context, cursor string, maxBundles int) (page cursorclient.Page, err error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT bundle_id, row_ordinal, coalesce(buckets, '{}'), coalesce(table_schema || '.' || table_name, ''), coalesce(key::text, ''), coalesce(op, ''),
		       coalesce(payload::text, ''), coalesce(seal, ''), coalesce(next_cursor, ''), coalesce(has_more, false), add, remove, repair
		  FROM tide.pull_cursor($1, $2, $3, $4)`, s.User, s.Source, cursor, maxBundles)
	if err != nil {
		return page, asRefusal(err)
	}
	var bundleID, ordinal *int64
	var row cursorclient.Row
	var seal, next string
	var more bool
	var updates cursorclient.Updates
	_, err = pgx.ForEachRow(rows, []any{&bundleID, &ordinal, &row.Buckets, &row.Table, &row.Key, &row.Op, &row.Payload, &seal, &next, &more,
		&updates.Add, &updates.Remove, &updates.Repair}, func() error {
		switch {
		case bundleID == nil:
			page.Cursor, page.HasMore, page.Updates = next, more, updates
		case ordinal == nil:
			page.Bundles = append(page.Bundles, cursorclient.Bundle{Position: cursorclient.Position{BundleID: *bundleID, Seal: seal}, Buckets: row.Buckets})
		default:
			bundle := &page.Bundles[len(page.Bundles)-1]
			if bundle.BundleID != *bundleID || int(*ordinal) != len(bundle.Rows) {
				return fmt.Errorf("row %d of bundle %d follows row %d of %d", *ordinal, *bundleID, len(bundle.Rows)-1, bundle.BundleID)
			}
			row.Version = *bundleID
			bundle.Rows = append(bundle.Rows, row)
		}
		return nil
	})
	return page, asRefusal(err)
}

// Snapshot implements cursorclient.Server.
func (s *SQL) Snapshot(ctx context.Context, cursor string, buckets []string) (snapshot cursorclient.Snapshot, err error) {
	var id string
	var seal int64
	var identity string
	err = sealedAt(ctx, s.Pool, func(sealing, reading pgx.Tx) error {
		if err := sealing.QueryRow(ctx, `SELECT bundle_id, seal_id, identity::text FROM tide.head_seal()`).Scan(&snapshot.BundleID, &seal, &identity); err != nil {
			return err
		}
		snapshot.Seal = fmt.Sprintf("%d-%s", seal, identity)
		if err := sealing.Commit(ctx); err != nil {
			return err
		}
		if s.ChunkRows > 0 {
			return reading.QueryRow(ctx, `SELECT snapshot_id::text, next_cursor, wanted FROM tide.create_buckets_session($1, $2, $3, $4, $5, $6, $7)`,
				s.User, s.Source, cursor, buckets, snapshot.BundleID, seal, identity).Scan(&id, &snapshot.Cursor, &snapshot.Buckets)
		}
		if err := reading.QueryRow(ctx, `SELECT next_cursor, wanted FROM tide.open_buckets_snapshot($1, $2, $3, $4, $5, $6, $7)`,
			s.User, s.Source, cursor, buckets, snapshot.BundleID, seal, identity).Scan(&snapshot.Cursor, &snapshot.Buckets); err != nil {
			return err
		}
		rows, err := reading.Query(ctx, `FETCH ALL FROM tide_snapshot`)
		return snapshotRows(&snapshot, rows, err)
	})
	for n := -1; err == nil && s.ChunkRows > 0 && n < len(snapshot.Rows); {
		n = len(snapshot.Rows)
		var rows pgx.Rows
		rows, err = s.Pool.Query(ctx, `SELECT table_schema, table_name, key, payload, buckets FROM tide.snapshot_rows($1, $2, $3, $4)`, s.User, id, n, s.ChunkRows)
		err = snapshotRows(&snapshot, rows, err)
	}
	return snapshot, asRefusal(err)
}

func snapshotRows(snapshot *cursorclient.Snapshot, rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
		v := rows.RawValues()
		row := cursorclient.Row{Table: string(v[0]) + "." + string(v[1]), Key: string(v[2]), Payload: string(v[3]), Version: snapshot.BundleID}
		if err := rows.Scan(nil, nil, nil, nil, &row.Buckets); err != nil {
			return err
		}
		snapshot.Rows = append(snapshot.Rows, row)
	}
	return rows.Err()
}

// sealedAt seals on the snapshot of another transaction, before which the lock of sealing was taken.
func sealedAt(ctx context.Context, db *pgxpool.Pool, use func(sealing, reading pgx.Tx) error) error {
	sealing, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer sealing.Rollback(ctx) //nolint:errcheck // committed by use
	if _, err := sealing.Exec(ctx, `LOCK TABLE tide.seal_lock IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		return err
	}
	reading, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer reading.Rollback(ctx) //nolint:errcheck // committed below
	var name string
	if err := reading.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&name); err != nil {
		return err
	}
	if _, err := sealing.Exec(ctx, `SET TRANSACTION SNAPSHOT '`+name+`'`); err != nil {
		return err
	}
	if _, err := sealing.Exec(ctx, `SELECT tide.seal()`); err != nil {
		return err
	}
	if err := use(sealing, reading); err != nil {
		return err
	}
	return reading.Commit(ctx)
}

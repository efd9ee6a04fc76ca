package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/db"
)

// What one query asks for at most: memory stays flat, however long the log and however large a bundle is.
const (
	bundlesPerRead = 500
	changesPerRead = 5000
)

// follower reads the log in its order: by bundle_id, then by bucket.
type follower struct {
	pool     *pgxpool.Pool
	buckets  []string // none is all
	print    printer
	stderr   io.Writer
	patient  bool // a lost connection is waited out
	bundleID int64
	bucketID string // what was printed of bundleID: up to this bucket
}

// printer shows bundles and their changes, in turn.
type printer interface {
	bundle(db.BundlesAfterRow) error
	change(db.BundlesAfterRow, db.ChangesBetweenRow) error
}

// catchUp prints up to the newest bundle.
func (f *follower) catchUp(ctx context.Context) error {
	for {
		var bundles []db.BundlesAfterRow
		err := f.read(ctx, func(q *db.Queries) (err error) {
			bundles, err = q.BundlesAfter(ctx, db.BundlesAfterParams{
				AfterBundleID: f.bundleID, AfterBucketID: f.bucketID, Buckets: f.buckets, MaxRows: bundlesPerRead,
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("read bundles: %w", err)
		}
		if len(bundles) == 0 {
			return nil
		}
		for len(bundles) > 0 {
			n := together(bundles)
			if err := f.printBundles(ctx, bundles[:n]); err != nil {
				return err
			}
			f.bundleID, f.bucketID = bundles[n-1].BundleID, bundles[n-1].BucketID
			bundles = bundles[n:]
		}
	}
}

// together returns how many of the first bundles can be read at once: at least one.
func together(bundles []db.BundlesAfterRow) int {
	total := int64(0)
	for n, b := range bundles {
		if total += b.ChangeCount; total > changesPerRead {
			return max(n, 1)
		}
	}
	return len(bundles)
}

func (f *follower) printBundles(ctx context.Context, bundles []db.BundlesAfterRow) error {
	last := bundles[len(bundles)-1]
	shown := -1 // the bundle whose line was printed last
	show := func(upTo int) error {
		for ; shown < upTo; shown++ {
			if err := f.print.bundle(bundles[shown+1]); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
		return nil
	}
	for after := int64(-1); after == -1 || after+1 < last.ChangeCount && len(bundles) == 1; after += changesPerRead {
		var changes []db.ChangesBetweenRow
		err := f.read(ctx, func(q *db.Queries) (err error) {
			changes, err = q.ChangesBetween(ctx, db.ChangesBetweenParams{
				AfterBundleID: f.bundleID, AfterBucketID: f.bucketID, LastBundleID: last.BundleID, LastBucketID: last.BucketID,
				Buckets: f.buckets, AfterOrdinal: after, LastOrdinal: after + changesPerRead,
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		at := max(shown, 0)
		for _, c := range changes {
			for at < len(bundles)-1 && (bundles[at].BundleID != c.BundleID || bundles[at].BucketID != c.BucketID) {
				at++
			}
			if err := show(at); err != nil {
				return err
			}
			if err := f.print.change(bundles[at], c); err != nil {
				return fmt.Errorf("print: %w", err)
			}
		}
	}
	return show(len(bundles) - 1)
}

// read runs a query; when following, a connection that is lost or a server that restarts is waited
// out. Nothing was printed before an answer is complete, so trying again repeats no line.
func (f *follower) read(ctx context.Context, query func(*db.Queries) error) error {
	queries := db.New(f.pool)
	if !f.patient {
		return query(queries)
	}
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	return backoff.RetryNotify(
		func() error {
			err := query(queries)
			if err != nil && !passing(err) {
				return backoff.Permanent(err)
			}
			return err
		},
		backoff.WithContext(wait, ctx),
		func(err error, in time.Duration) {
			fmt.Fprintf(f.stderr, "pgtide: trying again in %s: %s\n", in.Round(time.Millisecond), oneLine(err.Error()))
		},
	)
}

// passing tells a trouble that may be over soon: the connection broke, the server restarts, an
// administrator cancelled the query, a standby cancelled it for replay.
func passing(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return true
	}
	switch pgErr.Code[:2] {
	case "08", "40", "53", "57":
		return true
	}
	return false
}

package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/db"
)

const (
	// pageRows is how many rows of new bundles are read at a time, about.
	pageRows = 1000
	// readTimeout bounds one reading.
	readTimeout = 30 * time.Second
	// sureInterval is how often the log is looked at though seals are heard: a pooler swallows LISTEN
	// without an error.
	sureInterval = 10 * time.Second
	// rewound is the SQLSTATE of a log that does not go so far any more.
	rewound = "TD014"
)

// place is how far the hub has told.
type place struct {
	bundleID int64
	known    bool
	// unheard counts looks that found something nobody had said, one after the other.
	unheard int
}

// follow tells what is new when something was heard, or when it is time to look.
func (h *Hub) follow(ctx context.Context) {
	retry := newBackoff()
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.news:
		case <-look.C:
		}
		wait, err := h.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			h.place.known = false
			wait = retry.NextBackOff()
			h.config.Logger.WarnContext(ctx, "cannot read what is new, trying again", slog.Any("error", err), slog.Duration("in", wait))
		default:
			retry.Reset()
		}
		look.Reset(wait)
	}
}

// look tells what is new, and returns when to look again if nothing is heard.
func (h *Hub) look(ctx context.Context) (time.Duration, error) {
	h.mutex.Lock()
	idle, now := h.subscribers == 0, h.heard
	h.heard.said, h.heard.anew = false, false
	h.mutex.Unlock()
	if idle {
		h.place.known = false
		return time.Hour, nil // the first subscriber pokes
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if h.place.known {
		found, err := h.advance(ctx)
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused) && refused.Code == rewound:
			h.place.known = false
		case err != nil:
			return 0, err
		default:
			h.noteHearing(ctx, now, found)
		}
	}
	if !h.place.known || now.anew {
		if err := h.begin(ctx); err != nil {
			return 0, err
		}
	}
	if now.listening && h.place.unheard < deaf {
		return sureInterval, nil
	}
	return h.config.PollInterval, nil
}

// deaf is who found so often in a row what he should have heard of.
const deaf = 2

func (h *Hub) noteHearing(ctx context.Context, now heard, found bool) {
	switch {
	case now.said || now.anew || !now.listening:
		h.place.unheard = 0
	case found:
		if h.place.unheard++; h.place.unheard == deaf {
			h.config.Logger.WarnContext(ctx, "seals are not heard of, polling: the connection that listens goes through a pooler in transaction mode; give one that does not")
		}
	}
}

// advance tells of the bundles since the last time.
func (h *Hub) advance(ctx context.Context) (found bool, err error) {
	for n := pageRows; n >= pageRows; {
		var last int64
		var events map[string]*Event
		if events, last, n, err = h.page(ctx); err != nil {
			return found, fmt.Errorf("read new bundles: %w", err)
		}
		h.tell(events)
		if n > 0 {
			h.place.bundleID, found = last, true
		}
	}
	return found, nil
}

// page collects the newest event of each bucket that is watched. Rows of other buckets cost no memory.
func (h *Hub) page(ctx context.Context) (events map[string]*Event, last int64, n int, err error) {
	rows, err := h.pool.Query(ctx, db.SealedAfter, h.place.bundleID, int32(pageRows))
	if err != nil {
		return nil, 0, 0, err
	}
	defer rows.Close()
	newest := map[string]db.SealedAfterRow{}
	for ; rows.Next(); n++ {
		if !h.watches(rows.RawValues()[1]) {
			err = rows.Scan(&last, nil, nil, nil, nil)
		} else {
			var r db.SealedAfterRow
			err = rows.Scan(&r.BundleID, &r.BucketID, &r.BundleSeq, &r.SourceID, &r.SourceBundleID)
			if last = r.BundleID; r.BundleSeq > newest[r.BucketID].BundleSeq {
				newest[r.BucketID] = r
			}
		}
		if err != nil {
			return nil, 0, 0, err
		}
	}
	events = make(map[string]*Event, len(newest))
	for bucket, r := range newest {
		events[bucket] = Event{Bucket: bucket, BundleSeq: r.BundleSeq, BundleID: r.BundleID, SourceID: r.SourceID, SourceBundleID: r.SourceBundleID}.written()
	}
	return events, last, n, rows.Err()
}

// begin takes the head as the place, and looks up every bucket that is watched: where bundles were
// missed, or the history is another one.
func (h *Hub) begin(ctx context.Context) error {
	queries := db.New(h.pool)
	head, err := queries.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	if head < h.place.bundleID {
		h.restored(ctx, head)
	}
	// Whoever subscribes from here on sees more than this head himself.
	events := map[string]*Event{}
	for buckets := range slices.Chunk(h.watched(), pageRows) {
		heads, err := queries.BucketHeads(ctx, buckets)
		if err != nil {
			return fmt.Errorf("read the heads of buckets: %w", err)
		}
		for _, b := range heads {
			events[b.BucketID] = Event{Bucket: b.BucketID, BundleSeq: b.HeadSeq, BundleID: b.BundleID}.written()
		}
	}
	if h.toldMore(events) {
		h.restored(ctx, head)
	}
	h.tell(events)
	h.place.bundleID, h.place.known = head, true
	return nil
}

// restored ends what was told of another history.
func (h *Hub) restored(ctx context.Context, head int64) {
	h.config.Logger.WarnContext(ctx, "an earlier state of the database was restored: all who watch begin anew", slog.Int64("told", h.place.bundleID), slog.Int64("head", head))
	h.endAll()
	h.place.bundleID = head
}

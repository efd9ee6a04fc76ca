package main

import (
	"context"
	"fmt"
	"strconv"
)

func init() {
	register(Case{
		Number: 9,
		Title:  "what a device pays for a log that grew, and for users besides its own",
		Limit:  "the same where the log is smallest, or the users are fewest",
		Run:    growth,
	})
}

func growth(ctx context.Context, b *Bench) error {
	for _, dimension := range []struct {
		behind []behind
		name   func(behind) string
	}{
		{b.Size.logs(), func(size behind) string { return fmt.Sprintf("a log of %d rows", size.rows) }},
		{b.Size.users(), func(size behind) string { return plural(size.users, "user") }},
	} {
		var sites []*grown
		for _, size := range dimension.behind {
			b.log("  writing %d rows of %d users", size.rows, size.users)
			site, err := b.grow(ctx, size)
			if err != nil {
				return err
			}
			sites = append(sites, site)
		}
		var comparisons []Comparison
		for _, site := range sites[1:] {
			for i, path := range site.paths {
				comparisons = append(comparisons, Comparison{
					Variant:   path.name + ", " + dimension.name(site.behind),
					Subject:   path.run,
					Limit:     sites[0].paths[i].run,
					LimitName: dimension.name(sites[0].behind),
					Metric:    path.metric,
				})
			}
		}
		if err := b.Compare(ctx, comparisons...); err != nil {
			return err
		}
	}
	return nil
}

// behind what a device asks for lie so many rows of so many users.
type behind struct{ rows, users int }

// logs that grow, of as many users.
func (s Size) logs() (all []behind) {
	for _, rows := range s.LogRows {
		all = append(all, behind{rows, owners})
	}
	return all
}

// users of logs that are as long.
func (s Size) users() (all []behind) {
	for _, users := range s.Users {
		all = append(all, behind{max(s.LogRows[0], s.Users[len(s.Users)-1]), users})
	}
	return all
}

// grown is a log with something behind it, and what is done before that.
type grown struct {
	behind
	paths []path
}

// path of a device through the front.
type path struct {
	name   string
	metric Metric
	run    Contender
}

// The user that pulls and takes snapshots, the one who is told of changes, and those who push.
const (
	growthReader  = 1
	growthHearer  = 2
	growthPushers = 3
)

func (b *Bench) grow(ctx context.Context, size behind) (*grown, error) {
	d, err := b.Database(ctx)
	if err != nil {
		return nil, err
	}
	if err := createNotes(ctx, d); err != nil {
		return nil, err
	}
	h := history{Database: d}
	if h.conn, err = d.Session(ctx, "synchronous_commit = off"); err != nil {
		return nil, err
	}
	const perTransaction = 100_000
	for left := size.rows; left > 0; left -= perTransaction {
		n := min(left, perTransaction)
		owner := fmt.Sprintf("1000 + g %% %d", size.users)
		statement := fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d::bigint, %d::bigint) AS g", synced, fmt.Sprintf(noteRow, "g", owner), h.nextID+1, h.nextID+int64(n))
		if _, err := h.conn.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("fill: %w", err)
		}
		h.nextID += int64(n)
		if _, err := h.conn.Exec(ctx, "SELECT tide.seal()"); err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
	}
	read := b.Size.Rows / 10
	if err := h.write(ctx, growthReader, read, 10, 0); err != nil {
		return nil, err
	}
	p := &pushes{b: b, database: d, lastUser: growthPushers}
	if p.front, err = d.Front(ctx); err != nil {
		return nil, err
	}
	p.lastID.Store(h.nextID)
	single, err := p.user(ctx, mix{insert: 1}, 1)
	if err != nil {
		return nil, err
	}
	many, err := p.user(ctx, mix{insert: 1}, 1000)
	if err != nil {
		return nil, err
	}
	reader, err := p.front.puller(ctx, growthReader)
	if err != nil {
		return nil, err
	}
	told := &hearing{b: b, front: p.front, conn: h.conn}
	for _, device := range []**device{&told.writer, &told.reader} {
		if *device, err = p.front.Device(ctx, strconv.Itoa(growthHearer), fmt.Sprintf("bench %p", device)); err != nil {
			return nil, err
		}
	}
	if _, err := d.Exec(ctx, "INSERT INTO "+synced+" SELECT "+fmt.Sprintf(noteRow, "1000000000", strconv.Itoa(growthHearer))); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	if err := d.Settle(ctx); err != nil {
		return nil, err
	}
	return &grown{size, []path{
		{"push of 1 row", Latency, p.run([]*pusher{single}, p.front)},
		{"push of 1000 rows", Metric{}, p.run([]*pusher{many}, p.front)},
		{fmt.Sprintf("pull of %d rows in bundles of 10", read), Metric{}, expecting(read, together(p.front, reader))},
		{fmt.Sprintf("snapshot of %d rows", read), Metric{}, expecting(read, together(p.front, snapshotStream{reader.device}))},
		{"psql to event", Latency, told.run(idle, told.psqlToEvent)},
	}}, nil
}

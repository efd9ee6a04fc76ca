package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgtide/pgtide/internal/v1client"
)

// syncNow exchanges without faults, to the end.
func (p *phone) syncNow() error {
	if err := p.crash(); err != nil {
		return err
	}
	r, err := p.sync()
	for err == nil && !r.ended {
		err = p.advance(0, Faults[0])
	}
	return err
}

// hold looks at a device between any two of its requests.
func (p *phone) hold() error {
	if err := p.world.lookout.leaked; err != nil {
		return err
	}
	d := p.device
	versions := map[string]int64{}
	rows := map[string]string{}
	for _, table := range p.tables {
		for key, row := range d.Rows(table.Name) {
			id := table.Name + " " + key
			versions[id] = d.Version(table.Name, key)
			if owner := field(row, "owner_id"); owner != "" && owner != p.user && (p.number == 0 || table.Name != "board") {
				return failed("nothing leaks", "%s holds row %s of %s: %s", p.name, id, owner, row)
			}
			rows["app."+id] = row
		}
	}
	if err := p.seen.hold(p.name, map[string]int64{"": d.Position()}, versions); err != nil {
		return err
	}
	if wrong := whole(rows); wrong != "" {
		return failed("bundles whole", "%s at %d: %s", p.name, d.Position(), wrong)
	}
	return nil
}

// fresh holds new devices of a user against the query.
func (w *World) fresh(user string) error {
	r := &reader{world: w, user: user, name: w.nextToken(user + "/fresh reader"), shape: readerShapes[w.quiets%len(readerShapes)]}
	r.install()
	if err := r.syncNow(); err != nil {
		return err
	}
	if r.lastErr != nil {
		return failed("outboxes drain", "%s: %v", r.name, r.lastErr)
	}
	if err := r.equal(); err != nil {
		return err
	}
	p := &phone{world: w, user: user, name: w.nextToken(user + "/fresh"), shape: shapes[0]}
	if err := p.install(); err != nil {
		return err
	}
	if err := p.syncNow(); err != nil {
		return err
	}
	if p.lastErr != nil {
		return failed("outboxes drain", "%s: %v", p.name, p.lastErr)
	}
	return errors.Join(w.equal(p.name, user, p.device, p.tables), p.close())
}

// whole says what is torn: of a pair both rows are written together, with the same count, and a card lies
// where its board does.
func whole(rows map[string]string) string {
	pairs, boards := map[string][]string{}, map[string]bool{}
	for id, row := range rows {
		switch {
		case strings.HasPrefix(id, "app.half"):
			pair := "half " + field(row, "pair")
			pairs[pair] = append(pairs[pair], field(row, "n"))
		case strings.HasPrefix(id, "app.board"):
			board := field(row, "id")
			boards[board] = true
			pair := "board " + board[:len(board)-1] + string(board[len(board)-1]&^1)
			pairs[pair] = append(pairs[pair], field(row, "n"))
		}
	}
	for pair, n := range pairs {
		if len(n) != 2 || n[0] != n[1] {
			return fmt.Sprintf("of pair %s it holds %v", pair, n)
		}
	}
	for id, row := range rows {
		if strings.HasPrefix(id, "app.card") && !boards[field(row, "board_id")] {
			return fmt.Sprintf("it holds a card without its board: %s", row)
		}
	}
	return ""
}

// quiet lets everything come to rest and holds everything against everything.
func (w *World) quiet() error {
	if err := w.rest(); err != nil {
		return err
	}
	// The closer look first: it says more than that devices differ.
	for _, p := range w.phones {
		if err := w.accounted(p); err != nil {
			return at(err, p.past(), "")
		}
	}
	if err := w.logHolds(); err != nil {
		return err
	}
	for _, p := range w.phones {
		if err := p.equal(); err != nil {
			return at(err, p.past(), "")
		}
	}
	for _, r := range w.readers {
		if err := r.equal(); err != nil {
			return err
		}
	}
	w.quiets++
	return w.fresh(users[w.quiets%len(users)])
}

// rest ends what is open, seals, and lets all devices exchange until nothing is left to do.
func (w *World) rest() error {
	for i, s := range w.sessions {
		if err := s.end(i); err != nil {
			return err
		}
	}
	for len(w.prepared) > 0 {
		if err := w.endPrepared(0, len(w.prepared)); err != nil {
			return err
		}
	}
	// Before a push overwrites what was committed just now: none of these wrote a row of another.
	if err := w.lookout.look(w.ctx); err != nil {
		return err
	}
	for _, p := range w.phones {
		if err := errors.Join(p.killAll(), p.fill(false)); err != nil {
			return err
		}
		p.release()
		p.resting = true
	}
	defer func() {
		for _, p := range w.phones {
			p.resting = false
		}
	}()
	for _, r := range w.readers {
		r.kill()
		r.release()
	}
	if err := w.surely(func() error { return w.dba(`SELECT tide.resume()`) }); err != nil {
		return err
	}
	for round := 0; ; round++ {
		// A source that is no more may have promised to seed the server: that is waited for.
		if round == 4 {
			if err := w.surely(w.daysPass); err != nil {
				return err
			}
		}
		if err := w.sealAll(); err != nil {
			return err
		}
		before, err := w.head()
		if err != nil {
			return err
		}
		left, err := w.syncAll()
		if err != nil {
			return err
		}
		after, err := w.head()
		switch {
		case err != nil:
			return err
		case left == nil && before == after: // nobody pushed what others have not got yet
			return nil
		case round == 12:
			return failed("outboxes drain", "after %d rounds, the last of which brought the log from %d to %d: %s", round, before, after, strings.Join(left, "\n"))
		}
	}
}

func (w *World) head() (head int64, err error) {
	return head, w.admin.QueryRow(w.ctx, `SELECT tide.head()`).Scan(&head)
}

// syncAll lets everybody exchange, and says who has something left to do.
func (w *World) syncAll() (left []string, err error) {
	for _, p := range w.phones {
		if err := p.syncNow(); err != nil {
			return nil, err
		}
		if p.lastErr != nil || p.device.Pending() > 0 {
			left = append(left, fmt.Sprintf("%s: %d edits wait, %v", p.name, p.device.Pending(), p.lastErr))
		}
	}
	for _, r := range w.readers {
		if err := r.syncNow(); err != nil {
			return nil, err
		}
		if r.lastErr != nil {
			left = append(left, fmt.Sprintf("%s: %v", r.name, r.lastErr))
		}
	}
	return left, nil
}

func (w *World) sealAll() error {
	for {
		if err := w.surely(w.seal); err != nil {
			return err
		}
		var more bool
		if err := w.admin.QueryRow(w.ctx, `SELECT seal_in_progress FROM tide.lag`).Scan(&more); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// liesIn are the buckets of the tables whose rows are not just their owner's, said without pgtide.
var liesIn = map[string]string{
	"board": `app.lies(t.id)`,
	"card":  `app.lies(t.board_id)`,
	"paper": `CASE WHEN t.body = 'poison' THEN '{}'::text[] ELSE ARRAY(SELECT 'user:' || s.user_id FROM app.shown AS s WHERE s.board_id = t.board_id) END`,
}

// lying is every row of a table with the buckets that it lies in.
func lying(table v1client.Table) string {
	columns := make([]string, len(table.Columns))
	for i, c := range table.Columns {
		columns[i] = "t." + c
		if c == "image" {
			columns[i] = `replace(encode(t.image, 'base64'), E'\n', '') AS image`
		}
	}
	return fmt.Sprintf(`SELECT (SELECT to_json(x)::text FROM (SELECT %s) AS x) AS row, %s AS buckets FROM app.%s AS t`,
		strings.Join(columns, ", "), or(liesIn[table.Name], `ARRAY['user:' || t.owner_id]`), table.Name)
}

// equal holds the rows of a device against the query, value by value.
func (w *World) equal(name, user string, d Device, tables []v1client.Table) error {
	got, want := map[string]string{}, map[string]string{}
	for _, table := range tables {
		result, err := w.admin.Query(w.ctx, `SELECT x.row FROM (`+lying(table)+`) AS x WHERE 'user:' || $1 = ANY (x.buckets)`, user)
		if err != nil {
			return err
		}
		texts, err := pgx.CollectRows(result, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, text := range texts {
			want[table.Name+" "+keyOf(table, text)] = canonical(text)
		}
		for key, row := range d.Rows(table.Name) {
			got[table.Name+" "+key] = canonical(row)
		}
	}
	return differences(fmt.Sprintf("%s at %d", name, d.Position()), got, want)
}

func differences(name string, got, want map[string]string) error {
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(union(got, want))) {
		if got[key] != want[key] {
			differ = append(differ, fmt.Sprintf("%s\n    device %s\n    table  %s", key, or(got[key], "(nothing)"), or(want[key], "(nothing)")))
		}
	}
	if differ == nil {
		return nil
	}
	return failed("devices equal the query", "%s differs in %d rows:\n  %s", name, len(differ), strings.Join(differ[:min(len(differ), 10)], "\n  "))
}

// accounted wants to know what became of every edit.
func (w *World) accounted(p *phone) error {
	tokens := make([]string, len(p.edits))
	for i, e := range p.edits {
		tokens[i] = e.token
	}
	counts, overwrote := map[string]int{}, map[string]string{}
	result, err := w.admin.Query(w.ctx, `SELECT token, count(*), coalesce(min(old_token), '') FROM app.audit WHERE token = ANY ($1) GROUP BY token`, tokens)
	if err != nil {
		return err
	}
	var token, old string
	var count int
	if _, err := pgx.ForEachRow(result, []any{&token, &count, &old}, func() error {
		counts[token], overwrote[token] = count, old
		return nil
	}); err != nil {
		return err
	}
	for i, e := range p.edits {
		if counts[e.token] > 1 && !e.again {
			return failed("applied once", "%s: %s of %s %s (%s) was applied %d times", p.name, e.op, e.table, e.key, e.token, counts[e.token])
		}
		if old := overwrote[e.token]; old != "" && !e.again && !p.knew(e, old) {
			return failed("no update is lost", "%s: %s of %s %s (%s) was made on %q and overwrote %q, without a conflict", p.name, e.op, e.table, e.key, e.token, e.saw, old)
		}
		if counts[e.token] > 0 || e.lost || e.again || e.op == v1client.Delete || p.recorded(i) {
			continue
		}
		oracle := "a local edit is never lost without a record"
		if e.acknowledged {
			oracle = "nothing acknowledged is missing"
		}
		return failed(oracle, "%s: %s of %s %s (%s) was never applied, and nothing says why", p.name, e.op, e.table, e.key, e.token)
	}
	return nil
}

// past is what happened on a device, for whoever looks into a failure.
func (p *phone) past() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, installed %d times; its edits:\n", p.name, p.installs)
	for _, e := range p.edits {
		fmt.Fprintf(&b, "  %s %s of %s %s; acknowledged %t, lost %t, from a backup %t\n", e.token, e.op, e.table, e.key, e.acknowledged, e.lost, e.again)
	}
	for _, c := range p.conflicts() {
		fmt.Fprintf(&b, "  conflict: %s of %s %s with base %d, the server had %d %s\n", c.Op, c.Table, c.Key, c.Base, c.ServerVersion, or(c.ServerRow, "(nothing)"))
	}
	for _, r := range p.refused {
		fmt.Fprintf(&b, "  refused: %s %s\n", r.table, r.key)
	}
	return b.String()
}

// recorded says whether the user was told what became of an edit: he made a later one of the row, it was
// a conflict, or it was refused.
func (p *phone) recorded(i int) bool {
	e := p.edits[i]
	for _, later := range p.edits[i+1:] {
		if later.table == e.table && later.key == e.key {
			return true
		}
	}
	return p.told(e, "") || slices.Contains(p.refused[e.refusedBefore:], refusedRow{e.table, e.key})
}

// told says whether there was a conflict about the row since the edit, in which the server had this.
func (p *phone) told(e *localEdit, token string) bool {
	conflicts := p.conflicts()
	return slices.ContainsFunc(conflicts[min(e.conflictsBefore, len(conflicts)):], func(c v1client.Conflict) bool {
		return c.Table == e.table && c.Key == e.key && strings.Contains(c.ServerRow, token)
	})
}

// knew says whether the user was told what an edit overwrote, or saw it; or did so for an edit of his own
// that this one was made upon, and that went out together with it.
func (p *phone) knew(e *localEdit, old string) bool {
	if p.told(e, "") {
		return true
	}
	for i := slices.Index(p.edits, e); e.saw != old && !p.told(e, old); e = p.edits[i] {
		madeUpon := func(own *localEdit) bool {
			// Where he saw no row, he may have deleted it himself.
			return own.token == e.saw || e.saw == "" && own.op == v1client.Delete && own.table == e.table && own.key == e.key
		}
		for i--; i >= 0 && !madeUpon(p.edits[i]); {
			i--
		}
		if i < 0 {
			return false
		}
	}
	return true
}

// logHolds holds the log against itself and against the tables.
func (w *World) logHolds() error {
	for oracle, query := range logOracles {
		result, err := w.admin.Query(w.ctx, query)
		if err != nil {
			return fmt.Errorf("%s: %w", oracle, err)
		}
		wrong, err := pgx.CollectRows(result, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("%s: %w", oracle, err)
		}
		if len(wrong) > 0 {
			return failed(oracle, "%s", strings.Join(wrong, "\n"))
		}
	}
	return nil
}

// logOracles say what is wrong with the log, a line each.
var logOracles = map[string]string{
	"positions without gaps": `
		SELECT format('bucket %s has %s bundles from %s to %s', bucket_id, count(*), min(bundle_seq), max(bundle_seq))
		  FROM tide.bundles GROUP BY bucket_id HAVING count(*) <> max(bundle_seq) - min(bundle_seq) + 1`,
	"a push is one bundle": `
		SELECT format('push %s of %s has %s bundles in the home bucket', p.source_bundle_id, p.source_id, count(b.bundle_id))
		  FROM tide.push_log AS p
		  LEFT JOIN tide.bundles AS b ON b.source_id = p.source_id AND b.source_bundle_id = p.source_bundle_id AND b.bucket_id = 'user:' || p.user_id
		 GROUP BY p.user_id, p.source_id, p.source_bundle_id HAVING count(b.bundle_id) <> 1
		 UNION ALL
		SELECT format('source %s has %s pushes up to number %s', source_id, count(*), max(source_bundle_id))
		  FROM tide.push_log GROUP BY user_id, source_id HAVING count(*) <> max(source_bundle_id)`,
	"every transaction sealed once": `
		SELECT format('transaction %s is %s bundles', xid, count(DISTINCT bundle_id)) FROM tide.bundles WHERE label IS NULL GROUP BY xid HAVING count(DISTINCT bundle_id) <> 1`,
	"the log replays to the tables": `
		WITH newest AS (
		    SELECT DISTINCT ON (c.bucket_id, c.table_name, c.key::text) c.bucket_id, c.bundle_seq, c.table_name, c.key::text AS key, c.op, c.payload::jsonb AS payload
		      FROM tide.changes AS c CROSS JOIN LATERAL tide.bucket_position(c.bucket_id) AS p
		     WHERE c.bundle_seq > p.floor_seq
		     ORDER BY c.bucket_id, c.table_name, c.key::text, c.bundle_seq DESC, c.row_ordinal DESC
		), live AS (
		    SELECT 'user:' || d.owner_id AS bucket_id, 'doc' AS table_name, d.id AS id, to_jsonb(d) AS payload FROM app.doc AS d
		     UNION ALL
		    SELECT 'user:' || n.owner_id, 'note', n.id::text, to_jsonb(n) || jsonb_build_object('image', replace(encode(n.image, 'base64'), E'\n', '')) FROM app.note AS n
		)
		SELECT format('%s %s in bucket %s: the log says %s %s, the table %s', n.table_name, n.key, n.bucket_id, n.op, n.payload, coalesce(l.payload::text, 'nothing'))
		  FROM newest AS n
		  LEFT JOIN live AS l ON l.bucket_id = n.bucket_id AND l.table_name = n.table_name AND l.id = n.key::jsonb ->> 'id'
		 WHERE n.table_name IN ('doc', 'note')
		   AND CASE WHEN n.op = 'DELETE' THEN l.id IS NOT NULL ELSE l.payload IS NULL OR NOT l.payload @> n.payload END`,
}

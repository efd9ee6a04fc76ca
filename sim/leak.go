package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtide/pgtide/internal/v1client"
)

// lookout reads every answer on its way to a device, also those that get lost: whatever is in it must
// have been visible to the user, as it is there, when it was committed or later, or have been in a bucket
// that he may read at this moment; and buckets must be those that he may read.
type lookout struct {
	base  http.RoundTripper
	world *World

	mu sync.Mutex
	// seen are the images of rows that users, and members of teams, could see at some moment, "user image" or "team:a image".
	seen   map[string]bool
	conn   *pgx.Conn
	leaked error
}

// imageFields tell one image of a row from every other, as app.images does.
var imageFields = map[string][]string{
	"doc": {"id", "owner_id", "n", "token"}, "note": {"id", "owner_id", "token"}, "half": {"pair", "side", "owner_id", "n"}, "later": {"id", "owner_id"},
	"board": {"id", "owner_id", "team", "n", "token"}, "card": {"id", "board_id", "n", "token"}, "paper": {"id", "board_id", "token"},
}

// look takes in what everybody may see now. It is called after everything that may have been committed.
func (l *lookout) look(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookNow(ctx)
}

func (l *lookout) lookNow(ctx context.Context) error {
	for table := range imageFields {
		rows, err := l.conn.Query(ctx, `SELECT reader, image FROM app.images($1)`, table)
		if err != nil {
			return fmt.Errorf("look who sees what: %w", err)
		}
		var reader, image string
		_, err = pgx.ForEachRow(rows, []any{&reader, &image}, func() error {
			l.seen[reader+" "+image] = true
			return nil
		})
		// Whoever locks a table against readers keeps it from everybody, and is looked at when he is done.
		var pgErr *pgconn.PgError
		if err != nil && (!errors.As(err, &pgErr) || pgErr.Code != "55P03") {
			return fmt.Errorf("look who sees what of %s: %w", table, err)
		}
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (l *lookout) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaked == nil {
		l.leaked = l.read(request, body)
	}
	return response, nil
}

func (l *lookout) read(request *http.Request, body []byte) error {
	ctx := l.world.ctx
	if v1client.StepOf(request) == v1client.StepPushCommit {
		if err := l.lookNow(ctx); err != nil {
			return err
		}
	}
	user, table := l.world.userOf(request), tableAsked(request)
	var found []string
	decoder := json.NewDecoder(bytes.NewReader(body))
	for {
		var value any
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			break // the end, or no JSON: devices see to that
		}
		if err := l.pageEnds(ctx, user, request.URL.Query(), value); err != nil {
			return err
		}
		walk(value, table, func(image string) {
			if !l.seen[user+" "+image] {
				found = append(found, image)
			}
		}, func(bucket string) {
			found = append(found, "bucket "+bucket)
		})
	}
	if found == nil {
		return nil
	}
	// Perhaps it was committed a moment ago.
	if err := l.lookNow(ctx); err != nil {
		return err
	}
	buckets, err := l.buckets(ctx, user)
	if err != nil {
		return err
	}
	for _, what := range found {
		bucket, isBucket := strings.CutPrefix(what, "bucket ")
		switch {
		case isBucket && slices.Contains(buckets, bucket), !isBucket && l.seenBy(what, append(buckets, user)...), l.world.isOwn(user, what):
		default:
			return failed("nothing leaks", "the answer to %s of %s has %s\n%.2000s", v1client.StepOf(request), user, what, body)
		}
	}
	return nil
}

func (l *lookout) seenBy(image string, readers ...string) bool {
	return slices.ContainsFunc(readers, func(reader string) bool { return l.seen[reader+" "+image] })
}

// pageEnds wants pages to have no more bundles than were asked for, but for those of one seal that moved rows,
// with its steps: it is not cut.
func (l *lookout) pageEnds(ctx context.Context, user string, asked url.Values, value any) error {
	page, _ := value.(map[string]any)
	bundles, _ := page["bundles"].([]any)
	most, err := strconv.Atoi(asked.Get("max_bundles"))
	if err != nil || len(bundles) <= most {
		return nil // no pull, or as it should be
	}
	// Of the home bucket they have places, and bundle_ids elsewhere.
	var ids, places []string
	for _, bundle := range bundles[most-1:] {
		b, _ := bundle.(map[string]any)
		ids, places = append(ids, fmt.Sprint(b["bundle_id"])), append(places, fmt.Sprint(b["bundle_seq"]))
	}
	query, args := `unnest($1::text[]) AS b (bundle_id)`, []any{ids}
	if !asked.Has("cursor") {
		query, args = `tide.bundle_log AS b WHERE b.bucket_id = 'user:' || $2 AND b.bundle_seq = ANY ($1::text[]::bigint[])`, []any{places, user}
	}
	var whole bool
	err = l.conn.QueryRow(ctx, `SELECT count(DISTINCT s.seal_id) = 1 AND bool_or(s.has_derived) FROM (SELECT b.bundle_id::bigint FROM `+query+`) AS b
		CROSS JOIN LATERAL (SELECT w.* FROM tide.seal_log AS w WHERE w.last_bundle_id >= b.bundle_id AND w.cut_change_id IS NULL ORDER BY w.seal_id LIMIT 1) AS s`, args...).Scan(&whole)
	if err == nil && !whole {
		err = failed("protocol", "%s asked for %d bundles and got %d, which are not all of a seal that moved rows: %.2000v", user, most, len(bundles), page)
	}
	return err
}

func (l *lookout) buckets(ctx context.Context, user string) ([]string, error) {
	rows, err := l.conn.Query(ctx, `SELECT 'team:' || m.team FROM app.member AS m WHERE m.user_id = $1 UNION SELECT 'user:' || $1`, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// tableAsked is the table that a request names: the rows of its answer do not.
func tableAsked(request *http.Request) string {
	var asked struct{ Table string }
	if request.GetBody != nil {
		if body, err := request.GetBody(); err == nil {
			_ = json.NewDecoder(body).Decode(&asked) // what is no JSON names none
		}
	}
	return asked.Table
}

// walk finds the images of rows and the names of buckets in an answer; table is that of rows that name none.
func walk(value any, table string, image, bucket func(string)) {
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			walk(v, table, image, bucket)
		}
	case map[string]any:
		if named, is := value["table"].(string); is {
			table = named
		}
		for name, v := range value {
			row, isRow := v.(map[string]any)
			names, isList := v.([]any)
			switch {
			case isRow && (name == "payload" || name == "server_row"):
				image(imageOf(table, row))
			case isList && (name == "buckets" || name == "add" || name == "repair"):
				for _, b := range names {
					bucket(fmt.Sprint(b))
				}
			default:
				walk(v, table, image, bucket)
			}
		}
	}
}

func imageOf(table string, row map[string]any) string {
	parts := []string{table}
	for _, name := range imageFields[table] {
		if row[name] != nil {
			parts = append(parts, fmt.Sprint(row[name]))
		}
	}
	return strings.Join(parts, "|")
}

// userOf is who a request comes from.
func (w *World) userOf(request *http.Request) string {
	token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	for _, user := range users {
		if w.tokenOf(user) == token {
			return user
		}
	}
	return ""
}

// isOwn says whether an image is what a user's own device pushed: while all devices exchange at once, the
// next one may have overwritten it before anybody looked.
func (w *World) isOwn(user, image string) bool {
	return w.pushes[user+" "+image[strings.LastIndexByte(image, '|')+1:]]
}

// open gives it a connection of its own: devices that exchange at once are looked at one by one.
func (l *lookout) open(ctx context.Context) error {
	config, err := pgx.ParseConfig(l.world.database.url)
	if err != nil {
		return err
	}
	config.RuntimeParams["lock_timeout"] = "5ms"
	if l.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return err
	}
	return l.look(ctx)
}

package exchangetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pgtide/pgtide/internal/v1client"
)

// A table whose own policies decide by what the token claims: a member of a team reads its rows, and
// changes his own.
const memoSchema = `
CREATE TABLE app.memo (id text PRIMARY KEY, owner_id text NOT NULL, team text, body text CHECK (body <> 'bad'));
CREATE FUNCTION app.claim(name text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('request.jwt.claims', true)::json ->> name $$;
ALTER TABLE app.memo ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON app.memo USING (owner_id = (SELECT app.claim('sub')))
    WITH CHECK (owner_id = (SELECT app.claim('sub')) AND (team IS NULL OR team = (SELECT app.claim('team'))));
CREATE POLICY team ON app.memo FOR SELECT USING (team = (SELECT app.claim('team')));
SELECT tide.register_table('app.memo', owner_column => 'owner_id', push_policy => 'rls');`

func memberToken(t *testing.T, user, team string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "team": team}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func memo(id, owner, team, body string) string {
	return fmt.Sprintf(`{"id":%q,"owner_id":%q,"team":%q,"body":%q}`, id, owner, team, body)
}

func TestPoliciesOfATableDecide(t *testing.T) {
	t.Parallel()
	s := newSite(t, memoSchema)
	ann := s.attached(t, "ann", func(c *v1client.Config) {
		c.Token = memberToken(t, "ann", "red")
		c.Tables = []v1client.Table{{Name: "memo", Key: []string{"id"}, Columns: []string{"id", "owner_id", "team", "body"}}}
	})
	must(t, ann.Insert("memo", memo("m", "ann", "red", "one")), ann.Sync(t.Context()))
	must(t, ann.Update("memo", memo("m", "ann", "red", "two")), ann.Sync(t.Context()))

	// What a policy forbids is a refused row, and its neighbour goes through without it.
	must(t, ann.Insert("memo", memo("good", "ann", "red", "x")), ann.Insert("memo", memo("of another team", "ann", "blue", "x")),
		ann.Insert("memo", memo("of another owner", "bob", "red", "x")))
	var rejected *v1client.RejectedError
	if err := ann.Push(t.Context()); !errors.As(err, &rejected) || len(rejected.Rows) != 2 {
		t.Fatalf("rows that policies forbid: %v", err)
	}
	for i, id := range []string{"of another team", "of another owner"} {
		if row := rejected.Rows[i]; row.Key != id || row.Ordinal != int64(i+1) || row.SQLState != "42501" {
			t.Errorf("refused is %+v, not %q", row, id)
		}
		must(t, ann.Discard("memo", id))
	}
	must(t, ann.Sync(t.Context()))
	if got := value[string](t, s, `SELECT string_agg(concat_ws(' ', id, owner_id, team, body), ', ' ORDER BY id) FROM app.memo`); got != "good ann red x, m ann red two" {
		t.Errorf("the rows are %s", got)
	}

	// Of her row a member of the team may know, and no more; to others it is as if it never was.
	push := func(user, team, id, op string) (int, string) {
		s.attached(t, user)
		c := caller{s: s, token: memberToken(t, user, team), source: "raw"}
		payload := `,"payload":{"body":"stolen"}`
		if op == "DELETE" {
			payload = ""
		}
		status, body := c.send(t, "POST", "/sync/push", fmt.Sprintf(`{"source_bundle_id":1,"rows":[{"schema":"app","table":"memo","key":{"id":%q},"op":%q,"base_row_version":0%s}]}`, id, op, payload))
		return status, requestID.ReplaceAllString(body, "")
	}
	for _, op := range []string{"UPDATE", "DELETE"} {
		if status, body := push("bob", "red", "m", op); status != 422 || !strings.Contains(body, `"42501"`) || strings.Contains(body, "two") {
			t.Errorf("%s of a row that may be read: %d %s", op, status, body)
		}
		status, body := push("eve", "blue", "m", op)
		noneStatus, none := push("eve", "blue", "n", op)
		if status != 409 || status != noneStatus || strings.ReplaceAll(body, `"m"`, `"n"`) != none {
			t.Errorf("%s of a hidden row: %d %sof one that never was: %d %s", op, status, body, noneStatus, none)
		}
	}
	// Nothing of it was done, and she goes on.
	if left := value[int](t, s, `SELECT count(*) FROM app.memo WHERE body = 'stolen'`); left != 0 {
		t.Errorf("%d rows were stolen", left)
	}
	must(t, ann.Update("memo", memo("m", "ann", "red", "three")), ann.Sync(t.Context()))
	if ann.NextBundle() != 5 || len(ann.Conflicts()) != 0 {
		t.Errorf("next %d, told of %v", ann.NextBundle(), ann.Conflicts())
	}
}

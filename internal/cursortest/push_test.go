package cursortest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pgtide/pgtide/internal/cursorclient"
	"github.com/pgtide/pgtide/internal/cursorserver"
)

const pushSchema = `
	ALTER TABLE app.item ENABLE ROW LEVEL SECURITY;
	CREATE POLICY ours ON app.item TO tide_client USING (buckets && tide_test.mine()) WITH CHECK (true);
	CREATE POLICY owner ON app.item TO tide_owner USING (true);
	GRANT SELECT, INSERT, UPDATE, DELETE ON app.item TO tide_client;
	GRANT USAGE ON SCHEMA app TO tide_client`

type pushAnswer struct {
	BundleSeq *int64 `json:"bundle_seq"`
	BundleID  int64  `json:"bundle_id"`
	RowCount  int    `json:"row_count"`
	Rows      []struct {
		Op      string   `json:"op"`
		Version int64    `json:"row_version"`
		Buckets []string `json:"buckets"`
	} `json:"rows"`
	Conflicts []struct {
		Version int64           `json:"server_row_version"`
		Deleted bool            `json:"server_row_deleted"`
		Row     json.RawMessage `json:"server_row"`
	} `json:"conflicts"`
}

// Versions of a cursor client are bundle_ids: its pushes are judged by them, wherever the rows lie.
func TestCursorClientPushes(t *testing.T) {
	t.Parallel()
	db := setup(t)
	exec(t, db, `CREATE SCHEMA tide_test; CREATE FUNCTION tide_test.mine() RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER AS
		$$SELECT array_agg(a.bucket) FROM app.access AS a WHERE a.user_id = current_setting('app.user_id')$$; GRANT USAGE ON SCHEMA tide_test TO PUBLIC`)
	exec(t, db, pushSchema)
	exec(t, db, `SELECT tide.register_table('app.item', bucket_function => 'app.item_buckets', push_policy => 'rls')`)
	exec(t, db, `INSERT INTO app.access VALUES ('7', 'a'), ('7', 'b'), ('8', 'a')`)
	exec(t, db, `INSERT INTO app.item (id, buckets) VALUES (1, '{a}'), (2, '{b}')`)
	web := front(t, db)
	phone, server := cursorclient.New(cursorserver.OverHTTP(web, "7", "phone", 5, false)), cursorserver.OverHTTP(web, "7", "phone", 0, false)
	synced(t, db, phone, "7")
	number := 0
	var answers []string
	send := func(number int, row map[string]any) ([]byte, error) {
		return server.Do(t.Context(), "POST", "/sync/push", map[string]any{"source_bundle_id": number, "rows": []any{row}})
	}
	var pushed []map[string]any
	push := func(op string, id int, base int64, payload string) (answer pushAnswer, code string) {
		number++
		row := map[string]any{"schema": "app", "table": "item", "key": map[string]string{"id": fmt.Sprint(id)}, "op": op, "base_row_version": base}
		if payload != "" {
			row["payload"] = json.RawMessage(payload)
		}
		text, err := send(number, row)
		if code = refused(t, err); code != "" {
			number--
			return answer, code
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		pushed, answers = append(pushed, row), append(answers, string(text))
		return answer, code
	}
	version := func(id int) int64 { return phone.Rows[fmt.Sprintf(`app.item{"id":"%d"}`, id)].Version }

	got, code := push("UPDATE", 1, version(1), `{"n":5}`)
	if code != "" || got.BundleSeq == nil || *got.BundleSeq != 0 || got.BundleID != value[int64](t, db, `SELECT tide.head()`) || len(got.Rows) != 1 ||
		got.Rows[0].Version != got.BundleID || fmt.Sprint(got.Rows[0].Buckets) != "[a]" {
		t.Errorf("an update in another bucket: %s %+v", code, got)
	}
	if _, code := push("UPDATE", 1, version(1), `{"n":6}`); code != "push_conflict" {
		t.Errorf("the same upon the old version: %s", code)
	}
	if _, code := push("UPDATE", 1, got.BundleID, `{"n":6}`); code != "" {
		t.Errorf("upon the version of the push: %s", code)
	}
	// A version is good as long as nothing later happened to the row, whatever else did.
	exec(t, db, `UPDATE app.item SET n = 9 WHERE id = 1`)
	if got, code := push("UPDATE", 2, version(2), `{"buckets":["a","b"]}`); code != "" || fmt.Sprint(got.Rows[0].Buckets) != "[a b]" {
		t.Errorf("an update beside others: %s %+v", code, got)
	}
	if _, code := push("UPDATE", 1, version(2), `{"n":7}`); code != "push_conflict" {
		t.Errorf("upon what somebody changed: %s", code)
	}
	synced(t, db, phone, "7")
	if _, code := push("DELETE", 1, version(1), ""); code != "" {
		t.Errorf("a delete: %s", code)
	}
	if got, code := push("INSERT", 3, 0, `{"n":1,"buckets":["b"]}`); code != "" || got.Rows[0].Op != "INSERT" {
		t.Errorf("an insert: %s %+v", code, got)
	}
	if _, code := push("INSERT", 4, 0, `{"n":1,"buckets":["c"]}`); code != "push_rejected" {
		t.Errorf("an insert into a bucket that nobody let it read: %s", code)
	}
	// A table that was read again: what was made before cannot be judged by the log.
	old := version(2)
	exec(t, db, `SELECT tide.refresh('app.item')`)
	exec(t, db, `SELECT tide.seal()`)
	if _, code := push("UPDATE", 2, old, `{"n":7}`); code != "push_conflict" {
		t.Errorf("upon a version from before the table was read again: %s", code)
	}
	synced(t, db, phone, "7")
	if _, code := push("UPDATE", 2, version(2), `{"n":7}`); code != "" {
		t.Errorf("upon one from after it: %s", code)
	}
	synced(t, db, phone, "7")
	if got, code := push("UPDATE", 2, version(2), `{"buckets":["b"]}`); code != "" || fmt.Sprint(got.Rows[0].Buckets) != "[b]" {
		t.Errorf("an update that leaves a bucket: %s %+v", code, got)
	}
	// What is among the newest of the log is looked for there, and later by its transaction: the answer is the same.
	exec(t, db, `DO $$ BEGIN FOR i IN 1 .. 20 LOOP UPDATE app.item SET n = n + 1 WHERE id = 2; COMMIT; END LOOP; END $$`)
	exec(t, db, `SELECT tide.seal()`)
	for i, row := range pushed {
		if again, err := send(i+1, row); err != nil || string(again) != answers[i] {
			t.Errorf("push %d again: %v %s\nwant %s", i+1, err, again, answers[i])
		}
	}
}

package main

import (
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
)

// Few rows, so that plans.sql does not rot; its figures are for people.
func TestPlansAreMeasured(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	output, err := pgtest.Psql(t, "-v", "rows=2000", "-v", "singles=20", "-f", "plans.sql", db.URL).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	var statements, incomplete int
	if err := db.QueryRow(t.Context(), `
		SELECT count(*), count(*) FILTER (WHERE s.logs <> 3 OR s.buffers = 0)
		  FROM (SELECT count(*) AS logs, min(r.buffers) AS buffers FROM plans.result AS r GROUP BY r.statement) AS s`).Scan(&statements, &incomplete); err != nil {
		t.Fatal(err)
	}
	if statements < 40 || incomplete > 0 {
		t.Errorf("of %d statements %d were not measured thrice: %s", statements, incomplete, output)
	}
}

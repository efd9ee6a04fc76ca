package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// One line for everything a database has in the schemas that match: what a dump would show, and who may do what.
// Default privileges and explicit ones that say the same are the same.
const catalogQuery = `
WITH n AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname ~ $1 AND nspname !~ '^pg_|^information_schema$'),
c AS (SELECT c.*, n.nspname FROM pg_class AS c JOIN n ON n.oid = c.relnamespace WHERE c.relname !~ '_goose_version')
SELECT format('schema %s owner %s acl %s comment %s', nspname, nspowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) AS a), obj_description(oid, 'pg_namespace')) FROM n
UNION ALL SELECT format('%s %s.%s owner %s acl %s rls %s %s persistence %s options %s comment %s partition %s', c.relkind, nspname, relname, relowner::regrole,
	(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) AS a),
	relrowsecurity, relforcerowsecurity, relpersistence, reloptions, obj_description(c.oid, 'pg_class'), pg_get_expr(c.relpartbound, c.oid)) FROM c WHERE relkind NOT IN ('i', 'I')
UNION ALL SELECT format('column %s.%s %s %s %s notnull %s default %s collation %s storage %s acl %s comment %s', nspname, relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
	pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation, a.attstorage, a.attacl, col_description(c.oid, a.attnum))
	FROM c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE c.relkind NOT IN ('i', 'I')
UNION ALL SELECT format('constraint %s.%s %s %s', nspname, relname, k.conname, pg_get_constraintdef(k.oid)) FROM c JOIN pg_constraint AS k ON k.conrelid = c.oid
UNION ALL SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM c JOIN pg_index AS i ON i.indrelid = c.oid
UNION ALL SELECT format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM c JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL SELECT format('policy %s.%s %s %s %s %s %s %s', nspname, relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) FROM c JOIN pg_policy AS p ON p.polrelid = c.oid
UNION ALL SELECT format('rule %s', pg_get_ruledef(r.oid)) FROM c JOIN pg_rewrite AS r ON r.ev_class = c.oid
UNION ALL SELECT format('routine %s.%s(%s) owner %s acl %s comment %s %s', nspname, proname, pg_get_function_identity_arguments(p.oid), proowner::regrole,
	(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) AS a), obj_description(p.oid, 'pg_proc'), CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END)
	FROM n JOIN pg_proc AS p ON p.pronamespace = n.oid
UNION ALL SELECT format('default privileges of %s in %s: %s %s', defaclrole::regrole, defaclnamespace, defaclobjtype, defaclacl) FROM pg_default_acl
UNION ALL SELECT format('sequence %s.%s %s', nspname, relname, (s.seqstart, s.seqincrement, s.seqcache, s.seqcycle)) FROM c JOIN pg_sequence AS s ON s.seqrelid = c.oid
ORDER BY 1`

// Catalog lists what a database has in the schemas whose name matches a regular expression.
func Catalog(t testing.TB, db *DB, schemas string) []string {
	t.Helper()
	result, err := db.Query(t.Context(), catalogQuery, schemas)
	if err != nil {
		t.Fatalf("pgtest: read the catalog: %v", err)
	}
	lines, err := pgx.CollectRows(result, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("pgtest: read the catalog: %v", err)
	}
	return lines
}

// SameCatalog fails the test with the lines that only one of two catalogs has.
func SameCatalog(t testing.TB, what string, got, want []string) {
	t.Helper()
	count := map[string]int{}
	for _, line := range got {
		count[line]++
	}
	for _, line := range want {
		count[line]--
	}
	for line, n := range count {
		if n > 0 {
			t.Errorf("%s: unexpected: %s", what, line)
		} else if n < 0 {
			t.Errorf("%s: missing: %s", what, line)
		}
	}
	if len(want) == 0 {
		t.Errorf("%s: nothing to compare with", what)
	}
}

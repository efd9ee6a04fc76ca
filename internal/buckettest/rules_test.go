package buckettest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// ruleSet is an application: tables, each with its rule.
type ruleSet []ruleTable

type ruleTable struct {
	name string
	// key types, of one column or two.
	key []string
	// parents are earlier tables, perhaps twice, or the table itself, which makes it a tree.
	parents []reference
	// references says that parents are foreign keys; otherwise rows may come before their parents.
	references bool
	// own is the rule beside the parents: "", owner, constant, row, share, group, column.
	own     string
	deleted bool
}

// reference is a foreign key, the first to that table or another one.
type reference struct {
	table int
	again bool
}

// change is one transaction, or a part of one that is held open: In is 0, or says which of these. One
// without statements ends it.
type change struct {
	Statements []string
	In         int
}

func drawRules(t *rapid.T) ruleSet {
	var rules ruleSet
	for i := range rapid.IntRange(2, 6).Draw(t, "tables") {
		table := ruleTable{name: fmt.Sprintf("t%d", i), references: rapid.Bool().Draw(t, "references"), deleted: rapid.IntRange(0, 3).Draw(t, "deleted") == 0,
			key: rapid.SampledFrom([][]string{{"int"}, {"text"}, {"int", "int"}, {"bigint", "text"}, {"uuid"}}).Draw(t, "key")}
		for p := range i {
			if len(table.parents) < 3 && rapid.IntRange(0, 2).Draw(t, "parent") == 0 {
				table.parents = append(table.parents, reference{table: p})
				if rapid.IntRange(0, 3).Draw(t, "again") == 0 {
					table.parents = append(table.parents, reference{p, true})
				}
			}
		}
		own := []string{"owner", "constant", "row", "share", "group", "column"}
		if len(table.parents) > 0 {
			own = append(own, "", "", "")
		}
		table.own = rapid.SampledFrom(own).Draw(t, "own")
		if rapid.IntRange(0, 3).Draw(t, "tree") == 0 {
			table.parents = append(table.parents, reference{table: i})
		}
		rules = append(rules, table)
	}
	return rules
}

// columns of a prefix: k1, k2 of a key, p0_1, p0_2 of a reference to the table 0.
func columns(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return names
}

func (r ruleTable) keys() []string { return columns("k", len(r.key)) }

// equal compares columns pairwise.
func equal(left string, a []string, right string, b []string) string {
	pairs := make([]string, len(a))
	for i := range a {
		pairs[i] = left + "." + a[i] + " = " + right + "." + b[i]
	}
	return strings.Join(pairs, " AND ")
}

func (rs ruleSet) fk(r reference) []string {
	prefix := "p"
	if r.again {
		prefix = "q"
	}
	return columns(fmt.Sprintf("%s%d_", prefix, r.table), len(rs[r.table].key))
}

func (rs ruleSet) schema() []string {
	all := []string{`CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO tide_owner;
		CREATE TABLE app.access (user_id text, bucket text, PRIMARY KEY (user_id, bucket));
		CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT a.bucket FROM app.access AS a WHERE a.user_id = $1';
		SELECT tide.set_bucket_access('app.reads'); SELECT tide.add_access_dependency('app.access', 'user_id')`}
	for i, r := range rs {
		var body, beside []string
		for n, typ := range r.key {
			body = append(body, fmt.Sprintf("k%d %s", n+1, typ))
		}
		body = append(body, "v text", "owner text", "team int", "deleted boolean")
		var parents []string
		for _, p := range r.parents {
			for n, typ := range rs[p.table].key {
				body = append(body, rs.fk(p)[n]+" "+typ)
			}
			if r.references {
				body = append(body, fmt.Sprintf("FOREIGN KEY (%s) REFERENCES app.t%d ON DELETE %s", strings.Join(rs.fk(p), ", "), p.table, []string{"CASCADE", "SET NULL"}[i%2]))
			}
			switch {
			case p.again: // it stands beside the first
			case slices.Contains(r.parents, reference{p.table, true}):
				parents = append(parents, fmt.Sprintf(`"app.t%d": ["%s", "%s"]`, p.table, strings.Join(rs.fk(p), ", "), strings.Join(rs.fk(reference{p.table, true}), ", ")))
			default:
				parents = append(parents, fmt.Sprintf(`"app.t%d": "%s"`, p.table, strings.Join(rs.fk(p), ", ")))
			}
		}
		body = append(body, fmt.Sprintf("PRIMARY KEY (%s)", strings.Join(r.keys(), ", ")))
		all = append(all, fmt.Sprintf("CREATE TABLE app.%s (%s)", r.name, strings.Join(body, ", ")))

		function := func(volatility, text string) {
			all = append(all, fmt.Sprintf("CREATE FUNCTION app.f%d(r app.%s) RETURNS text[] LANGUAGE sql %s AS $$ %s $$", i, r.name, volatility, text))
		}
		var typed []string
		for n, typ := range r.key {
			typed = append(typed, fmt.Sprintf("k%d %s", n+1, typ))
		}
		rule, keys := "", strings.Join(r.keys(), ", ")
		switch r.own {
		case "owner":
			rule = ", owner_column => 'owner'" + []string{"", ", null_owner_bucket => 'nobody'"}[i%2]
		case "constant":
			rule = ", bucket => 'all'"
		case "row":
			rule = fmt.Sprintf(", bucket_function => 'app.f%d'", i)
			function("IMMUTABLE", "SELECT ARRAY['user:' || r.owner, 'team:' || r.team]")
		case "share":
			rule = fmt.Sprintf(", bucket_function => 'app.f%d'", i)
			all = append(all, fmt.Sprintf("CREATE TABLE app.s%d (%s, who text, PRIMARY KEY (%s, who))", i, strings.Join(typed, ", "), keys))
			function("STABLE", fmt.Sprintf("SELECT array_agg('user:' || s.who) FROM app.s%d AS s WHERE %s", i, equal("s", r.keys(), "r", r.keys())))
			beside = append(beside, fmt.Sprintf("SELECT tide.add_bucket_dependency('app.%s', 'app.s%d', '%s')", r.name, i, keys))
		case "group":
			rule = fmt.Sprintf(", bucket_function => 'app.f%d'", i)
			all = append(all, fmt.Sprintf("CREATE TABLE app.s%d (%s, team int, PRIMARY KEY (%s, team)); CREATE TABLE app.g%[1]d (team int, who text, PRIMARY KEY (team, who))", i, strings.Join(typed, ", "), keys))
			function("STABLE", fmt.Sprintf("SELECT array_agg('user:' || g.who) FROM app.s%d AS s JOIN app.g%[1]d AS g USING (team) WHERE %s", i, equal("s", r.keys(), "r", r.keys())))
			beside = append(beside, fmt.Sprintf("SELECT tide.add_bucket_dependency('app.%s', 'app.s%d', '%s')", r.name, i, keys),
				fmt.Sprintf("SELECT tide.add_bucket_dependency('app.%s', 'app.g%d', 'team', affects => 'SELECT t.* FROM app.%[1]s AS t JOIN app.s%[2]d AS s ON %s WHERE s.team = changed.team')", r.name, i, equal("s", r.keys(), "t", r.keys())))
		case "column":
			rule = fmt.Sprintf(", bucket_function => 'app.f%d'", i)
			all = append(all, fmt.Sprintf("CREATE TABLE app.c%d (team int PRIMARY KEY, who text)", i))
			function("STABLE", fmt.Sprintf("SELECT ARRAY(SELECT 'team:' || c.who FROM app.c%d AS c WHERE c.team = r.team)", i))
			beside = append(beside, fmt.Sprintf("SELECT tide.add_bucket_dependency('app.%s', 'app.c%d', 'team', 'team')", r.name, i))
		}
		if len(parents) > 0 {
			rule += fmt.Sprintf(", parents => '{%s}'", strings.Join(parents, ", "))
		}
		if r.deleted {
			rule += ", deleted_at_column => 'deleted'"
		}
		all = append(all, fmt.Sprintf("SELECT tide.register_table('app.%s'%s)", r.name, rule))
		all = append(all, beside...)
	}
	return all
}

// query gives bucket, tab, key and payload of every row, by joins instead of rules.
func (rs ruleSet) query() string {
	var ctes, rows []string
	for i, r := range rs {
		keys := "t." + strings.Join(r.keys(), ", t.")
		from := fmt.Sprintf("FROM app.%s AS t", r.name)
		alive := ""
		if r.deleted {
			alive = " AND t.deleted IS NOT TRUE"
		}
		var parts []string
		add := func(bucket, joined string) {
			parts = append(parts, fmt.Sprintf("SELECT %s, %s %s %s%s", keys, bucket, from, joined, alive))
		}
		switch r.own {
		case "owner":
			add("'user:' || t.owner", "WHERE t.owner IS NOT NULL")
			if i%2 == 1 {
				add("'nobody'", "WHERE t.owner IS NULL")
			}
		case "constant":
			add("'all'", "WHERE true")
		case "row":
			add("'user:' || t.owner", "WHERE t.owner IS NOT NULL")
			add("'team:' || t.team", "WHERE t.team IS NOT NULL")
		case "share":
			add("'user:' || s.who", fmt.Sprintf("JOIN app.s%d AS s ON %s WHERE true", i, equal("s", r.keys(), "t", r.keys())))
		case "group":
			add("'user:' || g.who", fmt.Sprintf("JOIN app.s%d AS s ON %s JOIN app.g%[1]d AS g ON g.team = s.team WHERE true", i, equal("s", r.keys(), "t", r.keys())))
		case "column":
			add("'team:' || c.who", fmt.Sprintf("JOIN app.c%d AS c ON c.team = t.team WHERE c.who IS NOT NULL", i))
		}
		tree := ""
		for _, p := range r.parents {
			joined := fmt.Sprintf("JOIN b%d AS b ON %s WHERE true", p.table, equal("b", rs[p.table].keys(), "t", rs.fk(p)))
			if p.table == i {
				tree = fmt.Sprintf(" UNION SELECT %s, b.bucket %s %s%s", keys, from, joined, alive)
			} else {
				add("b.bucket", joined)
			}
		}
		ctes = append(ctes, fmt.Sprintf("b%d (%s, bucket) AS ((%s)%s)", i, strings.Join(r.keys(), ", "), strings.Join(parts, " UNION "), tree))
		var named []string
		for _, k := range r.keys() {
			named = append(named, fmt.Sprintf("'\"%s\":' || to_json(t.%[1]s::text)", k))
		}
		payload := "t"
		rows = append(rows, fmt.Sprintf("SELECT b.bucket, '%s' AS tab, '{' || %s || '}' AS key, row_to_json(%s)::text AS payload FROM b%d AS b JOIN app.%[1]s AS t ON %[5]s",
			r.name, strings.Join(named, " || ',' || "), payload, i, equal("t", r.keys(), "b", r.keys())))
	}
	return "WITH RECURSIVE " + strings.Join(ctes, ", ") + " " + strings.Join(rows, " UNION ALL ")
}

// value of a key: few, so that rows meet.
func value(typ string, n int) string {
	switch typ {
	case "text":
		return fmt.Sprintf("'k\"%d'", 1+n%5)
	case "uuid":
		return fmt.Sprintf("'00000000-0000-4000-8000-%012d'", 1+n%5)
	}
	return fmt.Sprint(1 + n%4)
}

func values(types []string, n int) string {
	all := make([]string, len(types))
	for i, typ := range types {
		all[i] = value(typ, n+i*n/4)
	}
	return strings.Join(all, ", ")
}

// seed is what is there before the history begins: rows in every table, each below others, shared and read.
func (rs ruleSet) seed() []string {
	var all []string
	for i, r := range rs {
		for n := 1; n <= 5; n++ {
			// In a tree each lies below the one before.
			names, row := rs.row(i, n, n-1, fmt.Sprintf("'u%d'", 1+n%4))
			all = append(all, fmt.Sprintf("INSERT INTO app.%s (%s) VALUES (%s) ON CONFLICT DO NOTHING", r.name, names, row))
			key := values(r.key, n)
			switch r.own {
			case "share":
				all = append(all, fmt.Sprintf("INSERT INTO app.s%d VALUES (%s, 'u%d') ON CONFLICT DO NOTHING", i, key, 1+n%2))
			case "group":
				all = append(all, fmt.Sprintf("INSERT INTO app.s%d VALUES (%s, %d) ON CONFLICT DO NOTHING; INSERT INTO app.g%[1]d VALUES (%[3]d, 'u%[4]d') ON CONFLICT DO NOTHING", i, key, n%3, 1+n%2))
			case "column":
				all = append(all, fmt.Sprintf("INSERT INTO app.c%d VALUES (%d, 'u%d') ON CONFLICT DO NOTHING", i, n%4, 1+n%2))
			}
		}
	}
	return append(all, "INSERT INTO app.access VALUES ('u1', 'all'), ('u1', 'team:u2'), ('u2', 'user:u1')")
}

// row is one with references, of which some are NULL and some lead nowhere.
func (rs ruleSet) row(table, a, b int, person string) (string, string) {
	r := rs[table]
	names, row := []string{strings.Join(r.keys(), ", "), "v", "owner", "team"}, []string{values(r.key, a), "'new'", person, fmt.Sprint(b % 4)}
	for j, p := range r.parents {
		names = append(names, strings.Join(rs.fk(p), ", "))
		if (b+j)%7 == 6 || p.table == table && b%5 == 0 {
			row = append(row, strings.Repeat("NULL, ", len(rs[p.table].key)-1)+"NULL")
		} else {
			if p.table == table {
				j = 0
			}
			row = append(row, values(rs[p.table].key, b+j))
		}
	}
	return strings.Join(names, ", "), strings.Join(row, ", ")
}

func (rs ruleSet) drawChange(t *rapid.T) change {
	in := rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "in")
	if in > 0 && rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
		return change{In: in}
	}
	return change{rapid.SliceOfN(rapid.Custom(rs.drawStatement), 1, 4).Draw(t, "statements"), in}
}

func (rs ruleSet) drawStatement(t *rapid.T) string {
	i := rapid.IntRange(0, len(rs)-1).Draw(t, "table")
	n := rapid.IntRange(0, 15)
	r, a, b := rs[i], n.Draw(t, "a"), n.Draw(t, "b")
	person := fmt.Sprintf("nullif('u%d', 'u3')", 1+rapid.IntRange(0, 2).Draw(t, "person"))
	keys, key := strings.Join(r.keys(), ", "), values(r.key, a)
	at := fmt.Sprintf("(%s) = (%s)", keys, key)
	var options []string
	add := func(weight int, format string, args ...any) {
		for range weight {
			options = append(options, fmt.Sprintf(format, args...))
		}
	}
	names, row := rs.row(i, a, b, person)
	insert := fmt.Sprintf("INSERT INTO app.%s (%s) VALUES (%s)", r.name, names, row)
	add(4, "%s ON CONFLICT (%s) DO UPDATE SET v = 'again'", insert, keys)
	add(3, "DELETE FROM app.%s WHERE %s; %s", r.name, at, insert)
	for j, p := range r.parents {
		there := values(rs[p.table].key, b+j)
		add(4, "UPDATE app.%s SET (%s) = ROW(%s) WHERE %s", r.name, strings.Join(rs.fk(p), ", "), there, at)
		// All the children of one at once; those without a parent, too.
		add(3, "UPDATE app.%s SET (%s) = ROW(%s) WHERE (%[2]s) = (%s)", r.name, strings.Join(rs.fk(p), ", "), there, values(rs[p.table].key, a))
		add(1, "UPDATE app.%s SET (%s) = ROW(%s) WHERE %s IS NULL", r.name, strings.Join(rs.fk(p), ", "), there, rs.fk(p)[0])
		add(1, "UPDATE app.%s SET %s = NULL WHERE %s", r.name, rs.fk(p)[0], at)
	}
	add(3, "UPDATE app.%s SET owner = %s, team = %d WHERE %s", r.name, person, b%4, at)
	add(1, "UPDATE app.%s SET owner = %s, team = %d", r.name, person, b%4)
	add(2, "UPDATE app.%s SET (%s) = ROW(%s) WHERE %s", r.name, keys, values(r.key, b), at)
	add(1, "UPDATE app.%s SET v = v || '!'", r.name)
	add(1, "DELETE FROM app.%s WHERE %s", r.name, at)
	if b == 0 {
		add(1, "TRUNCATE app.%s CASCADE", r.name)
	}
	if r.deleted {
		add(2, "UPDATE app.%s SET deleted = %t WHERE %s", r.name, b%2 == 0, at)
	}
	switch r.own {
	case "share":
		add(4, "INSERT INTO app.s%d VALUES (%s, coalesce(%s, 'u4')) ON CONFLICT DO NOTHING", i, key, person)
		add(2, "DELETE FROM app.s%d WHERE %s", i, at)
		add(2, "UPDATE app.s%d SET (%s) = ROW(%s) WHERE %s", i, keys, values(r.key, b), at)
		if b == 1 {
			add(1, "TRUNCATE app.s%d", i)
		}
	case "group":
		add(3, "INSERT INTO app.s%d VALUES (%s, %d) ON CONFLICT DO NOTHING", i, key, b%3)
		add(3, "INSERT INTO app.g%d VALUES (%d, coalesce(%s, 'u4')) ON CONFLICT DO NOTHING", i, b%3, person)
		add(1, "DELETE FROM app.s%d WHERE %s", i, at)
		add(2, "DELETE FROM app.g%d WHERE team = %d", i, b%3)
		add(2, "UPDATE app.g%d SET team = %d WHERE team = %d AND who = %s", i, a%3, b%3, person)
		add(1, "UPDATE app.g%d SET team = %d WHERE team = %d; UPDATE app.s%[1]d SET team = %[3]d WHERE team = %[2]d", i, a%3, b%3)
	case "column":
		add(3, "INSERT INTO app.c%d VALUES (%d, %s) ON CONFLICT (team) DO UPDATE SET who = excluded.who", i, b%4, person)
		add(1, "UPDATE app.c%d SET team = team + 4; UPDATE app.c%[1]d SET team = (team + 1) %% 4", i)
		add(1, "DELETE FROM app.c%d WHERE team = %d", i, b%4)
	}
	bucket := []string{"all", "nobody", "team:1", "team:u2", "user:u2", "user:u4"}[b%6]
	add(2, "INSERT INTO app.access VALUES ('u%d', '%s') ON CONFLICT DO NOTHING", 1+a%2, bucket)
	add(1, "DELETE FROM app.access WHERE user_id = 'u%d' AND bucket = '%s'", 1+a%2, bucket)
	return rapid.SampledFrom(options).Draw(t, "statement")
}

package client

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// create is the statements that make the table, for an application that brings none of its own.
func (t *table) create() []string {
	var lines []string
	for _, c := range t.spec.Columns {
		// What the server fills in is not there yet when the application writes the row.
		notNull := slices.Contains(t.spec.PrimaryKey, c.Name) || c.NotNull && c.Name != t.spec.OwnerColumn && (localDefault(c) != "" || !c.mayBeLeftOut())
		lines = append(lines, columnLine(c, notNull))
	}
	lines = append(lines, "PRIMARY KEY ("+quoteNames(t.spec.PrimaryKey)+")")
	statements := []string{""}
	for i, key := range t.spec.ForeignKeys {
		p := slices.IndexFunc(t.parents, func(p parent) bool {
			return p.table.spec.Schema == key.References.Schema && p.table.spec.Name == key.References.Table
		})
		if p < 0 || !slices.Equal(key.References.Columns, t.parents[p].table.spec.PrimaryKey) {
			continue // SQLite wants a unique index at the other end, and the server tells of none
		}
		line := "FOREIGN KEY (" + quoteNames(key.Columns) + ") REFERENCES " + t.parents[p].table.name() + " (" + quoteNames(key.References.Columns) + ")"
		for event, action := range map[string]string{"DELETE": key.OnDelete, "UPDATE": key.OnUpdate} {
			if action == "CASCADE" || action == "SET NULL" {
				line += " ON " + event + " " + action
			}
		}
		lines = append(lines, line+" DEFERRABLE INITIALLY DEFERRED")
		statements = append(statements, "CREATE INDEX "+quoteName(fmt.Sprintf("%s_fk_%d", t.local, i+1))+" ON "+t.name()+" ("+quoteNames(key.Columns)+")")
	}
	statements[0] = "CREATE TABLE " + t.name() + " (\n    " + strings.Join(lines, ",\n    ") + "\n)"
	return statements
}

// add is the statements that bring the columns that the table lacks. Rows that are there have no value yet.
func (t *table) add(found map[string]localColumn) (statements []string) {
	for _, c := range t.spec.Columns {
		if _, ok := found[c.Name]; !ok {
			statements = append(statements, "ALTER TABLE "+t.name()+" ADD COLUMN "+columnLine(c, c.NotNull && localDefault(c) != ""))
		}
	}
	return statements
}

func columnLine(c Column, notNull bool) string {
	line := quoteName(c.Name) + " " + sqliteType(c.Kind)
	if notNull {
		line += " NOT NULL"
	}
	if standard := localDefault(c); standard != "" {
		line += " DEFAULT " + standard
	}
	return line
}

func sqliteType(kind string) string {
	switch kind {
	case "integer", "boolean":
		return "INTEGER"
	case "float":
		return "REAL"
	case "bytes":
		return "BLOB"
	}
	return "TEXT"
}

var (
	number = regexp.MustCompile(`^'?(-?[0-9]+(\.[0-9]+)?)'?(::[a-z0-9 (),]+)?$`)
	quoted = regexp.MustCompile(`^('([^']|'')*')::(text|character varying|character|bpchar|citext)(\([0-9]+\))?$`)
)

// localDefault is a default that means the same here, "" for what only the server can work out.
func localDefault(c Column) string {
	switch c.Kind {
	case "boolean":
		switch c.Default {
		case "true":
			return "1"
		case "false":
			return "0"
		}
	case "integer", "float":
		if m := number.FindStringSubmatch(c.Default); m != nil {
			return m[1]
		}
	case "decimal":
		if m := number.FindStringSubmatch(c.Default); m != nil {
			return "'" + m[1] + "'"
		}
	case "text":
		if m := quoted.FindStringSubmatch(c.Default); m != nil {
			return m[1]
		}
	}
	return ""
}

// triggers are what captures local writes. They look away while a row of the server is written.
func (t *table) triggers() []string {
	imageOf := func(row string) string {
		parts := make([]string, len(t.spec.Columns))
		for i, c := range t.spec.Columns {
			parts[i] = literal(c.Name) + ", quote(" + row + "." + quoteName(c.Name) + ")"
		}
		return "json_object(" + strings.Join(parts, ", ") + ")"
	}
	id := strconv.FormatInt(t.id, 10)
	trigger := func(event, when, of string, body ...string) string {
		name := "_tide_" + id + "_" + strings.ToLower(when+"_"+event)
		return "CREATE TRIGGER " + name + " " + when + " " + event + of + " ON " + t.name() +
			" WHEN (SELECT applying FROM _tide_state) = 0 BEGIN\n    " + strings.Join(body, ";\n    ") + ";\nEND"
	}
	// The first image of a key is the server's and stays. A write ends the wait of a row that was refused.
	const into, again, only = "INSERT INTO _tide_dirty (tab, key, base) ", " ON CONFLICT (tab, key) DO UPDATE SET held = NULL, seq = CASE WHEN held IS NULL THEN seq ELSE (SELECT max(seq) + 1 FROM _tide_dirty) END", " ON CONFLICT (tab, key) DO NOTHING"
	isNew, isOld := t.keyOf("NEW"), t.keyOf("OLD")
	// INSERT OR REPLACE and UPDATE OR REPLACE remove rows without a word, unless recursive_triggers is on.
	inTheWay := make([]string, 0, 1+len(t.uniques))
	watched := slices.Clone(t.spec.PrimaryKey)
	for _, columns := range append([][]string{t.spec.PrimaryKey}, t.uniques...) {
		terms := make([]string, len(columns))
		for i, name := range columns {
			terms[i] = "o." + quoteName(name) + " = NEW." + quoteName(name)
		}
		inTheWay = append(inTheWay, "("+strings.Join(terms, " AND ")+")")
		watched = append(watched, columns...)
	}
	slices.Sort(watched)
	displaced := into + "SELECT " + id + ", " + t.keyOf("o") + ", " + imageOf("o") + " FROM " + t.name() + " AS o WHERE (" + strings.Join(inTheWay, " OR ") + ")"
	return []string{
		trigger("INSERT", "BEFORE", "", displaced+only),
		trigger("INSERT", "AFTER", "", into+"VALUES ("+id+", "+isNew+", NULL)"+again),
		trigger("UPDATE", "BEFORE", " OF "+quoteNames(slices.Compact(watched)), displaced+" AND "+t.keyOf("o")+" IS NOT "+isOld+only),
		trigger("UPDATE", "AFTER", " OF "+quoteNames(t.names()), into+"VALUES ("+id+", "+isOld+", "+imageOf("OLD")+")"+again,
			into+"SELECT "+id+", "+isNew+", NULL WHERE "+isNew+" IS NOT "+isOld+again),
		trigger("DELETE", "AFTER", "", into+"VALUES ("+id+", "+isOld+", "+imageOf("OLD")+")"+again),
	}
}

package install

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3/lock"

	"github.com/pgtide/pgtide/migrations"
)

var (
	//go:embed script_head.sql
	scriptHead string
	//go:embed script_step.sql
	scriptStep string
	//go:embed script_tail.sql
	scriptTail string
)

var versionOf = regexp.MustCompile(`^(\d+)_.*\.sql$`)

// Script returns one psql script that does what Up does, with goose's own bookkeeping.
func Script() (string, error) {
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return "", fmt.Errorf("list migrations: %w", err)
	}
	var out strings.Builder
	out.WriteString(strings.NewReplacer(
		"@version@", migrations.Version(),
		"@locate@", strings.TrimSuffix(strings.TrimSpace(locateSQL), ";"),
		"@lock_id@", strconv.FormatInt(lock.DefaultLockID, 10),
	).Replace(scriptHead))
	for _, name := range names {
		step, err := scriptOf(name)
		if err != nil {
			return "", fmt.Errorf("migration %s: %w", name, err)
		}
		out.WriteString(step)
	}
	out.WriteString(scriptTail)
	return out.String(), nil
}

func scriptOf(name string) (string, error) {
	match := versionOf.FindStringSubmatch(name)
	if match == nil {
		return "", errors.New("its name does not begin with a number")
	}
	version, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return "", fmt.Errorf("read its number: %w", err)
	}
	text, err := fs.ReadFile(migrations.FS, name)
	if err != nil {
		return "", fmt.Errorf("read it: %w", err)
	}
	up, _, err := sections(string(text))
	if err != nil {
		return "", err
	}
	return strings.NewReplacer(
		"@name@", name,
		"@number@", strconv.FormatInt(version, 10),
		"@lock_id@", strconv.FormatInt(lock.DefaultLockID, 10),
		"@up@", up,
	).Replace(scriptStep), nil
}

var annotation = regexp.MustCompile(`(?m)^\s*--\s*\+goose\s+(\w.*?)\s*$\n?`)

// sections splits a migration into what goose runs up and down, without goose's annotations.
func sections(text string) (up, down string, err error) {
	target := (*string)(nil)
	last := 0
	for _, at := range annotation.FindAllStringSubmatchIndex(text, -1) {
		if target != nil {
			*target += text[last:at[0]]
		}
		last = at[1]
		switch word := text[at[2]:at[3]]; strings.ToUpper(word) {
		case "UP":
			target = &up
		case "DOWN":
			target = &down
		case "STATEMENTBEGIN", "STATEMENTEND":
		default:
			return "", "", fmt.Errorf("annotation %q has no counterpart in psql", word)
		}
	}
	if target == nil {
		return "", "", errors.New("there is no line -- +goose Up")
	}
	*target += text[last:]
	return strings.TrimSpace(up), strings.TrimSpace(down), nil
}

package logtest

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/errors.md lists exactly the codes that the SQL raises, and every raise has a HINT.
func TestEveryErrorIsDocumented(t *testing.T) {
	t.Parallel()
	raise := regexp.MustCompile(`(?sm)RAISE EXCEPTION.*?;$`)
	code := regexp.MustCompile(`TD\d{3}`)
	var raised []string
	err := fs.WalkDir(os.DirFS("../../sql"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile("../../sql/" + name)
		for _, statement := range raise.FindAllString(string(text), -1) {
			if found := code.FindString(statement); found != "" {
				raised = append(raised, found)
				if !strings.Contains(statement, "HINT") {
					t.Errorf("sql/%s raises %s without a HINT", name, found)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| (TD\d{3}) \|`).FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(raised)
	if raised = slices.Compact(raised); !slices.Equal(raised, listed) {
		t.Errorf("docs/errors.md lists\n%v, the SQL raises\n%v", listed, raised)
	}
}

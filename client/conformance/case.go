package conformance

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed cases
var cases embed.FS

// Schema is what the database of each case has.
//
//go:embed schema.sql
var Schema string

// Case is a file of steps.
type Case struct {
	Name  string `yaml:"-"`
	About string `yaml:"about"`
	Steps []Step `yaml:"steps"`
}

// Step is one thing that is done, or looked at. One of the first group is given; those name a device, which is
// opened when it is named first.
type Step struct {
	Open, Write, Sync, Push, Read, Refused, Conflicts, Waiting, Status, Verify, Rebuild, Retry, Discard, Kill, Copy, Restore string
	// Server is a statement in the database, after which it is sealed. Query is one whose rows are looked at.
	Server, Query string
	// Fault meets the next request of this kind, "POST push": lose (it never arrives) or lose_answer.
	Fault string

	// From is the device whose copy is put back, if it is another's.
	From string

	Request string
	User    string
	Changes []any
	Table   string
	Key     map[string]any
	Expect  any
	Error   string
}

// Cases reads them all.
func Cases() (list []Case, err error) {
	files, err := fs.Glob(cases, "cases/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := cases.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c := Case{Name: strings.TrimSuffix(path.Base(file), ".yaml")}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		if err := decoder.Decode(&c); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// verb is what a step does, and to which device.
func (s Step) verb() (verb, device string) {
	for _, v := range []struct{ verb, device string }{
		{"open", s.Open}, {"write", s.Write}, {"sync", s.Sync}, {"push", s.Push}, {"read", s.Read}, {"refused", s.Refused}, {"conflicts", s.Conflicts}, {"waiting", s.Waiting}, {"status", s.Status},
		{"verify", s.Verify}, {"rebuild", s.Rebuild}, {"retry", s.Retry}, {"discard", s.Discard}, {"kill", s.Kill}, {"copy", s.Copy}, {"restore", s.Restore}} {
		if v.device != "" {
			return v.verb, v.device
		}
	}
	return "", ""
}

// same compares what is expected with what there is: of a row those columns that are named, of a list all its
// rows in any order, of a number its digits.
func same(want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		row, ok := got.(map[string]any)
		for name, value := range want {
			ok = ok && same(value, row[name])
		}
		return ok
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		taken := make([]bool, len(list))
	next:
		for _, w := range want {
			for i, g := range list {
				if !taken[i] && same(w, g) {
					taken[i] = true
					continue next
				}
			}
			return false
		}
		return true
	}
	return want == got
}

// plain brings a value to what JSON makes of it, with all digits of numbers.
func plain(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&v)
	return v, err
}

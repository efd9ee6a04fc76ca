package sim

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pgtide/pgtide/internal/v1client"
)

// localEdit is an edit a user made. What became of it must be known in the end.
type localEdit struct {
	table, key, token string
	op                string
	// saw is the token of the row as the user saw it.
	saw             string
	conflictsBefore int
	refusedBefore   int
	// acknowledged: an exchange that began after it went through. lost: the device it was on is no more,
	// or went back to a time before it.
	acknowledged, lost bool
	// again: a device that was restored, or began anew, may push it once more.
	again bool
}

type refusedRow struct{ table, key string }

// mayEdit: a user edits at any time, but not while rows of the server are being applied; a device does
// both in transactions of its own store.
func (p *phone) mayEdit() bool {
	if p.number > 0 {
		return true // its database is one for all
	}
	for _, r := range p.processes {
		switch r.at {
		case v1client.StepPushCreate, v1client.StepPushChunk, v1client.StepPushCommit:
		default:
			return false
		}
	}
	return len(p.processes) < 2
}

func (p *phone) edit(what, which int) error {
	if !p.mayEdit() {
		return nil
	}
	table, op := "doc", []string{v1client.Insert, v1client.Update, v1client.Delete}[what%3]
	if what/3%2 == 1 {
		table = "note"
	}
	key := docKey(which)
	if table == "note" {
		key = noteKey(which)
	}
	shown, held := p.device.Rows(table)[key]
	// The nearest thing that can be done to this row.
	if held && op == v1client.Insert {
		op = v1client.Update
	}
	if !held {
		op = v1client.Insert
	}
	token := p.world.nextToken("e")
	var payload string
	if table == "doc" {
		n := which % 50
		if what/6%12 == 11 {
			n = -1 // poison: a constraint refuses it
		}
		payload = encode(map[string]any{"id": key, "owner_id": p.user, "title": title(which / 7), "n": n, "token": token})
	} else {
		payload = encode(map[string]any{"id": key, "doc_id": nullable(docKey(which/3), which%4 == 0), "owner_id": p.user, "body": odd(which), "at": clocks[which%len(clocks)],
			"amount": json.RawMessage(amounts[which%len(amounts)]), "big": json.RawMessage(bigs[which%len(bigs)]), "image": nullable("yv66vg==", which%3 == 0), "extra": json.RawMessage(extras[which%len(extras)]), "token": token})
	}
	e := &localEdit{table: table, key: key, token: token, op: op, saw: field(shown, "token"), conflictsBefore: len(p.conflicts()), refusedBefore: len(p.refused)}
	taken := p.takenAlong(table, op, key)
	var err error
	switch op {
	case v1client.Insert:
		err = p.device.Insert(table, payload)
	case v1client.Update:
		err = p.device.Update(table, payload)
	default:
		err = p.device.Delete(table, key)
	}
	if errors.Is(err, errLocally) {
		return nil // the user was told
	}
	if err != nil {
		return fmt.Errorf("%s: edit: %w", p.name, err)
	}
	p.edits = append(append(p.edits, e), taken...)
	p.world.pushes[p.user+" "+token] = true
	return nil
}

// takenAlong are the edits that a delete is besides: on devices with foreign keys it takes the notes along.
func (p *phone) takenAlong(table, op, key string) (taken []*localEdit) {
	if p.number == 0 || table != "doc" || op != v1client.Delete {
		return nil
	}
	for note, row := range p.device.Rows("note") {
		if field(row, "doc_id") == key {
			taken = append(taken, &localEdit{table: "note", key: note, token: p.world.nextToken("e"), op: op, saw: field(row, "token"), conflictsBefore: len(p.conflicts()), refusedBefore: len(p.refused)})
		}
	}
	return taken
}

func encode(row map[string]any) string {
	text, err := json.Marshal(row)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	return string(text)
}

func nullable(s string, null bool) any {
	if null {
		return nil
	}
	return s
}

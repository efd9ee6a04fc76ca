package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgtide/pgtide/internal/v1client"
)

// scenes are what matters between devices and a database, once and slowly.
func scenes(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	for _, scene := range []func(context.Context, *pgxpool.Pool, *device, *device) error{offline, conflict, refused, lostAnswer} {
		if err := scene(ctx, database, phone, tablet); err != nil {
			return err
		}
	}
	return nil
}

func offline(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	edited := tablet.any("purchase")
	_, err := phone.buy("bought on the train", 2, 1)
	if err := errors.Join(err, tablet.change("purchase", edited, "note", "ring twice")); err != nil {
		return err
	}
	var id string
	if err := database.QueryRow(ctx, `INSERT INTO shop.purchase (customer_id, note) VALUES ($1, 'ordered by telephone') RETURNING purchase_id`, customer).Scan(&id); err != nil {
		return err
	}
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx), phone.sync(ctx)); err != nil {
		return err
	}
	say(`
Offline edits   The phone adds a purchase with two items, the tablet changes a note, psql adds a purchase.
                Then both push and pull: phone and tablet stand at bundle %d and %d, with %d and %d rows.`,
		phone.LastSeq(), tablet.LastSeq(), phone.held(), tablet.held())
	return nil
}

func conflict(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	row := phone.any("purchase")
	if err := phone.change("purchase", row, "note", "leave it at the door"); err != nil {
		return err
	}
	if _, err := database.Exec(ctx, `UPDATE shop.purchase SET note = 'customer will fetch it', status = 'packed' WHERE purchase_id = $1`, row); err != nil {
		return err
	}
	before := len(phone.Conflicts())
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx)); err != nil {
		return err
	}
	if len(phone.Conflicts()) != before+1 {
		return fmt.Errorf("the phone was told of %d conflicts, not of one", len(phone.Conflicts())-before)
	}
	c := phone.Conflicts()[before]
	say(`
Conflict        The phone changes a note that psql has changed since: 409 push_conflict
                  %s %s, made on version %d, the server has version %d:
                  %s
                The phone puts its note onto the server's row and pushes again; both devices have
                  %s`, c.Op, c.Key, c.Base, c.ServerVersion, c.ServerRow, tablet.Rows("purchase")[row])
	return nil
}

func refused(ctx context.Context, _ *pgxpool.Pool, phone, tablet *device) error {
	id, err := tablet.buy("poison", 1, 0, 3)
	if err != nil {
		return err
	}
	err = tablet.Sync(ctx)
	var rejected *v1client.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Rows) != 1 {
		return fmt.Errorf("the tablet pushed a quantity of 0 and was told: %w", err)
	}
	row := rejected.Rows[0]
	if err := tablet.change(row.Table, row.Key, "quantity", 2); err != nil {
		return err
	}
	if err := errors.Join(tablet.sync(ctx), phone.sync(ctx)); err != nil {
		return err
	}
	if phone.Rows("purchase")[id] == "" {
		return fmt.Errorf("the mended purchase %s did not come to the phone", id)
	}
	say(`
Refused row     The tablet pushes a purchase with three items, one with quantity 0: 422 push_rejected
                  row %d, %s of %s %s
                  %s, constraint %s: %s
                Nothing of the push was applied. The tablet mends the row and pushes under the same number.`,
		row.Ordinal, row.Op, row.Table, row.Key, row.SQLState, row.Constraint, row.Detail)
	return nil
}

func lostAnswer(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id, err := phone.buy("bought in a tunnel", 1)
	if err != nil {
		return err
	}
	number, lose := phone.NextBundle(), true
	phone.network.Choose = func(step v1client.Step, _ int) v1client.Fault {
		if lose && step == v1client.StepPushCommit {
			lose = false
			return v1client.LoseResponse
		}
		return v1client.None
	}
	var lost *v1client.LostError
	if err := phone.Sync(ctx); !errors.As(err, &lost) {
		return fmt.Errorf("the answer to the phone's push was lost, and it was told: %w", err)
	}
	sent := len(phone.network.Log())
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx)); err != nil {
		return err
	}
	again := phone.network.Log()[sent]
	if again.Status != http.StatusOK || !strings.Contains(string(again.Answer), `"already_committed"`) {
		return fmt.Errorf("the phone pushed again and was told: %d %s", again.Status, again.Answer)
	}
	var n int
	if err := database.QueryRow(ctx, `SELECT count(*) FROM shop.purchase_item WHERE purchase_id = $1`, id).Scan(&n); err != nil {
		return err
	}
	say(`
Lost answer     The phone pushes a purchase as its number %d, and the connection breaks before the answer to
                %s comes. It pushes again: already_committed, and the table has %d item of it.`, number, lost.Step, n)
	return nil
}

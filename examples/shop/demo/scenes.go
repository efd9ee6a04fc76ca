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
		if n := phone.refused + tablet.refused; n > 0 {
			return fmt.Errorf("%d edits were refused that should not have been", n)
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
	if phone.LastSeq() != tablet.LastSeq() || phone.held() != tablet.held() {
		return fmt.Errorf("the phone has %d rows at bundle %d, the tablet %d at %d", phone.held(), phone.LastSeq(), tablet.held(), tablet.LastSeq())
	}
	say("Offline edits", `The phone adds a purchase with two items, the tablet changes a note, psql adds a purchase.
Then both devices push and pull, and hold the same %d rows at bundle %d.`, phone.held(), phone.LastSeq())
	return nil
}

func conflict(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id := phone.any("purchase")
	if err := phone.change("purchase", id, "note", "leave it at the door"); err != nil {
		return err
	}
	was := phone.purchase(id)
	if _, err := database.Exec(ctx, `UPDATE shop.purchase SET note = 'customer will fetch it', status = 'packed' WHERE purchase_id = $1`, id); err != nil {
		return err
	}
	before := len(phone.Conflicts())
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx)); err != nil {
		return err
	}
	if len(phone.Conflicts()) != before+1 {
		return fmt.Errorf("the phone was told of %d conflicts, not of one", len(phone.Conflicts())-before)
	}
	told := phone.Conflicts()[before]
	var stored purchase
	if err := database.QueryRow(ctx, `SELECT note, status FROM shop.purchase WHERE purchase_id = $1`, id).Scan(&stored.Note, &stored.Status); err != nil {
		return err
	}
	if want := (purchase{was.Note, "packed"}); stored != want || phone.purchase(id) != want || tablet.purchase(id) != want {
		return fmt.Errorf("after the conflict about %s the database has %+v, the phone %+v, the tablet %+v, not %+v", id, stored, phone.purchase(id), tablet.purchase(id), want)
	}
	theirs := readPurchase(told.ServerRow)
	line := func(who string, p purchase, remark string) string {
		return fmt.Sprintf("  %-10s %-24s %-8s %s", who, p.Note, p.Status, remark)
	}
	say("Conflict", `The phone writes a note on a purchase that psql packs meanwhile, with a note too: 409 push_conflict.

%s
%s
%s

The phone is told to win: it puts its note onto the server's row and pushes again.

%s`, line("", purchase{"note", "status"}, ""), line("phone", was, fmt.Sprintf("made on version %d", told.Base)),
		line("server", theirs, fmt.Sprintf("version %d, as the 409 says", told.ServerVersion)),
		line("everybody", stored, fmt.Sprintf("version %d", tablet.Version("purchase", id))))
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
	say("Refused row", `The tablet pushes a purchase with three items, one of them with quantity 0: 422 push_rejected.

  row %d       %s of %s %s
  SQLSTATE    %s, constraint %s

Nothing of the push was applied. The tablet mends the row and pushes again, under the same number.`,
		row.Ordinal, row.Op, row.Table, row.Key, row.SQLState, row.Constraint)
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
	say("Lost answer", `The phone pushes a purchase as its number %d, and the answer to %s gets lost.
It pushes again and is told already_committed: the database has %d item of it, not 2.`, number, lost.Step, n)
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

func line(who string, p purchase, remark string) string {
	return fmt.Sprintf("  %-10s %-27s %-8s %s", who, p.note, p.status, remark)
}

// agree is an error unless both devices and the database have the purchase so.
func agree(ctx context.Context, database *pgxpool.Pool, id string, want purchase, devices ...*device) error {
	var stored purchase
	if err := database.QueryRow(ctx, `SELECT note, status FROM shop.purchase WHERE purchase_id = $1`, id).Scan(&stored.note, &stored.status); err != nil {
		return err
	}
	text := fmt.Sprintf("the database has %+v", stored)
	agreed := stored == want
	for _, d := range devices {
		p, err := d.purchase(ctx, id)
		if err != nil {
			return err
		}
		text += fmt.Sprintf(", the %s %+v", d.name, p)
		agreed = agreed && p == want
	}
	if !agreed {
		return fmt.Errorf("of purchase %s %s; it should be %+v", id, text, want)
	}
	return nil
}

const somePurchase = `SELECT purchase_id FROM purchase WHERE status = 'open' ORDER BY note LIMIT 1 OFFSET ?`

func offline(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id, err := phone.one(ctx, somePurchase, 0)
	if err != nil {
		return err
	}
	before, err := phone.purchase(ctx, id)
	if err != nil {
		return err
	}
	_, err = phone.buy(ctx, "bought on the train", 2, 1)
	if err := errors.Join(err,
		phone.sql(ctx, `UPDATE purchase SET note = 'ring twice' WHERE purchase_id = ?`, id),
		tablet.sql(ctx, `UPDATE purchase SET note = 'leave it next door' WHERE purchase_id = ?`, id)); err != nil {
		return err
	}
	if _, err := database.Exec(ctx, `INSERT INTO shop.purchase (customer_id, note) VALUES ($1, 'ordered by telephone')`, customer); err != nil {
		return err
	}
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx), phone.sync(ctx)); err != nil {
		return err
	}
	after := purchase{"ring twice", before.status}
	held, err := phone.held(ctx)
	other, err2 := tablet.held(ctx)
	listed, err3 := tablet.Conflicts(ctx, 0)
	if err := errors.Join(err, err2, err3, agree(ctx, database, id, after, phone, tablet)); err != nil {
		return err
	}
	if held != other || len(listed) != 1 {
		return fmt.Errorf("the phone has %d rows, the tablet %d and lists %d conflicts", held, other, len(listed))
	}
	say("Offline", `Both devices lose the network. The phone adds a purchase with two items, psql adds one too, and
both devices change the note of the same purchase:

%s
%s
%s
%s

Back online the phone is first. The tablet finds the row changed; its app takes the server's row
in that case, and what it gave up stays on the list of conflicts. Both hold %d rows.`,
		line("", purchase{"note", "status"}, ""), line("before", before, ""), line("phone", after, ""), line("tablet", purchaseOf(listed[0].Local), "listed as: "+listed[0].Resolution), held)
	return nil
}

func conflict(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id, err := phone.one(ctx, somePurchase, 1)
	if err != nil {
		return err
	}
	if err := phone.sql(ctx, `UPDATE purchase SET note = 'leave it at the door' WHERE purchase_id = ?`, id); err != nil {
		return err
	}
	was, err := phone.purchase(ctx, id)
	if err != nil {
		return err
	}
	if _, err := database.Exec(ctx, `UPDATE shop.purchase SET note = 'customer will fetch it', status = 'packed' WHERE purchase_id = $1`, id); err != nil {
		return err
	}
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx)); err != nil {
		return err
	}
	listed, err := phone.Conflicts(ctx, 0)
	if err != nil {
		return err
	}
	if len(listed) != 1 {
		return fmt.Errorf("the phone lists %d conflicts, not one", len(listed))
	}
	want := purchase{was.note, "packed"}
	if err := agree(ctx, database, id, want, phone, tablet); err != nil {
		return err
	}
	say("Conflict", `The phone writes a note on a purchase that psql packs meanwhile, with a note too.

%s
%s
%s
%s

The phone's app lets what was written there win: its note is laid over the server's row, and pushed.

%s`, line("", purchase{"note", "status"}, ""), line("before", purchaseOf(listed[0].Base), ""), line("phone", was, ""), line("server", purchaseOf(listed[0].Server), ""),
		line("everybody", want, "listed as: "+listed[0].Resolution))
	return nil
}

func refused(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id, err := tablet.buy(ctx, "poison", 1, 0, 3)
	if err != nil {
		return err
	}
	if err := tablet.Sync(ctx); err != nil {
		return err
	}
	letters, err := tablet.DeadLetters(ctx)
	if err != nil || len(letters) != 1 {
		return fmt.Errorf("the tablet pushed a quantity of 0, and lists %d refused rows: %w", len(letters), err)
	}
	const items = `SELECT count(*) FROM shop.purchase_item WHERE purchase_id = $1`
	var arrived, all int
	if err := database.QueryRow(ctx, items, id).Scan(&arrived); err != nil {
		return err
	}
	if err := tablet.sql(ctx, `UPDATE purchase_item SET quantity = 2 WHERE purchase_id = ? AND quantity = 0`, id); err != nil {
		return err
	}
	if err := errors.Join(tablet.sync(ctx), phone.sync(ctx), database.QueryRow(ctx, items, id).Scan(&all)); err != nil {
		return err
	}
	there, err := phone.one(ctx, `SELECT count(*) FROM purchase_item WHERE purchase_id = ?`, id)
	if err != nil {
		return err
	}
	if arrived != 2 || all != 3 || there != "3" {
		return fmt.Errorf("of a purchase with 3 items, one of them refused, %d arrived; after it was mended %d, and %s on the phone", arrived, all, there)
	}
	l := letters[0]
	say("Refused row", `The tablet pushes a purchase with three items, one of them with quantity 0: 422 push_rejected.

  row         %s of %s
  SQLSTATE    %s, constraint %s

The row waits on the tablet; the purchase and the other %d items are pushed without it. Then the app
mends it: UPDATE purchase_item SET quantity = 2. It is pushed, and the phone has all %d.`, l.Key, l.Table, l.Code, l.Constraint, arrived, all)
	return nil
}

func lostAnswer(ctx context.Context, database *pgxpool.Pool, phone, tablet *device) error {
	id, err := phone.buy(ctx, "bought in a tunnel", 1)
	if err != nil {
		return err
	}
	const push = "POST push"
	lose := true
	phone.network.Choose = func(step v1client.Step, _ int) v1client.Fault {
		if lose && step == push {
			lose = false
			return v1client.LoseResponse
		}
		return v1client.None
	}
	defer func() { phone.network.Choose = nil }()
	if err := phone.Sync(ctx); !errors.Is(err, v1client.ErrLost) {
		return fmt.Errorf("the answer to the phone's push was lost, and it was told: %w", err)
	}
	sent := len(phone.network.Log())
	if err := errors.Join(phone.sync(ctx), tablet.sync(ctx)); err != nil {
		return err
	}
	first, again := phone.network.Log()[sent-1], phone.network.Log()[sent]
	var one, two struct {
		BundleID int64 `json:"bundle_id"`
		Number   int64 `json:"source_bundle_id"`
	}
	if err := errors.Join(json.Unmarshal(first.Answer, &one), json.Unmarshal(again.Answer, &two)); err != nil {
		return err
	}
	if again.Step != push || one != two || one.BundleID == 0 {
		return fmt.Errorf("the phone pushed again and was told: %s %d %s", again.Step, again.Status, again.Answer)
	}
	var n int
	if err := database.QueryRow(ctx, `SELECT count(*) FROM shop.purchase_item WHERE purchase_id = $1`, id).Scan(&n); err != nil {
		return err
	}
	say("Lost answer", `The phone pushes a purchase as its number %d, and the answer gets lost. It sends the same once more,
and is told what became of it the first time, bundle %d: the database has %d item of it, not 2.`, one.Number, one.BundleID, n)
	return nil
}

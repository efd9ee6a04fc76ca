package causal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/pgtide/pgtide/internal/cursorclient"
)

// device is one of the fleet.
type device interface {
	name() string
	// act is a transaction of its user.
	act(random *rand.Rand)
	// sync brings the server what it has not got, and the user what others wrote.
	sync(ctx context.Context) error
	// look is what the user sees.
	look() State
	// waits is how many of his transactions, or rows, are not through; through are those that are.
	waits() int
	through() []Txn
}

// Client is a device that replicates transaction by transaction. Its user sees what was pulled, and on
// top of it his own transactions, from the moment he makes them.
type Client struct {
	called  string
	checker *Checker
	values  *atomic.Int64
	server  *cursorclient.HTTP
	device  *cursorclient.Device
	// own are transactions that no pull brought yet, the oldest first. Those that the server took have
	// the bundle they are in.
	own    []*ownTxn
	number int64
	// settled are those that are through.
	settled []Txn
}

type ownTxn struct {
	Txn
	number, bundle int64
}

func newClient(name, url string, transport http.RoundTripper, header http.Header, checker *Checker, values *atomic.Int64) *Client {
	server := &cursorclient.HTTP{URL: url, Header: header, Client: &http.Client{Transport: transport}}
	return &Client{called: name, checker: checker, values: values, server: server, device: cursorclient.New(server)}
}

// ready says whether the user has something to look at.
func (c *Client) ready() bool { return len(c.device.Rows) == Keys }

func (c *Client) name() string { return c.called }

func (c *Client) waits() int { return len(c.own) }

func (c *Client) through() []Txn { return c.settled }

func rowID(k int) string { return fmt.Sprintf(`app.register{"k":"%d"}`, k) }

// look is what the user sees: the larger value wins.
func (c *Client) look() (s State) {
	for k := range s {
		var row struct {
			V int64 `json:"v"`
		}
		// A row that cannot be read is at 0, which the checker does not take.
		_ = json.Unmarshal([]byte(c.device.Rows[rowID(k)].Payload), &row)
		s[k] = row.V
	}
	for _, own := range c.own {
		for _, k := range own.Writes {
			s[k] = max(s[k], own.Value)
		}
	}
	return s
}

// act is a transaction of the user: he reads all, and now and then writes some.
func (c *Client) act(random *rand.Rand) {
	if !c.ready() {
		return
	}
	read := c.look()
	c.checker.Read(c.called, read)
	if random.IntN(2) == 0 || len(c.own) > 20 {
		return
	}
	txn := Txn{Client: c.called, Read: read, Value: c.values.Add(1), Writes: random.Perm(Keys)[:1+random.IntN(4)]}
	c.checker.Wrote(txn)
	c.checker.Acknowledged(txn)
	c.number++
	c.own = append(c.own, &ownTxn{Txn: txn, number: c.number})
}

// sync pushes one transaction after the other, and pulls.
func (c *Client) sync(ctx context.Context) error {
	for next := c.unsent(); next != nil; next = c.unsent() {
		bundle, err := c.push(ctx, *next)
		var refusal *cursorclient.Refusal
		if errors.As(err, &refusal) && refusal.Code == "push_conflict" {
			err = c.pull(ctx)
		}
		if err != nil {
			return err
		}
		next.bundle = bundle
	}
	return c.pull(ctx)
}

// unsent is the oldest transaction that the server did not take yet.
func (c *Client) unsent() *ownTxn {
	for _, own := range c.own {
		if own.bundle == 0 {
			return own
		}
	}
	return nil
}

func (c *Client) push(ctx context.Context, txn ownTxn) (bundle int64, err error) {
	var rows []any
	for _, k := range txn.Writes {
		rows = append(rows, map[string]any{"schema": "app", "table": "register", "key": map[string]string{"k": strconv.Itoa(k)}, "op": "UPDATE",
			"base_row_version": c.device.Rows[rowID(k)].Version, "payload": map[string]any{"v": txn.Value}})
	}
	text, err := c.server.Do(ctx, http.MethodPost, "/sync/push", map[string]any{"source_bundle_id": txn.number, "rows": rows})
	if err != nil {
		return 0, err
	}
	var answer struct {
		BundleID int64 `json:"bundle_id"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.BundleID == 0 {
		return 0, cursorclient.Violation(fmt.Sprintf("push: %s", text))
	}
	return answer.BundleID, nil
}

// pull brings all there is. A transaction of the user's own is seen in what was pulled once its bundle was.
func (c *Client) pull(ctx context.Context) error {
	err := c.device.Sync(ctx)
	if err != nil {
		c.device = c.device.Copy()
	}
	reached := int64(0)
	for _, stands := range c.device.Stands {
		reached = max(reached, stands.BundleID)
	}
	for len(c.own) > 0 && c.own[0].bundle > 0 && c.own[0].bundle <= reached {
		c.settled = append(c.settled, c.own[0].Txn)
		c.own = c.own[1:]
	}
	return err
}
